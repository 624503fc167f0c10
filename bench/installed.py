"""Says in one line that this pytest is another environment's, before the plugin is imported."""

import importlib
import sys

import pytest

NEEDED = ("msgspec", "numpy", "platformdirs", "psutil", "pytest_benchmark", "rich", "scipy")
"""What the plugin needs at once; torch, which a light installation lacks, is told by the suite."""


def _lacking() -> list[str]:
    found = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            found.append(name)
    return found


if lacking := _lacking():
    raise pytest.UsageError(
        f"the pytest of {sys.executable} lacks {', '.join(lacking)}; expected the environment "
        "that this project is installed in, such as .venv/bin/pytest; `make install` makes it"
    )
