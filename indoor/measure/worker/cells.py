"""Which of a suite's tests are cells, what their marks say, and where their code lies."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


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
