"""Which of a suite's tests are cells, by which names, and where their marks and code lie."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable  # noqa: UP035 - for older Pythons

if TYPE_CHECKING:
    import pytest

BENCHMARK_MARKS = ("benchmark", "codspeed_benchmark")
"""Of a whole test that is to be timed, as pytest-codspeed understands them."""

ADDRESS = re.compile(r"(?<= at )0x[0-9a-fA-F]+")
"""What `repr` says of an object of no other name; another one in every process."""


def cells_of(items: Iterable[pytest.Item], places: dict[str, str]) -> dict[str, pytest.Item]:
    """Return the tests that are timed, by names that are the same in another tree.

    Args:
        items: All that was collected.
        places: As `places_of` returns them.
    """
    cells: dict[str, pytest.Item] = {}
    for item in items:
        if not (asks(item) or is_whole(item)):
            continue
        name = unique = portable_name(item.nodeid, places)
        number = 1
        while unique in cells:  # two objects of one kind, told apart by their addresses alone
            number += 1
            unique = f"{name}#{number}"
        cells[unique] = item
    return cells


def asks(item: pytest.Item) -> bool:
    """Return whether a test asks for the fixture `benchmark`, itself or by another fixture."""
    return "benchmark" in getattr(item, "fixturenames", ())


def is_whole(item: pytest.Item) -> bool:
    """Return whether a mark wants the whole test timed, which asks for no fixture."""
    marked = any(item.get_closest_marker(name) for name in BENCHMARK_MARKS)
    return marked and not asks(item) and hasattr(item, "obj") and hasattr(item, "fixturenames")


def portable_name(nodeid: str, places: dict[str, str]) -> str:
    """Return a test's id without what is another place or address on the other side.

    Only its parameters can hold such: the rest is a path from the tree's root, and names.
    """
    test, bracket, parameters = nodeid.partition("[")
    for place, name in places.items():
        parameters = re.sub(rf"(?<![\w.]){re.escape(place)}(?![\w.])", name, parameters)
    return test + bracket + ADDRESS.sub("0x", parameters)


def places_of(root: str) -> dict[str, str]:
    """Return how a tree and its environment are written in ids, the innermost first, and as what.

    pytest escapes what is not ASCII in them.
    """
    places: dict[str, str] = {}
    for place, name in ((root, "{root}"), (sys.prefix, "{python}")):
        for path in (os.path.abspath(place), os.path.realpath(place)):  # noqa: PTH100
            if len(path) > 1:  # not the root of all
                places[path] = places[path.encode("unicode_escape").decode()] = name
    return dict(sorted(places.items(), key=lambda pair: -len(pair[0])))


def rules_of(item: pytest.Item) -> dict[str, Any]:
    """Return what `@pytest.mark.gate(margin=..., tolerance=...)` says of a cell."""
    marker = item.get_closest_marker("gate")
    if marker is None:
        return {}
    names = ["margin", "tolerance", *(f"argument {n + 1}" for n in range(2, len(marker.args)))]
    return dict(zip(names, marker.args, strict=False)) | dict(marker.kwargs)


def code_of(item: pytest.Item) -> dict[str, list[str]]:
    """Return where a cell's test, its fixtures and its conftests lie: files, and names in them."""
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    functions: list[Any] = [getattr(item, "obj", None)]
    functions += [definition.func for found in known.values() for definition in found]
    names = list(known)
    folders = set(item.path.parents)
    files = [str(item.path)]
    for plugin in item.config.pluginmanager.get_plugins():
        file = Path(str(getattr(plugin, "__file__", "")))
        if file.name == "conftest.py" and file.parent in folders:
            files.append(str(file))
    for function in functions:
        inner = inspect.unwrap(getattr(function, "func", function))
        code = getattr(inner, "__code__", None)
        if code is not None:
            names.append(inner.__qualname__)
            files.append(code.co_filename)
    return {
        "files": sorted(set(files)),
        "names": sorted({*names, getattr(item, "originalname", "")}),
    }
