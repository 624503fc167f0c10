"""What changed on a chain, and with which commit: steps, and drifts too slow for any one gate.

Each link is an observation of the difference between two commits, so a change is looked for in the
links themselves and not in the chain's levels, whose errors add up along the commits and look like
changes (a random walk). A change is a straight rise over one interval of the chain: over one commit
it is a step, over three or more a drift. They are taken one or two at a time, moved while the
others stand, and dropped where they explain too little beside them. The family-wise error is
Bonferroni's over all places, widths and cells: the links' errors are known, so nothing has to be
permuted, and the same lines give the same answer.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from indoor.history.chain import Links, interval
from indoor.history.records import Change

MIN_CHANGE = 0.01
"""Less is not told: the gate's margin, and what a tiny bias of all links could add up to."""

_WIDTHS = (1, *range(3, 13), *(14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384))
"""Commits that a change may be spread over; finer steps would be told apart by no link."""

_NOT_EXCLUDED = 3.84
"""Another commit explains as well where the likelihood ratio's chi-square loses less (95%)."""

_SMALL = 1e-9
"""Of a squared column: what is left of one that the others hold already."""

_MAX_CHANGES = 50
_MAX_ROUNDS = 20


@dataclass(frozen=True)
class _Rise:
    """The level rises in equal parts from node `start`, by which it is 0, to node `end`."""

    start: int
    end: int


def find_changes(
    links: Links, subjects: dict[str, str], *, alpha: float, num_cells: int
) -> tuple[Change, ...]:
    """Return what changed on one cell's connected chain, in the order of the commits.

    Args:
        links: Its links.
        subjects: Of the commits, as far as they are known.
        alpha: The chance that a history without any change is said to have one.
        num_cells: All cells of the history, which share `alpha`.
    """
    search = _Search(links, alpha / num_cells)
    chosen = search.run()
    estimates, errors = search.fit(chosen)
    changes = []
    for one, estimate, error in zip(chosen, estimates, errors, strict=True):
        rise = search.rises[one]
        start, end = links.nodes[rise.start], links.nodes[rise.end]
        changes.append(
            Change(
                kind="step" if rise.end - rise.start == 1 else "drift",
                after=start,
                commit=end,
                subject=subjects.get(end, ""),
                num_commits=links.positions[rise.end] - links.positions[rise.start],
                ratio=math.exp(estimate),
                interval=interval(estimate, error),
                p_value=min(1.0, num_cells * search.p_value(estimate / error)),
                or_with=tuple(links.nodes[node] for node in search.others(one, chosen)),
            )
        )
    return tuple(changes)


