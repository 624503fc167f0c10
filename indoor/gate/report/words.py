"""A gate's figures as text: slowdowns, intervals, times, versions."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from indoor.gate.records import CellReport, SideIdentity
from indoor.records import Interval

NOTHING = "-"
"""What stands in a cell that has no figure."""

_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def clean(text: str) -> str:
    """Return the text on one line, without characters that steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def slowdown(ratio: float | None) -> str:
    """Return head's time / base's as a change: 1.049 is +4.9%; `-` where it is not known."""
    if ratio is None or not math.isfinite(ratio):
        return NOTHING
    return f"{_signed(ratio)}%"


def slowdown_interval(interval: Interval | None) -> str:
    """Return the interval of a ratio as a change, such as `-0.4 to +1.2%`."""
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return NOTHING
    return f"{_signed(interval.low)} to {_signed(interval.high)}%"


def share(value: float) -> str:
    """Return a share as a percentage without needless zeros: 0.01 is 1%, 0.025 is 2.5%."""
    return f"{100 * value:.3g}%"


def time_of_one(seconds: float | None) -> str:
    """Return a short time with its unit and three significant digits, such as 59.3 ms."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    unit, size = next(((u, s) for u, s in _UNITS if seconds >= 0.9995 * s), _UNITS[-1])
    value = seconds / size
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def duration(seconds: float) -> str:
    """Return a long time, such as `45 s` or `7 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment(iso: str) -> str:
    """Return a moment in ISO 8601 as people write it, in UTC."""
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def describe_side(side: SideIdentity) -> str:
    """Return which code a side is: as the user named it, its commit, its Python."""
    commit = "no commit" if side.commit is None else f"commit {side.commit[:12]}"
    if side.dirty:
        commit += " with changes"
    return f"{side.label}, {commit}, Python {side.python}"


def describe_packages(base: Mapping[str, str], head: Mapping[str, str]) -> str:
    """Return the distributions that differ between the two sides."""
    if not base and not head:
        return "not recorded"
    names = sorted(base.keys() | head.keys(), key=str.lower)
    changes = [_change(name, base, head) for name in names if base.get(name) != head.get(name)]
    return ", ".join(changes) if changes else f"the same {len(names)} on both sides"


def describe_arm(cell: CellReport, name: str) -> str:
    """Return what an A/A arm or the control found, with its figures."""
    figures = f"{slowdown_interval(cell.interval)}, {cell.num_pairs} pairs"
    return f"{name} {slowdown(cell.ratio)} ({figures})"


def _signed(ratio: float) -> str:
    """Return a ratio as a change in percent; one that rounds to zero has no sign."""
    text = f"{100 * (ratio - 1):+,.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _change(name: str, base: Mapping[str, str], head: Mapping[str, str]) -> str:
    if name not in head:
        return f"{name} {base[name]} only in base"
    if name not in base:
        return f"{name} {head[name]} only in head"
    return f"{name} {base[name]} -> {head[name]}"
