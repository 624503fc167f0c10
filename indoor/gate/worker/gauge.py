"""How a cell is measured in every launch: found once, on the sides themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indoor.gate.settings import PlanRules
from indoor.measure.pairs import RemoteCall
from indoor.measure.process import ChildLostError

NUM_DISCARDED = 1
"""Rounds at the start of a turn: the other side's turn has emptied the caches."""

LONG_S = 0.1
"""Filling the caches again takes a few milliseconds; of a round as long, setup included, it is no
matter, and a second round would cost as much as another pair."""

SPIN_S = 0.015
"""A team of threads spins for some 6 ms when its work is done (libgomp's default), in the other
side's turn. Discarded rounds that take longer outlast it; before others the turn waits for it."""

ROUND_S = 0.005
"""Short functions are repeated until a round takes so long: 1,000 times a clock's resolution."""

MAX_OTHER_SHARE = 0.1
"""A round of whose CPU time other threads take less has one thread to speak of."""

MIN_LAUNCHES = 4
"""Of fewer next to nothing is known: Student's t of three has two degrees of freedom."""

NEVER_COSTLY_S = 20.0
"""A launch may take as long, however few the minutes."""

MIN_PAIR_S = 1e-9
"""A coarse timer may see nothing pass; its ratios are then no numbers, and nothing is shown."""


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How a cell is measured in every launch, found once on base."""

    iterations: int
    num_pairs: int
    pair_s: float
    """Of the wall's time: a test's setup counts."""
    num_discarded: int = NUM_DISCARDED
    other_share: float = 0.0
    """Of a round's CPU time, what other threads than the test's take; the larger of both sides."""
    num_warmups: int | None = None
    """Of a test that has as many rounds as it asks for and no more: those before its pairs."""

    @property
    def is_limited(self) -> bool:
        """Whether the test decides how many rounds a launch has, and not the plan."""
        return self.num_warmups is not None

    @property
    def is_cold(self) -> bool:
        """Whether it is a test of the first call alone."""
        return (self.num_warmups, self.num_pairs, self.iterations) == (0, 1, 1)

    @property
    def discarded_s(self) -> float:
        """Seconds that a turn's discarded rounds take."""
        return self.pair_s / 2 * self.num_discarded / (1 + self.num_discarded)

    @property
    def has_one_thread(self) -> bool:
        """Whether its rounds can be kept on one CPU."""
        return self.other_share < MAX_OTHER_SHARE

    @property
    def launch_s(self) -> float:
        """Seconds of a launch that it takes: its pairs, and about one more to warm up."""
        return self.pair_s * (self.num_pairs + 1)


class CostlyCellError(Exception):
    """What a cell would take of each launch is more than the plan's minutes hold."""


class NeverDoneError(ChildLostError):
    """Base did not come to tell how long a cell takes, and so was killed."""


def longest_launch_s(plan: PlanRules) -> float:
    """Return how long a launch may take so that the minutes hold `MIN_LAUNCHES` of them."""
    return max(NEVER_COSTLY_S, 60 * plan.max_minutes / MIN_LAUNCHES)


def beyond_share_s(gauge: Gauge, plan: PlanRules, num_cells: int) -> float:
    """Return the seconds of a launch that a cell takes beyond an equal share of the cells'."""
    return max(0.0, gauge.launch_s - plan.cells_s / num_cells)


def find_gauge(
    calls: Mapping[str, RemoteCall], plan: PlanRules, num_cells: int, spent_s: float = 0.0
) -> Gauge:
    """Calibrate the timer on base, the first, and give the cell its share of a launch.

    The others are asked as well, since head may use more threads or time than base does.

    Args:
        calls: The sides' rounds, base's first.
        plan: The rules of the run.
        num_cells: Those of the launch.
        spent_s: What the launch's cells so far take of it beyond their shares.

    Raises:
        CostlyCellError: Such launches would be too few. Base alone says so: of a head that became
            slow there is a verdict to be had.
        NeverDoneError: Base did not answer in its time.
        ChildLostError: A side was lost otherwise.
    """
    base, *others = calls.values()
    try:
        told = [base.ask("calibrate", min_s=ROUND_S)]
    except ChildLostError as lost:
        if lost.hangs:
            raise NeverDoneError(lost.name, lost.reason, cut_off=True, hangs=True) from lost
        raise
    gauge = _gauge_from(told, plan, num_cells)
    if spent_s + beyond_share_s(gauge, plan, num_cells) > longest_launch_s(plan):
        raise CostlyCellError(f"about {gauge.launch_s:.0f} s")
    told += [call.ask("calibrate", min_s=ROUND_S) for call in others]
    return _gauge_from(told, plan, num_cells)


def _gauge_from(told: Sequence[Mapping[str, Any]], plan: PlanRules, num_cells: int) -> Gauge:
    """Return the gauge by what the sides, or base alone, told of their rounds."""
    iterations = int(told[0]["iterations"])
    # On the wall, setup included, which is what a launch has to spend.
    round_s = sum(
        one["beside_s"] + one["seconds"] / one["iterations"] * iterations for one in told
    ) / len(told)
    num_discarded = NUM_DISCARDED if round_s < LONG_S else 0
    pair_s = max(MIN_PAIR_S, 2 * (1 + num_discarded) * round_s)
    cell_s = min(plan.launch_s, plan.cells_s / num_cells)
    return Gauge(
        iterations=iterations,
        num_pairs=min(plan.max_pairs, max(plan.min_pairs, int(cell_s / pair_s))),
        pair_s=pair_s,
        num_discarded=num_discarded,
        other_share=max(float(one["other_share"]) for one in told),
    )


def limited_gauge(asked: Mapping[str, int], plan: PlanRules) -> Gauge:
    """Return how a test is measured that has just the rounds that it asks `pedantic` for.

    Args:
        asked: What `indoor.measure.worker.rounds.Asked` holds.
        plan: The rules of the run.
    """
    return Gauge(
        iterations=asked["iterations"],
        num_pairs=min(plan.max_pairs, asked["rounds"]),
        pair_s=MIN_PAIR_S,
        num_discarded=0,
        other_share=1.0,  # nobody knows, and finding it out would be a round
        num_warmups=asked["warmup_rounds"],
    )
