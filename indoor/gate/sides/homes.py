"""The folders that sides prepare in: of whose sources each is, and how long it stays."""

import os
import shutil
from pathlib import Path

NUM_HOMES = 6
"""Kept in the cache; a home of the default suite holds about 150 MB."""

_SOURCES = frozenset({".py", ".json", ".toml"})
_NO_SOURCES = frozenset({"tests", "data", "results"})


def sources_of(root: Path, out: Path | None) -> dict[str, Path]:
    """Return the tree's source files outside tests, data and environments, by name.

    Left out are the gate's own `out`, which every run changes, and what an editor hides.
    """
    result = out.parent.resolve() / out.name if out is not None else None
    found: dict[str, Path] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if _holds_sources(Path(folder), name, root)]
        for path in (Path(folder) / name for name in files if not name.startswith(".")):
            # A link of Emacs's leads nowhere, and a pipe never ends.
            if path.suffix in _SOURCES and path != result and path.is_file():
                found[path.relative_to(root).as_posix()] = path
    return found


def _holds_sources(folder: Path, name: str, root: Path) -> bool:
    if name.startswith(".") or name == "__pycache__" or (folder / name / "pyvenv.cfg").exists():
        return False
    return folder != root or name not in _NO_SOURCES


def prune_homes(cache: Path) -> None:
    """Remove the homes that were not used for longest; another gate cannot be using them."""
    if cache.is_dir():
        homes = sorted((p for p in cache.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        for home in homes[:-NUM_HOMES]:
            shutil.rmtree(home, ignore_errors=True)
