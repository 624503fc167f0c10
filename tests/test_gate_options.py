"""What a suite's own options may do in a gate's worker: configure it, but not trace or write."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from gate_trees import LEAN, NAP, ONE_LAUNCH, gate, own_temporary_files, write_tree

from indoor.gate.records import GateReport
from indoor.gate.worker.arms import SLEEPING_THREADS, Arm

WRITTEN = ("coverage.xml", "report.xml", "run.log", "page.html", ".coverage", "kept/mine")
"""What the suite's options would write, empty or delete."""

WRITING = (
    "--cov=naps --cov-report=xml --junitxml=report.xml --log-file=run.log --basetemp=kept "
    "--html=page.html --lf --ff --nf --sw --pdb"
)

CONFTEST = """
import sys
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--html", dest="htmlpath")
    parser.addoption("--seconds-from", default="nowhere")


def pytest_configure(config):
    if config.option.htmlpath:
        Path("page.html").write_text("overwritten")


@pytest.fixture(autouse=True)
def seen(request, tmp_path):
    told = [str(sys.gettrace()), request.config.option.seconds_from]
    with Path("seen").open("a") as file:
        file.write(" ".join(told) + "\\n")
"""


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This module's gates have temporary files of their own."""
    with own_temporary_files(tmp_path_factory.mktemp("temporary")):
        yield


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Base and head of a suite whose options trace and write, with files of an earlier run."""
    roots = {}
    for name in ("base", "head"):
        files = {
            "pytest.ini": f"[pytest]\naddopts = {WRITING}\n",
            "conftest.py": CONFTEST,
            ".pytest_cache/v/cache/lastfailed": json.dumps({"suite/test_gone.py::test": True}),
            **dict.fromkeys(WRITTEN, "of before\n"),
        }
        roots[name] = write_tree(tmp_path_factory.mktemp(name), files)
    return roots


@pytest.fixture(scope="module")
def report(trees: Mapping[str, Path]) -> GateReport:
    """One launch of it, with the plugin that traces, and words in PYTEST_ADDOPTS."""
    start = LEAN.index("no:cov") - 1
    words = (*LEAN[:start], *LEAN[start + 2 :])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", "--seconds-from=the-environment --junitxml=report.xml")
        return gate(trees["base"], trees["head"], arguments=words, max_minutes=ONE_LAUNCH)


def test_options_that_trace_or_write_let_the_cells_be_measured(report: GateReport) -> None:
    """Nothing failed, vanished or was left out for them; what failed last time chooses nothing."""
    assert [cell.name for cell in report.cells] == [NAP]
    assert not report.partial
    assert [trace.name for trace in report.traces if trace.name == NAP] == [NAP]


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_an_earlier_run_stay(
    report: GateReport, trees: Mapping[str, Path], name: str
) -> None:
    """Coverage, JUnit's XML, logs, pages and kept temporary files are the user's."""
    assert report.cells
    for root in trees.values():
        assert (root / name).read_text() == "of before\n"


def test_what_failed_last_time_stays_known(report: GateReport, trees: Mapping[str, Path]) -> None:
    """The cache that --lf reads is not written, and its other files are not made."""
    assert report.cells
    for root in trees.values():
        cache = root / ".pytest_cache"
        assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lastfailed"]


def test_nobody_traces_and_the_environments_words_arrive(
    report: GateReport, trees: Mapping[str, Path]
) -> None:
    """PYTEST_ADDOPTS is read by both sides' workers, and pytest-cov has not started."""
    pytest.importorskip("pytest_cov")
    assert report.cells
    for root in trees.values():
        lines = set((root / "seen").read_text().splitlines())
        assert lines == {"None the-environment"}


@pytest.mark.parametrize(
    ("name", "reaches"),
    [
        ("PYTEST_ADDOPTS", True),
        ("PYTEST_PLUGINS", True),
        ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", True),
        ("PYTEST_CURRENT_TEST", False),
        ("PYTEST_XDIST_WORKER", False),
        ("COVERAGE_PROCESS_START", False),
        ("COVERAGE_PROCESS_CONFIG", False),
        ("COV_CORE_SOURCE", False),
    ],
)
def test_what_a_worker_hears_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, reaches: bool
) -> None:
    """What is said to every pytest arrives; what belongs to the pytest around the gate does not."""
    monkeypatch.setenv(name, "x")
    arm = Arm(name="base", root=Path(), python=Path(), words=(), search_path=())
    assert (arm.variables({}).get(name) == "x") is reaches


TEST_PRODUCT = """
import numpy as np

LEFT, RIGHT = np.random.default_rng(0).random((2, 900, 900), dtype=np.float32)


def test_product(benchmark):
    benchmark(lambda: LEFT @ RIGHT)
"""
"""On all of numpy's threads, which would spin for 30 ms after each call."""


def test_threads_of_the_side_that_waits_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product of numpy's can be gated: the other side's threads leave its turns alone."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")  # `make test` sets OMP_NUM_THREADS=1
    for name in SLEEPING_THREADS:
        monkeypatch.delenv(name, raising=False)
    files = {"suite/test_naps.py": TEST_PRODUCT}
    base, head = (write_tree(tmp_path / name, files) for name in ("base", "head"))
    report = gate(base, head)
    assert report.instrument
    assert report.instrument.max_idle_share is not None
    assert report.instrument.max_idle_share < 0.05, report.reason


@pytest.mark.parametrize("name", SLEEPING_THREADS)
def test_the_users_word_on_waiting_threads_counts(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The gate's is for those who said nothing."""
    arm = Arm(name="base", root=Path(), python=Path(), words=(), search_path=())
    monkeypatch.delenv(name, raising=False)
    assert arm.variables({})[name] == SLEEPING_THREADS[name]
    monkeypatch.setenv(name, "20")
    assert arm.variables({})[name] == "20"


def test_folders_that_the_settings_name_come_behind_the_gates_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PYTHONPATH holds the worker's plugin and the side's tree; without them nothing runs."""
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    own = (Path("plugin"), Path("tree"))
    arm = Arm(name="base", root=Path(), python=Path(), words=(), search_path=own)
    assert arm.variables({})["PYTHONPATH"] == os.pathsep.join(["plugin", "tree"])
    told = replace(arm, environment={"PYTHONPATH": "lib"}).variables({})
    assert told["PYTHONPATH"] == os.pathsep.join(["plugin", "tree", "lib"])
