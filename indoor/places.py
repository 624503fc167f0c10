"""Where data sets, checkpoints and caches lie, and which checkpoint a person means by a name."""

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from indoor.errors import IndoorError

FLOAT32 = "float32.safetensors"
"""The checkpoint that makes a folder a run's."""

INT8 = "int8.safetensors"

_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
"""How files of weights are called, as a rule; it only decides what a message says."""

_NUM_NAMED = 10
"""Runs or files that a message names at most."""


def data_folder() -> Path:
    """Return the root of everything that is kept: `data/` in a checkout of the project.

    Returns:
        `$INDOOR_HOME` where it is set; else `data` in the working directory where there is such a
        folder; else the user's data folder of this platform (an installed package must not strew
        folders wherever it is called).
    """
    if home := os.environ.get("INDOOR_HOME"):
        return Path(home).expanduser()
    here = Path("data")
    return here if here.is_dir() else platformdirs.user_data_path("indoor")


def demo_folder(home: Path) -> Path:
    """Return the folder of the drawn scenes."""
    return home / "demo"


def runs_folder(home: Path) -> Path:
    """Return the folder that holds one folder a run, with its checkpoints."""
    return home / "runs"


def features_folder(home: Path) -> Path:
    """Return the folder of cached backbone features."""
    return home / "features"


def find_checkpoint(named: str, home: Path, here: Path = Path()) -> Path:
    """Return the checkpoint that a person means: a file, a run's folder, or a run's name.

    A run's is its float32, unless its int8 was named by its file.

    Args:
        named: What was typed; `~` is the user's home.
        home: The folder that holds `runs/`.
        here: What a relative path is relative to.

    Raises:
        IndoorError: There is neither such a file nor such a run, or there are both.
    """
    runs, path = runs_folder(home), here / _expanded(named)
    candidates = [path] if named.strip() else []
    if _is_name(named):
        candidates.append(runs / named)
    found = [one for one in map(_checkpoint_at, candidates) if one is not None]
    if len(found) == 2 and not found[0].samefile(found[1]):
        raise IndoorError(
            f"{named!r} is a run in {runs} and {path}, too; expected one of them; name ./{named} "
            f"or {runs / named}"
        )
    if not found:
        raise IndoorError(_not_there(named, path, runs))
    return found[0]


def run_of(checkpoint: Path) -> Path | None:
    """Return the run's folder that a checkpoint stands for; None where it stands for itself.

    A run's float32 and int8 stand for the run, also by a link to them. Any other file beside them
    is another network.
    """
    for path in (checkpoint, checkpoint.resolve()):
        if path.name in (FLOAT32, INT8) and _is(path.parent / FLOAT32, folder=False):
            return path.parent
    return None


def _expanded(named: str) -> Path:
    try:
        return Path(named).expanduser()
    except RuntimeError:  # `~somebody` whom this machine does not know
        return Path(named)


def _is_name(named: str) -> bool:
    path = Path(named)
    return bool(named.strip()) and not path.is_absolute() and not {".", ".."} & {*path.parts}


def _checkpoint_at(path: Path) -> Path | None:
    if _is(path, folder=True):
        return path / FLOAT32 if _is(path / FLOAT32, folder=False) else None
    return path if _is(path, folder=False) else None


def _is(path: Path, *, folder: bool) -> bool:
    try:
        return path.is_dir() if folder else path.is_file()
    except OSError:  # a name that no file can have, or a folder that nobody may enter
        return False


def _not_there(named: str, path: Path, runs: Path) -> str:
    known = _listed(sorted(one.parent.name for one in runs.glob(f"*/{FLOAT32}"))) or "none yet"
    for folder in (path, runs / named) if named.strip() else ():
        if _is(folder, folder=True):
            held = _listed(sorted(_weights_in(folder)))
            return (
                f"{named}: {folder} is a folder without {FLOAT32}"
                f"{f' (it holds {held})' if held else ''}; expected a run's folder or a file of "
                f"weights; name a file, or a run in {runs} ({known})"
            )
    if "/" in named or named.endswith(_WEIGHTS):
        return (
            f"{named}: there is no such file; expected weights (.safetensors, .pt or .pth), a "
            f"run's folder, or a run's name in {runs} ({known}); check the path"
        )
    return (
        f"no run {named!r}: expected a name in {runs} ({known}), a folder with {FLOAT32} or a file "
        "of weights; make one with indoor train"
    )


def _weights_in(folder: Path) -> Iterator[str]:
    try:
        yield from (one.name for one in folder.iterdir() if one.name.endswith(_WEIGHTS))
    except OSError:  # it may be closed to us
        return


def _listed(names: list[str]) -> str:
    more = len(names) - _NUM_NAMED
    return ", ".join(names[:_NUM_NAMED]) + (f" and {more} more" if more > 0 else "")
