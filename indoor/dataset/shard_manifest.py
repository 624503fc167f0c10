"""What a folder of shards says of itself: the lists, and where each photograph lies."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from indoor.errors import IndoorError
from indoor.files import file_key
from indoor.records import Count, Sha256, read_record

MANIFEST = "shards.json"

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A photograph by its line of the list, and which bytes of the shard it is."""

    name: str
    offset: Count
    num_bytes: Count
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A tar archive: its file's name, size and hash, and its photographs in their order."""

    file: str
    num_bytes: Count
    sha256: Sha256
    photographs: tuple[Stored, ...]


@dataclass(frozen=True, kw_only=True)
class ShardManifest:
    """A data set in shards.

    Attributes:
        format: Of this record.
        name: Of the folder that it was made from, so that figures name the same data.
        classes: The sorted names of the class folders; a class's place is its label.
        train: The lines of the train list, in its order, whatever shard they are in.
        test: Those of the test list.
        shards: The archives.
        content_sha256: The hash of this file without it; `write_record` works it out.
    """

    format: int
    name: str
    classes: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    shards: tuple[Shard, ...]
    content_sha256: Sha256 | None = None

    @cached_property
    def places(self) -> dict[str, tuple[int, Stored]]:
        """Return the shard's number and the place of each photograph, by its line."""
        return {
            stored.name: (number, stored)
            for number, shard in enumerate(self.shards)
            for stored in shard.photographs
        }


def find_manifest(root: Path) -> ShardManifest | None:
    """Return what a folder of shards says of itself; None where it is a folder of photographs.

    Raises:
        IndoorError: The manifest is damaged or of another version, or a line of its lists is in no
            shard.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    key = file_key(path, "shards")
    return _read(path) if key is None else _read_once(path, key)


@lru_cache(maxsize=2)
def _read_once(path: Path, _: str) -> ShardManifest:
    """Read a state of the file once, since each split and each identity asks for it."""
    return _read(path)


def _read(path: Path) -> ShardManifest:
    manifest = read_record(path, ShardManifest)
    if manifest.format != FORMAT:
        raise IndoorError(
            f"{path} has format {manifest.format}; expected {FORMAT}; write the shards again with "
            "this version of indoor"
        )
    lines = (*manifest.train, *manifest.test)
    if missing := [name for name in lines if name not in manifest.places]:
        raise IndoorError(
            f"{path}: {missing[0]} stands in a list and in no shard ({len(missing):,} such lines); "
            "expected what `indoor data shard` writes; write the shards again"
        )
    return manifest
