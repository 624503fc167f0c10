"""What every command's words share: the parser, how a command is added, the number types."""

import argparse
import importlib
from collections.abc import Callable
from typing import Any, NoReturn

MISTAKE = 2


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
) -> argparse.ArgumentParser:
    """Add a command whose work is done by `indoor.cli.MODULE.run`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    parser.add_argument("--format", choices=formats, default=formats[0])
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="--format json"
    )
    parser.set_defaults(command=_lazily(module or name))
    return parser


def _lazily(module: str) -> Callable[[argparse.Namespace], Any]:
    """Return a function that imports the command's module only when it is called."""

    def command(parsed: argparse.Namespace) -> Any:
        return importlib.import_module(f"indoor.cli.{module}").run(parsed)

    return command


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    value = _whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def natural(text: str) -> int:
    """Read a whole number of 0 or more."""
    value = _whole_number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def minutes(text: str) -> float:
    """Read a number of minutes above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes above 0")
    return value
