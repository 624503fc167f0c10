"""Which process of a job this is, and what falls to it."""

import pytest

import indoor
from indoor.cli import main
from indoor.errors import IndoorError
from indoor.machine import num_usable_cores
from indoor.ranks import ALONE, Ranks, read_ranks, share_of_batches, share_of_step

TOLD = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


def test_a_process_is_who_torchrun_says_it_is() -> None:
    """The numbers among all and on the machine are those of the environment."""
    assert read_ranks(TOLD) == Ranks(rank=3, size=4, local_rank=1, local_size=2)


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_without_torchrun_a_process_is_alone(missing: str) -> None:
    """Some of the variables may stand in anybody's environment: all of them are a job."""
    told = {name: value for name, value in TOLD.items() if name != missing}
    assert read_ranks(told) is ALONE


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", "first", r"RANK is 'first', expected a whole number"),
        ("WORLD_SIZE", "-1", r"WORLD_SIZE is '-1', expected a whole number"),
        ("RANK", "4", r"RANK 4 of WORLD_SIZE 4 .* contradict each other"),
        ("LOCAL_RANK", "2", r"LOCAL_RANK 2 of LOCAL_WORLD_SIZE 2 contradict each other"),
        ("WORLD_SIZE", "0", r"contradict each other"),
    ],
)
def test_nonsense_of_the_environment_is_one_line(name: str, value: str, message: str) -> None:
    """What torchrun would never say is told, with the remedy."""
    with pytest.raises(IndoorError, match=message):
        read_ranks({**TOLD, name: value})


@pytest.mark.parametrize(("num", "batch", "size"), [(21, 8, 2), (3, 8, 2), (64, 8, 3), (0, 8, 2)])
def test_each_photograph_falls_to_one_rank(num: int, batch: int, size: int) -> None:
    """All of them, none twice, in batches with the boundaries of one process."""
    shares = [share_of_batches(Ranks(rank=rank, size=size), num, batch) for rank in range(size)]
    assert sorted(index for share in shares for index in share) == list(range(num))
    for share in shares:
        parts = [share[start : start + batch] for start in range(0, len(share), batch)]
        assert all(part[0] % batch == 0 and part[-1] - part[0] < batch for part in parts)


@pytest.mark.parametrize(("batch", "size"), [(32, 3), (4, 4), (21, 2), (7, 1)])
def test_a_step_is_shared_evenly(batch: int, size: int) -> None:
    """The ranks' places follow each other, and no rank has two more than another."""
    shares = [share_of_step(Ranks(rank=rank, size=size), batch) for rank in range(size)]
    assert [place for share in shares for place in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_ranks_than_photographs_in_a_step_are_refused() -> None:
    """A rank without a photograph would have nothing to do, and is told how many could work."""
    with pytest.raises(IndoorError, match=r"4 ranks share steps of 3 photographs.*start 3 ranks"):
        share_of_step(Ranks(rank=0, size=4), 3)


@pytest.mark.parametrize(("num_ranks", "expected"), [(1, 8), (3, 2), (16, 1)])
def test_the_ranks_of_a_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, num_ranks: int, expected: int
) -> None:
    """Each decodes in its share of threads, and not all of them in as many as there are cores."""
    monkeypatch.setattr(indoor, "CPUS_AT_START", frozenset(range(8)))
    monkeypatch.setattr("indoor.machine.reading.read_cpu_quota", lambda _: None)
    local = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": str(num_ranks), "WORLD_SIZE": "16"}
    for name, value in {**TOLD, **local}.items():
        monkeypatch.setenv(name, value)
    assert num_usable_cores() == expected


@pytest.mark.parametrize(("rank", "lines"), [(0, 1), (1, 0)])
def test_what_processes_cannot_share_is_refused_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: int, lines: int
) -> None:
    """`torchrun -m indoor doctor` is one line of the first rank, and not one of each."""
    for name, value in {**TOLD, "RANK": str(rank), "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    try:
        status = main(["doctor"])
    except SystemExit as stop:
        status = int(stop.code or 0)
    told = capsys.readouterr().err.splitlines()
    assert (status, len(told)) == (2, lines)
    assert all("is the work of one process, and torchrun started 4" in line for line in told)
