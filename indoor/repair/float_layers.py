"""Which layers stay in float32 first: the last, then those whose weights disturb the logits."""

from collections.abc import Sequence

from indoor.diagnose.records import LayerError


def rank_layers(errors: Sequence[LayerError], last: str) -> tuple[str, ...]:
    """Return the layers with weights in the order in which they are best left in float32.

    The last layer comes first: in float32 it rounds no logit, and it costs next to no time. Another
    one's place is what its rounded weights alone do to the logits: its output is rounded in
    either case. Noise of different layers adds up, nearly independent of each other, so that the
    first n of the order take away about as much of it as any n can.

    Args:
        errors: `diagnose.layers.layer_errors` of a network without layers in float32.
        last: The layer that gives the logits.
    """
    found = [
        (error.isolated_weight_logit_sqnr_db, error.layer)
        for error in errors
        if error.isolated_weight_logit_sqnr_db is not None and error.layer != last
    ]
    return last, *(layer for _, layer in sorted(found))
