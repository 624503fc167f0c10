"""What is built of the project, an sdist and the wheel made from it, used as their users do."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from gate_trees import NAP, REPOSITORY, SUITE, num_worktrees, write_repository
from test_cli_light import WITHOUT

import indoor
from indoor.gate.records import GateReport, GateVerdict
from indoor.records import read_record

LIGHT = "pip install -r requirements-light.txt && pip install --no-deps ."
"""As README.md documents it (tests/test_cli_light.py looks)."""

PUBLISHED = REPOSITORY / "results" / "published" / "scene15-resnet50-epyc-avx512-vnni.json.gz"

BUILD_SDIST = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*", "data", "results", "build", "*.egg-info")

IMPORT_ALL = """
import importlib, pkgutil, indoor
names = [one.name for one in pkgutil.walk_packages(indoor.__path__, "indoor.")]
for name in names:
    if name != "indoor.__main__":
        importlib.import_module(name)
print(indoor.__file__, *names)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist of a copy of this checkout, so that nothing is built within it."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(REPOSITORY, folder / "checkout", ignore=NOT_COPIED)
    subprocess.run([sys.executable, "-c", BUILD_SDIST, folder], cwd=folder / "checkout", check=True)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / packed.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """The wheel that is built from the sdist, with nothing from an index."""
    built = [*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*built, "--wheel-dir", source.parent, source], check=True)
    (path,) = source.parent.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=["wheel", "without torch", "light"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program in a fresh environment.

    `wheel` is the wheel beside this environment's packages, `without torch` the same where what the
    light list lacks cannot be imported, and `light` what the documented line makes.
    """
    folder = tmp_path_factory.mktemp("installed")
    own = folder / "environment"
    is_light = request.param == "light"
    venv.create(own, with_pip=is_light, symlinks=True)
    (folder / "temporary").mkdir()
    dropped = ("PYTHON", "COV_", "COVERAGE", "VIRTUAL_ENV", "INDOOR_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | {
        "PATH": f"{own / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(folder / "temporary"),
        "INDOOR_GATE_LOCKS": str(folder / "temporary"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }

    def run(*words: object, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, words)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    if is_light:
        made = run("sh", "-c", LIGHT, cwd=request.getfixturevalue("source"))
        if any(words in made.stderr for words in ("Failed to establish", "NewConnectionError")):
            pytest.skip("no package index can be reached")
    else:
        into = [*PIP, "--python", own / "bin" / "python", "install", "--no-index", "--no-deps"]
        made = run(*into, request.getfixturevalue("wheel"))
        (packages,) = own.glob("lib/python*/site-packages")
        (packages / "present.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
        if request.param == "without torch":
            (packages / "absent.py").write_text(WITHOUT)
            (packages / "absent.pth").write_text("import absent\n")
    assert made.returncode == 0, made.stderr
    return run


def metadata(wheel: Path, name: str) -> str:
    """Return a file of the wheel's own description."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (one for one in archive.namelist() if one.endswith(f".dist-info/{name}"))
        return archive.read(path).decode("utf-8")


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every file of `indoor/`, the mark that it is typed among them; no suite, no tests."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "indoor").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert held == there
    assert {"indoor/py.typed", "indoor/measure/worker/plugin.py"} <= held


def test_the_sdist_holds_what_an_installation_reads(source: Path) -> None:
    """Sources, README, licence and the light list; no half of the tests."""
    held = {path.name for path in source.iterdir()}
    assert {"indoor", "pyproject.toml", "README.md", "LICENSE", "requirements-light.txt"} <= held
    assert not held & {"tests", "bench", "data", "results"}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Version, licence, Python, README as markdown, and the command."""
    told: Message = message_from_string(metadata(wheel, "METADATA"))
    wanted = {
        "Name": "indoor",
        "Version": indoor.__version__,
        "License-Expression": "MIT",
        "License-File": "LICENSE",
        "Requires-Python": ">=3.11",
        "Description-Content-Type": "text/markdown",
    }
    assert {key: told[key] for key in wanted} == wanted
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert metadata(wheel, "METADATA").endswith(readme)
    assert metadata(wheel, "entry_points.txt").split("\n")[:2] == [
        "[console_scripts]",
        "indoor = indoor.cli:main",
    ]
    assert metadata(wheel, "top_level.txt").split() == ["indoor"]


@pytest.mark.parametrize("run", ["wheel"], indirect=True)
def test_every_module_of_the_wheel_can_be_imported(run: Run) -> None:
    """Each finds all that it needs where it is installed."""
    done = run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    place, *names = done.stdout.split()
    assert "site-packages" in Path(place).parts
    assert not Path(place).is_relative_to(REPOSITORY)
    assert len(names) > 100


@pytest.mark.parametrize("run", ["without torch", "light"], indirect=True)
def test_doctor_says_what_only_torch_could_tell(run: Run) -> None:
    """It is unknown, with the reason, and no ground for a warning."""
    found = json.loads(run("indoor", "doctor", "--json").stdout)
    machine = found["machine"]
    assert (machine["torch"], machine["engines"]) == ("unknown", [])
    assert machine["unreadable"]["torch"] == machine["unreadable"]["engines"]
    assert machine["unreadable"]["torch"] == "torch cannot be imported: No module named 'torch'"
    assert [item["level"] for item in found["advice"] if "int8 engines" in item["what"]] == ["note"]
    assert "engines" not in {item["kind"] for item in found["advice"]}
    assert re.search("int8 engines +not readable", run("indoor", "doctor").stdout)


@pytest.mark.parametrize("run", ["without torch", "light"], indirect=True)
def test_training_says_that_it_needs_torch(run: Run) -> None:
    """In one line (tests/test_cli_light.py has the other commands)."""
    refused = run("indoor", "train")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "which is not installed here" in refused.stderr


@pytest.mark.parametrize("run", ["without torch"], indirect=True)
def test_pairs_and_gates_from_python_need_no_torch(run: Run) -> None:
    """As docs/python.md says of the two."""
    code = (
        "from indoor.gate.callables import gate_callables; "
        "from indoor.measure import measure_pair; "
        "print(measure_pair(int, int, budget_s=0.01).num_pairs >= 12)"
    )
    assert run("python", "-c", code).stdout == "True\n"


def test_an_installation_knows_its_version(run: Run) -> None:
    """`indoor` is on the path."""
    assert run("indoor", "--version").stdout == f"indoor {indoor.__version__}\n"
    assert run("python", "-m", "indoor", "--version").stdout == f"indoor {indoor.__version__}\n"


def test_an_installation_diagnoses(run: Run) -> None:
    """`indoor doctor`, with a finding or without one."""
    diagnosed = run("indoor", "doctor", "--json")
    assert diagnosed.returncode in (0, 1), diagnosed.stderr
    assert json.loads(diagnosed.stdout)["machine"]["num_cores"] >= 1


def test_an_installation_reports(run: Run) -> None:
    """`indoor report FILE`."""
    done = run("indoor", "report", PUBLISHED)
    assert (done.returncode, done.stderr) == (0, "")
    assert "int8 pays" in done.stdout


def test_an_installation_looks_after_results(run: Run, tmp_path: Path) -> None:
    """Saved results are listed and promoted, in the folder that holds them."""
    saved = tmp_path / "results" / "Linux-CPython-3.11-64bit" / "0001_run.json"
    saved.parent.mkdir(parents=True)
    shutil.copy(PUBLISHED, saved)
    assert run("indoor", "results", "promote", "1", "--force", cwd=tmp_path).returncode == 0
    (entry,) = json.loads(run("indoor", "results", "list", "--json", cwd=tmp_path).stdout)
    assert (entry["number"], entry["promoted"]) == ("0001", True)


def test_an_installation_gates_any_suite(run: Run, tmp_path: Path) -> None:
    """It brings all that a gate on the suite of a repository that knows nothing of it needs."""
    repo, out = write_repository(tmp_path / "repository"), tmp_path / "gate.json"
    done = run("indoor", "gate", "--base", "HEAD", "--suite", SUITE, "--out", out, cwd=repo)
    report = read_record(out, GateReport)
    assert (done.returncode, report.verdict) == (0, GateVerdict.PASS), done.stderr
    assert [cell.name for cell in report.cells] == [NAP]
    assert num_worktrees(repo) == 1
