"""Lets each side prepare what its suite needs, and compares what needs no clock."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from indoor.gate.facts.accuracy import Predictions, compare_predictions, load_predictions
from indoor.gate.facts.comparison import compare_facts, merge_checks, variants_to_predict
from indoor.gate.facts.sheets import Facts, load_facts
from indoor.gate.records import CheckReport, GateVerdict
from indoor.gate.sides.opening import Sides
from indoor.gate.worker import Collected, LaunchRules
from indoor.measure.process import lacking_space, run_logged, telling_lines

SIDES = ("base", "head")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How both sides are to be called from now on, and what comparing them without a clock gave.

    `is_ready` is False where base cannot be prepared, for `reason`.
    """

    checks: tuple[CheckReport, ...] = ()
    homes: Mapping[str, Path | None] = field(default_factory=lambda: dict.fromkeys(SIDES))
    words: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(SIDES, ()))
    is_ready: bool = True
    reason: str = ""


class _FailedError(Exception):
    """A side whose facts could not be collected."""

    def __init__(self, reason: str, *, killed: bool) -> None:
        super().__init__(reason)
        self.killed = killed


def prepare_sides(
    sides: Sides,
    collected: Mapping[str, Collected],
    rules: LaunchRules,
    say: Callable[[str], None],
) -> Preparation:
    """Have base prepare, then head with base's data and checkpoint, and compare their facts.

    A suite without a facts plugin prepares in each launch what it needs, and has no checks.

    Raises:
        IndoorError: The facts cannot be read.
    """
    homes: dict[str, Path | None] = dict.fromkeys(SIDES)
    if sides.needs_home():
        homes = {name: sides.home(name, collected[name]) for name in SIDES}
    if not sides.has_facts():
        return Preparation(homes=homes)
    words: dict[str, tuple[str, ...]] = {"base": (), "head": ()}
    facts: dict[str, Facts] = {}
    for name in SIDES:
        say(f"preparing {name}, and looking at what needs no clock")
        try:
            folder = _collect(sides, name, words[name], homes[name], rules.start_s, "prepare")
        except _FailedError as failed:
            if name == "base" or failed.killed:
                reason = f"{name} cannot be prepared: {failed}"
                return Preparation(homes=homes, is_ready=False, reason=reason)
            return Preparation(homes=homes, checks=(_unprepared(str(failed)),))
        facts[name] = load_facts(folder)
        if name == "base":
            words["head"] = tuple(facts["base"].sheet.share)
    config = sides.job.config
    checks = compare_facts(
        facts["base"], facts["head"], peak_memory_tolerance=config.peak_memory_tolerance
    )
    variants = variants_to_predict(facts["base"], facts["head"])
    if variants:
        say(f"the logits of {', '.join(variants)} differ: comparing accuracies")
        predictions: dict[str, Predictions] = {}
        budget_s = config.accuracy.budget_s / len(SIDES)
        for name in SIDES:
            extra = {
                "INDOOR_GATE_FACTS_BUDGET_S": str(budget_s),
                "INDOOR_GATE_FACTS_VARIANTS": ",".join(variants),
            }
            try:
                timeout_s = rules.start_s + budget_s
                folder = _collect(
                    sides, name, words[name], homes[name], timeout_s, "predictions", extra
                )
            except _FailedError as failed:
                reason = f"{name} cannot predict: {failed}"
                return Preparation(homes=homes, checks=checks, is_ready=False, reason=reason)
            predictions[name] = load_predictions(folder)
        later = compare_predictions(
            predictions["base"],
            predictions["head"],
            variants,
            max_drop=config.accuracy.max_drop,
        )
        checks = merge_checks(checks, later)
    return Preparation(checks=checks, homes=homes, words=words)


def _collect(
    sides: Sides,
    name: str,
    words: tuple[str, ...],
    home: Path | None,
    timeout_s: float,
    mode: str,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Run the facts plugin in one side's own process, and return the folder it wrote to."""
    folder = sides.scratch / f"{mode}-{name}"
    folder.mkdir()
    arm = sides.facts_arm(name, words, home)
    environment = {
        "INDOOR_GATE_FACTS_OUT": str(folder),
        "INDOOR_GATE_FACTS_MODE": mode,
        **(extra or {}),
    }
    log = folder / "log.txt"
    status = run_logged(
        arm.command(),
        log=log,
        folder=arm.root,
        environment=arm.variables(environment),
        timeout_s=timeout_s,
    )
    if status is None:
        raise _FailedError(f"it took longer than {timeout_s:g} s", killed=True)
    if status != 0 or not any(folder.glob("*.npz")):
        lines = " / ".join(telling_lines(log))
        # Nobody's code got worse; a log on the same disk may not even hold the words.
        is_full = os.strerror(errno.ENOSPC) in lines or bool(lacking_space(log))
        raise _FailedError(f"exit status {status}: {lines}", killed=status < 0 or is_full)
    return folder


def _unprepared(reason: str) -> CheckReport:
    return CheckReport(
        name="preparation",
        verdict=GateVerdict.FAIL,
        base="prepared",
        head="not prepared",
        reason=reason,
    )
