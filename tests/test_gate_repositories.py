"""Repositories whose fresh worktree is not enough: generated, compiled, installed, elsewhere."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate_trees import (
    LEAN,
    ONE_LAUNCH,
    SUITE,
    config,
    environment_with,
    num_worktrees,
    own_temporary_files,
    write_repository,
)

from indoor.errors import IndoorError
from indoor.gate.controller import run_gate
from indoor.gate.records import GateReport, GateVerdict
from indoor.gate.sides.ignored import copy_ignored
from indoor.gate.sides.imports import check_imports
from indoor.gate.sides.pythons import run_prepare
from indoor.gate.sides.setup import GateJob
from indoor.gate.sides.trees import Tree
from indoor.measure.process import ChildLostError

TREE = Tree(label="t", root=Path(), commit=None, dirty=None, python=Path(sys.executable))

COMPILED = "_bisect"
"""A module of the standard library's that is a file of machine code, in the project's place."""

BENCHMARK = """

def test_it(benchmark):
    benchmark(sorted, [2, 1])
"""

SUITES = {
    "generated": "from pkg._version import VERSION\n",
    "compiled": f"from pkg import {COMPILED}\n",
    "inner": f"import pkg.{COMPILED}\n",
    "installed": 'from importlib.metadata import version\n\nversion("pkg-of-a-test")\n',
    "elsewhere": "import deep\n",
    "fallback": f"try:\n    from pkg import {COMPILED}\nexcept ImportError:\n    pass\n",
    "versioned": "try:\n    from pkg import _version\nexcept ImportError:\n    pass\n",
}
"""What a suite's file asks for; each has one cell."""

READS = """
from pathlib import Path


def test_it(benchmark):
    benchmark(sorted, (Path(__file__).parents[1] / "data" / "table.bin").read_bytes())
"""

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "pkg-of-a-test"
version = "1"

