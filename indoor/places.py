"""Where data sets, checkpoints and caches lie unless a command is told otherwise."""

import os
from pathlib import Path

import platformdirs


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
