"""A figure of each variant as a table: a row a variant, a column a batch and thread count."""

from collections.abc import Callable, Iterable

from indoor.records import Measurement
from indoor.report import units
from indoor.report.blocks import Column, Grid
from indoor.runs.results import RunResult
from indoor.runs.select import labels, place


def pivot(
    result: RunResult,
    cases: Iterable[Measurement],
    figure: Callable[[Measurement], str | None],
) -> Grid | None:
    """Return the table; None where `figure` has none of any case.

    Args:
        result: The run, for the order of its variants.
        cases: At most one of each variant, batch, thread count and number of processes.
        figure: A case's figure as text, or None.
    """
    known = {
        (one.variant, _cell(one)): text
        for one in cases
        if one.variant is not None and (text := figure(one)) is not None
    }
    if not known:
        return None
    cells = sorted({cell for _, cell in known})
    shown, rank = labels(result), place(result)
    names = sorted({name for name, _ in known}, key=rank)
    return Grid(
        columns=(Column("variant", "left"), *(Column(_header(*cell)) for cell in cells)),
        rows=tuple(
            (shown[name], *(known.get((name, cell), units.NOTHING) for cell in cells))
            for name in names
        ),
    )


def _cell(one: Measurement) -> tuple[int, int, int]:
    return one.num_processes or 0, one.threads or 0, one.batch or 0


def _header(num_processes: int, threads: int, batch: int) -> str:
    where = units.threads(threads)
    return f"batch {batch}\n{f'{num_processes} x {where}' if num_processes else where}"
