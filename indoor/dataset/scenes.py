"""A split of a data set as a torch dataset of photographs and labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from PIL import Image
from torch.utils.data import Dataset

from indoor.dataset.content import find_broken
from indoor.dataset.lists import SplitLists, photographs_folder, read_split_lists
from indoor.dataset.photographs import load_photograph
from indoor.dataset.splits import validation_indices
from indoor.errors import IndoorError
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Split


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One photograph: its file, its line in the list (`class/file`) and its label."""

    path: Path
    name: str
    label: int


class IndoorScenes(Dataset[tuple[Any, int]]):
    """The photographs of a split, each with its label.

    Validation is a share of every class of the train list, chosen by the seed from the names
    alone, so that neither the list's order nor a broken file elsewhere moves a photograph from
    one split to another. The test list is the test split, untouched.

    Args:
        root: A data set in MIT Indoor-67's layout; see `read_split_lists`.
        split: `train`, `val` or `test`.
        transform: What to make of each RGB photograph; None leaves it as it is.
        val_fraction: The share of the train list that is validation, between 0 and 1.
        seed: Decides which photographs are validation.
        skip_broken: Leave out, and count, files that hold no whole photograph. Each is decoded
            once to know. Without it such a file raises when it is read.
        progress: Hears of each photograph that is decoded to know.

    Attributes:
        root: As given.
        split: As given.
        classes: The sorted names of the class folders; a class's place is its label.
        samples: The photographs, in their list's order.
        num_skipped: How many were left out.

    Raises:
        IndoorError: The lists cannot be used, a listed file is missing, or no photograph is left.
        ValueError: The split is unknown, or the fraction is not between 0 and 1.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        transform: Callable[[Image.Image], Any] | None = None,
        *,
        val_fraction: float = 0.15,
        seed: int = 0,
        skip_broken: bool = False,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        if split not in get_args(Split):
            raise ValueError(f"split is {split!r}, expected one of {', '.join(get_args(Split))}")
        lists = read_split_lists(root)
        names = split_names(lists, val_fraction=val_fraction, seed=seed)[split]
        labels = {name: label for label, name in enumerate(lists.classes)}
        images = photographs_folder(root)
        samples = tuple(
            Sample(path=images / name, name=name, label=labels[name.split("/")[0]])
            for name in names
        )
        _demand_files(samples)
        self.root = root
        self.split: Split = split
        self.transform = transform
        self.classes = lists.classes
        self.num_skipped = 0
        if skip_broken:
            progress.start(f"checking the {split} photographs", len(samples))
            broken = find_broken([sample.path for sample in samples], progress=progress)
            progress.finish()
            self.num_skipped = len(broken)
            samples = tuple(sample for sample in samples if sample.path not in broken)
        self.samples = samples
        if not samples:
            raise IndoorError(
                f"the {split} split of {root} is empty ({self.num_skipped} photographs skipped); "
                "expected at least one, and two a class in the train list for validation"
            )

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of each photograph."""
        return tuple(sample.label for sample in self.samples)

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the transformed photograph (RGB without a transform) and its label.

        Raises:
            IndoorError: The file does not hold a whole photograph.
        """
        sample = self.samples[index]
        photograph = load_photograph(sample.path)
        return photograph if self.transform is None else self.transform(photograph), sample.label


def split_names(
    lists: SplitLists, *, val_fraction: float, seed: int
) -> dict[Split, tuple[str, ...]]:
    """Return the lines of each split, in their list's order."""
    ordered = sorted(lists.train)
    labels = {name: label for label, name in enumerate(lists.classes)}
    chosen = validation_indices(
        [labels[name.split("/")[0]] for name in ordered], val_fraction, seed
    )
    val = {ordered[index] for index in chosen}
    return {
        "train": tuple(name for name in lists.train if name not in val),
        "val": tuple(name for name in lists.train if name in val),
        "test": lists.test,
    }


def _demand_files(samples: Iterable[Sample]) -> None:
    """Raise where a listed file is missing."""
    missing = [sample.path for sample in samples if not sample.path.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise IndoorError(
            f"the lists name {missing[0]}{more}, and there is no such file; "
            "restore it, or take its line off the list"
        )
