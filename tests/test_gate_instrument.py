"""What the gate says of its own instrument: A/A copies, the control, waiting workers."""

import math

import numpy as np
import pytest

from indoor.gate.decide.instrument import judge_instrument
from indoor.gate.records import GateVerdict
from indoor.gate.settings import PlanRules

PLAN = PlanRules()


def launches_around(slowdown: float, num_launches: int = 12) -> list[np.ndarray]:
    """Return launches whose medians differ by a tenth of a percent."""
    shifts = np.linspace(-0.001, 0.001, num_launches)
    return [math.log1p(slowdown) + shift + np.linspace(-0.005, 0.005, 10) for shift in shifts]


def test_a_quiet_instrument_has_no_findings() -> None:
    """Identical code that looks identical leaves figures and nothing to blame."""
    report = judge_instrument(
        {"a": launches_around(0.002)}, launches_around(0.0), {"a": [0.01] * 12}, PLAN
    )
    assert report.findings == ()
    assert report.max_idle_share == 0.01
    assert [cell.verdict for cell in report.again] == [GateVerdict.PASS]
    assert report.again[0].ratio == pytest.approx(1.002, abs=1e-4)
    assert report.again[0].interval is not None
    assert report.control is not None
    assert report.control.verdict is GateVerdict.PASS


@pytest.mark.parametrize(
    ("slowdown", "words"), [(0.03, "2.9 to 3.1% more time"), (-0.03, "2.9 to 3.1% less time")]
)
def test_identical_code_that_differs_is_a_finding(slowdown: float, words: str) -> None:
    """To either side, with figures, the cell's name and a remedy."""
    report = judge_instrument({"a": launches_around(slowdown)}, None, {}, PLAN)
    assert len(report.findings) == 1
    assert words in report.findings[0]
    assert "than base itself in a" in report.findings[0]
    assert "run again" in report.findings[0]
    assert report.again[0].verdict is GateVerdict.UNRELIABLE
    assert (report.control, report.max_idle_share) == (None, None)


@pytest.mark.parametrize(("slowdown", "num_findings"), [(0.015, 0), (-0.015, 0), (0.03, 1)])
def test_the_control_is_allowed_twice_the_margin(slowdown: float, num_findings: int) -> None:
    """1.5% would be a finding for the A/A arm, and is none for the control."""
    report = judge_instrument({}, launches_around(slowdown), {"a": [0.0] * 12}, PLAN)
    assert len(report.findings) == num_findings
    assert judge_instrument({"a": launches_around(slowdown)}, None, {}, PLAN).findings
    assert report.control is not None
    assert report.control.margin == 0.02


def test_judging_at_every_look_shares_the_error_rate() -> None:
    """A difference that is clear once is not clear as one of a thousand judgements."""
    shifts = np.linspace(-0.002, 0.002, 12)
    again = {"a": [pairs + s for s, pairs in zip(shifts, launches_around(0.013), strict=True)]}
    assert judge_instrument(again, None, {}, PLAN).findings
    assert not judge_instrument(again, None, {}, PLAN, num_judgements=1000).findings


def test_an_instrument_that_was_hardly_measured_is_not_called_sound() -> None:
    """One launch shows nothing, and says so."""
    report = judge_instrument({"a": launches_around(0.5, 1)}, [], {"a": [0.0]}, PLAN)
    assert report.findings == ()
    assert report.again[0].verdict is GateVerdict.INCONCLUSIVE
    assert report.again[0].interval is None
    assert report.control is not None
    assert (report.control.verdict, report.control.ratio) == (GateVerdict.INCONCLUSIVE, None)


def test_one_disturbed_launch_of_a_cell_that_passed_early_is_no_finding() -> None:
    """Another program's moment in one of six launches is not the suite's doing; two are."""
    for num_busy, num_findings in ((1, 0), (2, 1)):
        shares = {f"cell {i}": [0.001] * 6 for i in range(40)}
        shares["cell 0"] = [0.3] * num_busy + [0.001] * (6 - num_busy)
        assert len(judge_instrument({}, None, shares, PLAN).findings) == num_findings


@pytest.mark.parametrize(("num_busy", "num_findings"), [(0, 0), (1, 0), (2, 1)])
def test_busy_waiting_workers_are_a_finding(num_busy: int, num_findings: int) -> None:
    """One launch of ten is let pass, two are told with share and remedy, however many cells."""
    shares = {f"quiet {i}": [0.001] * 10 for i in range(20)}
    shares["busy"] = [0.3] * num_busy + [0.05] * (10 - num_busy)
    report = judge_instrument({}, None, shares, PLAN)
    assert report.max_idle_share == (0.3 if num_busy else 0.05)
    assert len(report.findings) == num_findings
    if num_findings:
        assert (
            "more than 5% of a timed round's time in 2 of 10 launches of busy (up to 30%)"
            in (report.findings[0])
        )
