"""Decompositions of speedups on machines whose truth is known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_machines import PROFILE_SLOWDOWN, SyntheticMachine, Work, observations

from indoor.explain.decompose import Decomposition, decompose, decompose_batches
from indoor.explain.observations import SideObservations
from indoor.explain.terms import TERMS, Term, median_seconds, passes_share, side_terms
from indoor.explain.verdict import MAX_UNEXPLAINED, Claim, Verdict, explain, judge
from indoor.records import REST

FLOAT = Work(multiply_adds=1e9, num_bytes=20e6, num_calls=20)
INT8 = replace(FLOAT, precision="int8")

SLOW_FLOAT = {"float32": 200e9, "int8": 210e9}
"""Rates of a CPU whose int8 is no faster."""

MACHINE = SyntheticMachine()
EVEN = SyntheticMachine(rates=SLOW_FLOAT)  # type: ignore[arg-type]

BOUND: dict[Term, tuple[SyntheticMachine, Work, Work, Claim]] = {
    "memory": (
        EVEN,
        replace(FLOAT, num_bytes=1600e6),
        replace(INT8, num_bytes=400e6),
        "true",
    ),
    "arithmetic": (MACHINE, FLOAT, replace(INT8, num_bytes=5e6), "false"),
    "faults": (
        EVEN,
        replace(FLOAT, faults=40_000),
        replace(INT8, faults=800),
        "in part",
    ),
    "overhead": (
        EVEN,
        replace(FLOAT, num_calls=20_000),
        replace(INT8, num_calls=3_000),
        "false",
    ),
    "fusion": (
        EVEN,
        replace(FLOAT, pass_bytes=1200e6),
        replace(INT8, pass_bytes=50e6),
        "in part",
    ),
}
"""By what decides it: the machine, both works, and what is true of the claim."""

RESNET = Work(multiply_adds=131e9, num_bytes=6e9, pass_bytes=6e9, num_calls=175, faults=1_280_000)
RESNET_INT8 = Work(
    precision="int8", multiply_adds=131e9, num_bytes=1.5e9, pass_bytes=0.5e9, num_calls=120,
    faults=25_000, efficiency=0.75,
)  # fmt: skip

MIXES = {
    "batch 32, as on a real machine": (MACHINE, RESNET, RESNET_INT8),
    "half memory, half arithmetic": (
        MACHINE,
        replace(FLOAT, num_bytes=500e6),
        replace(INT8, num_bytes=100e6),
    ),
    "memory that hides behind arithmetic": (
        replace(MACHINE, overlap=0.5),
        replace(FLOAT, num_bytes=800e6, pass_bytes=100e6),
        replace(INT8, num_bytes=200e6, pass_bytes=20e6),
    ),
    "faults and calls": (
        MACHINE,
        replace(FLOAT, faults=10_000, num_calls=2_000),
        replace(INT8, faults=500, num_calls=1_000),
    ),
    "terms that work against each other": (
        MACHINE,
        replace(FLOAT, num_calls=100, pass_bytes=400e6),
        replace(INT8, num_calls=2_000, pass_bytes=20e6),
    ),
}


def explained(
    machine: SyntheticMachine, first: Work, second: Work, *, seed: int = 0
) -> tuple[Decomposition, Verdict]:
    """Return the decomposition and verdict of what a machine shows."""
    found = decompose(
        machine.observe(first, name="float32", seed=seed),
        machine.observe(second, name="int8", seed=seed),
    )
    return found, judge(found)


@pytest.mark.parametrize("term", BOUND)
def test_a_machine_bound_by_one_thing_is_told_from_the_others(term: Term) -> None:
    """It has at least 80% of the logarithm, the verdict names it alone, and judges the claim."""
    machine, first, second, claim = BOUND[term]
    found, verdict = explained(machine, first, second)
    assert found.part(term).share.value >= 0.8
    assert (verdict.status, verdict.terms, verdict.claim) == ("decided", (term,), claim)


@pytest.mark.parametrize("term", BOUND)
def test_a_slower_second_side_is_explained_by_the_same_term(term: Term) -> None:
    """The logarithm is negative, its shares are not; of the claim nothing is said."""
    machine, first, second, _ = BOUND[term]
    found, verdict = explained(machine, second, first)
    assert found.log_ratio < 0
    assert found.part(term).share.value >= 0.8
    assert (verdict.status, verdict.terms, verdict.claim) == ("decided", (term,), None)
    assert verdict.sentence.startswith("int8 is 0.")


@pytest.mark.parametrize("is_reversed", [False, True], ids=["faster", "slower"])
@pytest.mark.parametrize("name", MIXES)
def test_mixed_causes_get_their_true_shares(name: str, is_reversed: bool) -> None:
    """Every share is within 10 points of the machine's truth, in both directions."""
    machine, first, second = MIXES[name]
    if is_reversed:
        first, second = second, first
    found, _ = explained(machine, first, second)
    true = machine.true_shares(first, second)
    shares = {part.term: part.share.value for part in found.parts}
    assert shares == pytest.approx(true, abs=0.1)


