"""From photographs' files in memory to the names of their labels, as an application has it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from indoor.dataset.photographs import decode_photograph, read_photograph_bytes
from indoor.runtimes.loading import Loaded
from indoor.transforms import inference_transform


def hold(loaded: Loaded, paths: Sequence[Path], threads: int) -> Callable[[], list[str]]:
    """Read photographs' files, and return a function that names their labels.

    A call decodes, transforms, computes the logits and takes the largest. What decodes are as many
    threads as the cell has, one photograph each; the forward pass is a batch of all.

    Args:
        loaded: The variant.
        paths: As many as its batch.
        threads: That decode.

    Raises:
        IndoorError: A file cannot be read.
    """
    files = [(read_photograph_bytes(path), str(path)) for path in paths]
    transform = inference_transform(loaded.manifest.preprocessing)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None

    def decode(file: tuple[bytes, str]) -> Tensor:
        return transform(decode_photograph(*file, keep_grey=True))

    def name() -> list[str]:
        images = pool.map(decode, files) if pool and len(files) > 1 else map(decode, files)
        logits = loaded.logits(torch.stack(list(images)))
        return [loaded.manifest.classes[answer] for answer in logits.argmax(dim=1).tolist()]

    return name
