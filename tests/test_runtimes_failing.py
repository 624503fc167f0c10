"""A runtime that fails, or a file that is none, costs its own variants and nothing else."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from suite_process import (
    QUICK,
    ROOT,
    Suite,
    environment,
    lines_with,
    measurements,
    python_path,
    save_tiny,
)
from test_bench_parts import settings

import indoor.runtimes
from bench.cases import left_out
from indoor.cli import main
from indoor.errors import IndoorError
from indoor.runtimes import (
    all_variants,
    base,
    find_variant,
    native_variants,
    unusable_runtimes,
    why_not,
)

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
    base._registry.cache_clear()
    yield tmp_path
    base._registry.cache_clear()


@pytest.mark.parametrize(
    ("files", "lost", "told"),
    [
        (
            {"once_a": {"name": "twice"}, "once_b": {"name": "twice"}},
            "once_b.py",
            r"its variant twice has the name of one of once_a\.py; expected one of that name",
        ),
        (
            {"shadow": {"name": "int8"}},
            "shadow.py",
            r"variant int8 has the name of one of eager\.py",
        ),
        (
            {"finer": {"precision": "float8"}},
            "finer.py",
            r"has the precision float8; expected one of float32, tf32, bfloat16",
        ),
        ({"half_a_file": {"load": "lode"}}, "half_a_file.py", r"it has no load; expected the func"),
        ({"no_python": {"top": "def ("}}, "no_python.py", r"it cannot be imported: invalid syntax"),
        (
            {"no_library": {"top": "raise RuntimeError('no\\nlibrary')"}},
            "no_library.py",
            r"it cannot be imported: no library; expected",
        ),
        ({"leaving": {"top": "raise SystemExit"}}, "leaving.py", r"imported: SystemExit; expected"),
        (
            {"eager": {"name": "eager2"}},
            "{folder}/eager.py",
            r"runtimes/eager\.py comes before it; expected a name of its own; rename it",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_file_that_is_no_runtime_costs_its_own_variants(
    folder: Path, files: dict[str, dict[str, str]], lost: str, told: str
) -> None:
    """One line says what is wrong and what was expected, and the others are there."""
    write(folder, "whole")
    for name, changes in files.items():
        write(folder, name, **changes)
    assert {"float32", "int8", "whole"} <= set(all_variants())
    unusable = unusable_runtimes()
    (line,) = unusable.values()
    assert [*unusable] == [lost.format(folder=folder.name)]
    assert re.search(told, line)
    assert "\n" not in line
    with pytest.raises(IndoorError, match=r"^variant lost: expected one of float32, .*" + told):
        find_variant("lost")


def test_the_suite_and_the_doctor_name_a_file_that_is_no_runtime(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one in a line, the other in a note; neither is refused for it."""
    write(folder, "no_python", top="def (")
    assert any(line.startswith("left out no_python.py: it cannot") for line in left_out(settings()))
    assert main(["doctor", "--json"]) in (0, 1)
    advice = json.loads(capsys.readouterr().out)["advice"]
    (note,) = (one for one in advice if one["what"].startswith("no_python.py: it cannot be"))
    assert (note["kind"], note["level"], note["remedy"]) == (
        "runtime",
        "note",
        "repair or remove it",
    )


def test_a_question_that_fails_costs_its_own_variant(folder: Path) -> None:
    """`why_not` is a stranger's code, too."""
    write(folder, "asking", why_not="1 / 0")
    assert "asking" not in [v.name for v in native_variants()]
    assert why_not(all_variants()["asking"]) == "ZeroDivisionError: division by zero"
    with pytest.raises(IndoorError, match=r"^variant asking: ZeroDivisionError: .*; expected one"):
        find_variant("asking")


@pytest.mark.slow
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


