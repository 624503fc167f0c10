"""What the commands' arguments share: the parser, how a command is added, the number types."""

import argparse
import importlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from indoor.errors import MISTAKE, IndoorError
from indoor.ranks import ALONE, read_ranks

_NOT_IN_LIGHT = ("torch", "torchvision", "PIL", "safetensors", "simplejpeg")
"""What pyproject.toml asks for and requirements-light.txt does not, as it is imported."""


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """Print the line and leave with status 2."""
        self.exit(MISTAKE, f"{self.prog}: {message}; see {self.prog} --help\n")


def command(
    commands: Any,
    name: str,
    summary: str,
    example: str,
    *,
    module: str | None = None,
    formats: tuple[str, ...] = ("text", "json"),
    is_shared: bool = False,
) -> argparse.ArgumentParser:
    """Add a command whose work is done by `indoor.cli.MODULE.run`.

    `is_shared` tells whether the processes that torchrun starts can share it.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    output = group(parser, "output")
    output.add_argument(
        "--format", choices=formats, default=formats[0], help=f"default: {formats[0]}"
    )
    output.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="short for --format json",
    )
    parser.set_defaults(command=_lazily(parser.prog, module or name, is_shared))
    return parser


def group(parser: argparse.ArgumentParser, title: str) -> Any:
    """Return the group of a parser's options under that title, made unless it is there."""
    groups = parser._action_groups
    there = next((found for found in groups if found.title == title), None)
    made = there or parser.add_argument_group(title)
    groups.sort(key=lambda found: found.title == "output")  # what comes out comes last
    return made


def add_html(output: Any) -> argparse.Action:
    """Add the option that writes a page beside what is printed."""
    action: argparse.Action = output.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write all of it as one page of HTML, with pictures (default: no page)",
    )
    return action


def _lazily(prog: str, module: str, is_shared: bool) -> Callable[[argparse.Namespace], Any]:
    """Return a function that imports the command's module only when it is called."""

    def command(parsed: argparse.Namespace) -> Any:
        parsed.began_s = time.monotonic()
        if not is_shared and (ranks := read_ranks()) is not ALONE:
            if not ranks.is_first:
                raise SystemExit(MISTAKE)  # one line is enough
            raise IndoorError(
                f"{prog} is the work of one process, and torchrun started {ranks.size}; expected "
                "indoor train or indoor evaluate; leave torchrun out"
            )
        with needing_the_whole_installation(prog):
            run = importlib.import_module(f"indoor.cli.{module}").run
            if "torch" not in sys.modules:
                return run(parsed)
            from indoor.devices import use_threads

            with use_threads(None):
                return run(parsed)

    return command


@contextmanager
def needing_the_whole_installation(prog: str) -> Iterator[None]:
    """Say in one line that `prog` needs what a light installation lacks, where it does.

    Raises:
        IndoorError: The block imported torch, say, and it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        lacking = (error.name or "").partition(".")[0]
        if lacking not in _NOT_IN_LIGHT:
            raise
        raise IndoorError(
            f"{prog} needs {lacking}, which is not installed here; expected the whole "
            "installation, not the light one of the gate and the tables; run pip install with "
            "the project's folder and without --no-deps"
        ) from error


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `minimum` on."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is not {minimum} or more")
        return value

    return read


positive = whole_number(1)
natural = whole_number(0)


def numbers(text: str) -> tuple[int, ...]:
    """Read numbers from 1 on, such as 1,8: none twice, ascending."""
    return tuple(sorted({positive(word.strip()) for word in text.split(",")}))


def hexadecimal(num_digits: int) -> Callable[[str], str]:
    """Return a reader of hashes of so many hexadecimal digits."""

    def read(text: str) -> str:
        if not re.fullmatch(rf"[0-9a-fA-F]{{{num_digits}}}", text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {num_digits} hexadecimal digits")
        return text.lower()

    return read


def address(text: str) -> str:
    """Read an address of the web."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with http:// or https://")
    return text


def number_of(unit: str, *, above: bool = True) -> Callable[[str], float]:
    """Return a reader of numbers of a unit, such as minutes: above 0, or from 0 on."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit}") from None
        if not 0 <= value < float("inf") or (above and value == 0):
            limit = "above 0" if above else "from 0 on"
            raise argparse.ArgumentTypeError(f"{text} is not a number of {unit} {limit}")
        return value

    return read


def share(text: str) -> float:
    """Read a share between 0 and 1, written 5% or 0.05."""
    number, is_percent = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number) / (100 if is_percent else 1)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 5% or 0.05")
    return value


minutes = number_of("minutes")
milliseconds = number_of("milliseconds")
points = number_of("points", above=False)
