"""Kept lines that no gate measured, for tests of what is said of them."""

import math
from collections.abc import Sequence
from pathlib import Path

from indoor.gate.records import GateVerdict
from indoor.history.chain import Z
from indoor.history.keep import FILE
from indoor.history.records import KeptCell, KeptCommit, KeptGate
from indoor.records import to_json

CELL = "benchmarks/test_work.py::test_sort"

Link = tuple[int, int, float, float]
"""Positions of base and head, the ratio, and the standard error of its logarithm."""


def name(position: int) -> str:
    """The commit at a position, which its first digits tell."""
    return f"{position:04x}".ljust(40, "0")


def kept_gate(
    base: int | str, ratio: float, error: float, machine: str = "one", cell: str = CELL
) -> KeptGate:
    """A link against the commit at a position, or against one that is on no branch of ours."""
    return KeptGate(
        base=base if isinstance(base, str) else name(base),
        base_position=None if isinstance(base, str) else base,
        began_at=f"2026-11-27T00:00:00+00:00 {base} {ratio}",
        cpu_model=machine,
        num_cores=2,
        verdict=GateVerdict.INCONCLUSIVE,
        cells={
            cell: KeptCell(
                ratio=ratio,
                low=ratio * math.exp(-Z * error),
                high=ratio * math.exp(Z * error),
                num_launches=6,
            )
        },
    )


def kept_lines(links: Sequence[Link]) -> tuple[KeptCommit, ...]:
    """One line a commit for the links, each commit's subject its position in words."""
    heads = sorted({head for _, head, _, _ in links})
    return tuple(
        KeptCommit(
            commit=name(position),
            position=position,
            subject=f"change {position}",
            gates=tuple(
                kept_gate(base, ratio, error)
                for base, head, ratio, error in links
                if head == position
            ),
        )
        for position in heads
    )


STEP_AT = 13


def stepped() -> list[Link]:
    """Twenty commits, the 13th of which is 5% slower, with gates against the first."""
    chain = [(n - 1, n, 1.05 if n == STEP_AT else 1.0, 0.005) for n in range(2, 21)]
    held = [(1, n, 1.05 if n >= STEP_AT else 1.0, 0.005) for n in range(4, 21, 4)]
    return chain + held


def keep_stepped(results: Path) -> None:
    """Keep these in a folder of results."""
    keep_lines(results, kept_lines(stepped()))


def keep_lines(results: Path, lines: Sequence[KeptCommit]) -> None:
    """Keep lines in a folder of results."""
    file = results / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(to_json(line) + b"\n" for line in lines))
