"""Whether a network's outputs stand in another order than the classes: tried on held-out halves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_LEVEL = 1e-3
"""A chance finding is to be rarer than this: it refuses somebody's figures."""

_ODDS = 2 / 3
"""What it is tested against: two photographs gained for each that is lost.

Classes that are taken for each other oftener than they are recognised are still no wrong order. A
sign test (McNemar's, against one for one) is below 1e-5 wherever this one is below `_LEVEL`.
"""

_SHARE = 1 / 3
"""What an output in the wrong place must answer of another class, and have of its own answers.

An honest network that confuses two classes reaches a half at the most for both, and then loses as
many photographs as it gains by an exchange. A collapsed one answers a whole class with one output,
but a few classes at once, so that none has this share of its answers.
"""

_RATIO = 3
"""Photographs gained for each that is lost, at least."""

_KNOWN = 0.9
"""The share of the classes that a network whose outputs were exchanged knows in the right order.

A head that was never trained, or trained to give few answers, lets some outputs stand for a class
each and most for none; an assignment repairs those few, and there is no order to be right.
"""

_RECOGNISED = 0.1
"""The share of a class's photographs that makes it known."""

Whole = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class WrongOrder:
    """What the outputs would have right in an order that was found on the other photographs.

    `as_it_stands` and `repaired` are shares of all photographs. `moved` holds outputs with the
    class that each answers for, the most photographs first.
    """

    as_it_stands: float
    repaired: float
    moved: tuple[tuple[int, int], ...]


def find_wrong_order(answers: Tensor, labels: Tensor, num_classes: int) -> WrongOrder | None:
    """Return the order that would repair a network's accuracy; None where none is shown.

    The order is found on one half of each class's photographs (the best assignment of outputs to
    classes) and counted on the other, both ways. It counts only where outputs that took each
    other's places answer for another class in mutual plurality, where that gains three photographs
    for each that it loses, where an exact binomial test does not leave two for one to chance, and
    where nearly every class is recognised then.

    Args:
        answers: int64 `(N,)`, the place of the largest logit.
        labels: int64 `(N,)`.
        num_classes: Outputs, and classes.
    """
    from scipy.stats import binom

    found, truth = answers.numpy(), labels.numpy()
    num_gained = num_lost = num_answers = 0
    repaired = np.zeros(len(truth), bool)
    moved: dict[tuple[int, int], int] = {}
    for chosen in _halves(truth):
        order, kept = _fit(_confusion(found[~chosen], truth[~chosen], num_classes))
        here, true = found[chosen], truth[chosen]
        repaired[chosen] = order[here] == true
        counted = kept[here]
        num_answers += int(counted.sum())
        num_gained += int((order[here] == true)[counted].sum())
        num_lost += int((here == true)[counted].sum())
        for output in np.flatnonzero(kept).tolist():
            pair = (output, int(order[output]))
            moved[pair] = moved.get(pair, 0) + int(((here == output) & (true == pair[1])).sum())
    sizes = np.bincount(truth, minlength=num_classes)
    hits = np.bincount(truth[repaired], minlength=num_classes)
    known = hits[sizes > 0] > _RECOGNISED * sizes[sizes > 0]
    shown = (
        known.mean() >= _KNOWN
        and num_gained >= _RATIO * max(num_lost, 1)
        and num_gained > _SHARE * num_answers
        and binom.sf(num_gained - 1, num_gained + num_lost, _ODDS) < _LEVEL
    )
    if not shown:
        return None
    return WrongOrder(
        as_it_stands=float((found == truth).mean()),
        repaired=float(repaired.mean()),
        moved=tuple(sorted(moved, key=lambda pair: (-moved[pair], pair))),
    )


def _halves(labels: Whole) -> Iterator[NDArray[np.bool_]]:
    """Yield both halves of the photographs, each with every other one of every class."""
    second = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        second[np.flatnonzero(labels == label)[1::2]] = True
    yield second
    yield ~second


def _confusion(answers: Whole, labels: Whole, num_classes: int) -> Whole:
    """Return how often each class (row) was answered by each output (column)."""
    places = labels * num_classes + answers
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


def _fit(confusion: Whole) -> tuple[Whole, NDArray[np.bool_]]:
    """Return the class that each output answers for, and which outputs are shown to be misplaced.

    Misplaced is who answers for another class in mutual plurality, whose own output does not, and
    has its place taken by, or takes that of, another such output: one class that flows into
    another is a confusion.
    """
    from scipy.optimize import linear_sum_assignment

    count = len(confusion)
    # The half makes outputs stay where nothing speaks for another place.
    outputs, order = linear_sum_assignment(confusion.T + 0.5 * np.eye(count), maximize=True)
    hits = confusion[order, outputs]
    of_class, of_output = confusion.sum(axis=1)[order], confusion.sum(axis=0)
    shown = (
        (order != outputs)
        & (hits > _SHARE * of_class)
        & (hits > _SHARE * of_output)
        & (hits == confusion.max(axis=1)[order])
        & (hits == confusion.max(axis=0))
        & (confusion.diagonal()[order] <= _SHARE * of_output[order])
    )
    gives, takes = np.flatnonzero(shown), order[shown]
    chained = np.isin(outputs, takes) | np.isin(order, gives)
    return order, shown & chained
