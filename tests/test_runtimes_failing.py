"""A runtime that fails in this process costs its own cells; a file that is no runtime says so."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from suite_process import QUICK, ROOT, Suite, environment, lines_with, measurements, save_tiny

import indoor.runtimes
from indoor.errors import IndoorError
from indoor.runtimes import all_variants, base, native_variants

RUNTIME = '''
"""A runtime that a test wrote."""
{top}
import os
from indoor.model import load_float
from indoor.records import Ran, Variant

VARIANTS = (
    Variant(
        name="{name}", runtime="{file}", precision="{precision}", checkpoint="float32",
        min_sqnr_db=60.0,
    ),
)

def why_not(variant):
    return {why_not}

def prepare(variant, checkpoint, batch):
    return checkpoint

def {load}(variant, artefact, threads):
    return Network(artefact)

class Network:
    def __init__(self, path):
        self.model = load_float(path).model.requires_grad_(False)
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        if self.calls >= 3 and "REPAIRED" not in os.environ:
            raise ValueError("the third call\\nfailed")
        return self.model(images)

    def ran(self, images):
        return Ran(precision="float32", kernels={{}})
'''


def write(folder: Path, file: str, **changes: str) -> None:
    """Write a runtime's file."""
    known = {
        "name": file,
        "precision": "float32",
        "why_not": "None",
        "load": "load",
        "top": "",
        **changes,
    }
    (folder / f"{file}.py").write_text(RUNTIME.format(file=file, **known), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that the registry of this process searches."""
    monkeypatch.setattr(indoor.runtimes, "__path__", [*indoor.runtimes.__path__, str(tmp_path)])
    base._runtimes.cache_clear()
    yield tmp_path
    base._runtimes.cache_clear()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"once_a": {"name": "twice"}, "once_b": {"name": "twice"}},
            r"once_a\.py and once_b\.py both have a variant twice; expected one",
        ),
        ({"shadow": {"name": "int8"}}, r"eager\.py and shadow\.py both have a variant int8"),
        (
            {"finer": {"precision": "float8"}},
            r"finer\.py: .*precision float8; expected one of float32, bfloat16, int8",
        ),
        ({"half_a_file": {"load": "lode"}}, r"half_a_file\.py has no load; expected the functions"),
        ({"no_python": {"top": "def ("}}, r"no_python\.py cannot be imported: invalid syntax"),
        (
            {"no_library": {"top": "raise RuntimeError('no\\nlibrary')"}},
            r"no_library\.py cannot be imported: no library; expected",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_file_that_is_no_runtime_says_so(
    folder: Path, files: dict[str, dict[str, str]], told: str
) -> None:
    """One line names the file, what is wrong and what was expected."""
    for name, changes in files.items():
        write(folder, name, **changes)
    with pytest.raises(IndoorError, match=told) as caught:
        all_variants()
    assert "\n" not in str(caught.value)


def test_a_question_that_fails_is_told_in_one_line(folder: Path) -> None:
    """`why_not` is a stranger's code, too."""
    write(folder, "asking", why_not="1 / 0")
    with pytest.raises(IndoorError, match=r"^asking: ZeroDivisionError: division by zero$"):
        native_variants()


def test_an_exception_costs_its_own_cells(photographs: Path, tmp_path: Path) -> None:
    """The others' cells are all there; its own say why in a line, and once repaired are measured.

    Its accuracy, which was left out, is not remembered as left out.
    """
    weights, toys = tmp_path / "tiny.safetensors", tmp_path / "toys"
    toys.mkdir()
    write(toys, "raising")
    save_tiny(weights, photographs)
    suite = Suite(photographs, weights, tmp_path / "home", tmp_path / "results")
    words = ("--variant", "float32,raising", "--batch", "1", "--threads", "1", *QUICK)

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            suite.command(*words),
            cwd=ROOT,
            env=environment() | {"INDOOR_RUNTIMES": str(toys), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    failed = run()
    reason = "raising: ValueError: the third call failed"
    assert failed.returncode == 1, failed.stdout
    found = measurements(suite.saved()[0])
    assert {f"test_{name}" for name in ("load[float32]", "peak_memory[float32]")} <= set(found)
    assert "test_latency[float32-batch1-threads1]" in found
    assert "test_latency[raising-batch1-threads1]" not in found
    assert reason in failed.stdout.splitlines()
    assert "Traceback" not in failed.stdout
    assert not lines_with(failed.stdout, f"not evaluated: {reason}")[1:]
    repaired = run(REPAIRED="1")
    assert repaired.returncode == 0, repaired.stdout
    assert measurements(suite.saved()[1])["test_load[raising]"].evaluation is not None


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_of_runtimes_that_is_none_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """INDOOR_RUNTIMES with a slip of the pen does not leave runtimes out in silence."""
    other = folder / kind
    if kind == "file":
        other.write_text("")
    monkeypatch.setattr(indoor.runtimes, "__path__", [*indoor.runtimes.__path__, str(other)])
    with pytest.raises(IndoorError, match=f"INDOOR_RUNTIMES: there is no folder .*{kind}; exp"):
        all_variants()
