"""Which of many runs belong together, found without comparing each with each."""

from collections.abc import Callable

from indoor.runs.comparable import (
    Comparability,
    Subject,
    comparable,
    comparable_places,
    place_key,
    subject_key,
)


class Groups:
    """Subjects that belong together, numbered from 0 on; the first of each stands for its group.

    Args:
        compare: Says what two subjects differ in; those belong together that may be compared in
            time by default.
        key: Equal for subjects of which `compare` says the same.
    """

    def __init__(
        self, compare: Callable[[Subject, Subject], Comparability], key: Callable[[Subject], str]
    ) -> None:
        self.firsts: list[Subject] = []
        self._compare = compare
        self._key = key
        self._numbers: dict[str, int] = {}

    def number(self, subject: Subject) -> int:
        """Return the number of the subject's group, which is a new one where it fits none."""
        key = self._key(subject)
        if key not in self._numbers:
            fits = (
                number
                for number, first in enumerate(self.firsts)
                if self._compare(first, subject).other is None
            )
            self._numbers[key] = next(fits, len(self.firsts))
            if self._numbers[key] == len(self.firsts):
                self.firsts.append(subject)
        return self._numbers[key]


def groups_by_subject() -> Groups:
    """Return groups of runs of the same machine, environment, network, data and so on."""
    return Groups(comparable, subject_key)


def groups_by_place() -> Groups:
    """Return groups of runs of the same machine, device and environment."""
    return Groups(comparable_places, place_key)


def letter(number: int) -> str:
    """Return what tables call a group: A to Z, then 27 and so on."""
    return chr(ord("A") + number) if number < 26 else str(number + 1)
