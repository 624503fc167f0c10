"""Layers under the roofline: seconds, roofs and shares by hand, and the table."""

from dataclasses import replace

import pytest

from indoor.explain.observations import OperatorTime, SideObservations
from indoor.explain.roofline import place_operators, place_together, render_side
from indoor.report.blocks import Grid, Heading, Paragraph


def operator(name: str, seconds: float, multiply_adds: int = 0, num_bytes: int = 0) -> OperatorTime:
    """Return one of a layer of its name."""
    return OperatorTime(
        operator=name,
        layer=f"layer of {name}",
        multiply_adds=multiply_adds,
        bytes=num_bytes,
        seconds=seconds,
    )


KEPT = (
    operator("conv", 0.030, 10**9, 10 * 10**6),
    operator("relu", 0.002, 0, 20 * 10**6),
    operator("conv", 0.004, 10**6, 50 * 10**6),
    operator("relu", 0.004, 0, 40 * 10**6),
)
SIDE = SideObservations(
    variant="float32",
    precision="float32",
    threads=1,
    batch=2,
    as_is_s=(0.03, 0.03, 0.03),
    kept_s=(0.021, 0.022, 0.023),
    in_cache_s=(0.012, 0.012, 0.012),
    empty_s=(0.002, 0.002, 0.002),
    bytes_s=(),
    faults=0.0,
    operators_kept=KEPT,
    operators_in_cache=tuple(replace(one, seconds=one.seconds / 10) for one in KEPT),
    multiply_adds=10**9 + 10**6,
    limit_multiply_adds_per_s=100e9,
    limit_bytes_per_s=10e9,
    limit_l2_bytes_per_s=90e9,
)


def test_a_layer_stands_under_the_nearer_roof() -> None:
    """Its time is its share of the profile times the unprofiled call, less the overhead."""
    first, relu, second, _ = place_operators(SIDE)
    assert first.seconds == pytest.approx(0.020 * 30 / 40)
    assert first.in_cache_s == pytest.approx(0.010 * 30 / 40)
    assert (first.bound, first.intensity) == ("arithmetic", 100)
    assert first.roof_s == pytest.approx(0.010)
    assert first.share == pytest.approx(0.010 / 0.015)
    assert (second.bound, second.intensity) == ("memory", 0.02)
    assert second.share == pytest.approx(0.005 / 0.002)
    assert (relu.bound, relu.intensity, relu.arithmetic_s) == ("memory", None, None)
    assert relu.share == pytest.approx(0.002 / 0.001)


def test_what_was_not_measured_is_not_there() -> None:
    """Without limits nothing has a roof; another call's operators in the cache are not taken."""
    side = replace(
        SIDE,
        limit_multiply_adds_per_s=None,
        limit_bytes_per_s=None,
        operators_in_cache=KEPT[:2],
    )
    places = place_operators(side)
    assert {(p.roof_s, p.bound, p.share, p.in_cache_s) for p in places} == {(None,) * 4}
    assert sum(p.seconds for p in places) == pytest.approx(0.020)


def test_bytes_that_nobody_told_are_no_roof() -> None:
    """An operator without bytes is bound by its arithmetic, or by nothing that is known."""
    unknown = tuple(replace(one, bytes=0) for one in KEPT[:2])
    conv, relu = place_operators(replace(SIDE, operators_kept=unknown, operators_in_cache=()))
    assert (conv.bound, conv.intensity) == ("arithmetic", None)
    assert (relu.bound, relu.share) == (None, None)


def test_what_is_together_takes_one_roof_after_another() -> None:
    """Seconds, bytes and roofs of one operator are summed, the longest first."""
    conv, relu = place_together(place_operators(SIDE))
    assert (conv.operator.layer, relu.operator.layer) == ("2 together", "2 together")
    assert conv.seconds == pytest.approx(0.020 * 34 / 40)
    assert conv.roof_s == pytest.approx(0.010 + 0.005)
    assert conv.intensity == pytest.approx((10**9 + 10**6) / 60e6)
    assert (conv.bound, relu.bound) == ("arithmetic", "memory")
    alone, *_ = place_together(place_operators(replace(SIDE, operators_kept=KEPT[:1])))
    assert alone.operator.layer == "layer of conv"


def test_the_table_is_by_operator_and_then_by_layer() -> None:
    """All operators by kind, then those that multiply in their order."""
    heading, words, grid = render_side(SIDE)
    assert isinstance(heading, Heading)
    assert heading.text == "float32, batch 2, 1 thread: 11.0 ms a photograph"
    assert isinstance(words, Paragraph)
    assert "10.0 GB a second from memory (from L2 90.0)" in words.text
    assert "fewer than 10.0 multiply-adds a byte" in words.text
    assert isinstance(grid, Grid)
    assert [row[:2] for row in grid.rows] == [
        ("2 together", "conv"),
        ("2 together", "relu"),
        ("layer of conv", "conv"),
        ("layer of conv", "conv"),
    ]
    assert grid.rows[1][2:] == ("-", "30.0", "-", "1.50", "15.0%", "0.750", "memory", "200%")
    assert grid.rows[2][2:] == (
        *("500", "5.00", "100", "7.50", "75.0%", "3.75", "arithmetic", "67%"),
    )
    assert grid.rules == {1}


def test_a_runtime_that_tells_no_operators_says_so() -> None:
    """Instead of an empty table."""
    *_, words = render_side(replace(SIDE, operators_kept=()))
    assert isinstance(words, Paragraph)
    assert words.text == "Its runtime tells no operators."
