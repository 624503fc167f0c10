"""Which layers stay in float32."""

from typing import Any

from indoor.diagnose.records import LayerError
from indoor.repair.float_layers import rank_layers


def error(layer: str, weights_db: float | None) -> LayerError:
    """Return a layer's errors of which only that of its weights matters here."""
    others: dict[str, Any] = {
        "weight_sqnr_db": weights_db,
        "activation_sqnr_db": 40.0,
        "accumulated_sqnr_db": 30.0,
        "isolated_logit_sqnr_db": 20.0,
        "cosine": 1.0,
        "saturated": 0.0,
        "dead": 0.0,
        "mean_shift": 0.0,
        "share": 0.0,
    }
    kind = "convolution" if weights_db is not None else "operation"
    return LayerError(layer=layer, kind=kind, isolated_weight_logit_sqnr_db=weights_db, **others)


def test_the_last_layer_comes_first_and_then_what_disturbs_the_logits_most() -> None:
    """Sums and poolings have no weights that could stay in float32."""
    found = [error("a", 40.0), error("sum", None), error("b", 12.0), error("c", 30.0)]
    assert rank_layers([*found, error("fc", 60.0)], "fc") == ("fc", "b", "c", "a")
