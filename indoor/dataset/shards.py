"""A data set written as tar shards in WebDataset's convention, the same bytes for the same files.

Each photograph is a member `KEY.EXT` with its bytes as they are, followed by its label (`KEY.cls`)
and its line of the list (`KEY.json`); see https://github.com/webdataset/webdataset.
"""

import hashlib
import io
import random
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from indoor.dataset.findings import visible
from indoor.dataset.lists import read_split_lists
from indoor.dataset.photographs import read_photograph_bytes, unreadable
from indoor.dataset.shard_manifest import (
    FORMAT,
    MANIFEST,
    Shard,
    ShardManifest,
    Stored,
    find_manifest,
)
from indoor.dataset.soundness import find_broken
from indoor.errors import IndoorError
from indoor.files import remembered_sha256, remove_leftovers, replace_file, sha256_of_file
from indoor.locks import locked
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import read_record, to_json, write_record

SHARD_BYTES = 256_000_000
"""Large enough that reading one takes longer than opening it, small enough to copy again."""

_OURS = re.compile(r"(train|test)-\d{6,}\.tar")
"""Shards' names; whatever else lies in the folder is somebody's."""

_UNFINISHED = ".unfinished"
"""The folder of what is known of finished shards while others are still to be written."""

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A shard that is to be written: its file's name, and the lines of its photographs."""

    file: str
    names: tuple[str, ...]


def write_shards(
    root: Path,
    out: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress = NO_PROGRESS,
) -> ShardManifest:
    """Write both lists' photographs as `out/train-000000.tar`, `out/test-000000.tar` and so on.

    The train list's are shuffled, so that whoever reads a shard from first to last sees all
    classes; the test list's keep their order. The manifest is written last, and a folder without it
    is no data set. Called again after an interruption it goes on with the shards that are missing.

    Args:
        root: A data set in MIT Indoor-67's layout.
        out: The folder to write to; it is made.
        shard_bytes: About how large a shard becomes; one photograph is in it whatever its size.
        seed: Decides the order of the train photographs in the shards.
        skip_broken: Leave out, lines and all, the files that hold no whole photograph.
        progress: Hears of each photograph.

    Returns:
        What stands in `out/shards.json`.

    Raises:
        IndoorError: The data set or the folder cannot be used, or a file changed meanwhile.
        ValueError: `shard_bytes` is below 1.
    """
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes is {shard_bytes}, expected 1 or more")
    if find_manifest(root) is not None:
        raise IndoorError(
            f"{root} holds shards already; expected a data set with Images/ and lists; give that"
        )
    lists = read_split_lists(root)
    lines = {"train": lists.train, "test": lists.test}
    if skip_broken:
        lines = _sound(root, lines, progress)
    busy = f"another process is writing shards into {out}; wait for it, or choose another folder"
    with locked(out / ".shard.lock", "another sharding", wait_s=0, busy=busy):
        remove_leftovers(out)
        labels = {name: label for label, name in enumerate(lists.classes)}
        plans = [
            plan for which in lines for plan in _plan(root, which, lines[which], shard_bytes, seed)
        ]
        known = _known_shards(out)
        progress.start("photographs into shards", sum(map(len, lines.values())))
        shards = []
        for plan in plans:
            shard = known.get(plan.file)
            if shard is None or not _is_whole(root, out, plan, shard):
                (out / MANIFEST).unlink(missing_ok=True)
                shard = _write(root, out, plan, labels)
                write_record(out / _UNFINISHED / f"{plan.file}.json", shard)
            progress.advance(len(plan.names))
            shards.append(shard)
        progress.finish()
        manifest = ShardManifest(
            format=FORMAT,
            name=visible(root.resolve().name),
            classes=lists.classes,
            train=lines["train"],
            test=lines["test"],
            shards=tuple(shards),
        )
        write_record(out / MANIFEST, manifest)
        shutil.rmtree(out / _UNFINISHED, ignore_errors=True)
        planned = {plan.file for plan in plans}
        for path in out.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in planned:
                path.unlink()
    return manifest


def find_damage(
    root: Path, manifest: ShardManifest, *, progress: Progress = NO_PROGRESS
) -> list[str]:
    """Return a line for each shard that is missing or not what was written."""
    problems = []
    progress.start("hashing shards", len(manifest.shards))
    for shard in manifest.shards:
        path = root / shard.file
        try:
            if remembered_sha256(path) != shard.sha256:
                problems.append(
                    f"{path} is damaged: its SHA-256 is not {shard.sha256[:16]}...; copy or write "
                    "it again"
                )
        except OSError as error:
            problems.append(f"cannot read {path}: {error.strerror}; copy or write it again")
        progress.advance()
    progress.finish()
    return problems