@pytest.mark.parametrize("name", MIXES)
def test_the_terms_add_up(name: str) -> None:
    """Seconds add up to the time as it is, logarithms to the whole, shares to 1."""
    found, _ = explained(*MIXES[name])
    assert math.fsum(part.first_s for part in found.parts) == pytest.approx(found.first.as_is_s)
    assert math.fsum(part.second_s for part in found.parts) == pytest.approx(found.second.as_is_s)
    exactly = math.log(found.first.as_is_s / found.second.as_is_s)
    assert math.fsum(p.log.value for p in found.parts) == pytest.approx(exactly, abs=1e-12)
    assert math.fsum(part.share.value for part in found.parts) == pytest.approx(1, abs=1e-12)
    assert found.parts[-1].then_s == pytest.approx(found.second.as_is_s)


@pytest.mark.parametrize("name", MIXES)
def test_the_range_is_that_of_all_720_orders(name: str) -> None:
    """Each order adds up to the same sum, and least and most are those of the orders."""
    machine, first, second = MIXES[name]
    found, _ = explained(machine, first, second)
    before = {part.term: part.first_s for part in found.parts}
    after = {part.term: part.second_s for part in found.parts}
    changes: dict[Term, list[float]] = {term: [] for term in TERMS}
    leaders = []
    for order in itertools.permutations(TERMS):
        now, change = dict(before), {}
        for term in order:
            time = math.fsum(now.values())
            now[term] = after[term]
            change[term] = math.log(time / math.fsum(now.values()))
            changes[term].append(change[term])
        assert math.fsum(change.values()) == pytest.approx(found.log_ratio)
        leaders.append(max(change, key=lambda term: change[term]))
    for part in found.parts:
        assert part.log.least == pytest.approx(min(changes[part.term]), abs=1e-9)
        assert part.log.most == pytest.approx(max(changes[part.term]), abs=1e-9)
        assert part.leads_in == leaders.count(part.term)


def test_what_no_experiment_shows_is_not_decided() -> None:
    """A fifth of float32's time, which the same bytes do not take, is a term, and withholds all."""
    first, second = replace(FLOAT, num_bytes=200e6), replace(INT8, num_bytes=50e6)
    whole = sum(MACHINE.truth(first).values())
    hidden = replace(first, hidden_s=0.25 * whole)
    found, verdict = explained(MACHINE, hidden, second)
    part = found.part("unexplained")
    assert part.first_s == pytest.approx(0.2 * found.first.as_is_s, rel=0.1)
    assert part.share.value > MAX_UNEXPLAINED
    assert (verdict.status, verdict.terms, verdict.claim) == ("not decided", (), None)
    assert "explained by no experiment, which is more than 15%" in verdict.reasons[0]


def test_what_may_be_unexplained_is_not_decided_either() -> None:
    """Few noisy rounds do not show that less than 15% is unexplained, so more are asked for."""
    machine = replace(MACHINE, noise=0.05)
    found, verdict = explained(machine, FLOAT, INT8)
    share = found.part("unexplained").share
    assert abs(share.value) < MAX_UNEXPLAINED
    assert verdict.status == "not decided"
    assert any("--minutes" in reason for reason in verdict.reasons)


def test_more_memory_traffic_than_the_bytes_take_is_unexplained() -> None:
    """Copies of the same bytes are the most that memory can cost."""
    side = MACHINE.observe(replace(FLOAT, num_bytes=200e6))
    halved = replace(side, bytes_s=tuple(seconds / 2 for seconds in side.bytes_s))
    memory, unexplained = (terms_of(halved)[TERMS.index(t)] for t in ("memory", "unexplained"))
    assert memory == pytest.approx(float(np.median(halved.bytes_s)))
    assert unexplained == pytest.approx(memory, rel=0.25)


def test_a_quicker_allocator_without_faults_is_unexplained() -> None:
    """What was no page fault cannot be the page faults' time."""
    side = MACHINE.observe(replace(FLOAT, faults=10_000))
    terms = terms_of(replace(side, faults=0))
    assert terms[TERMS.index("faults")] == 0
    assert terms[TERMS.index("unexplained")] == pytest.approx(10_000 * 1.3e-6, rel=0.2)


