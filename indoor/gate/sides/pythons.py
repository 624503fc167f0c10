"""The Python of a side: whether it can run a suite, an environment of its own, what prepares it."""

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from indoor.errors import IndoorError
from indoor.gate.sides.trees import Tree
from indoor.machine import unredirected_environment
from indoor.measure.process import ChildLostError, lacking_space, run_logged, telling_lines
from indoor.measure.worker import python as asked

PYTHON = "{python}"
"""Stands in `prepare` for the side's Python."""

_IMPORT_S = 120
"""For a Python to import pytest, on a slow disk as well."""

_PROBE = """
import runpy, sys
import pytest, pytest_benchmark
print(pytest_benchmark.__version__, flush=True)
sys.exit(runpy.run_path(sys.argv[1])["lacking"]())
"""
"""Asks a Python whether the worker's plugin would find there what it needs."""

_PLACES = """
import importlib.util, json, sys
places = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
print(json.dumps({"places": places, "has_pip": importlib.util.find_spec("pip") is not None}))
"""
_OWN_PLACE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def find_python(given: Path | None, option: str) -> Path:
    """Return the Python that a side runs with; None for our own.

    Raises:
        IndoorError: There is none, or it cannot run a suite.
    """
    if given is None:
        return Path(sys.executable)
    # Not resolved: a virtual environment's python is a link, and its place says which it is.
    path = given.expanduser().absolute()
    try:
        if path.is_dir():
            path = path / "bin" / "python"
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "there is no such file")
    except OSError as error:
        raise IndoorError(
            f"{option} {given}: {error.strerror}; expected the python of an environment, such as "
            ".venv-old/bin/python"
        ) from error
    try:
        done = subprocess.run(  # noqa: S603 - the user's own interpreter
            [path, "-c", _PROBE, asked.__file__],
            capture_output=True,
            check=False,
            timeout=_IMPORT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IndoorError(
            f"{option} {given}: it cannot be run ({error}); expected the python of an environment"
        ) from error
    if done.returncode != 0:
        reason = _last_line(done.stderr)
        if done.stdout.strip():
            reason = f"pytest-benchmark {_last_line(done.stdout)} there: {reason}"
        raise IndoorError(
            f"{option} {given}: it cannot run a suite ({reason}); expected a Python "
            "that has pytest and pytest-benchmark>=5.3,<6; install them there"
        )
    return path


def own_environment(python: Path, folder: Path) -> Path:
    """Make a virtual environment that finds another Python's packages after its own.

    `venv --system-site-packages` would show those of the Python that an environment was made
    with, not the environment's.

    Returns:
        The new environment's Python.

    Raises:
        IndoorError: It cannot be made.
    """
    try:
        told = json.loads(_output(python, "-c", _PLACES))
        # pip comes from there, too; where there is none (uv makes such), venv's own takes 3 s.
        _output(python, "-m", "venv", *["--without-pip"] * told["has_pip"], str(folder))
        own = folder / "bin" / "python"
        lines = [f"import site; site.addsitedir({place!r})\n" for place in told["places"]]
        packages = Path(_output(own, "-c", _OWN_PLACE).strip())
        (packages / "indoor_gate.pth").write_text("".join(lines), encoding="utf-8")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        reason = _last_line(said) if said else str(error)
        raise IndoorError(
            f"own_environment: {python} cannot make an environment ({reason}); expected one with "
            "the module venv; install it (python3-venv on Debian), or name another Python"
        ) from error
    return own


def packages_of(environment: Path) -> Path:
    """Return where an environment that `own_environment` made keeps its packages."""
    (folder,) = environment.glob("lib/python*/site-packages")
    return folder


def active(python: Path) -> dict[str, str]:
    """Return the variables by which a Python's environment is the active one."""
    folder = python.parent.parent
    is_virtual = (folder / "pyvenv.cfg").is_file()
    return {
        "PATH": os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath))),
        **({"VIRTUAL_ENV": str(folder)} if is_virtual else {}),
    }


def run_prepare(
    command: str,
    side: str,
    tree: Tree,
    variables: Mapping[str, str],
    *,
    log: Path,
    timeout_s: float,
) -> None:
    """Run the settings' `prepare` in a tree, and once more where it fails: a network may.

    Args:
        command: The shell's; `{python}` stands for the tree's Python.
        side: What errors call the tree.
        tree: Where it runs.
        variables: Besides those of this process.
        log: Gets what it prints.
        timeout_s: It may take so long.

    Raises:
        ChildLostError: It failed twice, or was cut off.
    """
    shell = ("/bin/sh", "-c", command.replace(PYTHON, shlex.quote(str(tree.python))))
    environment = {**unredirected_environment(), **active(tree.python), **variables}
    for is_last in (False, True):
        status = run_logged(
            shell, log=log, folder=tree.root, environment=environment, timeout_s=timeout_s
        )
        if status == 0:
            return
        if status is None:
            reason = f"prepare took longer than {timeout_s:g} s (start_s)"
            raise ChildLostError(side, reason, cut_off=True)
        lines = " / ".join(telling_lines(log))
        is_full = os.strerror(errno.ENOSPC) in lines or bool(lacking_space(log))
        if is_last or status < 0 or is_full:
            raise ChildLostError(
                side,
                f"prepare ended with exit status {status}: {lines}",
                cut_off=status < 0 or is_full,
            )


def _output(python: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - the user's own interpreter
        [python, *words], capture_output=True, check=True, timeout=_IMPORT_S
    )
    return done.stdout.decode(errors="replace")


def _last_line(told: bytes) -> str:
    """Return the last line that a Python wrote, which gives its reason."""
    lines = told.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a reason"
