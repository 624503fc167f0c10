"""MIT Indoor-67 from an address or a file to a folder: whole and verified, or not there at all."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256 as hash_of
from pathlib import Path

from indoor.dataset.archives import check_archive
from indoor.dataset.lists import LIST_NAMES, ListName
from indoor.dataset.published import MIT_INDOOR_67, Holding, PublishedSet, look_for
from indoor.dataset.unpacking import MAX_LIST_BYTES, choose, survey, unpack
from indoor.download import fetch
from indoor.errors import IndoorError
from indoor.files import hash_of_file, write_bytes, write_failure
from indoor.hints import command_line
from indoor.locks import locked
from indoor.progress import NO_PROGRESS, Progress


@dataclass(frozen=True, kw_only=True)
class Obtained:
    """A published data set that lies whole in its folder.

    `num_photographs` counts those in the class folders, of which the lists name `num_train` and
    `num_test`. `is_new` is false where it was there already. `verified` says by what the archive
    was known, `SHA-1` or `SHA-256`; it is empty where a file at hand was taken as it was, and where
    nothing had to be done.
    """

    name: str
    num_photographs: int
    num_train: int
    num_test: int
    is_new: bool
    verified: str = ""
    notes: tuple[str, ...] = ()


def obtain(
    root: Path,
    published: PublishedSet = MIT_INDOOR_67,
    *,
    url: str | None = None,
    archive: Path | None = None,
    sha1: str | None = None,
    sha256: str | None = None,
    timeout_s: float = 30.0,
    tries: int = 6,
    wait_s: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = NO_PROGRESS,
) -> Obtained:
    """Lay a published data set at `root`: downloaded, verified, unpacked, and published at once.

    Until everything is right it lies in `.NAME.download` beside `root`, where the next call goes on
    after an interruption; then one rename makes it `root`. The publisher's two lists decide which
    photographs are train and which are test, whatever lists or folders the archive has. They are
    taken from beside the archive, from within it, or from the publisher, each by its SHA-256.

    Args:
        root: The folder to make; it may be there and empty.
        published: The data set.
        url: Another address of the archive; None for the publisher's.
        archive: A file at hand, which is only read; None for a download.
        sha1: The archive's, 40 digits. Without a hash that of the publisher's archive is expected
            of a download, and a file at hand is taken as it is, which a note says.
        sha256: The archive's, 64 digits.
        timeout_s: The seconds after which a silent server is given up.
        tries: How often in a row a server may fail without bringing anything.
        wait_s: The seconds before it is asked again, doubled each time, 60 at most.
        say: Hears for whom or for what there is to wait.
        progress: Hears of bytes and photographs.

    Returns:
        What lies there now. Where it was there already, nothing is done.

    Raises:
        ValueError: Both an address and a file, or both hashes.
        IndoorError: Something else is at `root`; the archive or the lists cannot be had, are not
            what their hashes say, or are refused by `read_archive`; listed photographs are missing;
            the disk is full.
    """
    if url is not None and archive is not None:
        raise ValueError("expected one of url and archive")
    if sha1 is not None and sha256 is not None:
        raise ValueError("expected one of sha1 and sha256")
    typed, root = root, root.resolve()
    work = root.with_name(f".{root.name}.download")
    there = _look(published, root)
    if there is not None and not work.exists():
        return there
    if archive is not None:
        check_archive(archive)
    lock = root.with_name(f"{work.name}.lock")
    with locked(lock, "another download to this folder", say=say, cannot="write to"):
        there = _look(published, root)
        if there is None:
            get = partial(
                fetch,
                timeout_s=timeout_s,
                tries=tries,
                wait_s=wait_s,
                say=say,
                progress=progress,
            )
            notes: tuple[str, ...] = ()
            if archive is None:
                path, beside = work / "archive", [work]
                verified = _fetch_archive(published, typed, path, url, sha1, sha256, get)
            else:
                path, beside = archive, [work, archive.parent]
                verified, notes = _compare(published, path, sha1, sha256)
            contents = survey(path)
            lists, more = _bring_lists(published, contents.lists, beside, get)
            chosen = choose(published, path, contents.sizes, lists)
            try:
                unpack(path, chosen, contents.sizes, work / "unpacked", progress)
                holding = _publish(published, lists, work / "unpacked", root)
            finally:
                shutil.rmtree(work / "unpacked", ignore_errors=True)
                with suppress(OSError):
                    work.rmdir()  # unless a download lies there, which the next call goes on with
            there = replace(
                _obtained(published, holding),
                is_new=True,
                verified=verified,
                notes=(*notes, *more),
            )
        shutil.rmtree(work, ignore_errors=True)
        lock.unlink(missing_ok=True)  # whoever comes after this finds the data set whole
    return there


def _look(published: PublishedSet, root: Path) -> Obtained | None:
    """Return what lies at `root`; None where nothing does.

    Raises:
        IndoorError: Something else lies there, or a part of the data set.
    """
    try:
        if not os.path.lexists(root) or (root.is_dir() and not any(root.iterdir())):
            return None
        holding = look_for(published, root)
    except OSError as error:
        raise IndoorError(
            f"cannot look into {root}: {error.strerror or error}; expected a new or empty folder; "
            "choose another place"
        ) from error
    if holding.lacks:
        raise IndoorError(
            f"{root} is there already and is not {published.name} as published, since it lacks "
            f"{holding.lacks}; expected a new or empty folder; remove it, or choose another place"
        )
    return _obtained(published, holding)


def _obtained(published: PublishedSet, holding: Holding) -> Obtained:
    return Obtained(
        name=published.name,
        num_photographs=holding.num_photographs,
        num_train=holding.num_train,
        num_test=holding.num_test,
        is_new=False,
    )


def _fetch_archive(
    published: PublishedSet,
    root: Path,
    path: Path,
    url: str | None,
    sha1: str | None,
    sha256: str | None,
    get: Callable[..., None],
) -> str:
    """Download what is left to download of the archive; return by what it was verified."""
    if sha1 is None and sha256 is None:
        sha1 = published.archive_sha1
    mirror = command_line("data", "download", root, url="URL", sha256="HASH")
    at_hand = command_line("data", "download", root, archive="FILE")
    instead = f"take another copy: `{mirror}` from a mirror, or `{at_hand}` with a file at hand"
    get(url or published.archive_url, path, sha1=sha1, sha256=sha256, instead=instead)
    return "SHA-1" if sha256 is None else "SHA-256"


def _compare(
    published: PublishedSet, path: Path, sha1: str | None, sha256: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return by what a file at hand was verified, and what to tell where by nothing."""
    name = "SHA-1" if sha256 is None else "SHA-256"
    expected = (sha256 or sha1 or published.archive_sha1).lower()
    found = hash_of_file(path, "sha1" if sha256 is None else "sha256")
    if found == expected:
        return name, ()
    if sha1 is None and sha256 is None:
        note = (
            f"{path.name} is not the publisher's archive (its SHA-1 is {found}) and was taken as "
            "it is, since no hash was given; what its photographs show was compared with nothing"
        )
        return "", (note,)
    raise IndoorError(
        f"{path} has {name} {found}, expected {expected}: damaged, or another file; get it again, "
        "or give its own hash"
    )


