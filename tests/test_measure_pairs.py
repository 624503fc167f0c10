"""The runner that interleaves: orders, what is timed, when it ends. All clocks are fake."""

import mmap
from collections.abc import Callable
from typing import Any

import pytest

from indoor.measure.pairs import (
    MIN_WARMUP_CALLS,
    LocalCall,
    Plan,
    Series,
    measure_blocked,
    measure_interleaved,
    measure_pair,
    take_rounds,
)
from indoor.measure.worker import Warmup, timed


class FakeMachine:
    """A clock that only calls advance; each call's seconds and faults come from a script."""

    def __init__(self) -> None:
        self.now = 100.0
        self.num_faults = 0
        self.log: list[str] = []

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def faults(self) -> int:
        """Return the page faults so far."""
        return self.num_faults

    def call(
        self, name: str, seconds: Callable[[int], float], faults: int = 0
    ) -> Callable[[], None]:
        """Return a function whose i-th call, from 0, takes `seconds(i)`."""
        count = 0

        def run() -> None:
            nonlocal count
            self.log.append(name)
            self.now += seconds(count)
            self.num_faults += faults
            count += 1

        return run

    def subjects(self, calls: dict[str, Callable[[], None]]) -> dict[str, LocalCall]:
        """Return the calls as what is measured with this clock and these faults."""
        return {
            name: LocalCall(timed(call, self.clock), self.faults, self.clock)
            for name, call in calls.items()
        }


@pytest.fixture
def machine() -> FakeMachine:
    """A machine on which nothing else runs."""
    return FakeMachine()


def plan(**changes: float) -> Plan:
    """Return a plan without a least warm-up time, and with what is given."""
    values: dict[str, float] = {"budget_s": 0.0, "min_rounds": 4, "min_warmup_s": 0.0} | changes
    return Plan(**values)  # type: ignore[arg-type]


def measure(
    machine: FakeMachine, calls: dict[str, Callable[[], None]], a_plan: Plan, seed: int = 0
) -> dict[str, Series]:
    """Measure with the machine's own clock and faults."""
    return measure_interleaved(machine.subjects(calls), a_plan, seed=seed, clock=machine.clock)


def turns(log: list[str], num_warmup: int, num_calls: int = 2) -> list[str]:
    """Return whose turn it was, one name a turn, after the warm-up."""
    rest = log[num_warmup:]
    assert len(rest) % num_calls == 0
    grouped = [rest[i : i + num_calls] for i in range(0, len(rest), num_calls)]
    assert all(len(set(turn)) == 1 for turn in grouped)
    return [turn[0] for turn in grouped]


def test_every_round_holds_one_turn_of_each_variant(machine: FakeMachine) -> None:
    """Between two turns of a variant lie at most the other variants' turns, twice."""
    calls = {name: machine.call(name, lambda _: 1.0) for name in ("a", "b", "c")}
    measure(machine, calls, plan(min_rounds=20, max_rounds=20))
    sequence = turns(machine.log, num_warmup=9)
    rounds = [sequence[i : i + 3] for i in range(0, 60, 3)]
    assert all(sorted(a_round) == ["a", "b", "c"] for a_round in rounds)


def test_the_order_is_random_and_decided_by_the_seed(machine: FakeMachine) -> None:
    """All six orders of three variants come up, and the same seed gives the same sequence."""

    def sequence(seed: int) -> list[str]:
        machine.log.clear()
        calls = {name: machine.call(name, lambda _: 1.0) for name in ("a", "b", "c")}
        measure(machine, calls, plan(min_rounds=60), seed=seed)
        return turns(machine.log, num_warmup=9)

    first = sequence(seed=1)
    assert len({tuple(first[i : i + 3]) for i in range(0, 180, 3)}) == 6
    assert sequence(seed=1) == first
    assert sequence(seed=2) != first


@pytest.mark.parametrize(("longest_s", "num_rounds"), [(1000.0, 30), (40.0, 20), (0.0, 5)])
def test_more_rounds_are_wanted_than_the_budget_holds(
    machine: FakeMachine, longest_s: float, num_rounds: int
) -> None:
    """They go on for the longest time at most; a round takes two seconds here."""
    calls = {"a": machine.call("a", lambda _: 1.0)}
    a_plan = plan(budget_s=10.0, wanted_rounds=30, longest_s=longest_s)
    assert len(measure(machine, calls, a_plan)["a"].seconds) == num_rounds


