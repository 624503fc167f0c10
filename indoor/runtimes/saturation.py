"""What an int8 network's sums may do on this CPU: whether they saturate; no runtime by itself."""

import os

import torch

from indoor.errors import IndoorError
from indoor.records import CheckpointManifest, Variant
from indoor.runtimes.base import baseline


def refuse_saturation(variant: Variant, manifest: CheckpointManifest) -> tuple[str, ...]:
    """Refuse a variant of an int8 checkpoint that saturates on this CPU, or say that it does.

    Without VNNI, x86 CPUs add two products of int8 into 16 bits, which 0..255 overflows. Of eager's
    engines each is tried (`is_exact`); every other runtime takes the instructions that oneDNN
    takes, so that onednn's trial is theirs.

    Args:
        variant: Which is loaded.
        manifest: What its checkpoint says of itself.

    Returns:
        What is to be said where the checkpoint was made with an engine that was not exact either,
        or does not tell.

    Raises:
        IndoorError: It was exact where it was made, and is not here.
    """
    record = manifest.quantization
    if record is None:
        return ()
    takes_engine = variant.runtime == baseline().runtime
    smallest, largest = ends = record.config.activation_range
    if not takes_engine and (largest <= 127 or _has_vnni()):
        return ()  # and nothing of torch's quantization is imported
    from indoor.quantize import is_exact, supported_engines

    engine = record.config.engine if takes_engine else "onednn"
    if engine not in supported_engines() or is_exact(engine, ends):
        return ()
    what = (
        f"{variant.name}: sums of int8 products saturate on this CPU with activations "
        f"{smallest}..{largest} ({record.config.engine}, made on {record.cpu_model})"
    )
    if record.exact:
        raise IndoorError(
            f"{what}, and its logits would be wrong; expected 0..127 here; quantize again on this "
            "machine"
        )
    return (f"{what}; its logits are wrong where they do; quantize with --activations 0..127",)


def _has_vnni() -> bool:
    """Return whether torch finds AVX-512 VNNI, and nothing keeps oneDNN from it."""
    asked = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(asked and asked()) and "ONEDNN_MAX_CPU_ISA" not in os.environ
