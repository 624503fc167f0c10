"""Tests of the study that tells what more processes buy: its model by hand, and a run of it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from suite_process import ROOT, environment

from bench.studies.scaling_model import (
    Network,
    Round,
    Scaling,
    Took,
    lines,
    loopback,
    model,
    plot,
    possible,
    step_s,
)
from indoor.machine import read_machine
from indoor.records import read_record

NUM = 1_000_000
"""Gradients of the study below."""


def took(**seconds: float) -> dict[str, Took]:
    """Return pieces of work; `_` stands for a space in their names."""
    return {name.replace("_", " "): Took(wall_s=wall, cpu_s=wall) for name, wall in seconds.items()}


@pytest.fixture
def study() -> Scaling:
    """A step takes 10 ms and 1 ms a photograph; a sum 100 us a message and a second a GB."""
    photographs = {"views": 0.002, "epoch": 0.004, "validation": 0.001, "features": 0.001}
    alone = {f"step_of_{num}": 0.01 + 0.001 * num for num in (1, 8, 32)}
    sums = {f"sum_of_{num}": 2 * 1e-4 + 4 * num / 1e9 for num in (1000, 100_000, NUM)}
    return Scaling(
        arch="resnet18",
        size=64,
        data="drawn",
        num_train=3200,
        num_val=100,
        machine=read_machine(),
        load=(0.5, 0.7),
        rounds=(
            Round(ranks=1, took=took(**photographs, **alone)),
            Round(ranks=2, took=took(**photographs, **sums, step_of_32=0.035)),
        ),
    )


def test_the_own_network_is_fitted_to_its_sums(study: Scaling) -> None:
    """Latency and rate come back out of times that they made."""
    network = loopback(study)
    assert network.latency_s == pytest.approx(1e-4)
    assert network.bytes_per_s == pytest.approx(1e9)


def test_a_ring_sends_two_messages_to_each_of_the_others() -> None:
    """Four ranks: six messages of 50 us, each of a quarter of 8 MB at 1 GB/s."""
    network = Network(name="x", latency_s=50e-6, bytes_per_s=1e9)
    assert network.sum_s(4, 8e6) == pytest.approx(6 * (50e-6 + 2e-3))
    assert network.sum_s(1, 8e6) == 0


@pytest.mark.parametrize(
    ("num", "expected"), [(1, 0.011), (0.5, 0.011), (8, 0.018), (20, 0.03), (64, 0.084)]
)
def test_a_step_lies_between_those_measured(study: Scaling, num: float, expected: float) -> None:
    """In proportion between two sizes; no less than one photograph, and in proportion above."""
    assert step_s(study, num) == pytest.approx(expected)


def test_an_epoch_by_hand(study: Scaling) -> None:
    """100 steps of 8 photographs on each of four ranks, their views, sums and validation."""
    network = Network(name="x", latency_s=1e-4, bytes_per_s=1e9)
    epoch = model(study, network, 4, grows=False)
    assert epoch.compute_s == pytest.approx(100 * 0.018 + 800 * 0.002)
    assert epoch.sums_s == pytest.approx(100 * 6 * (1e-4 + 1e-3))
    assert epoch.validation_s == pytest.approx(2 * 25 * 0.001)
    one = 100 * 0.042 + 3200 * 0.002 + 200 * 0.001
    assert epoch.speedup == pytest.approx(one / epoch.seconds)
    assert epoch.rank_seconds == 4 * epoch.seconds


def test_steps_that_grow_are_fewer(study: Scaling) -> None:
    """Four ranks of 32 photographs each make a quarter of the steps."""
    network = Network(name="x", latency_s=0.0, bytes_per_s=float("inf"))
    epoch = model(study, network, 4, grows=True)
    assert epoch.compute_s == pytest.approx(25 * 0.042 + 800 * 0.002)
    assert (epoch.sums_s, epoch.speedup) == (0, pytest.approx(4))


def test_a_rank_needs_a_photograph() -> None:
    """More ranks than photographs share no step of 32."""
    assert [possible(n, grows=False) for n in (32, 64)] == [True, False]
    assert possible(64, grows=True)


def test_the_table_tells_measured_from_modelled(study: Scaling, tmp_path: Path) -> None:
    """Each network's rows stand under the measured ones; the picture is drawn."""
    text = "\n".join(lines(study))
    assert "modelled 30 ms, measured 35 ms" in text
    assert text.count("1 Gbit/s Ethernet") == 6 + 7
    plot(replace(study, load=(1.0,)), tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.slow
def test_both_numbers_of_processes_are_measured(photographs: Path, tmp_path: Path) -> None:
    """Jobs by torchrun; the record reads back and gives the same table."""
    out = tmp_path / "scaling.json"
    command = [sys.executable, "-m", "bench.studies.scaling", "--data", str(photographs)]
    command += ["--arch", "mobilenet_v2", "--size", "32", "--photographs", "12", "--steps", "1"]
    done = subprocess.run(
        [*command, "--batches", "16", "32", "--rounds", "1", "--out", str(out)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    study = read_record(out, Scaling)
    assert [one.ranks for one in study.rounds] == [1, 2]
    assert done.stdout.splitlines() == lines(study)
