"""Commands that a message tells people to paste: complete, quoted, and right where they stand."""

import os
import shlex
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from indoor import places

TORCHAO = {"torchao": ">=0.18,<0.19"}
"""What `lacking` asks for where torchao is needed; the extra is called like it."""


def command_line(*words: object, **options: object) -> str:
    """Return `indoor WORDS --option VALUE`, quoted for a shell.

    Args:
        words: The command's words; capitals such as ROOT stand for what nobody here knows.
        options: By their names, with `_` for `-`. None and False leave one out, True is a flag.
    """
    line = ["indoor", *map(_no_option, words)]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            line.append(option)
        elif value is not None and value is not False:
            text = str(value)
            line += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return shlex.join(line)


def install_line(extra: str | None, requirement: str) -> str:
    """Return the command that installs one of this project's extras.

    Args:
        extra: Its name; None where the project has none for it.
        requirement: What is to be installed then, such as `onnxruntime>=1.23`.
    """
    if extra is None:
        return shlex.join(("pip", "install", requirement))
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "constraints.txt").is_file():
        here = Path() if checkout == Path.cwd() else checkout
        pins = ("--constraint", str(here / "constraints.txt"))
        return shlex.join(("pip", "install", *pins, "--editable", f"{here}[{extra}]"))
    return shlex.join(("pip", "install", f"indoor[{extra}] @ PATH_OR_URL_OF_INDOOR"))


def lacking(requires: Mapping[str, str], extra: str | None) -> str | None:
    """Return what is missing of some distributions, or of another version; None: nothing.

    Args:
        requires: Their versions by their names, as in `Runtime.REQUIRES`.
        extra: What installs them.
    """
    from packaging.specifiers import SpecifierSet

    for name, versions in requires.items():
        remedy = install_line(extra, f"{name}{versions}")
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"it needs {name}, which is not installed; {remedy}"
        if not SpecifierSet(versions).contains(found, prereleases=True):
            return f"it needs {name}{versions}, and {found} is installed; {remedy}"
    return None


def run_word(folder: Path) -> Path | str:
    """Return what to call a run on the command line: its name where that finds it, or its folder.

    A name is looked up in the data folder of the day, so with `INDOOR_HOME`, which the next command
    need not have, and beside a file of that name it is the folder.
    """
    found_by_name = (
        not os.environ.get("INDOOR_HOME")
        and folder.parent == places.runs_folder(places.data_folder())
        and not folder.name.startswith("-")
        and not Path(folder.name).exists()
    )
    return folder.name if found_by_name else folder


def _no_option(word: object) -> str:
    """Return a word that no parser takes for an option."""
    text = str(word)
    return f"./{text}" if text.startswith("-") and isinstance(word, Path) else text
