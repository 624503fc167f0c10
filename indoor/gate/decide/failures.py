"""What a test that does not pass means: head is broken, it is flaky, or nobody is to blame."""

from collections import Counter
from collections.abc import Collection, Sequence

from indoor.gate.progress import Progress
from indoor.gate.records import CellReport, GateVerdict
from indoor.gate.worker import Arm, CellFailure, LaunchRules, passes_without_other_sides

MAX_FAILURES = 2
"""A test that failed in so many fresh workers, and passed in none, does not fail by chance."""

MAX_FLAKY = 0.25
"""The share of launches in which a test may fail that passes in others, from 2 failures on."""


class Failures:
    """Counts the tests that did not pass, and tells `progress` what that means."""

    def __init__(self, progress: Progress, head: Arm, rules: LaunchRules) -> None:
        self._progress = progress
        self._head = head
        self._rules = rules
        self._num_failed: Counter[tuple[str, str]] = Counter()

    def judge(self, failures: Sequence[CellFailure], cells: Collection[str]) -> frozenset[str]:
        """Return the cells that leave the plan since their tests do not pass, judged.

        Args:
            failures: Those of one launch, whose traces are kept already.
            cells: The cells that were asked for; a failure of another is of the A/A arm alone.
        """
        skipped = self._leave_out_skipped(failures, cells)
        return skipped | frozenset(
            name
            for failure in failures
            if failure.cell in cells
            and failure.cell not in skipped
            and (name := self._judge(failure))
        )

    def _leave_out_skipped(
        self, failures: Sequence[CellFailure], cells: Collection[str]
    ) -> frozenset[str]:
        """Return the cells that both sides skip here: there is nothing to compare, nor to doubt."""
        arms: dict[str, set[str]] = {}
        for failure in failures:
            if failure.outcome == "skipped" and failure.cell in cells:
                arms.setdefault(failure.cell, set()).add(failure.arm)
        measured = self._progress.pairs("head", arms)
        skipped = frozenset(
            cell for cell, by in arms.items() if {"base", "head"} <= by and not measured[cell]
        )
        for failure in failures:
            if failure.cell in skipped and failure.arm == "head":
                del self._progress.rules[failure.cell]
                self._progress.note(
                    f"{failure.cell} is skipped on both sides, so it was not compared: "
                    f"{failure.message}"
                )
        return skipped

    def _judge(self, failure: CellFailure) -> str | None:
        """Return the cell if it leaves the plan, judged; a flaky test does not."""
        cell, rules = failure.cell, self._progress.rules[failure.cell]
        side = "head" if failure.arm == "head" else "base"
        self._num_failed[cell, side] += 1
        num_failed = self._num_failed[cell, side]
        num_passed = len(self._progress.pairs("head", (cell,))[cell])
        is_flaky = num_failed < MAX_FAILURES or num_failed <= MAX_FLAKY * num_passed
        if is_flaky:
            self._progress.note(f"{cell} failed on {side}: {failure.message}")
            return None
        if num_passed:
            verdict = GateVerdict.INCONCLUSIVE
            words = f"in {num_failed} of {num_failed + num_passed} fresh workers"
        elif side == "head" and self._needs_a_machine_of_its_own(failure):
            verdict = GateVerdict.INCONCLUSIVE
            words = "beside base's worker and passes alone; both may want one port, file or lock"
        elif side == "head":
            verdict, words = GateVerdict.FAIL, f"in {MAX_FAILURES} fresh workers"
        else:
            verdict, words = GateVerdict.INCONCLUSIVE, "so there is nothing to compare with"
        said = {"missing": "is missing", "skipped": "is skipped", "untimed": "times nothing"}
        what = said.get(failure.outcome, "fails")
        # Base's own trouble is known even if head failed in the same launch, and counts first.
        known = self._progress.broken_cells.get(cell)
        if known is None or known.verdict is GateVerdict.FAIL:
            self._progress.broken_cells[cell] = CellReport(
                name=cell,
                verdict=verdict,
                reason=f"its test {what} on {side}, {words}: {failure.message}",
                margin=rules.margin,
                tolerance=rules.tolerance,
                advice=f"run pytest on it in {side}'s tree",
            )
        return cell

    def _needs_a_machine_of_its_own(self, failure: CellFailure) -> bool:
        return failure.outcome == "failed" and passes_without_other_sides(
            self._head, failure.cell, self._rules
        )
