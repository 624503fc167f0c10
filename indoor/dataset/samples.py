"""A photograph of a data set: its file, or its place in a shard, and its content from either."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from indoor.dataset.photographs import decode_photograph, read_photograph_bytes, unreadable
from indoor.dataset.shard_manifest import Stored
from indoor.errors import IndoorError
from indoor.files import remembered_sha256


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One photograph: its line in the list (`class/file`) and its label.

    `path` is its file, or that of the shard in which it is `stored`.
    """

    path: Path
    name: str
    label: int
    stored: Stored | None = None

    def __str__(self) -> str:
        """Return what an error calls it."""
        return str(self.path) if self.stored is None else f"{self.name} in {self.path}"


def read_sample(sample: Sample) -> bytes:
    """Return the photograph's bytes, which are the same from a folder and from a shard.

    Raises:
        IndoorError: The file cannot be read, or the shard holds something else there than it did
            when it was written.
    """
    stored = sample.stored
    if stored is None:
        return read_photograph_bytes(sample.path)
    try:
        # A descriptor of its own: threads read side by side.
        descriptor = os.open(sample.path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, stored.num_bytes, stored.offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(sample.path, error) from error
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise IndoorError(
            f"{sample} is damaged: {len(data):,} bytes of another SHA-256 than the "
            f"{stored.num_bytes:,} that were written; expected the shard as it was; write or copy "
            "it again"
        )
    return data


def load_sample(sample: Sample, *, keep_grey: bool = False) -> Image.Image:
    """Decode the photograph as `load_photograph` does.

    Raises:
        IndoorError: As `read_sample`.
        BrokenPhotographError: It is truncated, or holds no photograph.
    """
    return decode_photograph(read_sample(sample), str(sample), keep_grey=keep_grey)


def sample_sha256(sample: Sample) -> str:
    """Return the SHA-256 of the photograph's bytes.

    Raises:
        OSError: Its file cannot be read.
    """
    return remembered_sha256(sample.path) if sample.stored is None else sample.stored.sha256


def own_files(samples: Iterable[Sample], what: str) -> list[Path]:
    """Return the photographs' files.

    Raises:
        IndoorError: They lie in shards; the line begins with `what`.
    """
    samples = list(samples)
    if shard := next((one.path for one in samples if one.stored is not None), None):
        raise IndoorError(
            f"{what} needs photographs in files of their own, and {shard.parent} holds shards; "
            "expected the folder that they were made from; give that"
        )
    return [sample.path for sample in samples]