class _Search:
    """Rises over one chain, each a column of what the links would have measured of it."""

    def __init__(self, links: Links, alpha: float) -> None:
        self._alpha = alpha
        num_places = links.num_places
        self.rises = [
            _Rise(start, start + width) for width in _WIDTHS for start in range(num_places - width)
        ]
        self._starts = np.array([rise.start for rise in self.rises], dtype=np.intp)
        self._ends = np.array([rise.end for rise in self.rises], dtype=np.intp)
        self._num_steps = max(num_places - 1, 0)  # the first ones
        # What one more rise must explain; a drift's width is a free parameter more, at Schwarz's
        # price (Ann. Stat. 6, 1978).
        one = math.log(max(len(links.values), 2))
        width = np.where(np.arange(len(self.rises)) < self._num_steps, 0.0, one)
        self._full = 2 * math.log(max(len(self.rises), 1) / alpha) + width
        self._low = 2 * one + width
        place = np.arange(len(links.nodes), dtype=np.float64)
        widths = (self._ends - self._starts)[:, None]
        profiles = np.clip((place - self._starts[:, None]) / widths, 0.0, 1.0)
        # What lies on another branch has a level of its own, which no rise of this one moves.
        profiles[:, num_places:] = 0.0
        others = np.eye(len(links.nodes))[num_places:]
        weight = 1 / links.errors
        apart = weight * (others[:, links.head] - others[:, links.base])
        basis = np.linalg.qr(apart.T)[0]
        seen = weight * (profiles[:, links.head] - profiles[:, links.base])
        self._columns = _without(seen.T, basis)
        self._values = _without(weight * links.values, basis)
        self._known: dict[tuple[int, ...], list[list[int]]] = {}

    def run(self) -> list[int]:
        """Return which rises the links show, from the oldest on.

        That something changed must be shown at the full price. How it is parted, a long drift or a
        step and a short one, is then the better explanation's matter at Schwarz's price alone.
        """
        found = [self._dropped(self._descended(prices)) for prices in (self._full, self._low)]
        shown = [one for one in found if self._cost(one, self._full) < self._cost([], self._full)]
        return min(shown, key=lambda one: self._cost(one, self._low), default=[])

    def fit(self, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rises' logarithms beside each other, and their standard errors."""
        columns = self._columns[:, list(chosen)]
        inverse = np.linalg.pinv(columns.T @ columns)
        return inverse @ columns.T @ self._values, np.sqrt(np.diag(inverse))

    def p_value(self, z: float) -> float:
        """Return the two-sided p value, adjusted for all rises that were looked at."""
        return min(1.0, 2 * len(self.rises) * math.exp(float(log_ndtr(-abs(z)))))

    def others(self, one: int, chosen: Sequence[int]) -> tuple[int, ...]:
        """Return the nodes with which a step may have come as well; none for a drift."""
        if one >= self._num_steps:
            return ()
        gains = self._gains([other for other in chosen if other != one])[: self._num_steps]
        near = np.flatnonzero(gains[one] - gains < _NOT_EXCLUDED)
        return tuple(self.rises[other].end for other in near.tolist() if other != one)

    def _descended(self, prices: np.ndarray) -> list[int]:
        """Return the rises from which no neighbour explains more for its price."""
        chosen: list[int] = []
        for _ in range(_MAX_CHANGES):
            tried = min(self._neighbours(chosen), key=lambda one: self._cost(one, prices))
            better = self._moved(tried, prices)
            if self._cost(better, prices) >= self._cost(chosen, prices) - _SMALL:
                break
            chosen = better
        return chosen

    def _neighbours(self, chosen: list[int]) -> Iterator[list[int]]:
        """Yield what to try next: one or two rises more, or instead of one or two there.

        Two at a time, since a long drift over a step and a short drift stands in the way of either.
        """
        rests = [chosen]
        rests += [chosen[:n] + chosen[n + 1 :] for n in range(len(chosen))]
        rests += [chosen[:n] + chosen[n + 2 :] for n in range(len(chosen) - 1)]
        for rest in rests:
            yield rest
            for more in self._candidates(tuple(rest)):
                yield [*rest, *more]

    def _candidates(self, given: tuple[int, ...]) -> list[list[int]]:
        """Return the best step, drift, two steps, and step with a drift, beside the given ones."""
        if given not in self._known:
            gains = self._gains(given)
            found = [[int(one)] for one in self._largest(gains[None])]
            self._known[given] = found + self._best_pairs(given)
        return self._known[given]

    def _largest(self, gains: np.ndarray) -> list[int]:
        """Return the flat indices of the largest gain of a step and of a drift, the columns."""
        found = []
        for part in (slice(None, self._num_steps), slice(self._num_steps, None)):
            inside = gains[:, part]
            if inside.size and np.isfinite(inside.max()):
                row, column = divmod(int(np.argmax(inside)), inside.shape[1])
                found.append(row * gains.shape[1] + (part.start or 0) + column)
        return found

    def _gains(self, given: Sequence[int]) -> np.ndarray:
        """Return what each rise explains beside the given ones; -inf where it overlaps one."""
        columns, values = self._beside(given)
        sizes = np.einsum("ij,ij->j", columns, columns)
        known = self._is_free(given) & (sizes > _SMALL)
        products = columns.T @ values
        gains: np.ndarray = np.where(known, products**2 / np.where(known, sizes, 1.0), -np.inf)
        return gains

    def _beside(self, given: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        basis = np.linalg.qr(self._columns[:, list(given)])[0]
        return _without(self._columns, basis), _without(self._values, basis)

    def _is_free(self, given: Sequence[int]) -> np.ndarray:
        free = np.ones(len(self.rises), dtype=np.bool_)
        for one in given:
            free &= (self._ends <= self._starts[one]) | (self._starts >= self._ends[one])
        return free

    def _best(self, given: Sequence[int], prices: np.ndarray) -> list[int]:
        """Return the rise that explains most beside the given ones, as a list; empty: none does."""
        scores = self._gains(given) - prices
        return [int(np.argmax(scores))] if np.isfinite(scores).any() else []

    def _best_pairs(self, given: Sequence[int]) -> list[list[int]]:
        """Return the step that explains most together with a second one, and with a drift."""
        columns, values = self._beside(given)
        sizes, told = np.einsum("ij,ij->j", columns, columns), columns.T @ values
        known = self._is_free(given) & (sizes > _SMALL)
        steps = np.flatnonzero(known[: self._num_steps])
        size, product = sizes[steps, None], told[steps, None]
        shared = columns[:, steps].T @ columns
        rest = size * sizes - shared**2
        before = self._ends <= self._starts[steps, None]
        after = self._starts >= self._ends[steps, None]
        known = known & (before | after) & (rest > _SMALL * size * sizes)
        gains = product**2 * sizes - 2 * product * told * shared + told**2 * size
        gains = np.where(known, gains / np.where(known, rest, 1.0), -np.inf)
        return [
            [int(steps[one // len(self.rises)]), one % len(self.rises)]
            for one in self._largest(gains)
        ]

    def _moved(self, chosen: list[int], prices: np.ndarray) -> list[int]:
        """Return the rises, each where it explains most while the others stand."""
        chosen = sorted(chosen, key=self._starts.__getitem__)
        for _ in range(_MAX_ROUNDS):
            moved = list(chosen)
            for number in range(len(moved)):
                rest = moved[:number] + moved[number + 1 :]
                moved[number : number + 1] = self._best(rest, prices)
            if moved == chosen:
                break
            chosen = moved
        return sorted(chosen, key=self._starts.__getitem__)

    def _cost(self, chosen: Sequence[int], prices: np.ndarray) -> float:
        estimates, _ = self.fit(chosen)
        left = self._values - self._columns[:, list(chosen)] @ estimates
        return float(left @ left) + float(np.sum(prices[list(chosen)]))

    def _dropped(self, chosen: list[int]) -> list[int]:
        """Return the rises without those that are not shown, or too small, beside the others."""
        while chosen:
            estimates, errors = self.fit(chosen)
            weak = [
                (abs(estimate / error), one)
                for one, estimate, error in zip(chosen, estimates, errors, strict=True)
                if self.p_value(estimate / error) >= self._alpha
                or abs(math.expm1(estimate)) < MIN_CHANGE
            ]
            if not weak:
                break
            chosen = [one for one in chosen if one != min(weak)[1]]
        return chosen


def _without(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return what the basis, of orthonormal columns, leaves of each column."""
    left: np.ndarray = columns - basis @ (basis.T @ columns)
    return left
