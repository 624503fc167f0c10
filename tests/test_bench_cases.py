"""Which variants and cells the suite measures, and in which order."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from test_bench_parts import settings

from bench import cases
from bench.cases import cells, default_names, in_order, left_out, left_to_the_full_run, variants
from indoor.records import Precision, Variant
from indoor.runtimes import base

EAGER = ("float32", "bfloat16", "int8")


def toy(name: str, rank: int | None, runtime: str = "toy") -> Variant:
    """Return a variant whose name begins with its precision."""
    precision: Precision = "int8" if name.startswith("int8") else "float32"
    return Variant(
        name=name,
        runtime=runtime,
        precision=precision,
        checkpoint=precision,
        rank=rank,
        own_process=True,
        order=50,
    )


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runtimes, one of which needs another library; whatever this machine computes runs."""
    eager = base._registry().runtimes["eager"]

    def runtime(variants: Sequence[Variant], **more: Any) -> Any:
        return SimpleNamespace(VARIANTS=tuple(variants), why_not=lambda _: None, **more)

    monkeypatch.setattr(
        base,
        "_registry",
        lambda: base.Registry(
            unusable={},
            runtimes={
                "eager": SimpleNamespace(
                    VARIANTS=(
                        *(v for v in eager.VARIANTS if v.name in EAGER),
                        toy("float32-folded", 4, "eager"),
                    ),
                    why_not=lambda _: None,
                ),
                "toy": runtime(
                    [toy("float32-toy", 3), toy("int8-toy", 2), toy("int8-unranked", None)]
                ),
                "other": runtime(
                    [toy("float32-other", 1, "other"), toy("int8-other", 0, "other")],
                    REQUIRES={"torch": ">=2", "numpy": ">=1"},
                    EXTRA="other",
                ),
                "absent": runtime(
                    [toy("float32-absent", 0, "absent"), toy("int8-absent", 1, "absent")],
                    REQUIRES={"no-such-library": ">=1"},
                    EXTRA="absent",
                ),
            },
        ),
    )


@pytest.mark.usefixtures("toys")
def test_a_short_run_measures_the_best_ranked_of_each_precision() -> None:
    """Beside the eager ones; one without a rank never."""
    plain = settings(device="cpu")
    assert set(variants(plain)) == {*EAGER, "float32-other", "int8-other"}
    left = ("float32-folded", "float32-toy", "int8-toy", "int8-unranked")
    assert left_to_the_full_run(plain) == left


@pytest.mark.usefixtures("toys")
def test_a_full_run_measures_all() -> None:
    """So does a name, whatever its rank."""
    assert len(variants(settings(device="cpu", full=True))) == 9
    assert variants(settings(device="cpu", variants=("int8-unranked",))) == ("int8-unranked",)
    assert left_to_the_full_run(settings(device="cpu", full=True)) == ()


@pytest.mark.usefixtures("toys")
def test_a_missing_library_is_one_line_a_runtime() -> None:
    """Both of its variants stand in it, with what installs them."""
    (line,) = left_out(settings(device="cpu"))
    assert line.startswith("left out float32-absent, int8-absent: it needs no-such-library, ")
    assert "absent" in line.split("installed; ")[1]


@pytest.mark.usefixtures("toys")
def test_the_default_run_is_the_short_one() -> None:
    """A full run holds more than a baseline needs, and a run of one variant less."""
    names = default_names(settings(device="cpu", full=True, batches=(1,)))
    assert names == default_names(settings(device="cpu"))
    assert "bench/test_artifacts.py::test_load[int8-other]" in names
    assert "bench/test_artifacts.py::test_load[float32-toy]" not in names


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {(1, 1), (1, 2), (8, 1), (8, 2), (16, 2)}),
        ({"batches": (1, 16)}, {(1, 1), (1, 2), (16, 1), (16, 2)}),
        ({"full": True}, {(b, t) for b in (1, 8, 16, 32) for t in (1, 2)}),
    ],
    ids=["short", "named", "full"],
)
def test_the_slowest_cell_is_left_to_whoever_names_it(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: set[tuple[int, int]]
) -> None:
    """The largest batch on one thread takes as long as all other cells together."""
    monkeypatch.setattr(cases, "num_usable_cores", lambda: 2)
    found = cells(settings(device="cpu", **changes))
    assert {(cell.batch, cell.threads) for cell in found} == expected


def test_cells_are_shuffled_whole() -> None:
    """A seed's order is the same again, another seed's another; a cell's tests stay together."""
    items: list[Any] = [SimpleNamespace(name="load", callspec=SimpleNamespace(params={}))]
    items += [
        SimpleNamespace(
            name=(kind, batch),
            callspec=SimpleNamespace(params={"variant": kind, "batch": batch, "threads": 1}),
        )
        for kind in ("float32", "label")
        for batch in range(8)
    ]
    items.insert(1, SimpleNamespace(callspec=SimpleNamespace(params={"precision": "int8"})))
    orders = [in_order(items, seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    for order in orders:
        assert order[0] is items[0]
        assert order[-1] is items[1]
        pairs = [item.name for item in order[1:-1]]
        assert [batch for _, batch in pairs[::2]] == [batch for _, batch in pairs[1::2]]
        assert len(set(pairs)) == 16