def windowed_order(
    num_photographs: int, shard_of: Sequence[int], window: int, chance: random.Random
) -> list[int]:
    """Return an order of the photographs in which a few shards at a time are read.

    The shards are shuffled, and the photographs of each `window` of them among themselves.

    Args:
        num_photographs: How many there are.
        shard_of: The shard of each.
        window: Shards that are read at the same time, 1 or more.
        chance: Decides.

    Returns:
        Each of `range(num_photographs)` once.
    """
    inside: dict[int, list[int]] = {}
    for index in range(num_photographs):
        inside.setdefault(shard_of[index], []).append(index)
    shards = sorted(inside)
    chance.shuffle(shards)
    order: list[int] = []
    for start in range(0, len(shards), window):
        together = [index for shard in shards[start : start + window] for index in inside[shard]]
        chance.shuffle(together)
        order += together
    return order


def _sound(
    root: Path, lines: Mapping[str, tuple[str, ...]], progress: Progress
) -> dict[str, tuple[str, ...]]:
    """Return the lists without the lines whose files hold no whole photograph."""
    names = [name for listed in lines.values() for name in listed]
    paths = [root / "Images" / name for name in names]
    progress.start("checking the photographs", len(paths))
    broken = find_broken(paths, progress=progress)
    progress.finish()
    kept = {name for name, path in zip(names, paths, strict=True) if path not in broken}
    return {
        which: tuple(name for name in listed if name in kept) for which, listed in lines.items()
    }


def _plan(
    root: Path, which: str, names: Sequence[str], shard_bytes: int, seed: int
) -> Iterator[_Plan]:
    """Yield the shards of a list."""
    ordered = list(names)
    if which == "train":
        random.Random(f"shards {seed}").shuffle(ordered)
    chosen: list[str] = []
    number = taken = 0
    for name in ordered:
        path = root / "Images" / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise unreadable(path, error) from error
        if chosen and taken + size > shard_bytes:
            yield _Plan(file=f"{which}-{number:06}.tar", names=tuple(chosen))
            number, chosen, taken = number + 1, [], 0
        chosen.append(name)
        taken += size
    if chosen:
        yield _Plan(file=f"{which}-{number:06}.tar", names=tuple(chosen))


def _known_shards(out: Path) -> dict[str, Shard]:
    """Return what earlier calls tell of the shards in the folder; what they cannot tell is not."""
    known: dict[str, Shard] = {}
    with suppress(IndoorError):
        manifest = find_manifest(out)
        known = {} if manifest is None else {shard.file: shard for shard in manifest.shards}
    for path in sorted((out / _UNFINISHED).glob("*.json")):
        with suppress(IndoorError):
            shard = read_record(path, Shard)
            known[shard.file] = shard
    return known


def _is_whole(root: Path, out: Path, plan: _Plan, shard: Shard) -> bool:
    """Return whether the shard is there, as planned, and of the photographs as they are now."""
    if tuple(stored.name for stored in shard.photographs) != plan.names:
        return False
    try:
        return remembered_sha256(out / shard.file) == shard.sha256 and all(
            remembered_sha256(root / "Images" / stored.name) == stored.sha256
            for stored in shard.photographs
        )
    except OSError:
        return False


def _write(root: Path, out: Path, plan: _Plan, labels: Mapping[str, int]) -> Shard:
    path = out / plan.file
    photographs = []
    with (
        replace_file(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for number, name in enumerate(plan.names):
            data = read_photograph_bytes(root / "Images" / name)
            label = labels[name.partition("/")[0]]
            key = f"{plan.file.removesuffix('.tar').rpartition('-')[2]}{number:06}"
            photographs.append(
                Stored(
                    name=name,
                    offset=archive.offset + _BLOCK,
                    num_bytes=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
            ending = Path(name).suffix.lower() or ".jpg"
            _add(archive, f"{key}{ending}", data)
            _add(archive, f"{key}.cls", str(label).encode())
            _add(archive, f"{key}.json", to_json({"name": name, "label": label}))
    return Shard(
        file=plan.file,
        num_bytes=path.stat().st_size,
        sha256=sha256_of_file(path),
        photographs=tuple(photographs),
    )


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member whose header says nothing of when or by whom it was written."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
