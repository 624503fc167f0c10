"""A cell that head measures by other code than base is told as changed, and somebody looks."""

import hashlib
from pathlib import Path
from typing import BinaryIO

import pytest
from gate_records import OPEN, PASSED, SLOWER, gate
from gate_trees import ONE_LAUNCH, config, own_temporary_files, write_tree

from indoor.gate.controller import run_gate
from indoor.gate.decide.verdicts import exit_status
from indoor.gate.records import ChangedTest, GateReport
from indoor.gate.report import GateFormat, render_gate
from indoor.gate.sides.setup import GateJob
from indoor.gate.sides.suite_code import changed_tests
from indoor.gate.worker import TestCode

FILES = {
    "pytest.ini": "[pytest]\npython_files = test_*.py bench_*.py\n",
    "measured.py": "def work(n):\n    return sum(range(n))\n",
    "conftest.py": '''
        """Of the whole tree."""
        import pytest


        @pytest.fixture
        def outer():
            return 3


        def unused():
            return 4
    ''',
    "suite/conftest.py": """
        import pytest
        from helpers import number, other


        @pytest.fixture
        def size():
            return number()


        @pytest.fixture(name="named")
        def _named():
            return 6


        @pytest.fixture
        def by_request():
            return 7
    """,
    "suite/helpers.py": """
        START = 5


        def number():
            return START


        def other():
            return 1


        def inner():
            return 2


        class Base:
            times = 1
    """,
    "suite/test_kinds.py": '''
        """Kinds of tests."""
        import helpers
        import pytest
        from helpers import Base, other
        from measured import work

        SIZES = [3, 4]


        def test_same(benchmark):
            benchmark(work, 3)


        def test_body(benchmark):
            benchmark(work, 300)


        @pytest.mark.parametrize("n", SIZES, ids=["small", "large"])
        def test_sizes(benchmark, n):
            benchmark(work, n)


        def test_fixture(benchmark, size):
            benchmark(work, size)


        def test_named_fixture(benchmark, named):
            benchmark(work, named)


        def test_outer_fixture(benchmark, outer):
            benchmark(work, outer)


        def test_requested(benchmark, request):
            benchmark(work, request.getfixturevalue("by_request"))


        def test_local_import(benchmark):
            from helpers import inner

            benchmark(work, inner())


        def test_code_that_is_measured(benchmark):
            benchmark(work, other())


        class TestInherited(Base):
            def test_times(self, benchmark):
                benchmark(work, self.times)


        class TestShared:
            def setup_method(self):
                self.n = 3

            def test_first(self, benchmark):
                benchmark(work, self.n)

            def test_second(self, benchmark):
                benchmark(work, 3)
    ''',
    "suite/data/numbers.json": "[3]",
    "suite/data/other.json": "[3]",
    "suite/test_data.py": """
        from pathlib import Path

        from measured import work

        HERE = Path(__file__).parent


        def test_numbers(benchmark):
            benchmark(work, len((HERE / "data" / "numbers.json").read_text()))


        def test_other(benchmark):
            benchmark(work, len((HERE / "data/other.json").read_text()))
    """,
    "suite/test_statements.py": """
        from measured import work

        TABLE = {}
        TABLE["a"] = 5


        def test_table(benchmark):
            benchmark(work, TABLE["a"])
    """,
}
"""Every test is a kind of what a cell can rest on."""

