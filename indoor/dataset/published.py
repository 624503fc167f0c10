"""MIT Indoor-67 as its authors published it: where it lies, and by what its files are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from indoor.dataset.folders import has_ending, look_into
from indoor.dataset.lists import LIST_NAMES, ListName
from indoor.files import sha256_of_file


@dataclass(frozen=True, kw_only=True)
class PublishedList:
    """A split list: its address, and the SHA-256 that tells it from every other split."""

    url: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """A data set in an archive, with two split lists beside it.

    `other_names` are photographs that a copy calls otherwise: `class/file` of the lists, and that
    of the copy.
    """

    name: str
    page: str
    archive_url: str
    archive_sha1: str
    lists: Mapping[ListName, PublishedList]
    other_names: Mapping[str, str]


MIT_INDOOR_67 = PublishedSet(
    name="MIT Indoor-67",
    page="https://web.mit.edu/torralba/www/indoor.html",
    archive_url="http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar",
    archive_sha1="0b252516e746ba428b96af408d2e8162d9b08ac5",
    lists={
        "train": PublishedList(
            url="https://web.mit.edu/torralba/www/TrainImages.txt",
            sha256="7ec85f88735739d8159061e4bcf6a9765aab8606ab444605b3f8e0641be0260e",
        ),
        "test": PublishedList(
            url="https://web.mit.edu/torralba/www/TestImages.txt",
            sha256="906c529a5a0918feec371de5b07a465ddb1f15ebaebc90a33cc321c371133bf1",
        ),
    },
    other_names={"nursery/baby's_room.jpg.jpg": "nursery/baby's_room.jpg"},
)
"""A. Quattoni and A. Torralba, Recognizing Indoor Scenes, CVPR 2009; for research use only.

The page links the archive (2.4 GB, 15,620 photographs) and both lists. It tells no hash: the
archive's SHA-1 is the one of visym/vipy (`vipy/data/mit67.py`), the lists' SHA-256 were taken of
copies in cdoersch/elementdiscovery. The other name is that of the reduced copy `MITIndoor67.zip`
(the 6,700 listed photographs) of vpulab/Semantic-Aware-Scene-Recognition.
"""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a folder holds of a published set; `lacks` says in words what it lacks, if anything."""

    num_photographs: int
    num_train: int
    num_test: int
    lacks: str


def read_listed(data: bytes) -> tuple[str, ...]:
    """Return the lines `class/file` of a list whose hash is right, so that it is as published."""
    return tuple(line for line in data.decode("utf-8").splitlines() if line)


def look_for(published: PublishedSet, root: Path) -> Holding:
    """Return how much of a published set is in a folder, by both lists and the listed files.

    The lists decide which split it is, and so each must have its hash; of photographs it is only
    looked at that they are there.

    Raises:
        IndoorError: A folder cannot be read.
        OSError: A list cannot be read.
    """
    lines: dict[ListName, tuple[str, ...]] = {}
    for name, one in published.lists.items():
        paths = [root / file for file in LIST_NAMES[name]]
        right = [path for path in paths if path.is_file() and sha256_of_file(path) == one.sha256]
        if not right:
            lacks = f"{LIST_NAMES[name][0]} with the publisher's SHA-256"
            return Holding(num_photographs=0, num_train=0, num_test=0, lacks=lacks)
        lines[name] = read_listed(right[0].read_bytes())
    images = root / "Images"
    if not images.is_dir():
        return Holding(num_photographs=0, num_train=0, num_test=0, lacks="the folder Images")
    folders = look_into(images)
    listed = (*lines["train"], *lines["test"])
    missing = [name for name in listed if not folders.holds(name)]
    return Holding(
        num_photographs=sum(has_ending(f) for names in folders.files.values() for f in names.names),
        num_train=len(lines["train"]),
        num_test=len(lines["test"]),
        lacks=count_missing(missing, listed),
    )


def count_missing(missing: Sequence[str], listed: Sequence[str]) -> str:
    """Return in words how many photographs are missing; empty where none is."""
    if not missing:
        return ""
    return f"{len(missing):,} of the {len(listed):,} listed photographs, the first {missing[0]}"