def test_only_the_last_call_of_a_turn_is_timed(machine: FakeMachine) -> None:
    """A call takes 5 s where the variant before was another one, and 1 s where it was itself."""
    last = ""

    def call(name: str, warm: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal last
            machine.now += warm if last == name else 5.0
            last = name

        return run

    series = measure(machine, {"a": call("a", 1.0), "b": call("b", 0.25)}, plan(min_rounds=7))
    # A turn that follows a turn of the same variant is warm from its first call on; no turn's
    # last call is ever cold.
    assert series["a"].seconds == (1.0,) * 7
    assert series["b"].seconds == (0.25,) * 7


def test_more_calls_a_turn_still_give_one_time(machine: FakeMachine) -> None:
    """With three calls a turn the third is timed."""
    calls = {"a": machine.call("a", lambda i: (9.0, 4.0, 1.0)[i % 3])}
    series = measure(machine, calls, plan(num_calls=3, max_warmup_s=0.0))
    assert series["a"].seconds == (1.0, 1.0, 1.0, 1.0)


def test_the_same_slow_minute_hits_both_variants_of_a_pair(machine: FakeMachine) -> None:
    """A machine that becomes twice as slow halfway leaves every pair's ratio as it was."""

    def call(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            machine.log.append(name)
            machine.now += seconds * (2 if len(machine.log) > 46 else 1)

        return run

    series = measure(machine, {"a": call("a", 2.0), "b": call("b", 1.0)}, plan(min_rounds=20))
    assert set(series["a"].seconds) == {2.0, 4.0}
    ratios = [a / b for a, b in zip(series["a"].seconds, series["b"].seconds, strict=True)]
    assert ratios == [2.0] * 20


def test_rounds_go_on_until_the_budget_is_spent(machine: FakeMachine) -> None:
    """Turns of 2 x 1 s and 2 x 0.5 s make rounds of 3 s: a budget of 30 s buys ten."""
    calls = {"a": machine.call("a", lambda _: 1.0), "b": machine.call("b", lambda _: 0.5)}
    series = measure(machine, calls, plan(budget_s=30.0))
    assert len(series["a"].seconds) == len(series["b"].seconds) == 10


def test_the_least_number_of_rounds_wins_over_the_budget(machine: FakeMachine) -> None:
    """A cell whose single round costs more than the budget still gets its pairs."""
    calls = {"a": machine.call("a", lambda _: 60.0)}
    assert len(measure(machine, calls, plan(budget_s=1.0, min_rounds=12))["a"].seconds) == 12


def test_the_largest_number_of_rounds_ends_a_quick_cell(machine: FakeMachine) -> None:
    """A call of a microsecond does not fill the budget with millions of rounds."""
    calls = {"a": machine.call("a", lambda _: 1e-6)}
    series = measure(machine, calls, plan(budget_s=30.0, max_rounds=50))
    assert len(series["a"].seconds) == 50


def test_page_faults_are_those_of_the_timed_call(machine: FakeMachine) -> None:
    """Faults of the discarded call and of the other variant are not counted."""
    calls = {
        "a": machine.call("a", lambda _: 1.0, faults=7),
        "b": machine.call("b", lambda _: 1.0, faults=100),
    }
    series = measure(machine, calls, plan())
    assert series["a"].num_faults == (7, 7, 7, 7)
    assert series["b"].num_faults == (100, 100, 100, 100)


def test_a_failing_call_ends_the_measurement(machine: FakeMachine) -> None:
    """An exception of the measured code reaches the caller, whose case it is."""

    def fail() -> None:
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        measure(machine, {"a": fail}, plan())


def test_the_caller_hears_of_each_round(machine: FakeMachine) -> None:
    """Rounds of 2 s against a budget of 20 s: 10 are expected, and those done are counted."""
    heard: list[tuple[int, int]] = []
    measure_interleaved(
        machine.subjects({"a": machine.call("a", lambda _: 1.0)}),
        plan(budget_s=20.0),
        seed=0,
        clock=machine.clock,
        after_round=lambda done, expected: heard.append((done, expected)),
    )
    assert heard == [(done, 10) for done in range(1, 11)]


def test_a_clock_that_stands_still_expects_the_most(machine: FakeMachine) -> None:
    """Calls below the clock's resolution give no rate to expect anything from."""
    heard: list[int] = []
    measure_interleaved(
        machine.subjects({"a": machine.call("a", lambda _: 0.0)}),
        plan(max_rounds=5, min_rounds=5, max_warmup_s=0.0),
        seed=0,
        clock=machine.clock,
        after_round=lambda _done, expected: heard.append(expected),
    )
    assert heard == [5] * 5


def test_real_clock_and_faults_are_the_defaults() -> None:
    """Touching fresh pages is seen as time and as minor faults."""

    def touch() -> None:
        # Mapped anew each time: what the heap gives out may have been touched before.
        with mmap.mmap(-1, 1 << 22) as pages:
            pages.write(b"x" * (1 << 22))

    subjects = {"touch": LocalCall(timed(touch))}
    series = measure_interleaved(subjects, plan(min_rounds=3, max_warmup_s=0.0), seed=0)["touch"]
    assert all(seconds > 0 for seconds in series.seconds)
    assert all(num_faults >= 0 for num_faults in series.num_faults)
    assert sum(series.num_faults) > 0


def test_nothing_to_measure_is_refused() -> None:
    """An empty cell is the caller's mistake."""
    with pytest.raises(ValueError, match="nothing to measure"):
        measure_interleaved({}, plan(), seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_rounds": 0}, "min_rounds 0"),
        ({"min_rounds": 9, "max_rounds": 8}, "max_rounds 8"),
        ({"num_calls": 1}, "num_calls 1 leaves none to discard"),
    ],
)
def test_a_plan_that_measures_nothing_is_refused(changes: dict[str, float], message: str) -> None:
    """Rounds and calls a turn have lower limits."""
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def warm_up(
    machine: FakeMachine, seconds: Callable[[int], float], *, min_s: float = 0.0, max_s: float = 5.0
) -> Warmup:
    """Warm up a call whose i-th call, from 0, takes so long, as the suite does."""
    subject = machine.subjects({"a": machine.call("a", seconds)})["a"]
    return subject.warm_up(min_calls=MIN_WARMUP_CALLS, min_s=min_s, max_s=max_s)


def test_warm_up_ends_when_calls_stop_getting_faster(machine: FakeMachine) -> None:
    """9, 3, 1, 1, 1: after five calls the last two are no faster than the third."""
    warmup = warm_up(machine, lambda i: (9.0, 3.0, 1.0, 1.0, 1.0)[i], max_s=60.0)
    assert warmup == Warmup(num_calls=5, stable=True, fastest_s=1.0)


def test_warm_up_of_a_warm_call_takes_three_calls(machine: FakeMachine) -> None:
    """A gain of 2% counts as noise."""
    warmup = warm_up(machine, lambda i: (1.0, 0.99, 0.98)[i])
    assert (warmup.num_calls, warmup.stable) == (3, True)


def test_warm_up_is_not_misled_by_a_slow_call(machine: FakeMachine) -> None:
    """Other load makes a single call slow; it does not look like warming."""
    warmup = warm_up(machine, lambda i: (1.0, 5.0, 1.0)[i])
    assert warmup == Warmup(num_calls=3, stable=True, fastest_s=1.0)


def test_warm_up_gives_up_after_its_longest_time_and_says_so(machine: FakeMachine) -> None:
    """Calls that go on getting 10% faster are never stable; 5 s are spent after six calls."""
    warmup = warm_up(machine, lambda i: 0.9**i, max_s=4.6)
    assert (warmup.num_calls, warmup.stable) == (6, False)


def test_warm_up_makes_three_calls_however_long_they_take(machine: FakeMachine) -> None:
    """One call that outlasts the longest time is no warm-up."""
    warmup = warm_up(machine, lambda _: 100.0, max_s=5.0)
    assert warmup == Warmup(num_calls=3, stable=True, fastest_s=100.0)


def test_warm_up_lasts_its_least_time(machine: FakeMachine) -> None:
    """Quick calls look stable at once, but the clock rate of the CPU takes a while."""
    warmup = warm_up(machine, lambda _: 0.125, min_s=1.0)
    assert warmup == Warmup(num_calls=8, stable=True, fastest_s=0.125)


def test_blocks_are_not_interleaved(machine: FakeMachine) -> None:
    """Each variant has its calls in a row, the first left out."""
    calls = {
        "a": machine.call("a", lambda i: (9.0, 2.0, 3.0)[i]),
        "b": machine.call("b", lambda i: (8.0, 1.0, 1.0)[i]),
    }
    blocks = measure_blocked(machine.subjects(calls), 2)
    assert machine.log == ["a", "a", "a", "b", "b", "b"]
    assert blocks == {"a": (2.0, 3.0), "b": (1.0, 1.0)}


def test_a_block_needs_a_call() -> None:
    """No calls give no ratio."""
    with pytest.raises(ValueError, match="num_calls 0"):
        measure_blocked({"a": LocalCall(lambda: 1.0)}, 0)


def test_the_gates_warm_up_takes_its_time_and_no_more(machine: FakeMachine) -> None:
    """With one time for least and longest, calls that go on getting faster end it no later."""
    subject = machine.subjects({"a": machine.call("a", lambda i: 0.9**i)})["a"]
    assert subject.warm_up(min_calls=1, min_s=1.5, max_s=1.5).num_calls == 2
    assert subject.warm_up(min_calls=2, min_s=0.0, max_s=0.0).num_calls == 2


def test_a_pair_of_functions_gives_a_speedup(machine: FakeMachine) -> None:
    """Baseline over candidate, per call, though each has its own number of calls a round."""
    long, short = machine.call("long", lambda _: 3e-4), machine.call("short", lambda _: 1e-7)
    found = measure_pair(long, short, budget_s=1.0, clock=machine.clock)
    assert found.speedup == pytest.approx(3000)
    assert found.interval.low == pytest.approx(3000)
    assert (found.baseline, found.candidate) == ("baseline", "candidate")
    assert found.num_pairs >= 12


async def coroutine() -> None:
    """Does nothing."""


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (None, "which cannot be called"),
        ("mine:plain", "which cannot be called"),
        (sum(range(3)), "which cannot be called"),
        (coroutine, "a call of which only makes a coroutine"),
        (lambda: (yield), "a call of which only makes a generator"),
        (take_rounds, "a call of which only makes a generator"),
    ],
)
def test_what_cannot_be_timed_is_no_pair(call: Any, reason: str) -> None:
    """What was called already, or does its work later, is refused in one line."""
    with pytest.raises(ValueError, match=rf"candidate is .*{reason}; expected a function without"):
        measure_pair(int, call)