CHANGES = (
    ("measured.py", "sum(range(n))", "sum(list(range(n)))"),
    ("conftest.py", "return 3", "return 2"),
    ("conftest.py", "return 4", "return 5"),
    ("suite/conftest.py", "return 6", "return 5"),
    ("suite/conftest.py", "return 7", "return 5"),
    ("suite/helpers.py", "START = 5", "START = 4"),
    ("suite/helpers.py", "return 2", "return 1"),
    ("suite/helpers.py", "times = 1", "times = 0"),
    ("suite/test_kinds.py", '"""Kinds of tests."""', '"""Kinds."""\n# A comment.\nimport os'),
    ("suite/test_kinds.py", "work, 300", "work, 30"),
    ("suite/test_kinds.py", "SIZES = [3, 4]", "SIZES = [3, 2]"),
    ("suite/test_kinds.py", "import Base, other", "import Base, inner, other"),
    (
        "suite/test_kinds.py",
        "def test_same(",
        '@pytest.mark.gate(margin=0.6)\ndef test_new(benchmark):\n    """New."""\n'
        "    benchmark(work, 3)\n\n\n@pytest.mark.gate(tolerance=0.95)\ndef test_same(",
    ),
    ("suite/test_kinds.py", "self.n = 3", "self.n = 2"),
    ("suite/data/numbers.json", "[3]", "[2]"),
    ("suite/test_statements.py", '["a"] = 5', '["a"] = 4'),
)
"""File, what stands there in base, and in head."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """A gate on trees whose tests differ in all those ways, over after a launch."""
    folder = tmp_path_factory.mktemp("changed")
    base = write_tree(folder / "base", FILES)
    head = write_tree(folder / "head", FILES)
    for name, old, new in CHANGES:
        path = head / name
        text = path.read_text()
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new))
    rules = config(max_minutes=ONE_LAUNCH)
    with own_temporary_files(folder / "temporary"):
        return run_gate(GateJob(start=base, base_root=base, head_root=head, config=rules))


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("test_kinds.py::test_same", None),
        ("test_kinds.py::test_code_that_is_measured", None),
        ("test_kinds.py::TestShared::test_first", "test_kinds.py: TestShared.test_first"),
        ("test_kinds.py::TestInherited::test_times", "suite/helpers.py: Base"),
        ("test_kinds.py::test_body", "suite/test_kinds.py: test_body"),
        ("test_kinds.py::test_sizes[small]", "suite/test_kinds.py: SIZES"),
        ("test_kinds.py::test_sizes[large]", "suite/test_kinds.py: SIZES"),
        ("test_kinds.py::test_fixture", "suite/helpers.py: START"),
        ("test_kinds.py::test_named_fixture", "suite/conftest.py: _named"),
        ("test_kinds.py::test_outer_fixture", "conftest.py: outer"),
        ("test_kinds.py::test_requested", "suite/conftest.py: by_request"),
        ("test_kinds.py::test_local_import", "suite/helpers.py: inner"),
        ("test_data.py::test_numbers", "suite/data/numbers.json: content"),
        ("test_data.py::test_other", None),
        ("test_statements.py::test_table", "suite/test_statements.py: statements"),
    ],
)
def test_a_cell_is_changed_by_what_its_test_rests_on(
    report: GateReport, cell: str, what: str | None
) -> None:
    """Its body, constants, fixtures, helpers, data; not what it measures, comments, marks."""
    told = {one.name: one.what for one in report.changed}
    assert f"suite/{cell}" in {one.name for one in report.cells}
    assert told.get(f"suite/{cell}") == what if what is None else what in told[f"suite/{cell}"]


def test_green_over_changed_tests_wants_somebody_to_look() -> None:
    """Exit 3 until they are accepted; a finding stays one, and doubt stays doubt."""
    changed = (ChangedTest(name=PASSED.name, what="suite/test_sort.py: SIZES"),)
    assert exit_status(gate(PASSED)) == 0
    assert exit_status(gate(PASSED, changed=changed)) == 3
    assert exit_status(gate(PASSED, changed=changed, changes_accepted=True)) == 0
    assert exit_status(gate(SLOWER, changed=changed, changes_accepted=True)) == 1
    assert exit_status(gate(OPEN, changed=changed, changes_accepted=True)) == 3
    assert exit_status(gate(OPEN, changed=changed), allow_inconclusive=True) == 3


@pytest.mark.parametrize("output_format", ["table", "markdown"])
def test_the_report_begins_with_what_changed(output_format: GateFormat) -> None:
    """Which cells stands among the first lines, what of them differs below the tables."""
    changed = (ChangedTest(name=PASSED.name, what="suite/test_sort.py: SIZES"),)
    text = " ".join(render_gate(gate(PASSED, changed=changed), format=output_format).split())
    first, rest = text.split("Time of head against base")
    assert "Changed: " in first
    assert "pass --accept-changed" in first
    assert "SIZES" in rest
    accepted = render_gate(gate(PASSED, changed=changed, changes_accepted=True))
    assert "which was accepted" in " ".join(accepted.split())


def test_data_are_read_once_and_only_where_both_sides_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set below the suite may be of gigabytes, and a worktree lacks what git ignores."""
    tests = "".join(f"def test_{n}(benchmark):\n    load(DATA)\n\n\n" for n in range(3))
    code = f"from pathlib import Path\n\nDATA = Path(__file__).parent / 'data'\n\n\n{tests}"
    files = {"suite/test_load.py": code, "suite/data/both.bin": "1"}
    base = write_tree(tmp_path / "base", files)
    head = write_tree(tmp_path / "head", {**files, "suite/data/ignored.bin": "2"})
    read: list[str] = []

    def noted(file: BinaryIO, kind: str) -> object:
        read.append(Path(file.name).name)
        return hashlib.new(kind, file.read())

    monkeypatch.setattr(hashlib, "file_digest", noted)
    told = {
        f"test_{n}": TestCode(files=("suite/test_load.py",), names=(f"test_{n}",)) for n in range(3)
    }
    assert changed_tests(base, head, "suite", told, told) == {}
    assert read == ["both.bin", "both.bin"]
