"""From the kept lines to every cell's chain and what changed on it."""

from collections.abc import Sequence

from indoor.history.chain import joined, links_of, place
from indoor.history.changes import find_changes
from indoor.history.records import CellHistory, History, KeptCommit

ALPHA = 0.001
"""The chance that a history without any change is said to have one."""

_MUCH = 1.5


def tell_history(
    commits: Sequence[KeptCommit], *, alpha: float = ALPHA, notes: Sequence[str] = ()
) -> History:
    """Join the gates to chains and find what changed.

    Args:
        commits: The kept lines, rising by position.
        alpha: The chance that a history without any change is said to have one, over all cells.
        notes: What a reader must know besides.
    """
    gates = [gate for line in commits for gate in line.gates]
    names = sorted({name for gate in gates for name in gate.cells})
    cells = tuple(_cell(commits, name, alpha, len(names)) for name in names)
    return History(
        cells=cells,
        num_commits=len(commits),
        num_gates=len(gates),
        machines=tuple(sorted({f"{gate.cpu_model}, {gate.num_cores} cores" for gate in gates})),
        alpha=alpha,
        notes=(*notes, *_notes(cells)),
    )


def newest_changes(history: History, commits: Sequence[KeptCommit], num_newest: int) -> bool:
    """Return whether a slowdown came with one of the newest kept commits, or ended there."""
    newest = {line.commit for line in commits[-num_newest:]}
    return any(
        change.ratio > 1 and change.commit in newest
        for cell in history.cells
        for change in cell.changes
    )


def _cell(commits: Sequence[KeptCommit], name: str, alpha: float, num_cells: int) -> CellHistory:
    links, apart = joined(links_of(commits, name))
    subjects = {line.commit: line.subject for line in commits}
    return CellHistory(
        name=name,
        reference=links.nodes[0],
        places=place(links),
        changes=find_changes(links, subjects, alpha=alpha, num_cells=num_cells),
        num_links=len(links.values),
        scatter=links.scatter,
        apart=apart,
    )


def _notes(cells: Sequence[CellHistory]) -> list[str]:
    notes = []
    wide = [cell.name for cell in cells if cell.scatter > _MUCH]
    if wide:
        notes.append(
            f"links scatter more than {_MUCH:g} times as much as their intervals say in "
            f"{', '.join(wide)}, and their intervals were widened by as much: gates of that suite "
            "want more --minutes, or its machines tell different truths"
        )
    gaps = {(cell.places[-1].commit, cell.apart) for cell in cells if cell.apart and cell.places}
    for newest, apart in sorted(gaps):
        notes.append(
            f"no gate joins {apart[0][:12]} ({len(apart)} commits) to the chain that ends with "
            f"{newest[:12]}; indoor gate --base {newest[:12]} --head {apart[0][:12]} --out FILE "
            "does, and indoor history FILE keeps it"
        )
    return notes
