"""How the gate names things: cells by glob and for short, shares, numbers and lists in words."""

import os.path
import re
from collections.abc import Sequence

_MAX_LISTED = 3


def matches(name: str, glob: str) -> bool:
    """Tell whether a glob matches the whole name.

    `*` stands for any text, `?` for one character. Brackets stand for themselves: they are part of
    every parametrized test's node id.
    """
    pattern = re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def shorten(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what all names share, and the rest of each by its full name.

    A name is only cut where pytest joins its parts: at `::`, and at `[` where all are cases of one
    test, so that of `test_forward[float32-1]` and `test_forward[float32-8]` there stay `float32-1`
    and `float32-8`. Of a single name the file is left off, no more.

    Returns:
        The shared part as a reader wants it, such as `test_latency.py::test_forward[...]`, empty
        where nothing is shared; and the short name of each name, never empty.
    """
    start, end = _shared(names)
    short = {name: name[len(start) : len(name) - len(end)] for name in names}
    if not all(short.values()):
        return "", {name: name for name in names}
    return (f"{start}...{end}" if start else ""), short


def _shared(names: Sequence[str]) -> tuple[str, str]:
    prefix = os.path.commonprefix(list(names))  # noqa: RUF071 - names, character by character
    test, bracket, _ = prefix.partition("[")
    if bracket and len(set(names)) > 1 and all(name.endswith("]") for name in names):
        return f"{test}[", "]"
    return test[: test.rfind("::") + 2] if "::" in test else "", ""


def percent(share: float) -> str:
    """Return a share with at most one decimal, as `3%` or `4.1%`."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{'0' if text == '-0' else text}%"


def at_most(slowdown: float) -> str:
    """Return a slowdown's upper bound as `at most +4.1%`."""
    return f"at most {'+' if slowdown > 0 else ''}{percent(slowdown)}"


def percent_range(low: float, high: float) -> str:
    """Return shares as `1.2 to 3.4%`."""
    return f"{percent(low).removesuffix('%')} to {percent(high)}"


def count(number: int, noun: str) -> str:
    """Return `1 cell`, `2 cells`, `2 launches`."""
    ending = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number} {noun}{ending}"


def listed(names: Sequence[str]) -> str:
    """Return the first names in a sentence's words; a table has them all."""
    rest = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")
