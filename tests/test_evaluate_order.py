"""An accuracy that another order of outputs would repair is a wrong order, and nothing else is."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from indoor.evaluate.order import WrongOrder, find_wrong_order

Chances = NDArray[np.float64]


def find(
    chances: Chances, counts: Sequence[int], seed: int = 0, order: Sequence[int] | None = None
) -> WrongOrder | None:
    """Draw answers for so many photographs a class, and look for a wrong order.

    Row `i` of the chances is class `i`'s; what stands for class `i` is output `order[i]`.
    """
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    answers = np.concatenate(
        [
            generator.choice(len(chances), size=count, p=chances[label])
            for label, count in enumerate(counts)
        ]
    )
    if order is not None:
        answers = np.array(order)[answers]
    return find_wrong_order(torch.from_numpy(answers), torch.from_numpy(labels), len(chances))


def honest(num_classes: int, accuracy: float) -> Chances:
    """A network that is right so often and spreads its errors evenly."""
    chances = np.full((num_classes, num_classes), (1 - accuracy) / (num_classes - 1))
    np.fill_diagonal(chances, accuracy)
    return chances


def blind(num_classes: int, *shares: float) -> Chances:
    """A network that gives a few answers to everything, whatever it sees."""
    chances = np.zeros((num_classes, num_classes))
    chances[:, : len(shares)] = shares
    return chances


def confused(num_classes: int, accuracy: float, *pairs: tuple[int, int, float]) -> Chances:
    """A network that is honest, but takes the first class of a pair for the second so often."""
    chances = honest(num_classes, accuracy)
    for first, second, share in pairs:
        chances[first] = (1 - share - 0.3) / (num_classes - 2)
        chances[first, first], chances[first, second] = 0.3, share
        chances[first] /= chances[first].sum()
    return chances


def exchanged(count: int, first: int, second: int) -> list[int]:
    """Two outputs in each other's place."""
    order = list(range(count))
    order[first], order[second] = second, first
    return order


def saved_as(saved: Sequence[str]) -> list[int]:
    """Outputs in the order of these names, read as if they were sorted as Python sorts."""
    return [list(saved).index(name) for name in sorted(saved)]


CAPITALS = ["Bar", "TVroom", "airport", "bakery", "Zoo", "cellar", "Attic", "deli", "gym", "Yard"]
UNDERSCORES = ["bar", "kitchen_small", "kitchenette", "bed_room", "bedding", "gym", "store", "deli"]
NUMBERS = [str(number) for number in range(20)]
UNSORTED = ["kitchen", "bar", "zoo", "deli", "gym", "attic", "store", "cellar", "hall", "office"]
FOLDED = ["é-lab", "eatery", "factory", "Äpfel", "attic", "bar"]

