"""How often the gate is wrong, what a head or decoding costs: research to be run again."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, TypeVar

from indoor.errors import MISTAKE, IndoorError
from indoor.records import read_record

Study = TypeVar("Study")


def run(main: Callable[[], int]) -> NoReturn:
    """Run a study's command line; a user's mistake is one line and status 2."""
    try:
        raise SystemExit(main())
    except IndoorError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a script's output
        raise SystemExit(MISTAKE) from None


def show(
    source: Path,
    kind: type[Study],
    measure: Callable[[], Study],
    *,
    lines: Callable[[Study], Iterable[str]],
    plot: Callable[[Study, Path], None],
    to: Path | None,
) -> int:
    """Print a study's lines and draw it: the one that lies in `source`, or one measured now.

    Args:
        source: What a study's `--out` wrote, or what it measures.
        kind: The study's record.
        measure: Measures it, and saves what `--out` asks for.
        lines: The tables.
        plot: Draws the picture.
        to: The picture's file; None draws none.

    Returns:
        0.
    """
    is_saved = source.name.endswith((".json", ".json.gz"))
    study = read_record(source, kind) if is_saved else measure()
    print(*lines(study), sep="\n")  # noqa: T201 - a script's output
    if to:
        plot(study, to)
    return 0
