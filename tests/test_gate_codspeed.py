"""Suites that were written for pytest-codspeed, with that plugin installed and without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_trees import SUITE, cell, config, environment_with, own_temporary_files, write_tree

from indoor.gate.controller import run_gate
from indoor.gate.records import GateReport, GateVerdict
from indoor.gate.sides.setup import GateJob

INI = """
[pytest]
addopts = --codspeed --codspeed-max-time=1 --strict-markers
markers =
    gate(margin, tolerance): limits
    benchmark: also pytest-benchmark's
"""

TESTS = """
import time

import pytest
from pytest_codspeed import BenchmarkFixture

calls = []


def nap():
    calls.append(1)
    time.sleep(0.004)
    return 2


def test_fixture(benchmark: BenchmarkFixture):
    assert benchmark(nap) == 2


def test_its_own_fixture(codspeed_benchmark):
    assert codspeed_benchmark(nap) == 2


def test_pedantic(benchmark):
    assert benchmark.pedantic(nap, rounds=3, warmup_rounds=1) == 2


@pytest.mark.benchmark
def test_whole():
    assert nap() == 2


@pytest.mark.codspeed_benchmark
def test_whole_by_its_own_mark():
    assert nap() == 2


@pytest.mark.benchmark(group="naps", max_rounds=3)
class TestWhole:
    @pytest.mark.parametrize("number", [1, 2])
    def test_parametrized(self, number, tmp_path):
        assert tmp_path.is_dir()
        assert nap() > 1


@pytest.mark.benchmark
async def test_later():
    nap()


def test_helper():
    assert nap() == 2
"""

PLUGIN = """
import pytest

BenchmarkFixture = object


def pytest_addoption(parser):
    parser.addoption("--codspeed", action="store_true")
    parser.addoption("--codspeed-max-time")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.option.benchmark_disable = True
    config.pluginmanager.set_blocked("pytest-benchmark")


@pytest.fixture
def benchmark():
    return lambda function: function()


@pytest.fixture
def codspeed_benchmark(benchmark):
    return benchmark
"""
"""Takes pytest-benchmark's place where `--codspeed` is given, as pytest-codspeed does."""

INSTALLED = {
    "pytest_codspeed/__init__.py": "BenchmarkFixture = object\n",
    "pytest_codspeed/plugin.py": PLUGIN,
    "pytest_codspeed-4.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pytest-codspeed\n"
    "Version: 4.0\n",
    "pytest_codspeed-4.0.dist-info/entry_points.txt": "[pytest11]\ncodspeed = "
    "pytest_codspeed.plugin\n",
}

CELLS = {
    "test_fixture",
    "test_its_own_fixture",
    "test_pedantic",
    "test_whole",
    "test_whole_by_its_own_mark",
    "TestWhole::test_parametrized[1]",
    "TestWhole::test_parametrized[2]",
}


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of this module's temporary files."""
    with own_temporary_files(tmp_path_factory.mktemp("temporary")) as folder:
        yield folder


@pytest.fixture(scope="module", params=["installed", "not installed"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """A gate without a change, in an environment with pytest-codspeed and in one without."""
    root = tmp_path_factory.mktemp("codspeed")
    files = {"pytest.ini": INI, "suite/test_naps.py": TESTS, "naps.py": ""}
    tree = write_tree(root / "tree", files)
    installed = INSTALLED if request.param == "installed" else {}
    python = environment_with(root / "environment", installed)
    job = GateJob(
        start=tree, base_root=tree, base_python=python, head_python=python, config=config()
    )
    return run_gate(job)


@pytest.mark.slow
def test_a_suite_for_codspeed_is_gated_unchanged(report: GateReport) -> None:
    """Its fixtures, its mark on whole tests and its options work: green, with a pair and more."""
    assert {one.name.removeprefix(f"{SUITE}/test_naps.py::") for one in report.cells} == CELLS
    assert report.verdict is GateVerdict.PASS, report.reason
    assert all(one.num_pairs > 0 for one in report.cells)


def test_a_whole_test_is_timed_itself(report: GateReport) -> None:
    """It takes what its nap of 4 ms takes, and not its fixtures' or pytest's own time."""
    base_s = cell(report, "test_whole").base_s
    assert base_s is not None
    assert base_s >= 0.004


def test_a_whole_test_that_is_a_coroutine_is_named(report: GateReport) -> None:
    """Nothing here awaits it, so it is noted and not compared."""
    assert any("test_later" in note and "not compared" in note for note in report.notes)
