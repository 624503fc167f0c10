"""How people call the suite: in workers, by another environment's pytest, for no figures."""

import subprocess
import sys
from pathlib import Path

import pytest
from suite_process import NARROW, ROOT, Suite, environment, finish, lines_with, save_tiny

PYTEST_WITHOUT = """
import os, sys

class Lacking:
    def find_spec(name, *_):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking)
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # another environment has other plugins
import pytest

sys.exit(pytest.main([sys.argv[2]]))
"""


@pytest.fixture(scope="module")
def suite(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The suite on the tiny network, with an empty storage."""
    folder = tmp_path_factory.mktemp("called")
    save_tiny(folder / "tiny.safetensors", photographs)
    return Suite(photographs, folder / "tiny.safetensors", folder / "home", folder / "results")


@pytest.mark.parametrize(
    "words",
    [
        ("-n", "2"),
        ("-n1", "--dist", "loadfile", "-k", "latency"),
        ("--tx", "2*popen", "--dist", "load"),
        ("-n", "2", "--benchmark-compare", "--benchmark-autosave"),
    ],
    ids=" ".join,
)
def test_workers_measure_nothing_and_the_line_says_so(suite: Suite, words: tuple[str, ...]) -> None:
    """With xdist pytest-benchmark times nothing: a green run without figures is refused."""
    done = suite.run(*NARROW, *words)
    assert done.returncode == 4, done.stdout
    (error,) = lines_with(done.stdout, "ERROR: ")
    assert "xdist" in error
    assert "-n 0" in error
    assert "--benchmark-disable" in error
    assert suite.saved() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("-n", "2", "--benchmark-disable"),
        ("-n", "0", "--collect-only"),
    ],
    ids=lambda words: f"{' '.join(words)}-control",
)
def test_workers_are_welcome_where_nothing_is_to_be_timed(
    suite: Suite, words: tuple[str, ...]
) -> None:
    """Checking outputs in two workers, and looking at the cases, stay possible."""
    done = suite.run(*NARROW, *words, "-k", "latency and float32")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("lacking", "target"),
    [("platformdirs", "bench"), ("rich", "bench"), ("msgspec", "tests/test_files.py")],
)
def test_a_pytest_of_another_environment_is_told_in_one_line(lacking: str, target: str) -> None:
    """`pytest` of the system instead of the project's: one line that names the remedy."""
    done = finish([sys.executable, "-c", PYTEST_WITHOUT, lacking, target], ROOT)
    assert done.returncode == 4, done.stdout
    assert "Traceback" not in done.stdout
    (error,) = filter(None, done.stdout.splitlines())
    assert error.startswith(f"ERROR: the pytest of {sys.executable} lacks {lacking}; expected")
    assert ".venv/bin/pytest" in error


@pytest.mark.slow
def test_json_that_would_hold_no_figures_is_said(suite: Suite, tmp_path: Path) -> None:
    """`--benchmark-disable --benchmark-json FILE` writes no file, in words."""
    dump = tmp_path / "figures.json"
    done = suite.run(*NARROW, "--benchmark-disable", f"--benchmark-json={dump}", "-k", "float32")
    assert done.returncode == 0, done.stdout
    assert not dump.exists()
    assert lines_with(done.stdout, "--benchmark-disable: nothing is timed, so nothing is saved")


@pytest.mark.slow
def test_a_table_stays_a_table_where_its_lines_have_no_character(suite: Suite) -> None:
    """In an ASCII terminal (LC_ALL=C) a table's lines become `?`, and the table keeps its lines."""
    done = subprocess.run(
        suite.command(*NARROW, "-k", "latency"),
        cwd=ROOT,
        env=environment() | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
        timeout=300,
    )
    output = done.stdout.decode("ascii")
    assert done.returncode == 0, output
    assert "\\u2550" not in output
    (heading, line) = output.split(" what this run found ")[1].splitlines()[1:3]
    assert heading.startswith("resnet18 on ")
    assert line == "?" * len(heading)


@pytest.mark.slow
def test_a_checkout_that_cannot_be_written_keeps_its_run(suite: Suite) -> None:
    """Where pytest cannot write its cache, as in a read-only checkout, the run is saved."""
    words = [word for word in suite.command(*NARROW, "-k", "latency") if word != "no:cacheprovider"]
    words.remove("-p")
    done = finish([*words, "-o", "cache_dir=README.md/cache"], ROOT)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    assert lines_with(done.stdout, "saved: ")
