"""The stated share of false alarms holds for all that may raise one: time, accuracy, memory."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from gate_records import PASSED, gate

from indoor.gate.decide.budget import share_out
from indoor.gate.facts.accuracy import compare_predictions
from indoor.gate.facts.memory import num_repeats, reproduce_memory
from indoor.gate.facts.sheets import Predictions
from indoor.gate.records import CheckReport, ErrorBudget, GateVerdict
from indoor.gate.report import render_gate

MB = 10**6


@pytest.mark.parametrize("accuracy", [False, True])
@pytest.mark.parametrize("memory", [False, True])
def test_the_shares_add_up_to_what_is_stated(accuracy: bool, memory: bool) -> None:
    """What is not asked costs nothing, and the timings keep the rest."""
    budget = share_out(0.01, asks_accuracy=accuracy, asks_memory=memory)
    assert math.isclose(budget.timing + budget.accuracy + budget.memory, 0.01)
    assert (budget.accuracy > 0, budget.memory > 0) == (accuracy, memory)
    assert budget.timing >= 0.008
    assert budget.timing == 0.01 or accuracy or memory


def test_the_report_says_how_the_error_is_shared_out() -> None:
    """Where timings alone may raise an alarm there is nothing to say."""
    budget = ErrorBudget(timing=0.008, accuracy=0.001, memory=0.001)
    words = "1% of runs (timings 0.8%, accuracy 0.1%, peak memory 0.1%)"
    assert words in " ".join(render_gate(gate(PASSED, budget=budget)).split())
    for alone in (None, ErrorBudget(timing=0.01)):
        assert "1% of runs, a wrong" in " ".join(render_gate(gate(PASSED, budget=alone)).split())


@pytest.mark.parametrize(
    ("alpha", "variants", "number"), [(0.001, 1, 6), (0.001, 2, 7), (0.01, 2, 5), (0.4, 1, 2)]
)
def test_as_many_processes_as_the_error_asks_for(alpha: float, variants: int, number: int) -> None:
    """One order in C(2n, n) has all of head's peaks above base's, after one half for the first."""
    assert num_repeats(alpha, variants) == number
    assert variants / (2 * math.comb(2 * number, number)) <= alpha


def found(*names: str) -> tuple[CheckReport, ...]:
    """Return the checks of a comparison that found more memory in those variants, and a size."""
    size = CheckReport(name="size of a", verdict=GateVerdict.PASS, base="", head="", reason="same")
    red = replace(size, verdict=GateVerdict.FAIL, reason="+20%")
    return (size, *(replace(red, name=f"peak memory of {name}") for name in names))


def test_noise_is_called_more_memory_as_seldom_as_stated() -> None:
    """10,000 draws without a change, each after a first finding: at most twice the chance of 1%."""
    draws = random.Random(0)
    red = 0
    for _ in range(10_000):
        checks = reproduce_memory(
            found("a"),
            ("a",),
            lambda _side, _turn: {"a": int(draws.lognormvariate(0, 0.3) * 100 * MB)},
            tolerance=0.1,
            alpha=0.01,
            order=draws,
        )
        red += checks[1].verdict is GateVerdict.FAIL
    assert red / 10_000 < 0.02


@pytest.mark.parametrize(
    ("base", "head", "verdict", "turns"),
    [
        ([100] * 7, [120] * 7, GateVerdict.FAIL, 7),
        ([100] * 7, [105] * 7, GateVerdict.PASS, 7),
        ([100, 130], [120, 120], GateVerdict.PASS, 2),
        ([100, 100], [150, 100], GateVerdict.INCONCLUSIVE, 2),
        ([100], [], GateVerdict.INCONCLUSIVE, 1),
    ],
    ids=["more", "within the tolerance", "not above", "once", "lost"],
)
def test_more_memory_counts_where_every_fresh_process_says_so(
    base: list[int], head: list[int], verdict: GateVerdict, turns: int
) -> None:
    """The first that does not closes the question, and what was not measured proves nothing."""
    asked = []

    def measure(side: str, turn: int) -> dict[str, int]:
        asked.append(side)
        peaks = {"base": base, "head": head}[side]
        return {"a": peaks[turn] * MB} if turn < len(peaks) else {}

    checks = reproduce_memory(
        found("a"), ("a", "b"), measure, tolerance=0.1, alpha=0.001, order=random.Random(0)
    )
    assert checks[0] == found("a")[0]
    assert checks[1].verdict is verdict, checks[1].reason
    assert checks[1].reason.startswith("+20%; ")
    assert len(asked) == 2 * turns


def test_nothing_is_measured_again_where_it_decides_nothing() -> None:
    """Without a finding, or beside one that has no noise."""
    larger = (replace(found()[0], verdict=GateVerdict.FAIL), *found("a")[1:])
    for checks, verdicts in (
        (found(), [GateVerdict.PASS]),
        (larger, [GateVerdict.FAIL, GateVerdict.INCONCLUSIVE]),
    ):
        after = reproduce_memory(
            checks,
            ("a",),
            lambda *_: pytest.fail("measured"),
            tolerance=0.1,
            alpha=0.001,
            order=random.Random(0),
        )
        assert [check.verdict for check in after] == verdicts


def answers(values: list[int], labels: list[int]) -> Predictions:
    """Return one variant's answers."""
    return Predictions(
        photographs=tuple(f"{index}.jpg" for index in range(len(values))),
        labels=np.array(labels),
        classes={"int8": np.array(values)},
        num_in_split=len(values),
    )


def test_a_few_answers_more_in_one_class_are_no_collapse() -> None:
    """Of 16 photographs two moved into the largest class: chance does that one time in four."""
    labels = [0] * 13 + [1, 2, 3]
    base, head = answers(labels, labels), answers([0] * 15 + [3], labels)
    (check,) = compare_predictions(base, head, ["int8"], alpha=0.001)
    assert check.verdict is GateVerdict.INCONCLUSIVE
    many = compare_predictions(
        answers(labels * 20, labels * 20),
        answers(([0] * 15 + [3]) * 20, labels * 20),
        ["int8"],
        alpha=0.001,
    )
    assert many[0].verdict is GateVerdict.FAIL
    assert "collapsed" in many[0].reason


def test_an_accuracys_drop_is_shown_within_its_share_of_the_error() -> None:
    """12 lost and 3 gained (p 0.035) were red; they are doubt where 0.1% is all there is."""
    labels = [0, 1, 2] * 100
    wrong = [(label + 1) % 3 for label in labels]
    base = answers(labels[:297] + wrong[297:], labels)
    head = answers(wrong[:12] + labels[12:], labels)
    for alpha, verdict in ((0.05, GateVerdict.FAIL), (0.001, GateVerdict.INCONCLUSIVE)):
        (check,) = compare_predictions(base, head, ["int8"], alpha=alpha)
        assert check.verdict is verdict
