"""What suites written for pytest-codspeed ask for, whether or not it is installed.

The gate starts pytest without that plugin, so that either way the fixture is pytest-benchmark's.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any, Iterable  # noqa: UP035 - for older Pythons

if TYPE_CHECKING:
    import pytest

OPTIONS = ("--codspeed",)
VALUED_OPTIONS = (
    "--codspeed-mode",
    "--codspeed-warmup-time",
    "--codspeed-max-time",
    "--codspeed-max-rounds",
)
"""Of its command line, which a suite's `addopts` may hold."""

FOREIGN_SETTINGS = ("max_rounds",)
"""Of its mark `benchmark`, which pytest-benchmark refuses."""


def accept_options(parser: pytest.Parser) -> None:
    """Have pytest know pytest-codspeed's options, which say nothing to the gate."""
    group = parser.getgroup("pytest-codspeed, for which the gate stands in")
    for name in OPTIONS:
        group.addoption(name, action="store_true", default=False)
    for name in VALUED_OPTIONS:
        group.addoption(name, default=None)


def stand_in() -> None:
    """Have a suite that imports `BenchmarkFixture`, to annotate with, find it."""
    if importlib.util.find_spec("pytest_codspeed") is not None:
        return
    from pytest_benchmark.fixture import BenchmarkFixture

    module: Any = types.ModuleType("pytest_codspeed", __doc__)
    module.__spec__ = importlib.machinery.ModuleSpec("pytest_codspeed", None, is_package=True)
    module.__path__ = []
    module.BenchmarkFixture = BenchmarkFixture
    module.plugin = module  # either is where suites import it from
    sys.modules["pytest_codspeed"] = sys.modules["pytest_codspeed.plugin"] = module


def register(config: pytest.Config) -> None:
    """Give suites its fixture and its mark."""
    import pytest

    class Fixtures:
        @pytest.fixture
        def codspeed_benchmark(self, benchmark: Any) -> Any:
            """Return pytest-benchmark's fixture."""
            return benchmark

    mark = "codspeed_benchmark: the whole test is timed, as by pytest-codspeed"
    config.addinivalue_line("markers", mark)
    config.pluginmanager.register(Fixtures(), "indoor-gate-codspeed")


def drop_foreign_settings(items: Iterable[pytest.Item]) -> None:
    """Take out of the marks what pytest-codspeed knows and pytest-benchmark refuses."""
    for item in items:
        for mark in item.iter_markers("benchmark"):
            for name in FOREIGN_SETTINGS:
                if isinstance(mark.kwargs, dict):
                    mark.kwargs.pop(name, None)
