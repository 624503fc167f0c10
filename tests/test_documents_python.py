"""The examples of docs/python.md are run as a reader would run them, and type-checked."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

PAGE = ROOT / "docs" / "python.md"

SAID = {
    "prepare": r"training skipped.*\n(.*\n)*data/runs/\S+ 3 classes",
    "quantize": r"21 photographs, SQNR \d+",
    "evaluate": r"int8: [+-]",
    "measure_a_pair": r"\dx as fast \(",
    "totals": "",
    "gate_two_functions": r"Gate: [A-Z]",
}
"""What each example prints; each is named by its file's first line, or by its heading."""


def examples() -> dict[str, str]:
    """Return the Python blocks of the page."""
    found: dict[str, str] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = re.sub(r"\W+", "_", section.partition("\n")[0].lower())
        for block in re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
            named = re.match(r"# (\w+)\.py\n", block)
            name = named[1] if named else heading
            assert name not in found, f"two examples are called {name}"
            found[name] = block
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, photographs: Path, home: Path) -> Path:
    """A reader's folder: photographs, a checkpoint that knows their classes, and the examples."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(photographs, folder / "photographs")
    shutil.copy(home / "runs" / "tiny" / "float32.safetensors", folder / "resnet18.safetensors")
    (folder / "data").mkdir()
    for name, text in examples().items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def test_every_function_has_its_example() -> None:
    """The page and this table name the same ones."""
    assert examples().keys() == SAID.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "gate_two_functions" else name
        for name in SAID
    ],
)
def test_an_example_runs(workplace: Path, name: str) -> None:
    """It ends well, complains of nothing, and prints what the page says."""
    environment = {key: value for key, value in os.environ.items() if key != "INDOOR_HOME"}
    done = subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=workplace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(SAID[name], done.stdout), done.stdout


def test_the_examples_are_typed(workplace: Path) -> None:
    """An editor finds nothing to complain about, as strict as the project itself."""
    files = [workplace / f"{name}.py" for name in examples()]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
