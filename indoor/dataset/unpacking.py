"""From an archive to class folders: which of its files are photographs, and where they belong."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from indoor.dataset.archives import read_archive, read_entry
from indoor.dataset.findings import visible
from indoor.dataset.folders import has_ending, is_left_behind, is_printable
from indoor.dataset.lists import LIST_NAMES, ListName
from indoor.dataset.published import PublishedSet, count_missing, read_listed
from indoor.errors import IndoorError
from indoor.files import write_failure
from indoor.progress import Progress

MAX_LIST_BYTES = 4 << 20
"""A list that is longer is none of these; the train list has 172 KB."""

_MAX_LISTS = 4
"""Of one name in an archive; no more are looked at."""

_ARCHIVES = (".tar", ".gz", ".tgz", ".zip", ".7z", ".rar")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What an archive holds: bytes by the files' names, and what is called like a list."""

    sizes: Mapping[str, int]
    lists: Mapping[ListName, Sequence[bytes]]


def survey(path: Path) -> Contents:
    """Look through a whole archive before anything of it is used.

    Raises:
        IndoorError: As `read_archive`.
    """
    names = {file: name for name, files in LIST_NAMES.items() for file in files}
    sizes: dict[str, int] = {}
    lists: dict[ListName, list[bytes]] = {}
    for entry in read_archive(path):
        sizes[entry.name] = entry.size_bytes
        name = names.get(entry.name.rpartition("/")[2])
        known = lists.setdefault(name, []) if name is not None else []
        if name is not None and entry.size_bytes <= MAX_LIST_BYTES and len(known) < _MAX_LISTS:
            known.append(b"".join(read_entry(entry)))
    return Contents(sizes=sizes, lists=lists)


def choose(
    published: PublishedSet,
    path: Path,
    names: Collection[str],
    lists: Mapping[ListName, bytes],
) -> dict[str, str]:
    """Return which of an archive's files are photographs, and each one's place `class/file`.

    A listed photograph is taken from whatever folders it lies in, so that a copy which is sorted
    into `train/` and `val/` comes into its place; others of its class only from below `Images`.

    Raises:
        IndoorError: Listed photographs are missing.
    """
    listed = [line for data in lists.values() for line in read_listed(data)]
    classes = {line.split("/")[0] for line in listed}
    places: dict[str, str] = {}
    for name in names:
        parts = ["", *name.split("/")]
        is_left = any(map(is_left_behind, parts))
        if parts[-2] in classes and has_ending(parts[-1]) and not is_left:
            places[name] = "/".join(parts[-2:])
    wanted, there = set(listed), set(places.values())
    # A copy's other name counts where the listed one is missing, and is the listed one then.
    renamed = {
        other: name
        for name, other in published.other_names.items()
        if name in wanted and name not in there and other in there
    }
    chosen = {
        name: renamed.get(place, place)
        for name, place in places.items()
        if place in wanted
        or place in renamed
        or ("Images" in name.split("/")[:-2] and is_printable(place))
    }
    missing = sorted(wanted - set(chosen.values()))
    if missing:
        raise IndoorError(_incomplete(published, path, [*names], missing, listed))
    return chosen


def unpack(
    path: Path,
    chosen: Mapping[str, str],
    sizes: Mapping[str, int],
    folder: Path,
    progress: Progress,
) -> None:
    """Write the chosen photographs to `folder / "Images"`; what lies in `folder` goes.

    Raises:
        IndoorError: The archive is damaged, has two photographs for one place, or the disk is full.
    """
    num_bytes = sum(sizes[name] for name in chosen)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if num_bytes > free:
            raise IndoorError(
                f"the photographs of {path.name} have {num_bytes:,} bytes, and {folder.parent} has "
                f"{free:,} free; expected room for them; make some, or choose another place"
            )
        for place in chosen.values():
            (folder / "Images" / place).parent.mkdir(parents=True, exist_ok=True)
        progress.start("unpacking photographs", len(chosen))
        try:
            _write(path, chosen, folder / "Images", progress)
        finally:
            progress.finish()
    except OSError as error:
        raise write_failure(folder, error) from error


def _write(path: Path, chosen: Mapping[str, str], images: Path, progress: Progress) -> None:
    for entry in read_archive(path):
        if entry.name not in chosen:
            continue
        place = images / chosen[entry.name]
        if not place.exists():
            with place.open("xb") as file:
                for chunk in read_entry(entry):
                    file.write(chunk)
        elif b"".join(read_entry(entry)) != place.read_bytes():
            raise IndoorError(
                f"{path} has two photographs for {visible(chosen[entry.name])}, one of them "
                f"{visible(entry.name)}; expected one; get another copy"
            )
        progress.advance()


def _incomplete(
    published: PublishedSet,
    path: Path,
    names: Sequence[str],
    missing: Sequence[str],
    listed: Sequence[str],
) -> str:
    """Return the line that tells of listed photographs which an archive lacks."""
    nested = [name for name in names if name.lower().endswith(_ARCHIVES)]
    if len(missing) < len(listed):
        remedy = "it is damaged, or another selection; get another copy"
    elif nested:
        remedy = f"it holds {visible(nested[0])}: unpack that, and give it with --archive"
    else:
        shown = visible(names[0]) if names else "nothing"
        remedy = f"it holds {shown} and {max(len(names) - 1, 0):,} more; give the photographs"
    return (
        f"{path} lacks {count_missing(missing, listed)}; expected {published.name}, with "
        f"class/file of each, in whatever folders; {remedy}"
    )
