"""What the ranks of a job tell each other, in jobs of three processes on gloo."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from ranked import Ended, Jobs, keep, kept

from indoor import process_group
from indoor.cli.ranked import job
from indoor.errors import IndoorError
from indoor.process_group import (
    after_first,
    collect,
    from_first,
    gather,
    joined,
    require_same,
    require_shared,
    together,
)
from indoor.ranks import ALONE, Ranks

SIZE = 3


def failing(ranks: Ranks, *who: int) -> str:
    """Raise on some ranks; else return the rank."""
    if ranks.rank in who:
        raise IndoorError(f"no disk at {ranks.rank if len(who) < SIZE else 'all'}")
    return str(ranks.rank)


def caught(work: object) -> str:
    """Return what work returns, or the line that it fails with."""
    try:
        return str(work())  # type: ignore[operator]
    except IndoorError as error:
        return str(error)


def exchange(folder: Path) -> None:
    """Keep what each way of telling each other gives this rank."""
    with joined(torch.device("cpu")) as ranks:
        own = (folder / f"own-{ranks.rank}").absolute()
        own.mkdir()
        indices = [[4, 0], [], [1, 3, 2]][ranks.rank]
        rows = torch.tensor([[10.0 * index, 1.0] for index in indices])
        (collected,) = collect(ranks, indices, rows)
        found = {
            "gather": gather(ranks, ranks.rank * 2),
            "from first": from_first(ranks, lambda: f"by {ranks.rank}"),
            "first fails": caught(lambda: from_first(ranks, lambda: failing(ranks, 0))),
            "after first": after_first(ranks, lambda: f"by {ranks.rank}"),
            "others": after_first(ranks, lambda: "first", lambda: "other"),
            "together": together(ranks, lambda: failing(ranks)),
            "one fails": caught(lambda: together(ranks, lambda: failing(ranks, 1))),
            "two fail": caught(lambda: together(ranks, lambda: failing(ranks, 1, 2))),
            "all fail": caught(lambda: together(ranks, lambda: failing(ranks, 0, 1, 2))),
            "collect": collected.tolist(),
            "same": caught(lambda: require_same(ranks, "weights", 7)),
            "other": caught(lambda: require_same(ranks, "weights", ranks.rank // 2)),
            "shared": caught(lambda: require_shared(ranks, folder)),
            "not shared": caught(lambda: require_shared(ranks, own)),
            "left": sorted(path.name for path in own.iterdir()),
            "backend": ranks.backend,
        }
        keep(folder, "found", found)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """One fork server for the module."""
    return Jobs(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def found(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What three ranks found."""
    folder = tmp_path_factory.mktemp("exchange")
    ended = jobs.run(SIZE, exchange_quickly, folder)
    assert ended.statuses == (0, 0, 0), ended.errors
    return kept(folder, "found", SIZE)


def exchange_quickly(folder: Path) -> None:
    """Exchange without waiting for a file that will never be seen."""
    process_group._SEEN_S = 0.2
    exchange(folder)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("gather", [0, 2, 4]),
        ("from first", "by 0"),
        ("first fails", "no disk at 0"),
        ("one fails", "rank 1 of 3: no disk at 1"),
        ("two fail", "rank 1 of 3: no disk at 1"),
        ("all fail", "no disk at all"),
        ("collect", [[0.0, 1.0], [10.0, 1.0], [20.0, 1.0], [30.0, 1.0], [40.0, 1.0]]),
        ("same", "None"),
        ("shared", "None"),
        ("left", []),
        ("backend", "gloo"),
    ],
)
def test_all_ranks_get_the_same(
    found: list[dict[str, object]], what: str, expected: object
) -> None:
    """Values, results and failures are told to all ranks alike."""
    assert [one[what] for one in found] == [expected] * SIZE


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("after first", ["by 0", "by 1", "by 2"]),
        ("others", ["first", "other", "other"]),
        ("together", ["0", "1", "2"]),
    ],
)
def test_each_rank_keeps_what_it_made(
    found: list[dict[str, object]], what: str, expected: list[str]
) -> None:
    """What a rank makes for itself stays its own."""
    assert [one[what] for one in found] == expected


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("other", "rank 2 of 3 has other weights than rank 0; expected the same data set"),
        ("not shared", "rank 1 of 3 does not see what rank 0 writes into "),
    ],
)
def test_ranks_that_do_not_work_on_the_same_are_named(
    found: list[dict[str, object]], what: str, message: str
) -> None:
    """Other files, or a folder of its own, are found out before anything is computed."""
    assert all(str(one[what]).startswith(message) for one in found)
    assert len({str(one[what]) for one in found} - {""}) in (1, SIZE)  # the folder's own name


