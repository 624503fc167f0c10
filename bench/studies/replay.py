"""Independent gates drawn from recorded traces: how often ours and the usual rules are wrong."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bench.studies.records import OURS, CellNoise, Rates, Tally
from bench.studies.rivals import RIVALS, judge_as_rivals
from indoor.errors import IndoorError
from indoor.gate.decide.decisions import CellRules
from indoor.gate.decide.evidence import summarize
from indoor.gate.decide.procedure import LaunchRequest, LaunchResult, run_plan
from indoor.gate.records import CellTrace, GateVerdict
from indoor.gate.settings import PlanRules

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
            if trace.name in joined:
                launches = joined[trace.name].launches + launches
            joined[trace.name] = replace(trace, launches=launches)
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
    pool = _Pool(traces)
    slow_pool = None if slower is None else _Pool(slower)
    rules = {name: CellRules(margin=plan.margin, tolerance=plan.tolerance) for name in pool.names}
    runs, slowed, num_launches = Tally(), dict.fromkeys(pool.names, Tally()), []
    for gate in range(num_gates):
        random = np.random.default_rng([seed, gate])
        slow = pool.names[gate % len(pool.names)]
        verdicts, count = _replay_gate(
            pool, rules, plan, random, slow, slowdown, slow_pool, max_launches
        )
        runs = runs.plus(_worst(verdicts.values()))
        slowed[slow] = slowed[slow].plus(verdicts[slow])
        num_launches.append(count)
    return Rates(
        rule=OURS,
        slowdown=slowdown,
        runs=runs,
        slowed=slowed if slowdown else {},
        launches_mean=float(np.mean(num_launches)),
        launches_p95=float(np.quantile(num_launches, 0.95)),
    )


def replay_rivals(
    traces: Sequence[CellTrace],
    num_gates: int,
    seed: int,
    slowdown: float,
    num_launches: int = 1,
) -> tuple[Rates, ...]:
    """Try the usual rules on the same traces: a stored file against a later run.

    Base's rounds are those of `num_launches` launches on end and head's those of as many launches
    that came later: two blocks apart in time. That is kind to these rules, since a stored file is
    from another hour or day, and since the rounds of a trace are warmed up turn by turn.

    Args:
        traces: One a cell, of identical code.
        num_gates: 1 or more.
        seed: Comparison i is the same for every slowdown.
        slowdown: As for `replay`.
        num_launches: Launches whose rounds make one side.

    Raises:
        IndoorError: Fewer than twice `num_launches` launches have all cells.
    """
    pool = _Pool(traces)
    numbers = pool.launches_of(pool.names)
    num_starts = len(numbers) - 2 * num_launches + 1
    if num_starts < 1:
        raise IndoorError(
            f"{len(numbers)} launches have rounds of all cells, expected {2 * num_launches} or "
            "more for two blocks apart in time; record longer traces or lower --rival-launches"
        )
    runs = {rule: Tally() for rule in RIVALS}
    slowed = {rule: dict.fromkeys(pool.names, Tally()) for rule in RIVALS}
    for gate in range(num_gates):
        random = np.random.default_rng([seed, gate])
        slow = pool.names[gate % len(pool.names)]
        first = int(random.integers(num_starts))
        second = int(random.integers(first + num_launches, len(numbers) - num_launches + 1))
        arms = random.integers(2, size=2)
        red: dict[str, dict[str, bool]] = {}
        for name in pool.names:
            base = pool.rounds(name, numbers[first : first + num_launches], arms[0])
            head = pool.rounds(name, numbers[second : second + num_launches], arms[1])
            red[name] = judge_as_rivals(base, head * (1 + slowdown) if name == slow else head)
        for rule in RIVALS:
            runs[rule] = runs[rule].plus(_red(any(rules[rule] for rules in red.values())))
            slowed[rule][slow] = slowed[rule][slow].plus(_red(red[slow][rule]))
    return tuple(
        Rates(
            rule=rule,
            slowdown=slowdown,
            runs=runs[rule],
            slowed=slowed[rule] if slowdown else {},
        )
        for rule in RIVALS
    )


def describe_noise(traces: Sequence[CellTrace]) -> tuple[CellNoise, ...]:
    """Return how noisy each cell is, which is what limits the gate."""
    noise = []
    for trace in traces:
        pairs = list(_pairs(trace).values())
        launches = [np.log(head / base) for base, head in pairs]
        rounds = [np.log(base) for base, _ in pairs]
        summary = summarize(launches)
        assert summary is not None
        known = summarize(rounds)
        noise.append(
            CellNoise(
                name=trace.name,
                num_launches=len(launches),
                num_pairs=summary.num_pairs,
                pair_robust_sd=summary.robust_sd,
                median=math.expm1(summary.center),
                launch_sd=float(np.std([np.median(x) for x in launches], ddof=1)),
                round_lag1=None if known is None else known.lag1,
            )
        )
    return tuple(noise)


class _Pool:
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


def _replay_gate(
    pool: _Pool,
    rules: Mapping[str, CellRules],
    plan: PlanRules,
    random: np.random.Generator,
    slow: str,
    slowdown: float,
    slow_pool: _Pool | None,
    max_launches: int | None,
) -> tuple[dict[str, GateVerdict], int]:
    """Return the verdicts of one gate and its number of launches."""
    steps = run_plan(rules, plan)
    num_launches = 0
    try:
        request: LaunchRequest = next(steps)
        while True:
            num_launches += 1
            pairs = pool.draw(request.cells, random)
            if slow in pairs:
                pairs[slow] = (
                    pairs[slow] + math.log1p(slowdown)
                    if slow_pool is None
                    else slow_pool.draw_as_recorded(slow, random)
                )
            left = None if max_launches is None else max_launches - num_launches
            result = LaunchResult(pairs=pairs, launches_left=left)
            request = steps.send(result)
    except StopIteration as end:
        return {name: decision.verdict for name, decision in end.value.items()}, num_launches


def _worst(verdicts: Iterable[GateVerdict]) -> GateVerdict:
    found = set(verdicts)
    for verdict in (GateVerdict.FAIL, GateVerdict.INCONCLUSIVE, GateVerdict.IMPROVED):
        if verdict in found:
            return verdict
    return GateVerdict.PASS


def _red(is_red: bool) -> GateVerdict:
    return GateVerdict.FAIL if is_red else GateVerdict.PASS
