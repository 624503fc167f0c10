"""How a gate's settings are read from `gate.toml` and checked, before anything is prepared."""

import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

import msgspec

from indoor.errors import IndoorError
from indoor.gate.records import PlanRecord
from indoor.gate.settings import (
    AccuracyRules,
    CellOverride,
    GateConfig,
)

_FILE_NAME = "gate.toml"

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "str | null": "text",
    "float | null": "a number",
    "array": "a list",
    "object": "a table",
    "Object missing required field glob": "a table with a glob",
}
"""How TOML's users call what msgspec names."""


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
    inside = _inside(root, suite) if suite is not None else None
    if path is None:
        place = root / (inside or GateConfig.suite)
        beside = (place if place.is_dir() else place.parent) / _FILE_NAME
        path = beside if beside.is_file() else None
    table = _read(path) if path is not None else {}
    if inside is not None:
        table["suite"] = inside
    where = str(path) if path is not None else "the gate's settings"
    _refuse_unknown(table, where)
    try:
        config = msgspec.convert(table, GateConfig)
    except msgspec.ValidationError as error:
        raise IndoorError(_mistyped(table, where, str(error))) from error
    for key, value, expected in _faults(config):
        raise IndoorError(f"{where}: {key} is {value!r}; expected {expected}; correct it")
    return config


def _inside(root: Path, suite: Path) -> str:
    # The suite itself may be a link within the tree; it is found under its own name on both sides.
    place = suite.parent.resolve() / suite.name
    if not place.is_relative_to(root):
        raise IndoorError(
            f"the suite {suite} lies outside {root}; expected a folder or file of the code that is "
            "compared, so that each side has its own; name one with --suite"
        )
    return place.relative_to(root).as_posix()


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror or error}; expected the gate's settings; check "
            "the path, or leave --config out for the defaults"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IndoorError(
            f"{path} is not TOML: {error}; expected lines such as select = ['bench/*']; correct it"
        ) from error


def _refuse_unknown(table: Mapping[str, Any], where: str) -> None:
    """Refuse keys that no setting has: a misspelt margin must not gate with the default."""
    parts: list[tuple[str, Any, type]] = [
        ("", table, GateConfig),
        ("plan.", table.get("plan"), PlanRecord),
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
    places |= {f"paths[{index}]": place for index, place in enumerate(config.paths)}
    for key, place in places.items():
        if place is not None and (
            not place or PurePath(place).is_absolute() or ".." in PurePath(place).parts
        ):
            yield key, place, "a path from the root of the code, without .."
    for index, cell in enumerate(config.cells):
        yield from _override_faults(f"cells[{index}]", cell)
    for name, text in config.environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or "\0" in text:
            yield f"environment.{name}", text, "NAME = 'text', as a shell takes it"


def _plan_faults(plan: PlanRecord) -> Iterator[tuple[str, object, str]]:
    if not 0 < plan.margin < 1:
        yield "plan.margin", plan.margin, "a share between 0 and 1, such as 0.01"
    if not plan.margin < plan.tolerance < 1:
        yield "plan.tolerance", plan.tolerance, f"above the margin ({plan.margin:g}), below 1"
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
    if not cell.glob or (cell.margin is None and cell.tolerance is None):
        yield key, cell, "a glob and a margin, a tolerance or both"
    for name in ("margin", "tolerance"):
        value = getattr(cell, name)
        if value is not None and not 0 < value < 1:
            yield f"{key}.{name}", value, "a share between 0 and 1, such as 0.02"
    if cell.margin is not None and cell.tolerance is not None and cell.margin >= cell.tolerance:
        yield f"{key}.tolerance", cell.tolerance, f"above the margin ({cell.margin:g})"