[tool.setuptools.packages.find]
where = ["src"]
"""


def machine_code() -> Path:
    """Return the file of a module that is compiled; skips where it is built into Python."""
    spec = importlib.util.find_spec(COMPILED)
    if spec is None or spec.origin is None or not spec.has_location:
        pytest.skip(f"this Python has no file of {COMPILED}")
    return Path(spec.origin)


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This module's gates have temporary files of their own."""
    with own_temporary_files(tmp_path_factory.mktemp("temporary")):
        yield


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A src layout with a generated version, a compiled part and data, all of which git ignores."""
    files = {f"{name}/test_it.py": text + BENCHMARK for name, text in SUITES.items()}
    everything = {f"all/test_{name}.py": text + BENCHMARK for name, text in SUITES.items()}
    root = write_repository(
        tmp_path_factory.mktemp("repository"),
        {
            **files,
            **everything,
            "all/test_reads.py": READS,
            "mentions/test_reads.py": READS,
            "mentions/test_versioned.py": SUITES["versioned"] + BENCHMARK,
            "src/pkg/__init__.py": "",
            "lib/deep/__init__.py": "",
            "pyproject.toml": PROJECT,
            ".gitignore": "_version.py\n*.so\n/data/\n*.egg-info/\n__pycache__/\n/build/\n",
        },
    )
    (root / "src/pkg/_version.py").write_text("VERSION = 1\n")
    (root / "build/lib/pkg").mkdir(parents=True)
    (root / "build/lib/pkg/_version.py").write_text("VERSION = 1\n")
    (root / "data").mkdir()
    (root / "data/table.bin").write_bytes(b"ba")
    shutil.copy(machine_code(), root / "src/pkg" / machine_code().name)
    return root


def gate(repo: Path, suite: str, **settings: Any) -> GateReport:
    """Gate the working tree against its own commit, for one launch."""
    rules = config(suite=suite, max_minutes=ONE_LAUNCH, **settings)
    report = run_gate(GateJob(start=repo, base="HEAD", config=rules))
    assert num_worktrees(repo) == 1
    return report


def test_the_generated_file_that_base_lacks_is_named(repo: Path) -> None:
    """What the working tree has and a worktree cannot have is told with the settings that help."""
    report = gate(repo, "generated")
    assert report.verdict is GateVerdict.INCONCLUSIVE
    assert report.reason.endswith(
        "; the working tree has src/pkg/_version.py, which git ignores: name it in copy, or make "
        "it in each tree with prepare in gate.toml"
    )


@pytest.mark.parametrize("suite", ["compiled", "inner", "fallback"])
def test_a_compiled_part_that_base_lacks_is_refused(repo: Path, suite: str) -> None:
    """Also where base can do without: it would be measured by other code than head."""
    match = rf"head imported src/pkg/{COMPILED}\..*, which git ignores .*; make it in each tree wi"
    with pytest.raises(IndoorError, match=match):
        gate(repo, suite)


def test_a_compiled_part_that_both_revisions_lack_is_named(repo: Path) -> None:
    """With --head REV it is in the working tree alone, which is neither side."""
    job = GateJob(start=repo, base="HEAD", head="HEAD", config=config(suite="compiled"))
    match = rf"; the working tree has src/pkg/{COMPILED}\..*, which git ignores: make it in each tr"
    with pytest.raises(IndoorError, match=match):
        run_gate(job)


@pytest.mark.parametrize(
    ("suite", "way"),
    [
        ("installed", r"must be installed: set prepare = .* -e \.' and own_environment = true"),
        ("elsewhere", r"it lies in lib: set paths = \['lib'\] in gate.toml"),
    ],
)
def test_what_neither_tree_finds_is_told_with_its_setting(repo: Path, suite: str, way: str) -> None:
    """A project that must be installed, and code that lies in a folder of its own."""
    with pytest.raises(IndoorError, match=rf"neither side's suite {suite} can be .*; .*{way}"):
        gate(repo, suite)


def test_what_base_does_without_is_mentioned(repo: Path) -> None:
    """Data that only a running test misses, and a generated module that has a fallback."""
    report = gate(repo, "mentions")
    notes = [note for note in report.notes if "git ignores" in note]
    assert {note.partition(", which")[0] for note in notes} == {
        "head imported src/pkg/_version.py",
        "mentions/test_reads.py::test_it fails on base; the working tree has data/table.bin",
    }


def test_a_tree_may_be_prepared_installed_and_given_files(repo: Path) -> None:
    """All of these kinds in one gate: each side builds and installs its own tree."""
    build = f"cp '{machine_code()}' src/pkg/ && {{python}} -m pip install --quiet --no-deps"
    report = gate(
        repo,
        "all",
        prepare=f"{build} --no-index --no-build-isolation -e . && test -d $VIRTUAL_ENV",
        own_environment=True,
        copy=("src/pkg/_version.py", "data"),
        paths=("lib",),
    )
    names = {trace.name for trace in report.traces} - {"control"}
    assert names == {f"all/test_{name}.py::test_it" for name in (*SUITES, "reads")}
    assert {cell.name for cell in report.cells} == names
    assert not [note for note in report.notes if "git ignores" in note]
    assert not report.partial
    assert report.head.packages["pkg-of-a-test"] == "1"


def test_another_project_of_the_tree_that_is_installed_is_mentioned(tmp_path: Path) -> None:
    """Its changes are on neither side until `paths` names it."""
    files = {
        "near/pyproject.toml": PROJECT,
        "near/suite/test_it.py": f"import family.far.there\n{BENCHMARK}",
        "far/pyproject.toml": PROJECT,
        "far/src/family/far/__init__.py": "",
        "far/src/family/far/there.py": "",
    }
    root = write_repository(tmp_path / "repository", files)
    installed = {"family/far/__init__.py": "", "family/far/there.py": ""}
    python = environment_with(tmp_path / "environment", installed)
    notes = {}
    for paths in ((), ("far/src",)):
        rules = config(suite="near/suite", paths=paths, max_minutes=ONE_LAUNCH)
        job = GateJob(start=root, base="HEAD", base_python=python, head_python=python, config=rules)
        notes[paths] = [note for note in run_gate(job).notes if "is installed" in note]
    (note,) = notes[()]
    assert note.startswith("family.far is installed, and that copy is what both sides run")
    assert note.endswith("paths = ['far/src'] in gate.toml")
    assert notes["far/src",] == []


def test_benchmarks_in_files_of_other_names_are_found_by_a_setting(tmp_path: Path) -> None:
    """Where a folder's tests are not collected, the message says what would collect them."""
    name = "bench_{}.py"
    files = {f"suite/{name.format(part)}": BENCHMARK for part in ("core", "more")}
    repo = write_repository(tmp_path, {**files, "suite/test_naps.py": "", "suite/helper.py": ""})
    with pytest.raises(IndoorError, match=r"bench_core\.py, bench_more\.py may hold") as told:
        gate(repo, SUITE)
    words = ("-o", "python_files=bench_*.py")
    assert f'arguments = ["{words[0]}", "{words[1]}"]' in str(told.value)
    assert len(gate(repo, SUITE, arguments=(*LEAN, *words)).cells) == 2


