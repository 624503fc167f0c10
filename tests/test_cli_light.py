"""The light installation: its list, and what says in one line that it needs torch.

What works without torch is tested where it is installed (tests/test_install.py).
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HEAVY = {
    "torch": "torch",
    "torchvision": "torchvision",
    "pillow": "PIL",
    "safetensors": "safetensors",
    "simplejpeg": "simplejpeg",
}
"""What the light installation lacks, and how it is imported."""

WITHOUT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {list(HEAVY.values())!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""A Python that finds none of them."""

INDOOR = f"{WITHOUT}from indoor.cli import main; raise SystemExit(main())"


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Call `indoor` with the words in a process that finds none of the heavy packages."""
    return subprocess.run(
        [sys.executable, "-c", INDOOR, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def requirements(lines: list[str]) -> set[str]:
    """Return the requirements of a list, without extras, comments and empty lines."""
    return {re.sub(r"\[.*\]", "", line) for line in lines if line and not line.startswith("#")}


def test_the_light_list_is_the_whole_one_without_torch_and_photographs() -> None:
    """requirements-light.txt asks for what pyproject.toml does, but for five packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    light = requirements((ROOT / "requirements-light.txt").read_text("utf-8").splitlines())
    whole = requirements(project["dependencies"])
    assert light <= whole
    assert {re.split("[<>=]", line)[0] for line in whole - light} == HEAVY.keys()


def test_the_documented_line_is_one() -> None:
    """README and the list itself name the same line."""
    line = "pip install -r requirements-light.txt && pip install --no-deps ."
    for name in ("README.md", "requirements-light.txt"):
        assert line in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("demo",),
        ("data", "verify", "data"),
        ("data", "download", "data"),
        ("train",),
        ("quantize", "RUN"),
        ("evaluate", "RUN"),
        ("export", "RUN", "--runtime", "eager"),
        ("predict", "--run", "RUN", "photo.jpg"),
        ("diagnose", "RUN"),
        ("explain", "RUN"),
    ],
    ids=lambda words: " ".join(words),
)
def test_what_needs_torch_says_so_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit 2, with the package that is missing and the remedy; nothing is left behind."""
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    command = " ".join(words[:2] if words[0] == "data" else words[:1])
    assert re.match(
        rf"indoor: indoor {command} needs (torch|torchvision|PIL|safetensors), which is not "
        "installed here; expected the whole installation.*; run pip install",
        line,
    )
    assert not list(tmp_path.iterdir())


def test_the_suite_needs_torch_and_says_so_in_one_line() -> None:
    """`pytest bench` is a usage error there, and no traceback."""
    suite = f"{WITHOUT}import pytest; raise SystemExit(pytest.main(['bench', '-q']))"
    done = subprocess.run(
        [sys.executable, "-c", suite], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line)
    assert line.startswith("ERROR: pytest bench needs torch, which is not installed here; expected")
