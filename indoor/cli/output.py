"""What a command found, printed for a person or for a machine."""

import io
import os
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A command's result: `record` for `--format json`, `text` for a person.

    `record` is None where `text` is in the format that was asked for already. `notes` are lines
    for standard error in any format.
    """

    record: object | None
    text: str
    status: int = 0
    notes: tuple[str, ...] = ()


def print_outcome(outcome: Outcome, output_format: str) -> None:
    """Print the outcome to standard output, as text or as JSON.

    Characters that standard output's encoding lacks, such as a table's lines, become `?`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if output_format == "json" and outcome.record is not None:
        from indoor.records import to_json

        sys.stdout.write(to_json(outcome.record, indent=2).decode("utf-8"))
    else:
        sys.stdout.write(outcome.text.rstrip("\n") + "\n")
    sys.stdout.flush()
    for note in outcome.notes:
        tell(note)


def tell(what: object) -> None:
    """Print one line to standard error; what a file says in it cannot steer the terminal."""
    line = " ".join(str(what).split())
    line = "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else "?" for c in line)
    sys.stderr.write(f"indoor: {line}\n")


def width() -> int:
    """Return the columns that a table may take: the terminal's, or 80."""
    return max(80, shutil.get_terminal_size((80, 24)).columns)


def use_color() -> bool:
    """Tell whether standard output shows colours (see https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
