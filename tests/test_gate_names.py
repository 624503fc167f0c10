"""The names of cells: a test's id without what another tree or process has otherwise."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from indoor.measure.worker.cells import cells_of, places_of, portable_name

ROOT = "/home/lea/the tree"
PYTHON = "/home/lea/the tree/.venv"


@pytest.fixture(autouse=True)
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that lies in the tree."""
    monkeypatch.setattr(sys, "prefix", PYTHON)


def item(nodeid: str) -> Any:
    """Return what a cell's test has that its name needs."""
    return SimpleNamespace(nodeid=nodeid, fixturenames=["benchmark"])


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("[/home/lea/the tree/data/a.json]", "[{root}/data/a.json]"),
        ("[/home/lea/the tree-7-/home/lea/the tree]", "[{root}-7-{root}]"),
        ("[file:///home/lea/the tree/a]", "[file://{root}/a]"),
        ("[/home/lea/the tree/.venv/bin]", "[{python}/bin]"),
        ("[/home/lea/the tree2/a]", "[/home/lea/the tree2/a]"),
        ("[<a.Thing object at 0x7f00aa10>-1]", "[<a.Thing object at 0x>-1]"),
        ("[0x7f00aa10]", "[0x7f00aa10]"),
        ("", ""),
    ],
)
def test_what_another_tree_has_otherwise_is_taken_out(said: str, name: str) -> None:
    """The tree's root, its environment's and addresses, but nothing that only resembles them."""
    assert portable_name(f"s/test_a.py::test_b{said}", places_of(ROOT)) == (
        f"s/test_a.py::test_b{name}"
    )


def test_a_root_that_pytest_escapes_is_known() -> None:
    """What is not ASCII stands in ids as Python writes it."""
    places = places_of("/home/léa")
    assert portable_name("a.py::test_b[/home/l\\xe9a/c]", places) == "a.py::test_b[{root}/c]"


def test_a_linked_root_is_known_by_both_names(tmp_path: Path) -> None:
    """A suite may resolve its own place, or not."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("real", "link"):
        said = f"a.py::test_b[{tmp_path / name}/c]"
        assert portable_name(said, places_of(str(tmp_path / "link"))) == "a.py::test_b[{root}/c]"


def test_a_file_is_named_as_it_is_where_the_root_looks_like_a_part_of_it() -> None:
    """Only parameters hold absolute paths."""
    assert portable_name("a/repo/b.py::test_c[1]", places_of("/repo")) == "a/repo/b.py::test_c[1]"


def test_two_objects_of_one_kind_stay_two_cells() -> None:
    """Only their addresses told them apart; now their order does."""
    ids = ("a.py::test_b[<T object at 0x1>]", "a.py::test_b[<T object at 0x2>]", "a.py::test_c")
    cells = cells_of([item(one) for one in ids], {})
    same = "a.py::test_b[<T object at 0x>]"
    assert {name: one.nodeid for name, one in cells.items()} == dict(
        zip((same, f"{same}#2", "a.py::test_c"), ids, strict=True)
    )
