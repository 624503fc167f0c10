"""One cell's links, joined to a chain: each commit's level by all gates together.

Gates are the measured differences of a levelling network and commits its points: a gate against the
commit before, one against the last release, or any other are observations of the logarithms'
differences. Weighted least squares weighs each by its interval (Ghilani, Adjustment Computations,
6th ed. 2017, chapter 12), so errors add up along neighbours only until a gate against a commit
further back holds them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from indoor.history.records import KeptCell, KeptCommit, KeptGate, Place
from indoor.measure.pair_statistics import LEVEL, robust_sd
from indoor.records import Interval

Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Half-width of an interval over its standard error."""

_MIN_ERROR = 5e-4
"""Of a link's logarithm: no gate tells 0.05%."""

_MIN_LOCAL = 8
"""Fewer neighbours say too little of how much links scatter."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """A cell's links as numbers; the first `num_places` nodes are the branch's, rising.

    `base` and `head` are nodes, int `(num_links,)`; `values` are logarithms of head's time over
    base's and `errors` their standard errors, float64 `(num_links,)`.
    """

    nodes: tuple[str, ...]
    positions: tuple[int, ...]
    base: np.ndarray
    head: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    scatter: float = 1.0

    @property
    def num_places(self) -> int:
        """The nodes on the branch; those behind them lie on others, such as a release's."""
        return len(self.positions)


def links_of(commits: Sequence[KeptCommit], cell: str) -> Links:
    """Return a cell's links out of the kept lines.

    A link counts as no more precise than the middle one of its machine: an interval from a few
    launches may come out far too narrow by chance, and would then decide alone. Where neighbours
    scatter more than their intervals say, all intervals are widened by as much.
    """
    measured = [
        (line, gate, gate.cells[cell])
        for line in commits
        for gate in line.gates
        if cell in gate.cells
    ]
    places: dict[str, int] = {}
    for line, gate, _ in measured:
        places[line.commit] = line.position
        if gate.base_position is not None:
            places.setdefault(gate.base, gate.base_position)
    ordered = sorted(places, key=lambda commit: (places[commit], commit))
    others = dict.fromkeys(gate.base for _, gate, _ in measured if gate.base not in places)
    nodes = (*ordered, *others)
    index = {commit: number for number, commit in enumerate(nodes)}
    links = Links(
        nodes=nodes,
        positions=tuple(places[commit] for commit in ordered),
        base=np.array([index[gate.base] for _, gate, _ in measured], dtype=np.intp),
        head=np.array([index[line.commit] for line, _, _ in measured], dtype=np.intp),
        values=np.log([kept.ratio for _, _, kept in measured]),
        errors=_errors([(gate, kept) for _, gate, kept in measured]),
    )
    scatter = _scatter(links)
    return replace(links, errors=scatter * links.errors, scatter=scatter)


def joined(links: Links) -> tuple[Links, tuple[str, ...]]:
    """Return the links of the longest connected chain, and the branch's commits that it lacks."""
    group = list(range(len(links.nodes)))
    for base, head in zip(links.base, links.head, strict=True):
        old, new = group[head], group[base]
        if old != new:
            group = [new if one == old else one for one in group]
    sizes: dict[int, int] = {}
    for one in group[: links.num_places]:
        sizes[one] = sizes.get(one, 0) + 1
    # Of equals the newest: what comes next is most likely joined to it.
    largest = max(reversed(sizes), key=lambda one: sizes[one])
    inside = [number for number, one in enumerate(group) if one == largest]
    renumbered = {number: new for new, number in enumerate(inside)}
    chosen = np.array([number in renumbered for number in links.head.tolist()])
    kept = replace(
        links,
        nodes=tuple(links.nodes[number] for number in inside),
        positions=tuple(links.positions[n] for n in inside if n < links.num_places),
        base=np.array([renumbered[n] for n in links.base[chosen].tolist()], dtype=np.intp),
        head=np.array([renumbered[n] for n in links.head[chosen].tolist()], dtype=np.intp),
        values=links.values[chosen],
        errors=links.errors[chosen],
    )
    places = range(links.num_places)
    return kept, tuple(links.nodes[number] for number in places if number not in renumbered)


def place(links: Links) -> tuple[Place, ...]:
    """Return each commit's level against the oldest's; the links must be one connected chain."""
    num_nodes, num_links = len(links.nodes), len(links.values)
    design = np.zeros((num_links, num_nodes))
    rows = np.arange(num_links)
    np.add.at(design, (rows, links.head), 1.0)
    np.add.at(design, (rows, links.base), -1.0)
    design /= links.errors[:, None]
    free = design[:, 1:]  # the oldest commit's level is 0
    covariance = np.linalg.inv(free.T @ free)
    levels = np.concatenate([[0.0], covariance @ free.T @ (links.values / links.errors)])
    errors = np.concatenate([[0.0], np.sqrt(np.diag(covariance))])
    return tuple(
        Place(
            commit=links.nodes[number],
            position=links.positions[number],
            level=math.exp(levels[number]),
            interval=interval(levels[number], errors[number]) if number else None,
            ratio=math.exp(levels[number] - levels[number - 1]) if number else None,
            ratio_to=links.nodes[number - 1] if number else None,
        )
        for number in range(links.num_places)
    )


def interval(logarithm: float, error: float) -> Interval:
    """Return a ratio's 95% interval from its logarithm and that one's standard error."""
    return Interval(low=math.exp(logarithm - Z * error), high=math.exp(logarithm + Z * error))


def _errors(measured: Sequence[tuple[KeptGate, KeptCell]]) -> np.ndarray:
    """Return the links' standard errors, none below the median of its machine's."""
    own = np.array([math.log(kept.high / kept.low) / (2 * Z) for _, kept in measured])
    machines = np.array([f"{gate.cpu_model}, {gate.num_cores}" for gate, _ in measured])
    floors = np.array([np.median(own[machines == one]) for one in machines])
    errors: np.ndarray = np.maximum(np.maximum(own, floors), _MIN_ERROR)
    return errors


def _scatter(links: Links) -> float:
    """Return by how much neighbours scatter more than their intervals say, 1 at least.

    Neighbours are a commit and the one before it, gated against each other or one after the other
    against the same base. A change moves one of them, a drift all by little, so the middle of them
    tells the links' noise.
    """
    local = [
        value / error
        for base, head, value, error in zip(
            links.base, links.head, links.values, links.errors, strict=True
        )
        if head - base == 1 and head < links.num_places
    ]
    latest: dict[int, tuple[float, float]] = {}
    for number in np.argsort(links.head, kind="stable").tolist():
        base, head = int(links.base[number]), int(links.head[number])
        value, error = float(links.values[number]), float(links.errors[number])
        if head - base == 1 and head < links.num_places:
            continue
        if base in latest:
            before, its_error = latest[base]
            local.append((value - before) / math.hypot(error, its_error))
        latest[base] = (value, error)
    return max(1.0, robust_sd(np.array(local))) if len(local) >= _MIN_LOCAL else 1.0
