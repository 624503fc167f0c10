"""What a loaded variant really computes with: asked in one more call, and judged."""

from torch import Tensor

from indoor.errors import IndoorError
from indoor.measure.proof import Proof, judge, kept_in_float32
from indoor.model import multiply_adds
from indoor.records import Ran
from indoor.runtimes.base import VariantError
from indoor.runtimes.loading import Loaded


def prove(loaded: Loaded, images: Tensor) -> tuple[Ran, Proof]:
    """Return what one more call really computes with, as its runtime tells it, and what it proves.

    Args:
        loaded: The variant.
        images: float32 `(B, 3, H, W)`, as many as its batch where that is static.

    Raises:
        IndoorError: The runtime failed, or the variant claims what it did not compute with.
    """
    filled = loaded.filled(images)
    try:
        ran = loaded.network.ran(filled)
    except IndoorError:
        raise
    except Exception as error:  # its own, as in a call
        raise VariantError(loaded.variant.name, error) from error
    manifest = loaded.manifest
    one = multiply_adds(manifest.arch, len(manifest.classes), images.shape[-1])
    expected = one * len(filled)
    kept = kept_in_float32(loaded.variant, manifest.quantization, expected)
    return ran, judge(loaded.variant, ran, expected, kept)
