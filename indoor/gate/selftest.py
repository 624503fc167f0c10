"""Tries the gate on this machine: code that did not change, and code that is slower for sure."""

import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indoor.errors import IndoorError
from indoor.gate.records import GateReport, GateVerdict
from indoor.gate.trial_suite import write_suite
from indoor.measure.proportions import format_at_least, format_at_most, rate_at_least, rate_at_most
from indoor.report.blocks import Column, Grid
from indoor.report.text import as_text

RunGate = Callable[[Path, Path], GateReport]
"""Runs a whole gate on two trees: the baseline's root, the candidate's root."""


@dataclass(frozen=True, kw_only=True)
class GateOutcome:
    """How one gate of a self-test ended; `slowdown` is what its candidate was given."""

    slowdown: float
    verdict: GateVerdict
    reason: str
    measure_s: float


@dataclass(frozen=True, kw_only=True)
class SelfTestReport:
    """What the gate said of code whose truth is known."""

    slowdown: float
    gates: tuple[GateOutcome, ...]

    def verdicts(self, slowdown: float) -> Counter[GateVerdict]:
        """Return how often each verdict was given to candidates with that slowdown."""
        return Counter(gate.verdict for gate in self.gates if gate.slowdown == slowdown)

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against trusting the gate here, each with its remedy; empty: nothing."""
        same, slower = self.verdicts(0.0), self.verdicts(self.slowdown)
        findings = []
        if num_wrong := same[GateVerdict.FAIL]:
            findings.append(
                f"{num_wrong} false alarms on identical code; raise the margin, or use a machine "
                "with less other work"
            )
        if num_wrong := same[GateVerdict.IMPROVED]:
            findings.append(
                f"identical code was called faster {num_wrong} times; raise the margin, or use a "
                "machine with less other work"
            )
        if num_missed := slower.total() - slower[GateVerdict.FAIL]:
            findings.append(
                f"{num_missed} of {slower.total()} slowdowns were not found; give the gate more "
                "minutes, or use a machine with less other work"
            )
        # Silence is no proof: a gate that never comes to a verdict has no false alarm either.
        if same[GateVerdict.PASS] * 2 < same.total():
            findings.append(
                f"only {same[GateVerdict.PASS]} of {same.total()} gates of identical code came to "
                "PASS; raise the tolerance, or use a machine with less other work"
            )
        return tuple(findings)

    @property
    def exit_status(self) -> int:
        """0 if nothing speaks against trusting the gate here, else 3."""
        return 3 if self.findings else 0


def self_test(
    run: RunGate,
    *,
    num_same: int = 20,
    num_slower: int = 5,
    slowdown: float = 0.05,
    seed: int = 0,
    say: Callable[[str], None] = lambda _line: None,
) -> SelfTestReport:
    """Run complete gates on a small suite of ordinary functions and count their verdicts.

    The slowdown is a number of repetitions of the same work, not a time, so it is as large on
    every machine. Both kinds of gates are shuffled, so that a busy quarter of an hour hits both.

    Args:
        run: Runs one gate on two trees; each as `write_suite` leaves it.
        num_same: Gates whose two trees are the same code, 1 or more.
        num_slower: Gates whose candidate is slower, 1 or more.
        slowdown: By how much, a multiple of 1%.
        seed: Decides the order.
        say: Hears a line after each gate.

    Raises:
        ValueError: A number of gates below 1, or a slowdown that is none or no multiple of 1%.
        IndoorError: A gate broke off, such as by Ctrl-C.
    """
    if num_same < 1 or num_slower < 1:
        raise ValueError(f"{num_same} and {num_slower} gates, expected 1 or more of each kind")
    if slowdown <= 0:
        raise ValueError(f"slowdown {slowdown}, expected more than 0")
    order = [0.0] * num_same + [slowdown] * num_slower
    random.Random(seed).shuffle(order)
    gates = []
    for number, amount in enumerate(order, 1):
        with tempfile.TemporaryDirectory(prefix="indoor-self-test-") as folder:
            base, head = Path(folder) / "base", Path(folder) / "head"
            write_suite(base)
            write_suite(head, amount)
            report = run(base, head)
        if report.partial:
            raise IndoorError(
                f"gate {number} of the self-test broke off: {report.reason}; expected a whole one, "
                "call it again"
            )
        gates.append(
            GateOutcome(
                slowdown=amount,
                verdict=report.verdict,
                reason=report.reason,
                measure_s=report.measure_s,
            )
        )
        say(f"gate {number} of {len(order)}, {_name(amount)}: {report.verdict} ({report.reason})")
    return SelfTestReport(slowdown=slowdown, gates=tuple(gates))


def render_self_test(report: SelfTestReport, *, width: int = 80, color: bool = False) -> str:
    """Return the verdicts as a table, with what so few gates prove, and what to do about it."""
    same, slower = report.verdicts(0.0), report.verdicts(report.slowdown)
    num_alarms, num_found = same[GateVerdict.FAIL], slower[GateVerdict.FAIL]
    table = Grid(
        columns=(
            Column("candidate", "left"),
            Column("gates"),
            *(Column(verdict.value) for verdict in GateVerdict),
        ),
        rows=tuple(
            (_name(amount), str(counts.total()), *(str(counts[v]) for v in GateVerdict))
            for amount, counts in ((0.0, same), (report.slowdown, slower))
        ),
    )
    at_most = format_at_most(rate_at_most(num_alarms, same.total()))
    at_least = format_at_least(rate_at_least(num_found, slower.total()))
    minutes = sum(gate.measure_s for gate in report.gates) / 60
    lines = [
        f"false alarms: {num_alarms} of {same.total()}; the true rate is at most {at_most} "
        "(95% confidence)",
        f"slowdowns found: {num_found} of {slower.total()}; the true rate is at least {at_least}",
        f"measured for {minutes:.1f} minutes",
        *(f"NOT TO BE TRUSTED HERE: {finding}" for finding in report.findings),
    ]
    if not report.findings:
        lines.append("Nothing speaks against trusting the gate on this machine.")
    return as_text([table], width=width, color=color) + "\n".join(lines) + "\n"


def _name(slowdown: float) -> str:
    return f"{slowdown:.0%} slower" if slowdown else "same code"