DYING = '''
"""A runtime whose library or native code ends the process while it is loaded."""

import ctypes
from indoor.records import Variant

VARIANTS = tuple(
    Variant(
        name=name, runtime="dying", precision="float32", checkpoint="float32",
        min_sqnr_db=60.0, own_process=True,
    )
    for name in ("importing", "loading")
)

def why_not(variant):
    return None

def prepare(variant, checkpoint, batch):
    return checkpoint

def load(variant, artefact, threads):
    if variant.name == "importing":
        import library_that_aborts
    ctypes.string_at(0)
'''


def finish(suite: Suite, words: tuple[str, ...], **variables: str) -> str:
    """Run load and peak memory; return what was printed, the exit status on the last line.

    A variable that is empty is not set.
    """
    done = subprocess.run(
        suite.command(*words, *QUICK, target="bench/test_artifacts.py"),
        cwd=ROOT,
        env={name: value for name, value in (environment() | variables).items() if value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return f"{done.stdout}\n{done.returncode}"


@pytest.fixture(scope="module")
def tiny(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The suite on the tiny network, with a home and a storage of its own."""
    folder = tmp_path_factory.mktemp("failing")
    save_tiny(folder / "tiny.safetensors", photographs)
    return Suite(photographs, folder / "tiny.safetensors", folder / "home", folder / "results")


@pytest.mark.slow
def test_a_library_that_ends_the_process_costs_its_own_cells(tiny: Suite, tmp_path: Path) -> None:
    """An abort while it is imported, a segmentation fault while it loads: a line each."""
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "dying.py").write_text(DYING, encoding="utf-8")
    (tmp_path / "library_that_aborts.py").write_text("import os\nos.abort()\n", encoding="utf-8")
    told = finish(
        tiny,
        ("--variant", "float32,importing,loading", "--batch", "1", "--threads", "1"),
        INDOOR_RUNTIMES=str(tmp_path / "toys"),
        PYTHONPATH=python_path(tmp_path),
    )
    assert told.splitlines()[-1] == "1"
    names = set(measurements(tiny.saved()[-1]))
    assert names == {"test_load[float32]", "test_peak_memory[float32]"}
    lines = told.splitlines()
    assert {"importing: died by SIGABRT", "loading: died by SIGSEGV"} <= set(lines)
    assert "Traceback" not in told


@pytest.mark.slow
def test_what_is_missing_or_of_another_version_costs_its_own_cells(
    tiny: Suite, tmp_path: Path
) -> None:
    """The suite measures the others, and says what installs the missing; so without a compiler."""
    (tmp_path / "toys").mkdir()
    write(
        tmp_path / "toys",
        "absent",
        top='REQUIRES = {"a-library-of-nobody": ">=1"}\nEXTRA = "onnxruntime"',
    )
    libraries = ("onnxruntime", "openvino", "torchao")
    for name in libraries:
        about = tmp_path / f"{name}-0.0.1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n")
    told = finish(
        tiny,
        ("--batch", "1", "--threads", "1"),
        INDOOR_RUNTIMES=str(tmp_path / "toys"),
        PYTHONPATH=python_path(tmp_path),
        PATH=str(tmp_path),  # nor a C++ compiler
        CXX="",
    )
    install = "pip install --constraint constraints.txt --editable '.[onnxruntime]'"
    missing = "it needs a-library-of-nobody, which is not installed"
    assert lines_with(told, f"left out absent: {missing}; {install}")
    outdated = r"it needs onnxruntime>=1\.23,<2, and 0\.0\.1 is installed; "
    assert re.search(
        rf"left out float32-onnxruntime, int8-onnxruntime: {outdated}{re.escape(install)}", told
    )
    compiled = ("float32-inductor", "float32-aotinductor")  # int8's torchao is another one, too
    lines = [line for line in told.splitlines() if line.startswith("left out ")]
    for name in compiled:
        (line,) = (one for one in lines if re.search(rf"[ ,]{name}[,:]", one))
        assert re.search(r"it compiles C\+\+, and there is no .*; install one", line)
    assert told.splitlines()[-1] == "0", told
    found = measurements(tiny.saved()[-1])
    assert {"test_load[float32]", "test_load[int8]"} <= set(found)
    assert not [name for name in found if re.search("onnxruntime|openvino|inductor|absent", name)]