ORDERS: dict[str, tuple[list[int], int, float]] = {
    "two of 67, 20 photographs each": (exchanged(67, 4, 51), 20, 0.8),
    "two neighbours of 67": (exchanged(67, 30, 31), 20, 0.75),
    "two of 15": (exchanged(15, 0, 14), 100, 0.7),
    "two of two": ([1, 0], 60, 0.9),
    "two of 397": (exchanged(397, 10, 200), 50, 0.7),
    "three in a ring": ([1, 2, 0, *range(3, 20)], 30, 0.7),
    "reversed": (list(range(67))[::-1], 20, 0.6),
    "shuffled": (torch.randperm(67, generator=torch.Generator().manual_seed(1)).tolist(), 20, 0.5),
    "shuffled, and weak": ([*range(7, 15), *range(7)], 100, 0.4),
    "one further": ([*range(1, 15), 0], 60, 0.7),
    "one back": ([14, *range(14)], 60, 0.7),
    "sorted without regard to capitals": (saved_as(sorted(CAPITALS, key=str.casefold)), 40, 0.8),
    "sorted in capitals": (saved_as(sorted(UNDERSCORES, key=str.upper)), 40, 0.8),
    "sorted without underscores": (
        saved_as(sorted(UNDERSCORES, key=lambda name: name.replace("_", ""))), 40, 0.8,
    ),
    "numbers as numbers, not as text": (saved_as(NUMBERS), 40, 0.8),
    "as the folder listed them": (saved_as(UNSORTED), 40, 0.7),
    "by a dictionary's ids": (saved_as(sorted(UNSORTED, key=len)), 40, 0.8),
    "accents among their letters": (
        saved_as(["Äpfel", "attic", "bar", "eatery", "é-lab", "factory"]), 40, 0.8,
    ),
    "the largest class first": (saved_as(sorted(UNSORTED, key=lambda n: n[::-1])), 40, 0.8),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("seed", range(3))
def test_a_good_network_in_a_wrong_order_is_found(name: str, seed: int) -> None:
    """Its outputs are named with the classes that they answer for, and none besides."""
    order, count, accuracy = ORDERS[name]
    classes = len(order)
    found = find(honest(classes, accuracy), [count] * classes, seed, order)
    assert found is not None
    assert abs(found.repaired - accuracy) < 0.08
    wrong = {(output, label) for label, output in enumerate(order) if output != label}
    assert set(found.moved) <= wrong
    assert len(found.moved) > 0.5 * len(wrong)
    assert found.as_it_stands < found.repaired


@pytest.mark.parametrize("seed", range(3))
def test_a_background_class_moves_all_others(seed: int) -> None:
    """An output that answers for nothing, and a class that no output answers for, hide nothing."""
    chances = honest(20, 0.75)
    chances[19] = np.append(np.full(19, 1 / 19), 0)  # the last class was never learned
    chances[:19, 19] = 0
    chances /= chances.sum(axis=1, keepdims=True)
    found = find(chances, [30] * 20, seed, [*range(1, 20), 0])
    assert found is not None
    assert {(output, output - 1) for output in range(1, 20)} >= set(found.moved)


COUNTS = {
    "alike": lambda classes: [20] * classes,
    "few": lambda classes: [3] * classes,
    "one each": lambda classes: [1] * classes,
    "uneven": lambda classes: [300 // (1 + label) + 2 for label in reversed(range(classes))],
    "uneven, the other way": lambda classes: [300 // (1 + label) + 2 for label in range(classes)],
}

HONEST: dict[str, Chances] = {
    "good": honest(67, 0.8),
    "weak": honest(67, 0.15),
    "hardly trained": honest(15, 0.1),
    "random": honest(15, 1 / 15),
    "random of two": honest(2, 0.5),
    "random of three": honest(3, 1 / 3),
    "one answer": blind(15, 1.0),
    "one answer of two": blind(2, 1.0),
    "two answers": blind(15, 0.5, 0.5),
    "three answers of four": blind(4, 0.5, 0.3, 0.2),
    "two classes for each other": confused(67, 0.8, (3, 40, 0.4), (40, 3, 0.4)),
    "two classes alike": confused(15, 0.8, (3, 8, 0.3), (8, 3, 0.3)),
    "more often for each other than right": confused(15, 0.8, (3, 8, 0.5), (8, 3, 0.5)),
    "two of three for each other": confused(3, 0.7, (0, 1, 0.5), (1, 0, 0.5)),
    "a class swallowed": confused(15, 0.8, (14, 0, 0.65)),
    "two classes swallowed": confused(15, 0.8, (14, 0, 0.65), (13, 1, 0.65)),
    "a chain of confusions": confused(15, 0.8, (14, 13, 0.5), (13, 12, 0.5), (12, 11, 0.5)),
    "worse than chance of two": honest(2, 0.35),
}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("counts", COUNTS)
def test_a_network_of_its_own_order_is_never_refused(name: str, counts: str) -> None:
    """Good, weak, random, collapsed or confused: 40 draws of each, and no false alarm."""
    chances = HONEST[name]
    for seed in range(40):
        assert find(chances, COUNTS[counts](len(chances)), seed) is None


@pytest.mark.parametrize("seed", range(20))
def test_networks_of_any_honest_kind_are_not_refused(seed: int) -> None:
    """Whatever is confused with what, where each class is its own likeliest answer, passes."""
    generator = np.random.default_rng(seed)
    for _ in range(40):
        classes = int(generator.integers(2, 40))
        chances = generator.dirichlet(np.full(classes, generator.choice([0.05, 0.3, 1.0])), classes)
        diagonal = np.arange(classes)
        likeliest = chances.argmax(axis=1)
        own = chances[diagonal, diagonal].copy()
        chances[diagonal, diagonal] = chances[diagonal, likeliest]
        chances[diagonal, likeliest] = np.where(likeliest == diagonal, chances.max(axis=1), own)
        counts = generator.integers(1, 60, classes)
        assert find(chances, counts.tolist(), int(generator.integers(2**31))) is None


@pytest.mark.parametrize("few", [1 / 3, 0.6, 1.0], ids=["a third", "most", "all"])
@pytest.mark.parametrize("seed", range(10))
def test_a_head_that_was_never_trained_has_no_order(few: float, seed: int) -> None:
    """Classes that tell apart, each answered by an output at random, some outputs by none."""
    generator = np.random.default_rng(seed)
    chances = np.full((67, 67), 0.1 / 66)
    chances[np.arange(67), generator.integers(0, round(67 * few), 67)] += 0.9
    chances /= chances.sum(axis=1, keepdims=True)
    assert find(chances, [20] * 67, seed) is None


def test_a_few_photographs_prove_nothing() -> None:
    """Three classes of four photographs each, all in a ring, are left alone."""
    assert find(honest(3, 0.9), [4, 4, 4], order=[1, 2, 0]) is None
