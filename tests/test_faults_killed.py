"""Work that is killed at any moment goes on at its next start, and nothing finished is lost.

INDOOR_NUM_KILLS is the number of kills of all kinds together; `make faults` asks for 200. Half of
them come within 50 ms of a write: most others hit nothing but imports and computing.
"""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from faulting import KINDS, Killer, Work, assert_tidy, assert_whole, said

NUM_KILLS = int(os.environ.get("INDOOR_NUM_KILLS", "18"))
NEAR_S = 0.05
NUM_IN_A_ROW = 4
"""Kills before the work is let go on to its end, so that what several left is met at once."""

MOST_TRIES = 10
"""For one kill: work that goes on has fewer writes to be killed at, or ends before."""


@pytest.fixture(scope="module")
def killer() -> Killer:
    """One fork server for all."""
    return Killer()


@pytest.fixture(scope="module")
def start(
    home: Path, photographs: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What work begins with: a run, photographs and weights."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(home / "runs", folder / "runs")
    shutil.copytree(photographs, folder / "photographs")
    shutil.copy(backbone, folder / "backbone.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_work_goes_on(kind: str, killer: Killer, start: Path, tmp_path: Path) -> None:
    """Whole after each kill, tidy and the same as undisturbed at the end."""
    work = Work(kind=kind, folder=tmp_path / "work", start=start)
    work.lay_ready()
    began = time.monotonic()
    num_writes = finish(killer, work)
    took_s = time.monotonic() - began
    expected = work.result()
    assert num_writes > 0
    moments = random.Random(kind)
    num_wanted = -(-NUM_KILLS // len(KINDS))
    work.lay_ready()
    killed = {"near a write": 0, "at any moment": 0}
    for number in range(MOST_TRIES * num_wanted):
        if sum(killed.values()) == num_wanted:
            break
        near = killed["near a write"] <= killed["at any moment"]
        if near:
            step, delay_s = moments.randint(1, num_writes), moments.uniform(0, NEAR_S)
            was_killed = killer.kill_near_write(work, step, delay_s)
        else:
            was_killed = killer.kill_after(work, moments.uniform(0, took_s))
        killed["near a write" if near else "at any moment"] += was_killed
        assert_whole(work)
        if number % NUM_IN_A_ROW == NUM_IN_A_ROW - 1:
            finish(killer, work)
            assert work.result() == expected
            assert_tidy(work)
            work.lay_ready()
        elif not was_killed:  # it came to its end
            assert work.result() == expected
            work.lay_ready()
    finish(killer, work)
    assert work.result() == expected
    assert_tidy(work)
    assert sum(killed.values()) == num_wanted
    print(f"{kind}: {killed}, {num_writes} steps of writes, {took_s:.1f} s undisturbed")  # noqa: T201


def finish(killer: Killer, work: Work) -> int:
    """Have the work done to its end; return how many steps of writes it took."""
    num_writes = killer.context.Value("i", 0)
    process = killer.start(work, num_writes=num_writes)
    process.join(300)
    assert process.exitcode == 0, (process.exitcode, said(work))
    assert_whole(work)
    return int(num_writes.value)
