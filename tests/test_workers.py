"""Processes that share work: the same results, in any order, and no result is lost."""

import os
import signal
from pathlib import Path

import pytest

from indoor.errors import IndoorError
from indoor.runs.index import INDEX, read_summaries
from indoor.workers import workers

GOLDEN = Path(__file__).parent / "golden"
PARENT = os.getpid()


def _square(number: int) -> tuple[int, bool]:
    return number * number, os.getpid() == PARENT


def _fail(reason: str) -> None:
    raise IndoorError(reason)


def _killed_unless_here() -> int:
    if os.getpid() != PARENT:
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


@pytest.mark.parametrize(("num_processes", "is_here"), [(1, True), (2, False)])
def test_results_come_as_they_are_asked_for(num_processes: int, is_here: bool) -> None:
    """One process is this one; of several none is."""
    with workers(num_processes) as start:
        ends = [start(_square, number) for number in range(5)]
        found = [end() for end in reversed(ends)]
    assert found == [(number * number, is_here) for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_failure_is_raised_where_its_result_is_asked_for(num_processes: int) -> None:
    """As the line that it is, and the other results stay."""
    with workers(num_processes) as start:
        bad, good = start(_fail, "one line"), start(_square, 3)
        with pytest.raises(IndoorError, match=r"^one line$"):
            bad()
        assert good()[0] == 9


def test_what_a_killed_process_did_not_do_is_done_here() -> None:
    """A process that the system takes its memory from costs time, and no result."""
    with workers(2) as start:
        assert start(_killed_unless_here)() == 7


def test_runs_read_side_by_side_are_those_read_one_by_one(tmp_path: Path) -> None:
    """In the order asked for, what cannot be read as its line, and all of it kept."""
    for number in range(20):
        (tmp_path / f"{number:04}_x.json").write_bytes((GOLDEN / "run-v2.json").read_bytes())
    (tmp_path / "0007_x.json").write_text("{")
    paths = sorted(tmp_path.glob("*.json"))
    with workers(2) as start:
        found = [(path, str(one)) for path, one in read_summaries(paths, start=start)]
    kept = (tmp_path / INDEX).read_bytes().count(b" run ")
    (tmp_path / INDEX).unlink()
    assert found == [(path, str(one)) for path, one in read_summaries(paths)]
    assert kept == 19
