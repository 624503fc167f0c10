"""A search that is killed by SIGKILL: the best so far is there, and the next call goes on."""

import shutil
from pathlib import Path

import pytest
import searching
from killing import Runner
from searching import Job, draw, shorten_ladder, without_seconds, write_float32

from indoor.quantize import load_int8
from indoor.records import read_record
from indoor.repair.records import Search

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_MOMENTS = 10


@pytest.mark.slow
def test_a_killed_search_loses_the_step_it_was_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at ten moments of its writes, it ends where one ends that nobody disturbed."""
    shorten_ladder(monkeypatch)
    root, runner = draw(tmp_path / "drawn"), Runner(searching.run, "indoor.repair.auto")
    float32 = write_float32(tmp_path / "float32.safetensors", root)

    def fresh(name: str) -> Job:
        job = Job(root=root, run=tmp_path / name)
        job.run.mkdir()
        shutil.copy(float32, job.run)
        return job

    undisturbed = fresh("undisturbed")
    num_writes = runner.finish(undisturbed)
    expected = undisturbed.search()
    assert num_writes >= NUM_MOMENTS
    for moment in range(NUM_MOMENTS):
        job = fresh(f"killed-{moment}")
        runner.kill_at_write(job, 1 + moment * (num_writes - 1) // (NUM_MOMENTS - 1))
        before = known(job)
        if before is not None and before.best is not None:
            # The file is whole; it is the recorded best's, or that of the step after it.
            load_int8(job.out)
        heard: list[str] = []
        after = job.search(say=heard.append)
        assert without_seconds(after) == without_seconds(expected), heard
        if before is not None:
            assert after.tried[: len(before.tried)] == before.tried
        assert job.out.read_bytes() == undisturbed.out.read_bytes()
        assert not list(job.run.rglob("*.tmp"))


def known(job: Job) -> Search | None:
    """Return what stands in the search's file."""
    path = job.run / "auto" / "search.json"
    return read_record(path, Search) if path.is_file() else None
