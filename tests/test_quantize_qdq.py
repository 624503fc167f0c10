"""An int8 checkpoint with its quantization written out computes what the eager network does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from quantizable import config, network, noise
from test_int8_checkpoints import manifest
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from indoor.quantize import load_int8, load_qdq, quantize, save_int8

OPERATORS = torch.ops.quantized_decomposed


@pytest.fixture(scope="module", params=["per-channel", "per-tensor"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 ResNet-18."""
    chosen = config(weights=request.param)
    path = tmp_path_factory.mktemp("int8") / "int8.safetensors"
    model = quantize(network(noise(32)), chosen, noise(32, seed=1).split(8))
    save_int8(path, model, manifest(chosen))
    return path


def test_each_layer_computes_what_the_eager_one_does(checkpoint: Path) -> None:
    """On the eager layer's own input, its output differs by one step of rounding at most."""
    bound: Any = load_int8(checkpoint).model
    written_out = load_qdq(checkpoint, round_sums=True)
    compared = []
    for name, module in bound.network.named_modules():
        if isinstance(module, WeightedQuantizedModule):
            layer = written_out.get_submodule(name)
            module.register_forward_hook(
                lambda eager, inputs, output, layer=layer: compared.append(
                    (float(eager.scale), output.dequantize(), layer(inputs[0].dequantize()))
                )
            )
    with torch.no_grad():
        bound(noise(4, seed=2))
    assert len(compared) == 21
    for scale, eager, ours in compared[:-1]:
        steps = (eager - ours).abs() / scale
        assert steps.max() < 1.01
        assert (steps > 0.5).float().mean() < 0.01
    scale, eager, ours = compared[-1]  # the logits, which ours does not round
    assert (eager - ours).abs().max() <= 0.51 * scale


def test_a_sum_may_stay_unrounded(checkpoint: Path) -> None:
    """`round_sums=False` leaves one rounding out in each block, and nothing else."""
    rounded, fused = (load_qdq(checkpoint, round_sums=value) for value in (True, False))
    names = [
        name
        for name, layer in rounded.named_modules()
        if name.endswith(".rounded")
        and isinstance(fused.get_submodule(name), torch.nn.Identity)
        and not isinstance(layer, torch.nn.Identity)
    ]
    assert names == [f"layer{i}.{j}.conv2.rounded" for i in range(1, 5) for j in range(2)]


def test_every_weight_is_dequantized_from_int8(checkpoint: Path) -> None:
    """The exported graph holds int8 weights, so that a runtime can find them."""
    model = load_qdq(checkpoint, round_sums=True)
    layers = [m for m in model.modules() if hasattr(m, "zero_point")]
    assert len(layers) == 21
    assert {m.weight.dtype for m in layers} == {torch.int8}
    program = torch.export.export(model, (noise(1),))
    targets = [node.target for node in program.graph.nodes]
    per_channel = layers[0].scale.dim() == 1
    operator = (
        OPERATORS.dequantize_per_channel.default
        if per_channel
        else OPERATORS.dequantize_per_tensor.tensor
    )
    assert targets.count(operator) == len(layers)
    assert torch.ops.aten._native_batch_norm_legit_no_training.default not in targets