def test_a_cache_that_makes_it_slower_is_unexplained_and_no_negative_traffic() -> None:
    """An experiment that contradicts itself leaves a negative rest."""
    side = MACHINE.observe(FLOAT)
    terms = terms_of(replace(side, in_cache_s=tuple(1.2 * s for s in side.kept_s)))
    assert terms[TERMS.index("memory")] == 0
    assert terms[TERMS.index("unexplained")] < -0.1 * terms.sum()


def test_terms_are_those_of_a_hand_computed_call() -> None:
    """20 ms as it is: 4 faults, 4 passes, 3 memory, 2 overhead, 6 arithmetic and 1 unexplained."""
    side = MACHINE.observe(FLOAT, batch=2)
    convolution, _, relu = side.operators_kept
    side = replace(
        side,
        as_is_s=(0.020,) * 6,
        kept_s=(0.016,) * 6,
        in_cache_s=(0.010,) * 6,
        empty_s=(0.002,) * 6,
        bytes_s=(0.003,) * 6,
        faults=3000.0,
        operators_kept=(replace(convolution, seconds=10.0), replace(relu, seconds=4.0)),
        operators_in_cache=(replace(convolution, seconds=3.0), replace(relu, seconds=1.0)),
    )
    assert 1e3 * terms_of(side) * 2 == pytest.approx([4, 4, 3, 2, 6, 1])


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ({"in_cache_s": ()}, "float32: it with all data in the cache was not measured"),
        ({"empty_s": ()}, "float32: its overhead was not measured"),
        ({"bytes_s": ()}, "float32: what moving its bytes takes was not measured"),
        ({"operators_kept": ()}, "float32: how long its operators take as they are is not known"),
        (
            {"operators_in_cache": ()},
            "float32: how long its operators take in the cache is not known",
        ),
        (
            {"limit_multiply_adds_per_s": 30e9},
            "float32: its multiply-adds in the cache would be at",
        ),
    ],
)
def test_an_experiment_that_is_missing_or_absurd_leaves_it_undecided(
    lacking: dict[str, object], reason: str
) -> None:
    """The reason names the side and what is wrong, and nothing leads."""
    first, second = MACHINE.observe(FLOAT), MACHINE.observe(INT8)
    verdict = judge(decompose(replace(first, **lacking), second))  # type: ignore[arg-type]
    assert (verdict.status, verdict.terms) == ("not decided", ())
    assert any(found.startswith(reason) for found in verdict.reasons)


def test_a_profile_that_leaves_operators_out_decides_nothing() -> None:
    """Its shares would hand their time to those that it tells."""
    first, second = MACHINE.observe(FLOAT), MACHINE.observe(INT8)
    part = tuple(replace(one, seconds=one.seconds / 2) for one in first.operators_kept)
    verdict = judge(decompose(replace(first, operators_kept=part), second))
    assert verdict.status == "not decided"
    assert "float32: its operators as they are tell 6" in verdict.reasons[0]


def test_too_few_rounds_decide_nothing() -> None:
    """Five rounds have no interval of 95%."""
    sides = (MACHINE.observe(work, num_rounds=5) for work in (FLOAT, INT8))
    verdict = judge(decompose(*sides))
    assert verdict.status == "not decided"
    assert "5 rounds are too few" in verdict.reasons[0]


def test_two_that_are_equally_fast_have_nothing_to_explain() -> None:
    """Where the interval of the speedup holds 1, no share means anything."""
    first, second = (MACHINE.observe(FLOAT, name=name) for name in ("float32", "float32-folded"))
    verdict = judge(decompose(first, second))
    assert (verdict.status, verdict.terms, verdict.claim) == ("no difference", (), None)


def test_causes_that_noise_does_not_tell_apart_share_it() -> None:
    """Two terms of the same share in the stated order are both named."""
    first = Work(multiply_adds=1e9, faults=40_000, num_calls=20)
    second = replace(first, precision="int8", faults=2_000)
    found, verdict = explained(MACHINE, first, second)
    assert verdict.status == "decided"
    assert {"faults", "arithmetic"} == set(verdict.terms)
    assert "Shared: the rounds do not tell which part is larger" in verdict.sentence
    assert sum(part.leads_in for part in found.parts) == math.factorial(len(TERMS))


def test_a_leader_that_depends_on_the_order_is_shared() -> None:
    """Two equal times, of which the one that is switched later weighs more, in every order."""
    first = Work(multiply_adds=1e9, faults=16_026, num_calls=20)
    second = replace(first, precision="int8", faults=4_006)
    found, verdict = explained(MACHINE, first, second)
    assert len(found.leaders) == 1
    assert set(verdict.terms) == {"faults", "arithmetic"}
    assert "of 720 orders it is arithmetic in 360 and page faults in 360" in verdict.sentence


