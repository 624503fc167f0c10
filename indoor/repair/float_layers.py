"""Which layers stay in float32 first: those whose rounded weights disturb the logits most."""

from collections.abc import Sequence

from indoor.diagnose.records import LayerError


def rank_layers(errors: Sequence[LayerError]) -> tuple[str, ...]:
    """Return the layers with weights in the order in which they are best left in float32.

    A layer's place is what its rounded weights alone do to the logits: its output is rounded in
    either case. Noise of different layers adds up, nearly independent of each other, so that the
    first n of the order take away about as much of it as any n can.

    Args:
        errors: `diagnose.layers.layer_errors` of a network without layers in float32.
    """
    found = [
        (error.isolated_weight_logit_sqnr_db, error.layer)
        for error in errors
        if error.isolated_weight_logit_sqnr_db is not None
    ]
    return tuple(layer for _, layer in sorted(found))