def test_alone_nothing_is_told() -> None:
    """A process by itself joins nothing, and each way gives what its work gives."""
    with joined(torch.device("cpu")) as ranks:
        assert ranks is ALONE
        assert not torch.distributed.is_initialized()
        assert gather(ranks, 3) == [3]
        assert after_first(ranks, lambda: 4) == from_first(ranks, lambda: 4) == 4
        (rows,) = collect(ranks, [0], torch.ones(1, 2))
        assert rows.tolist() == [[1.0, 1.0]]


# how a job ends


def fail_on_one() -> None:
    """Fail on rank 1 while the others wait for it."""
    with job("cpu") as ranks:
        if ranks.rank == 1:
            raise IndoorError("the photograph x.jpg is broken")
        gather(ranks, 0)


def fail_alike() -> None:
    """Fail on all ranks for one reason."""
    with job("cpu"):
        raise IndoorError("no such folder")


def die() -> None:
    """Die on rank 1 while the others wait for it."""
    with job("cpu") as ranks:
        gather(ranks, 0)
        if ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        gather(ranks, 0)


def hang() -> None:
    """Stop answering on rank 1."""
    with joined(torch.device("cpu"), answer_s=1.0) as ranks:
        gather(ranks, 0)
        if ranks.rank == 1:
            time.sleep(4)
        gather(ranks, 0)


def wait_for_rank_1(ready: Path) -> None:
    """Wait inside of torch until SIGTERM comes."""
    with job("cpu") as ranks:
        gather(ranks, 0)
        if ranks.rank == 1:
            ready.touch()
            time.sleep(60)
        gather(ranks, 0)


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (fail_on_one, "indoor: the photograph x.jpg is broken"),
        (fail_alike, "indoor: no such folder"),
    ],
)
def test_one_rank_tells_the_reason(jobs: Jobs, work: object, line: str) -> None:
    """The failed rank's own line is all that is told, and no rank prints a traceback."""
    ended = jobs.run(2, work)  # type: ignore[arg-type]
    assert ended.statuses == (2, 2)
    assert [text for text in ended.errors if text] == [f"{line}\n"]


def test_a_killed_rank_ends_the_job_with_a_line(jobs: Jobs) -> None:
    """SIGKILL of one: the others say that one was lost, once, and what to do."""
    ended = jobs.run(SIZE, die)
    assert ended.statuses == (2, -9, 2)
    (line,) = ended.told
    assert "lost another rank" in line
    assert "start the same command again" in line
    assert "Traceback" not in "".join(ended.errors)


def test_a_rank_that_does_not_answer_is_given_up(jobs: Jobs) -> None:
    """One that hangs is waited for no longer than was said."""
    ended = jobs.run(2, giving_up)
    assert ended.statuses[0] == 2
    assert "rank 0 of 2 lost another rank" in ended.errors[0]


def giving_up() -> int:
    """Hang, and tell what the others say of it."""
    try:
        hang()
    except IndoorError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this rank's output
        return 2
    return 0


def test_a_rank_that_is_told_to_end_says_so(jobs: Jobs, tmp_path: Path) -> None:
    """SIGTERM, as torchrun sends it to the ranks that are left, also within a wait of torch's."""
    ready = tmp_path / "ready"
    started = jobs.start(2, wait_for_rank_1, ready)
    while not ready.exists():
        time.sleep(0.05)
    time.sleep(0.2)
    started.processes[0].terminate()
    started.processes[0].join()
    started.processes[1].terminate()
    ended: Ended = started.end()
    assert ended.statuses == (2, 2)
    (line,) = ended.told
    assert line.startswith("indoor: rank 0 of 2 was told to end (SIGTERM)")


def test_what_cannot_be_shared_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mps has no way to exchange tensors, and a machine has too few GPUs for its ranks."""
    told = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**told, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device, message in (
        ("mps", r"device mps .* cannot be shared by processes; .* take --device cpu"),
        ("cuda", r"rank 1 is number 1 on its machine, which has 1 GPUs; .*--nproc-per-node"),
    ):
        with pytest.raises(IndoorError, match=message), joined(torch.device(device)):
            pass