def _bring_lists(
    published: PublishedSet,
    in_archive: Mapping[ListName, Sequence[bytes]],
    beside: Sequence[Path],
    get: Callable[..., None],
) -> tuple[dict[ListName, bytes], tuple[str, ...]]:
    """Return the publisher's lists, from where they are nearest, and what others there are."""
    found: dict[ListName, bytes] = {}
    notes: list[str] = []
    for name, one in published.lists.items():
        file = LIST_NAMES[name][0]
        others = in_archive.get(name, ())
        paths = [folder / called for folder in beside for called in LIST_NAMES[name]]
        near = [path.read_bytes() for path in paths if _may_be_a_list(path)]
        right = [data for data in (*near, *others) if hash_of(data).hexdigest() == one.sha256]
        if any(hash_of(data).hexdigest() != one.sha256 for data in others):
            notes.append(
                f"the archive has a {file} of its own, which is another split than the "
                "publisher's (its SHA-256 differs) and is not used"
            )
        if not right:
            path = beside[0] / file
            where = f"{beside[0]}, or beside the archive at hand,"
            instead = f"put the publisher's {file} into {where} and call this again"
            get(one.url, path, sha256=one.sha256, instead=instead)
            right = [path.read_bytes()]
        found[name] = right[0]
    return found, tuple(notes)


def _may_be_a_list(path: Path) -> bool:
    """Tell whether a file is there that can be read and is not too long for a list."""
    return path.is_file() and path.stat().st_size <= MAX_LIST_BYTES and os.access(path, os.R_OK)


def _publish(
    published: PublishedSet, lists: Mapping[ListName, bytes], built: Path, root: Path
) -> Holding:
    """Put the lists beside the photographs and give the folder its name, in one step.

    Returns:
        What was found there before it had the name.
    """
    try:
        for name, data in lists.items():
            write_bytes(built / LIST_NAMES[name][0], data)
        holding = look_for(published, built)
        if holding.lacks:
            raise IndoorError(
                f"what was unpacked to {built} lacks {holding.lacks}; expected all of it; "
                "leave archive and folder alone meanwhile, and call this again"
            )
        os.sync()  # all of it is on the disk before it has the name that says so
        built.rename(root)  # an empty folder of that name gives way
    except OSError as error:
        raise write_failure(root, error) from error
    return holding
