"""What may be set for a gate, the defaults, how `gate.toml` is read."""

import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath
from typing import Any

import msgspec

from indoor.errors import IndoorError
from indoor.gate.wording import matches

FILE_NAME = "gate.toml"

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array | null": "a list",
    "str": "text",
    "str | null": "text",
    "float | null": "a number",
    "array": "a list",
    "object": "a table",
    "Object missing required field glob": "a table with a glob",
}
"""How TOML's users call what msgspec names."""


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """The rules of a run: fixed before the first pair, stored with the result.

    A slowdown is candidate time / baseline time - 1. Cells that are not shown to be less than
    `tolerance` slower take a rung of `wider` once the minutes are used; up to the rung `accepted`
    that is a PASS, with `strict` none of them is (`indoor.gate.limits`). `looks` are the numbers of
    launches after which cells are judged, rising. `alpha_fail` is the run's one-sided error for
    calling a cell slower (or faster) than the margin, over all cells and looks; `alpha_pass` is a
    cell's one-sided error for a PASS, over all looks; `alpha_instrument` is that of the A/A arm and
    of the control, each and over all looks.
    """

    margin: float = 0.01
    tolerance: float = 0.03
    wider: tuple[float, ...] = (0.05, 0.10)
    accepted: float = 0.05
    strict: bool = False
    looks: tuple[int, ...] = (6, 10, 16, 24, 36)
    num_confirming: int = 4
    alpha_fail: float = 0.01
    alpha_pass: float = 0.025
    alpha_instrument: float = 0.01
    launch_s: float = 2.0
    min_pairs: int = 4
    max_pairs: int = 40
    max_minutes: float = 12.0

    @property
    def cells_s(self) -> float:
        """Seconds of a launch for all its cells, so that the middle look comes in time."""
        return 60 * self.max_minutes / self.looks[len(self.looks) // 2]


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
    wider: tuple[float, ...] | None = None
    accepted: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """The rules of a gate, checked.

    Globs are matched with node ids such as `bench/test_latency.py::test_latency[int8-1]`; `*` and
    `?` are the only signs with a meaning (see `matches`).
    """

    plan: PlanRules = field(default_factory=PlanRules)
    suite: str = "bench"
    """The suite's folder or file, from the tree's root."""
    paths: tuple[str, ...] = ()
    """Folders with code to import, from the tree's root, where that finds it neither there nor in
    the suite's own project."""
    select: tuple[str, ...] = ()
    """Globs of the cells that are gated; empty for all."""
    arguments: tuple[str, ...] = ()
    """Words that pytest gets as well, on both sides."""
    prepare: str | None = None
    """A shell's command that is run in each tree first; `{python}` is the side's Python."""
    own_environment: bool = False
    """Whether each side has a virtual environment of its own for `prepare` to install into."""
    copy: tuple[str, ...] = ()
    """Files, folders or globs that git ignores, from the root: worktrees get the working tree's."""
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


def load_config(
    path: Path | None, suite: Path | None = None, *, root: Path | None = None
) -> GateConfig:
    """Read the gate's settings.

    Args:
        path: The file that the user named; it must exist. Without it, a `gate.toml` in the suite's
            folder is read if there is one.
        suite: The suite that the user named, from the working directory; it beats the file's own.
            None for the file's, or `bench`.
        root: The tree that the suite lies in; None for the working directory.

    Returns:
        The settings; the suite is relative to `root`, so that it can be found on both sides.

    Raises:
        IndoorError: The suite lies elsewhere, the file cannot be read, or a key, a type or a value
            in it is wrong.
    """
    root = (root or Path()).resolve()
    inside = suite_within(root, suite) if suite is not None else None
    if path is None:
        place = root / (inside or GateConfig.suite)
        beside = (place if place.is_dir() else place.parent) / FILE_NAME
        path = beside if beside.is_file() else None
    where = str(path) if path is not None else "the gate's settings"
    return parse_config(_read(path) if path is not None else "", where, inside)


def parse_config(text: str, where: str, suite: str | None = None) -> GateConfig:
    """Return the settings that a gate.toml's text names.

    Args:
        text: The file's.
        where: How a message names the file.
        suite: What beats the file's own suite, from the tree's root; None for nothing.

    Raises:
        IndoorError: It is not TOML, or a key, a type or a value in it is wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise IndoorError(
            f"{where} is not TOML: {error}; expected lines such as select = ['bench/*']; correct it"
        ) from error
    if suite is not None:
        table["suite"] = suite
    _refuse_unknown(table, where)
    try:
        config = msgspec.convert(table, GateConfig)
    except msgspec.ValidationError as error:
        raise IndoorError(_mistyped(table, where, str(error))) from error
    check_config(config, where)
    return config


def suite_within(root: Path, suite: Path) -> str:
    """Return a suite's path from the tree's root; IndoorError where it lies elsewhere."""
    # The suite itself may be a link within the tree; it is found under its own name on both sides.
    place = suite.parent.resolve() / suite.name
    if not place.is_relative_to(root):
        raise IndoorError(
            f"the suite {suite} lies outside {root}; expected a folder or file of the code that is "
            "compared, so that each side has its own; name one with --suite"
        )
    return place.relative_to(root).as_posix()


def check_config(config: GateConfig, where: str) -> None:
    """Raise IndoorError where a value cannot be worked with; `where` names who said it."""
    for key, value, expected in _faults(config):
        raise IndoorError(f"{where}: {key} is {value!r}; expected {expected}; correct it")


def selects(config: GateConfig, name: str) -> bool:
    """Tell whether the gate measures a cell."""
    return not config.select or any(matches(name, glob) for glob in config.select)


def unmatched_globs(config: GateConfig, names: Iterable[str]) -> tuple[str, ...]:
    """Return the globs that match no cell of either side: misspelt, or no longer needed."""
    cells = tuple(names)
    globs = (*config.select, *(cell.glob for cell in config.cells), *config.allow_vanished)
    return tuple(g for g in dict.fromkeys(globs) if not any(matches(name, g) for name in cells))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror or error}; expected the gate's settings; check "
            "the path, or leave --config out for the defaults"
        ) from error
    except UnicodeDecodeError as error:
        raise IndoorError(
            f"{path} is not TOML: {error}; expected text in UTF-8; correct it"
        ) from error


def _refuse_unknown(table: Mapping[str, Any], where: str) -> None:
    """Refuse keys that no setting has: a misspelt margin must not gate with the default."""
    parts: list[tuple[str, Any, type]] = [
        ("", table, GateConfig),
        ("plan.", table.get("plan"), PlanRules),
        ("accuracy.", table.get("accuracy"), AccuracyRules),
    ]
    cells = table.get("cells")
    if isinstance(cells, list):
        parts += [(f"cells[{i}].", cell, CellOverride) for i, cell in enumerate(cells)]
    for prefix, part, kind in parts:
        known = [one.name for one in fields(kind)]
        for key in part if isinstance(part, dict) else ():
            if key not in known:
                raise IndoorError(
                    f"{where}: {prefix}{key} = {part[key]!r} is no setting; expected one of "
                    f"{', '.join(known)}; correct the name or remove it"
                )


def _mistyped(table: Mapping[str, Any], where: str, problem: str) -> str:
    """Put msgspec's words into ours: "Expected `int`, got `str` - at `$.plan.looks[0]`"."""
    said, _, place = problem.partition(" - at ")
    key = place.strip("`").removeprefix("$").removeprefix(".")
    value: Any = table
    for step in re.findall(r"\w+", key):
        value = value[int(step)] if isinstance(value, list) else value.get(step)
    kind = said.removeprefix("Expected ").split(", got")[0].replace("`", "")
    expected = _KINDS.get(kind, kind)
    return f"{where}: {key.replace('[...]', '')} is {value!r}; expected {expected}; correct it"


def _faults(config: GateConfig) -> Iterator[tuple[str, object, str]]:
    """Yield what the plan cannot work with: the key, its value, and what it must be."""
    yield from _plan_faults(config.plan)
    for key, value in {
        "accuracy.max_drop": config.accuracy.max_drop,
        "peak_memory_tolerance": config.peak_memory_tolerance,
    }.items():
        if not 0 < value < 1:
            yield key, value, "a share between 0 and 1, such as 0.02"
    for key, value in {
        "accuracy.budget_s": config.accuracy.budget_s,
        "hang_s": config.hang_s,
        "start_s": config.start_s,
    }.items():
        if not 0 < value < math.inf:
            yield key, value, "seconds, more than 0"
    places = {"suite": config.suite, "facts": config.facts}
    for name, many in {"paths": config.paths, "copy": config.copy}.items():
        places |= {f"{name}[{index}]": place for index, place in enumerate(many)}
    for key, place in places.items():
        if place is not None and (
            not place or PurePath(place).is_absolute() or ".." in PurePath(place).parts
        ):
            yield key, place, "a path from the root of the code, without .."
    if config.prepare is not None and (not config.prepare.strip() or "\0" in config.prepare):
        yield "prepare", config.prepare, "a command, as a shell takes it"
    if config.own_environment and config.prepare is None:
        yield "own_environment", True, "a command in prepare that installs something into it"
    for index, cell in enumerate(config.cells):
        yield from _override_faults(f"cells[{index}]", cell)
    for name, text in config.environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or "\0" in text:
            yield f"environment.{name}", text, "NAME = 'text', as a shell takes it"


def _plan_faults(plan: PlanRules) -> Iterator[tuple[str, object, str]]:
    if not 0 < plan.margin < 1:
        yield "plan.margin", plan.margin, "a share between 0 and 1, such as 0.01"
    if not plan.margin < plan.tolerance < 1:
        yield "plan.tolerance", plan.tolerance, f"above the margin ({plan.margin:g}), below 1"
    yield from _rung_faults("plan", plan.wider, plan.accepted)
    looks = plan.looks
    rising = all(early < late for early, late in itertools.pairwise(looks))
    if not looks or looks[0] < 2 or not rising:
        yield "plan.looks", list(looks), "rising numbers of launches from 2 on, as [6, 10, 16]"
    if plan.num_confirming < 2:
        yield "plan.num_confirming", plan.num_confirming, "2 launches or more"
    for key in ("alpha_fail", "alpha_pass", "alpha_instrument"):
        if not 0 < getattr(plan, key) < 0.5:
            yield f"plan.{key}", getattr(plan, key), "an error rate between 0 and 0.5"
    if plan.min_pairs < 1:
        yield "plan.min_pairs", plan.min_pairs, "1 pair or more"
    if plan.max_pairs < plan.min_pairs:
        yield "plan.max_pairs", plan.max_pairs, f"min_pairs ({plan.min_pairs}) or more"
    for key in ("launch_s", "max_minutes"):
        if not 0 < getattr(plan, key) < math.inf:
            yield f"plan.{key}", getattr(plan, key), "a time, more than 0"


def _override_faults(key: str, cell: CellOverride) -> Iterator[tuple[str, object, str]]:
    """Judge an override by itself: what it leaves out may come from a test's mark."""
    limits = (cell.margin, cell.tolerance, cell.wider, cell.accepted)
    if not cell.glob or all(limit is None for limit in limits):
        yield key, cell, "a glob and a margin, a tolerance, wider ones or an accepted one"
    for name in ("margin", "tolerance"):
        value = getattr(cell, name)
        if value is not None and not 0 < value < 1:
            yield f"{key}.{name}", value, "a share between 0 and 1, such as 0.02"
    if cell.margin is not None and cell.tolerance is not None and cell.margin >= cell.tolerance:
        yield f"{key}.tolerance", cell.tolerance, f"above the margin ({cell.margin:g})"
    yield from _rung_faults(key, cell.wider or (), cell.accepted)


def _rung_faults(
    key: str, wider: tuple[float, ...], accepted: float | None
) -> Iterator[tuple[str, object, str]]:
    shares = {f"{key}.wider[{index}]": rung for index, rung in enumerate(wider)}
    if accepted is not None:
        shares[f"{key}.accepted"] = accepted
    for name, rung in shares.items():
        if not 0 < rung < 1:
            yield name, rung, "a share between 0 and 1, such as 0.05"
