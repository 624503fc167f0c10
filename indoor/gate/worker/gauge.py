"""How a cell is measured in every launch: found once, on the sides themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from indoor.gate.settings import PlanRules
from indoor.measure.pairs import RemoteCall

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


def find_gauge(calls: Mapping[str, RemoteCall], plan: PlanRules, num_cells: int) -> Gauge:
    """Calibrate the timer on base, the first, and give the cell its share of a launch.

    The others are asked as well, since head may use more threads or time than base does.
    """
    told = [call.ask("calibrate", min_s=ROUND_S) for call in calls.values()]
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
