"""From the kept lines to every cell's chain and what changed on it."""

from collections.abc import Sequence
from dataclasses import replace

from indoor.history.chain import joined, links_of, place
from indoor.history.changes import find_changes
from indoor.history.records import CellHistory, Change, History, KeptCommit

ALPHA = 0.001
"""The chance that a history without any change is said to have one."""

NUM_NEWEST = 365
"""Commits that are told of unless more are asked for: the search grows with their square."""

_MUCH = 1.5


def tell_history(
    commits: Sequence[KeptCommit], *, alpha: float = ALPHA, num_newest: int = NUM_NEWEST
) -> History:
    """Join the gates to chains and find what changed.

    Args:
        commits: The kept lines, rising by position.
        alpha: The chance that a history without any change is said to have one, over all cells.
        num_newest: Commits to tell of; older ones are there as bases only.
    """
    num_older = max(len(commits) - num_newest, 0)
    commits = commits[num_older:]
    gates = [gate for line in commits for gate in line.gates]
    names = sorted({name for gate in gates for name in gate.cells})
    cells = tuple(_cell(commits, name, alpha, len(names)) for name in names)
    return History(
        cells=cells,
        num_commits=len(commits),
        num_gates=len(gates),
        machines=tuple(sorted({f"{gate.cpu_model}, {gate.num_cores} cores" for gate in gates})),
        alpha=alpha,
        notes=(*_older(num_older), *_notes(cells)),
    )


def newest_changes(history: History, commits: Sequence[KeptCommit], num_newest: int) -> bool:
    """Return whether a slowdown came with one of the newest kept commits or later, or ended there.

    A commit that was only ever a gate's base has a place on the chain and no kept line.
    """
    oldest = min((line.position for line in commits[-num_newest:]), default=0)
    return any(
        change.ratio > 1 and place.position >= oldest
        for cell in history.cells
        for change in cell.changes
        for place in cell.places
        if place.commit == change.commit
    )


def _cell(commits: Sequence[KeptCommit], name: str, alpha: float, num_cells: int) -> CellHistory:
    links, apart = joined(links_of(commits, name))
    lines = {line.commit: line for line in commits}
    subjects = {commit: line.subject for commit, line in lines.items()}
    changes = find_changes(links, subjects, alpha=alpha, num_cells=num_cells)
    return CellHistory(
        name=name,
        reference=links.nodes[0],
        places=place(links),
        changes=tuple(
            replace(change, test_changed=_changed_test(change, lines.get(change.commit), name))
            for change in changes
        ),
        num_links=len(links.values),
        scatter=links.scatter,
        apart=apart,
    )


def _changed_test(change: Change, line: KeptCommit | None, cell: str) -> bool:
    """Return whether the gate of just these two commits saw another test on either side."""
    gates = line.gates if line else ()
    return any(
        gate.base == change.after and gate.cells[cell].test_changed
        for gate in gates
        if cell in gate.cells
    )


def _older(num_older: int) -> list[str]:
    if not num_older:
        return []
    return [f"{num_older} older commits are kept and not told of; --last N takes more"]


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
