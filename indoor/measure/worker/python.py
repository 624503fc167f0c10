"""What a Python holds: distributions, where copies came from, and what a worker needs."""

from __future__ import annotations

import contextlib
import csv
import json
import platform
from typing import Any

NEEDED = ("_make_runner", "_make_stats", "_raw", "_raw_pedantic")
"""What is called or replaced here of pytest-benchmark's fixture, which promises none of it."""


def describe_python() -> dict[str, Any]:
    """Return the Python's version, the versions of its distributions, and where copies came from.

    `installed_from` is the folder or file that an installed module was copied from, by import name:
    only what pip notes in direct_url.json is known (PEP 610); an editable install copies nothing.
    """
    from importlib.metadata import distributions
    from urllib.parse import unquote, urlsplit

    packages: dict[str, str] = {}
    copied: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(name.lower().replace("_", "-"), str(distribution.version))
        # Whatever is broken in a distribution's metadata, the others' still counts.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, csv.Error):
            told = json.loads(distribution.read_text("direct_url.json") or "{}")
            url = urlsplit(told.get("url", ""))
            if url.scheme == "file" and not told.get("dir_info", {}).get("editable"):
                for module in import_names(distribution):
                    copied.setdefault(module, unquote(url.path))
    return {
        "python": platform.python_version(),
        "packages": packages,
        "installed_from": copied,
    }


def import_names(distribution: Any) -> set[str]:
    """Return the outermost packages and modules of an installed distribution.

    They are dotted in a namespace: `google.thing`, since other projects' are `google`, too.
    """
    files = [file for file in distribution.files or () if file.suffix in (".py", ".so", ".pyd")]
    packages = {file.parent for file in files if file.name.split(".")[0] == "__init__"}
    names: set[str] = set()
    for file in files:
        around = [folder for folder in file.parents if folder in packages and folder.name]
        # An extension module is called NAME.cpython-311-x86_64-linux-gnu.so.
        outer = around[-1] if around else file.parent / file.name.split(".")[0]
        if all(part.isidentifier() for part in outer.parts):  # no script in ../../../bin
            names.add(".".join(outer.parts))
    return names or set((distribution.read_text("top_level.txt") or "").split())


def lacking() -> str | None:
    """Return what of `NEEDED` the installed pytest-benchmark lacks, in words; None for nothing.

    The gate asks a Python that the user named before it starts a worker there.
    """
    from pytest_benchmark.fixture import (
        BenchmarkFixture,
        PauseInstrumentation,  # noqa: F401 - rounds need it, too
    )

    names = [name for name in NEEDED if not hasattr(BenchmarkFixture, name)]
    return f"its benchmark fixture has no {', '.join(names)}" if names else None
