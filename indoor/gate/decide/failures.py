"""What a test that does not pass means: head is broken, it is flaky, or nobody is to blame."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from indoor.gate.decide.decisions import report_cell
from indoor.gate.limits import CellRules
from indoor.gate.records import CellReport, GateVerdict
from indoor.gate.worker import CellFailure

MAX_FAILURES = 2
"""A test that failed in so many fresh workers, and passed in none, does not fail by chance."""

_NOTHING_COMPARED = {"skipped": "is skipped", "untimed": "times nothing"}
"""How a test ends of which there is nothing to compare, where it does so on both sides."""

MAX_FLAKY = 0.25
"""The share of launches in which a test may fail that passes in others, from 2 failures on."""


class Failures:
    """Counts the tests that did not pass; `broken` holds the cells of which that decides.

    Args:
        rules: The limits of each cell.
        passes_alone: Tells whether a cell's test passes on head without base's worker beside it.
        note: Hears one line for the report.
    """

    def __init__(
        self,
        rules: Mapping[str, CellRules],
        passes_alone: Callable[[str], bool],
        note: Callable[[str], None],
    ) -> None:
        self._rules = rules
        self._passes_alone = passes_alone
        self._note = note
        self._num_failed: Counter[tuple[str, str]] = Counter()
        self.broken: dict[str, CellReport] = {}
        self.skipped: set[str] = set()
        """Cells that both sides skip here, or do not time: nothing to compare, nor to doubt."""

    def judge(
        self, failures: Sequence[CellFailure], cells: Collection[str], num_passed: Mapping[str, int]
    ) -> frozenset[str]:
        """Return the cells that leave the plan since their tests do not pass.

        Args:
            failures: Those of one launch.
            cells: The cells that were asked for; a failure of another is of the A/A arm alone.
            num_passed: In how many launches, this one included, both sides of a cell passed.
        """
        ended: dict[str, dict[str, str]] = {}
        for failure in failures:
            ended.setdefault(failure.cell, {})[failure.arm] = failure.outcome
        dropped = set()
        for failure in failures:
            cell = failure.cell
            if cell not in cells:
                continue
            if failure.outcome == "limited":
                self._note(
                    f"{cell} has no more rounds than it asks for, so a launch times those alone "
                    f"(another one ends with {failure.message})"
                )
                continue
            where = _where_nothing_is(ended[cell])
            if where and not num_passed[cell]:
                what = _NOTHING_COMPARED[ended[cell]["base"]]
                if failure.arm == "base":
                    self._note(
                        f"{cell} {what} on {where}, so it was not compared: {failure.message}"
                    )
                self.skipped.add(cell)
                dropped.add(cell)
            elif self._decides(failure, num_passed[cell]):
                dropped.add(cell)
        return frozenset(dropped)

    def _decides(self, failure: CellFailure, num_passed: int) -> bool:
        """Return whether the cell leaves the plan, broken; that of a flaky test does not."""
        cell = failure.cell
        side = "head" if failure.arm == "head" else "base"
        self._num_failed[cell, side] += 1
        num_failed = self._num_failed[cell, side]
        if num_failed < MAX_FAILURES or num_failed <= MAX_FLAKY * num_passed:
            self._note(f"{cell} failed on {side}: {failure.message}")
            return False
        verdict = GateVerdict.INCONCLUSIVE
        if num_passed:
            words = f"in {num_failed} of {num_failed + num_passed} fresh workers"
        elif side == "base":
            words = "so there is nothing to compare with"
        elif failure.outcome == "missing":
            words = "though it was there before: each collection gives it another id"
        elif failure.outcome in ("failed", "lost") and self._passes_alone(cell):
            words = "beside base's worker and passes alone; both may want one port, file or lock"
        else:
            verdict, words = GateVerdict.FAIL, f"in {MAX_FAILURES} fresh workers"
        said = _NOTHING_COMPARED | {"missing": "is missing", "lost": "loses its worker"}
        what = said.get(failure.outcome, "fails")
        # Base's own trouble is known even if head failed in the same launch, and counts first.
        known = self.broken.get(cell)
        if known is None or known.verdict is GateVerdict.FAIL:
            self.broken[cell] = report_cell(
                cell,
                verdict,
                f"its test {what} on {side}, {words}: {failure.message}",
                self._rules[cell],
                advice=f"run pytest on it in {side}'s tree",
            )
        return True


def _where_nothing_is(ended: Mapping[str, str]) -> str:
    """Return where a test leaves nothing to compare, in words; empty: that is no reason.

    Args:
        ended: How the test of one launch ended, by arm, where it did not pass.
    """
    base, head = ended.get("base"), ended.get("head")
    if base in _NOTHING_COMPARED and base == head:
        return "both sides"
    return "base" if base == "untimed" and head is None else ""
