"""What the frozen backbone makes of each photograph, computed once and kept on disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from indoor.dataset import IndoorScenes, load_batches, sample_sha256
from indoor.dataset.batches import Photographs
from indoor.devices import float32_products, forward_batch
from indoor.files import remove_leftovers
from indoor.locks import locked
from indoor.model import can_fuse, fuse, hash_tensors, head_of, write_plain
from indoor.process_group import from_first, held_by_first, together
from indoor.progress import NO_PROGRESS, Progress
from indoor.ranks import ALONE, Ranks
from indoor.records import Preprocessing, to_json
from indoor.train.augmented_views import PlainScenes

CHUNK = 32
"""Photographs a file, or a batch of the device where that is more: what a kill can cost."""

_FORMAT = "indoor features 2"
_HASH = "content_sha256"


@dataclass(frozen=True)
class Features:
    """Features float32 `(N, F)` and labels int64 `(N,)`, in the order of the data set."""

    values: Tensor
    labels: Tensor


def read_features(
    model: nn.Module,
    dataset: IndoorScenes,
    preprocessing: Preprocessing,
    cache: Path,
    *,
    device: torch.device | None = None,
    decoded: Photographs | None = None,
    ranks: Ranks = ALONE,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
) -> Features:
    """Return each photograph's input to the last layer, from the cache where it is there.

    A chunk's file is named by the SHA-256 of all that decides it: the content of its photographs'
    files in their order, the preprocessing, the backbone's weights, and what changes the last
    digits (batch boundaries, torch version, instruction set, device, threads). So a changed
    photograph costs one chunk, nothing stale is ever read, and a resumed extraction ends at the
    same bits. The backbone runs fused (`model.fuse`), about 1e-6 (relative) from the plain one.

    Args:
        model: A network in eval mode; it stays as it is.
        dataset: Photographs without a transform.
        preprocessing: How a photograph becomes float32 `(3, size, size)`.
        cache: The folder of the chunks; it is made. Processes that share it wait for each other.
        device: Where the backbone runs; None for the CPU.
        decoded: The same photographs, transformed, where they lie in memory already; None decodes
            those that the cache lacks.
        ranks: Each computes the chunks that fall to it, to the bits of one process on as many
            threads; all of them see the cache's folder.
        progress: Hears of each photograph that is computed.
        say: Hears for whom there is to wait.

    Returns:
        float32 `(N, F)` on the CPU, and the labels.

    Raises:
        IndoorError: A photograph cannot be decoded, or the cache cannot be written.
    """
    device = device or torch.device("cpu")
    chunk = _chunk(device)
    spans = [range(i, min(i + chunk, len(dataset))) for i in range(0, len(dataset), chunk)]
    base = _base_key(model, preprocessing, device)
    keys = from_first(ranks, lambda: [_chunk_key(base, dataset, span) for span in spans])
    paths = [cache / f"{key}.safetensors" for key in keys]
    holder = "another training that reads the same photographs' features"
    with held_by_first(ranks, locked(cache / ".lock", holder, say=say)):
        from_first(ranks, lambda: remove_leftovers(cache))
        # By the place among all, not among the missing: another rank may have written some by now.
        mine = list(zip(paths, spans, strict=True))[ranks.rank :: ranks.size]
        there = {path: _read_chunk(path, len(span)) for path, span in mine}
        missing = [(path, span) for path, span in mine if there[path] is None]
        photographs = decoded or PlainScenes(dataset, preprocessing, range(len(dataset)))
        together(ranks, lambda: _compute_chunks(model, photographs, missing, device, progress))
        # What was just computed is read, too: tensors of inference mode cannot be trained on.
        chunks = [
            _read_chunk(path, len(span)) if (known := there.get(path)) is None else known
            for path, span in zip(paths, spans, strict=True)
        ]
    values = [chunk for chunk in chunks if chunk is not None]
    assert len(values) == len(chunks), "a chunk that was just written cannot be read"
    return Features(
        values=torch.cat(values) if values else torch.empty(0, 0),
        labels=torch.tensor([sample.label for sample in dataset.samples], dtype=torch.int64),
    )


def make_backbone(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a fused eval copy on the device that stops before the last layer."""
    backbone = fuse(model, device)
    name, _ = head_of(backbone)
    backbone.set_submodule(name, nn.Identity())
    return backbone


def _base_key(model: nn.Module, preprocessing: Preprocessing, device: torch.device) -> str:
    last, _ = head_of(model)
    weights = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(f"{last}.") and not name.endswith("num_batches_tracked")
    }
    where = (
        f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"{'fused' if can_fuse() else 'folded'}"
        if device.type == "cpu"
        else device.type
    )
    parts = (
        _FORMAT,
        hash_tensors(weights),
        preprocessing,
        forward_batch(device.type),
        _chunk(device),
        str(torch.__version__),
        where,
    )
    return hashlib.sha256(to_json(parts)).hexdigest()


def _chunk(device: torch.device) -> int:
    """Return the photographs of a file, a multiple of the device's batch."""
    return max(CHUNK, forward_batch(device.type))


def _chunk_key(base: str, dataset: IndoorScenes, span: Sequence[int]) -> str:
    key = hashlib.sha256(base.encode())
    for index in span:
        key.update(sample_sha256(dataset.samples[index]).encode())
    return key.hexdigest()


def _compute_chunks(
    model: nn.Module,
    photographs: Photographs,
    missing: Sequence[tuple[Path, range]],
    device: torch.device,
    progress: Progress,
) -> None:
    """Compute and write the chunks; decoding runs ahead over all of them."""
    if not missing:
        return
    backbone = make_backbone(model, device)
    indices = [index for _, span in missing for index in span]
    batches = load_batches(photographs, forward_batch(device.type), indices=indices)
    progress.start("features of the photographs", len(indices))
    for path, span in missing:
        parts: list[Tensor] = []
        # Only the data set's last chunk may end in a short batch, and it is the last one here
        # too, so no batch ever holds photographs of two chunks.
        while sum(map(len, parts)) < len(span):
            images, _ = next(batches)
            with torch.inference_mode(), float32_products():
                parts.append(backbone(images.to(device)).cpu())
            progress.advance(len(images))
        values = {"features": torch.cat(parts).contiguous()}
        write_plain(path, values, {_HASH: hash_tensors(values)})
    progress.finish()


def _read_chunk(path: Path, num_photographs: int) -> Tensor | None:
    """Return the chunk's features, or None where the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            features: Tensor = file.get_tensor("features").clone()
            said = (file.metadata() or {}).get(_HASH)
    except (SafetensorError, OSError):
        return None
    # Earlier chunks carry no hash.
    is_whole = said is None or said == hash_tensors({"features": features})
    return features if is_whole and (features.ndim, len(features)) == (2, num_photographs) else None
