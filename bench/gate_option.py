"""`pytest bench --gate REV`: the gate's own command, run once the suite has ended."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from bench.options import ROOT, Settings
from bench.terminal import say, uncaptured
from indoor.gate.controller import signals_as_interrupts

COMMAND = (sys.executable, "-m", "indoor", "gate")

PASSED_ON = ("data", "weights", "model", "device")
"""The suite's options with a value that both sides are to have; each has a home of its own."""

FLAGS = ("no_download", "skip_broken")


def gate_command(config: pytest.Config, settings: Settings, out: Path) -> list[str]:
    """Return the command that measures the working tree against the revision.

    Args:
        config: pytest's, for what the command line said; its defaults are the gate's own, too.
        settings: What it added up to.
        out: The file for everything that the gate measures.
    """
    known = {
        "data": settings.data,
        "weights": settings.weights,
        "model": settings.arch,
        "device": settings.device,
    }
    given = config.invocation_params.args
    words = [
        f"--{name}={known[name]}"
        for name in PASSED_ON
        if any(str(word).split("=")[0] == f"--{name}" for word in given)
    ]
    words += [f"--{flag.replace('_', '-')}" for flag in FLAGS if config.getoption(flag)]
    return [
        *COMMAND,
        f"--base={settings.gate}",
        *("--suite", "bench", "--out", str(out)),
        *(f"--suite-argument={word}" for word in words),
    ]


def run_gate(config: pytest.Config, settings: Settings, out: Path) -> int:
    """Run the gate, print its table, and return its exit status.

    The gate's progress goes to the terminal's standard error while it measures.
    """
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.section(f"the gate: {settings.gate} against the working tree", sep="=")
    out.parent.mkdir(parents=True, exist_ok=True)
    with uncaptured(config), tempfile.TemporaryFile() as printed:
        status = _wait(gate_command(config, settings, out), printed)
        printed.seek(0)
        table = printed.read().decode("utf-8", errors="replace")
    if reporter is not None:
        reporter.write(table)
    kept = f"; every pair is in {out}" if out.is_file() else ""
    say(config, f"the gate's exit status is {status}{kept}")
    return status


def _wait(command: list[str], printed: IO[bytes]) -> int:
    """Run the command to its end, also after Ctrl-C or SIGTERM: it has a worktree to remove.

    It has a process group of its own, so that it hears of a signal once, from here.

    Returns:
        Its exit status; above 128 where a signal ended it.
    """
    environment = os.environ | {"COLUMNS": str(shutil.get_terminal_size().columns)}
    with signals_as_interrupts():
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=printed, env=environment, process_group=0
        )
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
            else:
                return status if status >= 0 else 128 - status
