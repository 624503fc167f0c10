"""What may be set for a gate, and which of it holds for a cell."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from indoor.errors import IndoorError
from indoor.gate.records import PlanRecord


@dataclass(frozen=True, kw_only=True)
class AccuracyRules:
    """`max_drop` of the top-1 share (0.015 is 1.5 points), within `budget_s` for both sides."""

    max_drop: float = 0.015
    budget_s: float = 180.0


@dataclass(frozen=True, kw_only=True)
class CellOverride:
    """Other thresholds for the cells that `glob` matches; None leaves one as it is."""

    glob: str
    margin: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """The rules of a gate, checked.

    Globs are matched with node ids such as `bench/test_latency.py::test_latency[int8-1]`; `*` and
    `?` are the only signs with a meaning (see `matches`).
    """

    plan: PlanRecord = field(default_factory=PlanRecord)
    suite: str = "bench"
    """The suite's folder or file, from the tree's root."""
    paths: tuple[str, ...] = ()
    """Folders with code to import, from the tree's root, where that finds it neither there nor in
    the suite's own project."""
    select: tuple[str, ...] = ()
    """Globs of the cells that are gated; empty for all."""
    arguments: tuple[str, ...] = ()
    """Words that pytest gets as well, on both sides."""
    facts: str | None = None
    """A pytest plugin's path within head's tree that collects what needs no clock."""
    allow_vanished: tuple[str, ...] = ()
    """Globs of the cells that head may lack."""
    cells: tuple[CellOverride, ...] = ()
    """In order: the last one that matches and names a threshold sets it."""
    accuracy: AccuracyRules = field(default_factory=AccuracyRules)
    peak_memory_tolerance: float = 0.10
    hang_s: float = 120.0
    """A worker that takes longer over one turn is killed."""
    start_s: float = 900.0
    """A worker that takes longer to its first cell is killed."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables for the workers of both sides."""


def rules_for(
    config: GateConfig, name: str, marker: Mapping[str, object] | None = None
) -> tuple[float, float]:
    """Return a cell's margin and tolerance.

    Args:
        config: The settings; its `cells` beat the marker, its `plan` gives what nothing else names.
        name: The cell's node id.
        marker: What `pytest.mark.gate(margin=..., tolerance=...)` on the test says, if it is there.

    Raises:
        IndoorError: The marker says something else, or margin and tolerance do not fit.
    """
    rules = {"margin": config.plan.margin, "tolerance": config.plan.tolerance}
    for key, value in (marker or {}).items():
        if key not in rules or isinstance(value, bool) or not isinstance(value, int | float):
            raise IndoorError(
                f"{name}: its gate mark says {key}={value!r}; expected margin or tolerance as a "
                "number such as 0.02; correct the mark in the suite"
            )
        rules[key] = float(value)
    for override in config.cells:
        if matches(name, override.glob):
            rules |= {key: v for key in rules if (v := getattr(override, key)) is not None}
    margin, tolerance = rules["margin"], rules["tolerance"]
    if not 0 < margin < tolerance < 1:
        raise IndoorError(
            f"{name}: margin {margin:g} and tolerance {tolerance:g} do not fit; expected 0 < "
            f"margin < tolerance < 1; give both in its gate mark or in gate.toml"
        )
    return margin, tolerance


def matches(name: str, glob: str) -> bool:
    """Tell whether a glob matches the whole name.

    `*` stands for any text, `?` for one character. Brackets stand for themselves: they are part of
    every parametrized test's node id.
    """
    pattern = re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def selects(config: GateConfig, name: str) -> bool:
    """Tell whether the gate measures a cell."""
    return not config.select or any(matches(name, glob) for glob in config.select)


def unmatched_globs(config: GateConfig, names: Iterable[str]) -> tuple[str, ...]:
    """Return the globs that match no cell of either side: misspelt, or no longer needed."""
    cells = tuple(names)
    globs = (*config.select, *(cell.glob for cell in config.cells), *config.allow_vanished)
    return tuple(g for g in dict.fromkeys(globs) if not any(matches(name, g) for name in cells))
