"""A pytest plugin of both sides' workers: the suite's options neither trace tests nor write files.

Options stand in `addopts` and PYTEST_ADDOPTS, and most of them a suite needs. These here would slow
one side more than the other, let both write the same file, wait for somebody at a terminal, or run
the tests in other processes than the worker.
"""

from __future__ import annotations

import os
from typing import Any, Generator  # noqa: UP035 - for older Pythons

import pytest

TRACING: dict[str, Any] = {
    "memray": False,
    "mtr_none": True,  # pytest-monitor measures each test unless told not to
    "profile_svg": False,
    "testmon": False,
    "testmon_forceselect": False,
    "testmon_nocollect": False,
    "testmon_noselect": False,
}
WRITING: dict[str, Any] = {
    "allure_report_dir": None,
    "basetemp": None,  # emptied first, by both sides
    "cacheclear": False,
    "cacheshow": ["*"],  # read too late to show anything, but who shows does not write
    "csv_path": None,
    "htmlpath": None,
    "json_report": False,
    "log_file": os.devnull,
    "md_report": False,
    "pastebin": None,
    "report_log": None,
    "store_durations": False,
    "xmlpath": None,  # --junitxml
}
CHOOSING: dict[str, Any] = {
    "failedfirst": False,
    "lf": False,
    "newfirst": False,
    "reruns": 0,
    "stepwise": False,
    "stepwise_reset": False,
    "stepwise_skip": False,
    "trace": False,
    "usepdb": False,
}
"""What to run by what failed last time, how often, or at whose word."""
DISTRIBUTING: dict[str, Any] = {
    "dist": "no",
    "distload": False,
    "looponfail": False,
    "numprocesses": 0,
    "tx": [],
}
"""Of pytest-xdist, whose processes would leave nothing to be timed in the worker."""


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: Any) -> Generator[None, None, None]:
    """Keep pytest-cov from starting, which it does before any option is read for good."""
    early_config.known_args_namespace.cov_source = None
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, None, None]:
    """Keep the tests in this process, before pytest-xdist looks how many are wanted."""
    _set(config, DISTRIBUTING)
    yield


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the options back before the plugins look at them."""
    if hasattr(config.option, "profile_svg"):  # else another's --profile, which may mean anything
        config.option.profile = False
    _set(config, {**TRACING, **WRITING, **CHOOSING})


def _set(config: pytest.Config, options: dict[str, Any]) -> None:
    """Set those of the options that this pytest knows."""
    for name, value in options.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)
