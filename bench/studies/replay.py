"""Independent gates drawn from recorded traces: how often ours is wrong."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bench.studies.records import OURS, CellNoise, Rates, Tally
from indoor.errors import IndoorError
from indoor.gate.decide.decisions import CellDecision
from indoor.gate.decide.evidence import summarize
from indoor.gate.decide.procedure import LaunchRequest, LaunchResult, run_plan
from indoor.gate.decide.verdicts import widest_rung
from indoor.gate.limits import rules_for
from indoor.gate.records import CellTrace, GateVerdict
from indoor.gate.settings import GateConfig, PlanRules
from indoor.gate.wording import percent

LAUNCHES_PER_RUN = 100_000
"""Keeps the launches of joined runs apart, in the order of time."""

Pair = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Seconds of the two arms of one cell in one launch; element i of both is a pair."""


def join_runs(runs: Sequence[Sequence[CellTrace]]) -> tuple[CellTrace, ...]:
    """Return the traces of several runs as one a cell, the runs in the order of time."""
    joined: dict[str, CellTrace] = {}
    for number, traces in enumerate(runs):
        for trace in traces:
            launches = tuple(
                replace(launch, launch=number * LAUNCHES_PER_RUN + launch.launch)
                for launch in trace.launches
            )
            before = joined[trace.name].launches if trace.name in joined else ()
            joined[trace.name] = replace(trace, launches=(*before, *launches))
    return tuple(joined.values())


def replay(
    traces: Sequence[CellTrace],
    plan: PlanRules,
    num_gates: int,
    seed: int,
    slowdown: float,
    slower: Sequence[CellTrace] | None = None,
    max_launches: int | None = None,
) -> Rates:
    """Run the gate's procedure on launches drawn from traces of identical code.

    A gate draws whole launches, with replacement, and all cells from the same one, so what rounds
    and cells of a launch have in common stays together. The two arms are the same code, so each
    drawn launch swaps them by a coin: no difference is then true, and not only nearly true.

    Args:
        traces: One a cell, of identical code.
        plan: The gate's rules.
        num_gates: 1 or more.
        seed: Gate i is the same for every slowdown.
        slowdown: What head's seconds grow by, in one cell a gate, each cell in its turn.
        slower: Traces whose head really was slower by that much: the slow cell's pairs are then
            drawn from these, as they are, instead of being computed.
        max_launches: Those that the plan's minutes hold; None for as many as its looks ask for.

    Raises:
        IndoorError: There is no trace of a cell, or one without a launch.
    """
    pool = Pool(traces)
    slow_pool = None if slower is None else Pool(slower)
    config = GateConfig(plan=plan)
    rules = {name: rules_for(config, name) for name in pool.names}
    runs: list[GateVerdict] = []
    slowed: dict[str, list[GateVerdict]] = {name: [] for name in pool.names}
    rungs: Counter[str] = Counter()
    num_launches: list[int] = []
    for gate in range(num_gates):
        random = np.random.default_rng([seed, gate])
        slow = pool.names[gate % len(pool.names)]
        steps, count = run_plan(rules, plan), 0
        try:
            request: LaunchRequest = next(steps)
            while True:
                count += 1
                pairs = pool.draw(request.cells, random)
                if slow in pairs and slow_pool is not None:
                    pairs[slow] = slow_pool.draw_as_recorded(slow, random)
                elif slow in pairs:
                    pairs[slow] = pairs[slow] + math.log1p(slowdown)
                left = None if max_launches is None else max_launches - count
                request = steps.send(LaunchResult(pairs=pairs, launches_left=left))
        except StopIteration as end:
            decisions: dict[str, CellDecision] = end.value
        worst = (GateVerdict.FAIL, GateVerdict.INCONCLUSIVE, GateVerdict.IMPROVED)
        found = {decision.verdict for decision in decisions.values()}
        runs.append(next((verdict for verdict in worst if verdict in found), GateVerdict.PASS))
        rung = widest_rung(decisions.values())
        if rung is not None and GateVerdict.FAIL not in found:
            rungs[percent(rung)] += 1
        slowed[slow].append(decisions[slow].verdict)
        num_launches.append(count)
    return Rates(
        rule=OURS,
        slowdown=slowdown,
        runs=Tally.of(runs),
        slowed={name: Tally.of(found) for name, found in slowed.items()} if slowdown else {},
        rungs=dict(rungs),
        launches_mean=float(np.mean(num_launches)),
        launches_p95=float(np.quantile(num_launches, 0.95)),
    )


