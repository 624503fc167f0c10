"""Lets each side prepare what its suite needs, and compares what needs no clock."""

import errno
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from indoor.gate.decide.budget import share_out
from indoor.gate.facts.accuracy import compare_predictions
from indoor.gate.facts.comparison import (
    compare_facts,
    merge_checks,
    variants_to_predict,
    variants_with_peaks,
)
from indoor.gate.facts.memory import reproduce_memory
from indoor.gate.facts.sheets import Facts, Predictions, load_facts, load_peaks, load_predictions
from indoor.gate.records import CheckReport, ErrorBudget, GatedVariant, GateVerdict
from indoor.gate.sides.setup import FACTS_PLUGIN, Sides
from indoor.gate.worker import PLUGIN, Arm, Collected, LaunchRules
from indoor.measure.process import lacking_space, run_logged, telling_lines

SIDES = ("base", "head")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What comparing without a clock gave, and the prepared arms: base, head and base's copy.

    There are no arms where a side could not be prepared, for `reason` or by one of the checks.
    """

    checks: tuple[CheckReport, ...] = ()
    variants: tuple[GatedVariant, ...] = ()
    arms: tuple[Arm, ...] = ()
    reason: str = ""
    budget: ErrorBudget | None = None
    """None where the comparison did not come so far."""


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
    words: dict[str, tuple[str, ...]] = dict.fromkeys(SIDES, ())

    def arm(name: str, plugins: tuple[str, ...] = (PLUGIN,)) -> Arm:
        side = "head" if name == "head" else "base"
        return sides.arm(name, words[side], homes[side], plugins)

    def collect(name: str, mode: str, timeout_s: float, **extra: str) -> Path:
        folder = sides.scratch / f"{mode}-{name}"
        _collect(arm(name, (PLUGIN, FACTS_PLUGIN)), folder, mode, timeout_s, extra)
        return folder

    config = sides.job.config
    budget = share_out(config.plan.alpha_fail, asks_accuracy=False, asks_memory=False)
    checks: tuple[CheckReport, ...] = ()
    described: tuple[GatedVariant, ...] = ()
    if sides.has_facts():
        facts: dict[str, Facts] = {}
        for name in SIDES:
            say(f"preparing {name}, and looking at what needs no clock")
            try:
                facts[name] = load_facts(collect(name, "prepare", rules.start_s))
            except _FailedError as failed:
                if name == "base" or failed.killed:
                    return Preparation(reason=f"{name} cannot be prepared: {failed}")
                return Preparation(checks=(_unprepared(str(failed)),))
            if name == "base":
                words["head"] = tuple(facts["base"].sheet.share)
        checks = compare_facts(
            facts["base"], facts["head"], peak_memory_tolerance=config.peak_memory_tolerance
        )
        described = tuple(
            GatedVariant(name=name, runtime=v.runtime, precision=v.precision, device=v.device)
            for name, v in facts["head"].variants.items()
        )
        variants = variants_to_predict(facts["base"], facts["head"])
        measured = variants_with_peaks(facts["base"], facts["head"])
        budget = share_out(
            config.plan.alpha_fail, asks_accuracy=bool(variants), asks_memory=bool(measured)
        )

        def measure(name: str, turn: int) -> dict[str, int]:
            say(f"measuring the peak memory of {name} again")
            try:
                folder = collect(
                    name,
                    f"memory{turn}",
                    rules.start_s,
                    INDOOR_GATE_FACTS_MODE="memory",
                    INDOOR_GATE_FACTS_VARIANTS=",".join(measured),
                )
            except _FailedError as failed:
                say(f"it cannot be measured: {failed}")
                return {}
            return load_peaks(folder)

        checks = reproduce_memory(
            checks,
            measured,
            measure,
            tolerance=config.peak_memory_tolerance,
            alpha=budget.memory,
            order=random.Random(sides.job.seed),
        )
        if variants:
            say(f"the logits of {', '.join(variants)} differ: comparing accuracies")
            budget_s = config.accuracy.budget_s / len(SIDES)
            predictions: dict[str, Predictions] = {}
            for name in SIDES:
                try:
                    folder = collect(
                        name,
                        "predictions",
                        rules.start_s + budget_s,
                        INDOOR_GATE_FACTS_BUDGET_S=str(budget_s),
                        INDOOR_GATE_FACTS_VARIANTS=",".join(variants),
                    )
                except _FailedError as failed:
                    reason = f"{name} cannot predict: {failed}"
                    return Preparation(checks=checks, variants=described, reason=reason)
                predictions[name] = load_predictions(folder)
            later = compare_predictions(
                predictions["base"],
                predictions["head"],
                variants,
                alpha=budget.accuracy,
                max_drop=config.accuracy.max_drop,
            )
            checks = merge_checks(checks, later)
    arms = (arm("base"), arm("head"), arm("again"))
    return Preparation(checks=checks, variants=described, arms=arms, budget=budget)


def _collect(arm: Arm, folder: Path, mode: str, timeout_s: float, extra: Mapping[str, str]) -> None:
    """Run the facts plugin in one side's own process, which writes to the folder."""
    folder.mkdir()
    environment = {
        "INDOOR_GATE_FACTS_OUT": str(folder),
        "INDOOR_GATE_FACTS_MODE": mode,
        **extra,
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


def _unprepared(reason: str) -> CheckReport:
    return CheckReport(
        name="preparation",
        verdict=GateVerdict.FAIL,
        base="prepared",
        head="not prepared",
        reason=reason,
    )
