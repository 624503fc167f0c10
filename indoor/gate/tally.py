"""What a gate run has found so far, and the report of it at any moment."""

import datetime
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from indoor.gate.decide.decisions import CellDecision, advice, report_cell
from indoor.gate.decide.verdicts import combine
from indoor.gate.limits import CellRules
from indoor.gate.records import (
    GATE_SCHEMA_VERSION,
    CellReport,
    CellTrace,
    ChangedTest,
    CheckReport,
    ErrorBudget,
    GatedVariant,
    GateReport,
    GateVerdict,
    InstrumentReport,
    LaunchTrace,
    SideIdentity,
)
from indoor.gate.sides.setup import GateJob, Sides
from indoor.gate.worker import Collected
from indoor.machine import num_usable_cores
from indoor.machine.processor import read_processor


class Tally:
    """Collects; `report` may be asked at any time, also after something broke."""

    def __init__(self, job: GateJob) -> None:
        self._job = job
        self._began_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._notes: list[str] = []
        self._broken: str | None = None
        self._traces: dict[str, list[LaunchTrace]] = {}
        self._iterations: dict[str, int] = {}
        self.sides: Sides | None = None
        self.collected: dict[str, Collected] = {}
        self.rules: dict[str, CellRules] = {}
        self.checks: list[CheckReport] = []
        self.variants: tuple[GatedVariant, ...] = ()
        self.vanished: tuple[str, ...] = ()
        self.new: tuple[str, ...] = ()
        self.budget: ErrorBudget | None = None
        self.rule_changes: tuple[str, ...] = job.rule_changes
        self.changed: tuple[ChangedTest, ...] = ()
        self.decisions: dict[str, CellDecision] = {}
        self.broken_cells: dict[str, CellReport] = {}
        """Cells that their failing tests decided."""
        self.skipped: set[str] = set()
        """Cells that leave the report, since both sides skip them."""
        self.instrument = InstrumentReport(again=(), control=None, max_idle_share=None, findings=())
        self.doubt: str | None = None
        """Why the run cannot be conclusive although nothing broke."""
        self.prepare_s = 0.0
        self.measure_s = 0.0

    def note(self, line: str) -> None:
        """Keep a line for the report, once."""
        if line not in self._notes:
            self._notes.append(line)
            self._job.say(line)

    def break_off(self, reason: str) -> None:
        """Mark the run as partial; the first reason counts."""
        self._broken = self._broken or reason

    def add_trace(self, cell: str, iterations: int, trace: LaunchTrace) -> None:
        """Keep one launch's rounds of a cell."""
        self._iterations[cell] = iterations
        self._traces.setdefault(cell, []).append(trace)

    def pairs(self, arm: str, cells: Iterable[str]) -> dict[str, list[np.ndarray]]:
        """Return the log-ratios of an arm over base, by cell and launch."""
        return {
            cell: [log_ratios(t, arm) for t in self._traces.get(cell, ()) if arm in t.seconds]
            for cell in cells
        }

    def idle_shares(self) -> dict[str, list[float]]:
        """Return what the waiting workers computed, as shares of the rounds, by cell and launch."""
        known = {
            cell: [trace.idle_share for trace in traces if trace.idle_share is not None]
            for cell, traces in self._traces.items()
        }
        return {cell: shares for cell, shares in known.items() if shares}

    def report(self, *, unfinished: bool = False) -> GateReport:
        """Return all that is known; `unfinished` where the run still goes on."""
        partial = unfinished or self._broken is not None
        cells = tuple(self._cell(name) for name in self.rules if name not in self.skipped)
        verdict, reason = combine(
            cells,
            self.checks,
            vanished=self.vanished,
            allowed=(*self._job.config.allow_vanished, *self._job.head_allows),
            instrument=self.instrument,
            partial=partial,
        )
        if unfinished and self._broken is None and verdict is not GateVerdict.FAIL:
            reason = "not finished: it still runs, or it was killed"
        elif verdict is GateVerdict.INCONCLUSIVE:
            reason = self._broken or self.doubt or reason
        return GateReport(
            schema_version=GATE_SCHEMA_VERSION,
            verdict=verdict,
            reason=reason,
            partial=partial,
            base=self._identity("base"),
            head=self._identity("head"),
            cpu_model=read_processor(platform.system(), Path("/")).model or "unknown",
            num_cores=num_usable_cores(),
            system=platform.platform(),
            began_at=self._began_at,
            prepare_s=round(self.prepare_s, 2),
            measure_s=round(self.measure_s, 2),
            plan=self._job.config.plan,
            seed=self._job.seed,
            cells=cells,
            checks=tuple(self.checks),
            vanished=self.vanished,
            new=self.new,
            instrument=self.instrument,
            traces=tuple(
                CellTrace(name=name, iterations=self._iterations[name], launches=tuple(launches))
                for name, launches in self._traces.items()
            ),
            notes=tuple(self._notes),
            variants=self.variants,
            budget=self.budget,
            rule_changes=self.rule_changes,
            changed=self.changed,
            changes_accepted=self._job.accept_changed,
        )

    def _cell(self, name: str) -> CellReport:
        if name in self.broken_cells:
            return self.broken_cells[name]
        rules, traces = self.rules[name], self._traces.get(name, [])
        decision = self.decisions.get(name)
        if decision is None:
            reason = "not decided before the run ended" if traces else "not measured"
            return report_cell(name, GateVerdict.INCONCLUSIVE, reason, rules)
        base = [s for trace in traces for s in trace.seconds["base"]]
        return report_cell(
            name,
            decision.verdict,
            decision.reason,
            rules,
            decision.summary,
            advice=advice(decision),
            rung=decision.rung,
            slowdown_at_least=decision.slowdown_at_least,
            slowdown_at_most=decision.slowdown_at_most,
            base_s=statistics.median(base) if decision.summary else None,
        )

    def _identity(self, name: str) -> SideIdentity:
        tree = self.sides and self.sides.tree(name)
        collected = self.collected.get(name)
        return SideIdentity(
            label=tree.label if tree else "unknown",
            commit=tree.commit if tree else None,
            commit_unknown=tree.unknown if tree else None,
            dirty=tree.dirty if tree else None,
            python=collected.python if collected else "unknown",
            packages=collected.packages if collected else {},
        )


def log_ratios(trace: LaunchTrace, arm: str) -> np.ndarray:
    """Return ln(arm's seconds / base's) of the pairs, float64 `(num_pairs,)`."""
    ours, base = (np.asarray(trace.seconds[name], dtype=np.float64) for name in (arm, "base"))
    ratios: np.ndarray = np.log(ours) - np.log(base)
    return ratios