def test_an_absurd_rest_still_adds_up() -> None:
    """Where a time on the way would be negative, the sum holds and nothing is decided."""
    first, second = MACHINE.observe(FLOAT), MACHINE.observe(INT8)
    slower = replace(second, in_cache_s=tuple(40 * s for s in second.kept_s))
    found = decompose(first, slower)
    assert math.fsum(p.log.value for p in found.parts) == pytest.approx(found.log_ratio)
    assert judge(found).status == "not decided"


def test_intervals_hold_the_truth() -> None:
    """Of 60 repetitions with other noise, at least 51 intervals of a share hold its true value."""
    first, second = replace(FLOAT, num_bytes=500e6), replace(INT8, num_bytes=100e6)
    machine = replace(MACHINE, cache_bytes_per_s=1e15)
    true = machine.true_shares(first, second)["arithmetic"]
    num_held = 0
    for seed in range(60):
        interval = explained(machine, first, second, seed=seed)[0].part("arithmetic").share.interval
        num_held += interval.low <= true <= interval.high
    assert num_held >= 51


def test_common_drift_cancels() -> None:
    """Rounds that are all slower or faster together leave the speedup's interval narrow."""
    found, _ = explained(replace(MACHINE, drift=0.3), FLOAT, INT8)
    assert found.log_interval.high - found.log_interval.low < 0.1


def test_batches_of_the_second_side_are_explained_against_each_other() -> None:
    """Photographs in a batch of 16 take longer than in one of 8 where faults begin there."""
    eight, sixteen = (replace(INT8, multiply_adds=n * 4e9, num_bytes=n * 2e7) for n in (8, 16))
    cells = [
        (
            MACHINE.observe(FLOAT, name="float32", batch=batch),
            MACHINE.observe(work, name="int8", batch=batch),
        )
        for batch, work in ((16, replace(sixteen, faults=200_000)), (8, eight))
    ]
    (found,) = decompose_batches(observations(*cells))
    assert (found.first.batch, found.second.batch) == (8, 16)
    verdict = judge(found)
    assert (verdict.terms, verdict.claim) == (("faults",), None)
    assert verdict.sentence.startswith("batch 16 is 0.")
    assert verdict.claim_sentence == ""


def test_all_cells_are_explained() -> None:
    """A cell each, and a batch against the next larger for each second side."""
    cells = [
        (
            MACHINE.observe(FLOAT, name="float32", batch=b, threads=t),
            MACHINE.observe(INT8, name="int8", batch=b, threads=t),
        )
        for b in (1, 8, 32)
        for t in (1, 2)
    ]
    found = explain(observations(*cells))
    assert len(found.cells) == 6
    batches = [(e.decomposition.first.batch, e.decomposition.second.batch) for e in found.batches]
    assert batches == [(1, 8), (8, 32)] * 2


def test_a_profile_counts_by_its_shares() -> None:
    """Operators without multiply-adds are passes, however slow profiling made the call."""
    side = MACHINE.observe(replace(FLOAT, pass_bytes=20e6))
    slowed = tuple(replace(one, seconds=7 * one.seconds) for one in side.operators_kept)
    nothing = np.zeros(1)
    assert passes_share(slowed, nothing) == pytest.approx(
        passes_share(side.operators_kept, nothing)
    )


@pytest.mark.parametrize("pass_bytes", [0, 20e6])
def test_the_overhead_in_a_rest_is_no_pass(pass_bytes: float) -> None:
    """Where a runtime tells its other operators as one, the call's overhead is part of it."""
    side = MACHINE.observe(replace(FLOAT, num_calls=400, pass_bytes=pass_bytes))
    whole_s = sum(one.seconds for one in side.operators_kept) / PROFILE_SLOWDOWN
    overhead_s = float(np.median(side.empty_s))
    told = [
        tuple(
            replace(one, seconds=one.seconds / PROFILE_SLOWDOWN)
            if one.multiply_adds
            else replace(one, operator=REST, seconds=one.seconds / PROFILE_SLOWDOWN + overhead_s)
            for one in operators
        )
        for operators in (side.operators_kept, side.operators_in_cache)
    ]
    assert overhead_s > 0.05 * whole_s
    compiled = replace(side, operators_kept=told[0], operators_in_cache=told[1])
    assert terms_of(compiled) == pytest.approx(terms_of(side), abs=0.01 * whole_s)


def terms_of(side: SideObservations) -> np.ndarray:
    """Return the seconds a photograph of each term, of all rounds as they are."""
    return side_terms(side, median_seconds(side, lambda num: np.arange(num)[None]))[:, 0]