def describe_noise(traces: Sequence[CellTrace]) -> tuple[CellNoise, ...]:
    """Return how noisy each cell is, which is what limits the gate."""
    noise = []
    for trace in traces:
        pairs = list(_pairs(trace).values())
        launches = [np.log(head / base) for base, head in pairs]
        summary, rounds = summarize(launches), summarize([np.log(base) for base, _ in pairs])
        assert summary is not None
        noise.append(
            CellNoise(
                name=trace.name,
                num_launches=len(launches),
                num_pairs=summary.num_pairs,
                pair_robust_sd=summary.robust_sd,
                median=math.expm1(summary.center),
                launch_sd=float(np.std([np.median(x) for x in launches], ddof=1)),
                round_lag1=None if rounds is None else rounds.lag1,
            )
        )
    return tuple(noise)


class Pool:
    """The launches to draw from, by cell and number."""

    def __init__(self, traces: Sequence[CellTrace]) -> None:
        self._pairs: dict[str, dict[int, Pair]] = {}
        self._candidates: dict[tuple[str, ...], list[int]] = {}
        for trace in traces:
            if trace.name in self._pairs:
                raise ValueError(f"two traces of {trace.name}; join the runs first")
            self._pairs[trace.name] = _pairs(trace)
            if not self._pairs[trace.name]:
                raise IndoorError(f"the trace of {trace.name} has no pairs; record it again")
        if not traces:
            raise IndoorError("there are no traces to replay, expected one cell or more")
        self.names = tuple(self._pairs)

    def launches_of(self, names: tuple[str, ...]) -> list[int]:
        """Return the numbers of the launches that have all these cells, in order of time."""
        if names not in self._candidates:
            self._candidates[names] = sorted(
                set.intersection(*(set(self._pairs[name]) for name in names))
            )
        return self._candidates[names]

    def rounds(self, name: str, launches: Sequence[int], arm: int) -> npt.NDArray[np.float64]:
        """Return one arm's seconds in these launches."""
        return np.concatenate([self._pairs[name][launch][arm] for launch in launches])

    def draw(self, names: tuple[str, ...], random: np.random.Generator) -> dict[str, np.ndarray]:
        """Return the log-ratios of a launch drawn at random, its arms swapped or not.

        Where no launch has all the cells, each cell draws one of its own.
        """
        numbers = self.launches_of(names)
        if not numbers and len(names) > 1:
            return {name: self.draw((name,), random)[name] for name in names}
        number = numbers[int(random.integers(len(numbers)))]
        sign = 1 - 2 * int(random.integers(2))
        drawn = {name: self._pairs[name][number] for name in names}
        return {name: sign * np.log(head / base) for name, (base, head) in drawn.items()}

    def draw_as_recorded(self, name: str, random: np.random.Generator) -> np.ndarray:
        """Return the log-ratios of one cell in a launch drawn at random."""
        numbers = self.launches_of((name,))
        base, head = self._pairs[name][numbers[int(random.integers(len(numbers)))]]
        ratios: np.ndarray = np.log(head / base)
        return ratios


def _pairs(trace: CellTrace) -> dict[int, Pair]:
    """Return the launches that have both arms; a decided cell goes on with base and its copy."""
    return {
        launch.launch: (np.asarray(launch.seconds["base"]), np.asarray(launch.seconds["head"]))
        for launch in trace.launches
        if launch.seconds.get("base") and launch.seconds.get("head")
    }
