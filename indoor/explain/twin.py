"""The thin twin of a run's network: the same calls with next to nothing to compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from indoor.model import build_model, read_manifest, save_float, thin
from indoor.model.imagenet import smallest_size
from indoor.places import FLOAT32, INT8
from indoor.quantize import quantize, save_int8
from indoor.records import CheckpointManifest

SIZE = 32
"""Of its photographs, where the network can compute them: the last layers see a single pixel."""


def twin_images(twin: Path) -> torch.Tensor:
    """Return the photograph of a twin in a folder, which is noise: float32 `(1, 3, size, size)`."""
    size = read_manifest(twin / FLOAT32).preprocessing.size
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, size, size, generator=generator)


@contextmanager
def twin_run(run_folder: Path) -> Iterator[Path]:
    """Make a folder with the twin's checkpoints, as `run_folder` holds the network's own.

    The weights are random; int8 has the layers of the run's, and numbers that come from noise.

    Raises:
        IndoorError: The run's checkpoints are missing or cannot be used.
    """
    with TemporaryDirectory(prefix="indoor-twin-") as name:
        folder = Path(name)
        own = read_manifest(run_folder / FLOAT32)
        manifest = _twin(own)
        model = build_model(manifest.arch, len(manifest.classes), seed=0)
        save_float(folder / FLOAT32, model, manifest)
        whole = run_folder / INT8
        if whole.is_file():
            int8 = _twin(read_manifest(whole))
            assert int8.quantization is not None
            config = replace(
                int8.quantization.config,
                flow="eager",
                equalised=False,
                rounding="nearest",
                bias_corrected=False,
                qat_epochs=0,
            )
            quantized = quantize(model, config, [twin_images(folder)])
            save_int8(folder / INT8, quantized, int8)
        yield folder


def _twin(manifest: CheckpointManifest) -> CheckpointManifest:
    size = max(SIZE, smallest_size(manifest.arch))
    preprocessing = replace(manifest.preprocessing, size=size)
    return replace(manifest, arch=thin(manifest.arch), preprocessing=preprocessing)