BUILDS = "echo tried >> tries; echo 'ERROR: no compiler' >&2; exit 3\n"


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        ("", BUILDS, GateVerdict.FAIL),
        (BUILDS, "", GateVerdict.INCONCLUSIVE),
        (BUILDS, BUILDS, None),
    ],
)
def test_a_tree_that_cannot_be_prepared_is_judged_like_one_without_a_suite(
    tmp_path: Path, base: str, head: str, verdict: GateVerdict | None
) -> None:
    """Head's alone is FAIL, base's is nobody's fault, and both a mistake; each is tried twice."""
    repo = write_repository(tmp_path, {"build.sh": base})
    (repo / "build.sh").write_text(head)
    if verdict is None:
        with pytest.raises(IndoorError, match="prepare ended with exit status 3: ERROR: no comp"):
            gate(repo, SUITE, prepare="sh build.sh")
    else:
        report = gate(repo, SUITE, prepare="sh build.sh")
        assert report.verdict is verdict
        said = report.checks[0].reason if verdict is GateVerdict.FAIL else report.reason
        assert "prepare ended with exit status 3: ERROR: no compiler" in said
    if head and not base:
        assert (repo / "tries").read_text() == "tried\n" * 2


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A folder that something may be built in."""
    return replace(TREE, root=tmp_path)


def test_a_build_that_fails_once_is_tried_again(tree: Tree) -> None:
    """A network that was away for a moment makes nobody red."""
    command = 'test -e once || { touch once; exit 1; }; {python} -c \'open("built", "w")\''
    run_prepare(command, "head", tree, {}, log=tree.root / "log", timeout_s=60)
    assert (tree.root / "built").exists()


def test_a_build_that_takes_too_long_proves_nothing(tree: Tree) -> None:
    """It is ended, with what it started, and the run breaks off."""
    with pytest.raises(ChildLostError, match=r"base: prepare took longer than 0.2 s \(st") as told:
        run_prepare("sleep 60", "base", tree, {}, log=tree.root / "log", timeout_s=0.2)
    assert told.value.cut_off


def test_what_is_copied_is_ignored_by_git_and_not_compared(repo: Path, tmp_path: Path) -> None:
    """Files, folders and globs; what the worktree has stays, and a mistake is told."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/table.bin").write_bytes(b"own")
    copy_ignored(repo, ("data", "src/*/_version.py"), tmp_path)
    assert (tmp_path / "src/pkg/_version.py").read_text() == "VERSION = 1\n"
    assert (tmp_path / "data/table.bin").read_bytes() == b"own"
    for pattern in ("src/pkg/__init__.py", "nowhere.py"):
        with pytest.raises(IndoorError, match=rf"copy: '{pattern}' names no file in .* ignores"):
            copy_ignored(repo, (pattern,), tmp_path)
    with pytest.raises(IndoorError, match=rf"copy: src/pkg/{COMPILED}.* is compiled; .* prepare"):
        copy_ignored(repo, ("src/pkg",), tmp_path)


@pytest.mark.parametrize(
    ("module", "copied_from", "is_refused"),
    [
        ("foo", "base", False),
        ("foo", "base/dist/foo-1-py3-none-any.whl", False),
        ("foo", "head", True),
        ("foo", None, True),
        ("other", None, False),
    ],
)
def test_what_a_side_installed_from_itself_is_its_own(
    tmp_path: Path, module: str, copied_from: str | None, is_refused: bool
) -> None:
    """A copy in its own environment counts unless an index or the other side's tree gave it."""
    trees = {}
    for name in ("base", "head"):
        (tmp_path / name / "foo").mkdir(parents=True)
        (tmp_path / name / "foo/__init__.py").touch()
        trees[name] = replace(TREE, label=name, root=tmp_path / name)
    own = tmp_path / "own-base"
    place = own / "lib/python3/site-packages" / module / "__init__.py"

    def check() -> None:
        check_imports(
            trees["base"],
            trees["head"],
            {module: str(place)},
            installed_from={module: str(tmp_path / copied_from)} if copied_from else {},
            environment=own,
        )

    if is_refused:
        with pytest.raises(IndoorError, match=r"base imported foo from .*, which lies outside"):
            check()
    else:
        check()
