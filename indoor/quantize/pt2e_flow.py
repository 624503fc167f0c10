"""The PT2E flow of torchao: export, prepare_pt2e, convert_pt2e, with the quantizer of x86 CPUs.

No prepare and no convert of torch.ao, eager or FX, is called here. Importing this file needs
torchao, whose passes it registers with Inductor; `conversion.quantize` imports it when asked for.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import observer as torchao_observers
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationConfig as AoConfig
from torchao.quantization.pt2e.quantizer import QuantizationSpec
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import X86InductorQuantizer

from indoor.errors import IndoorError
from indoor.quantize.checkpoints import assemble, output_tensors
from indoor.quantize.config import ACTIVATION_OBSERVERS
from indoor.quantize.engines import EngineBound, known_deprecations_filtered
from indoor.quantize.traced import named_copy, observers_of, output_nodes, owner_of
from indoor.records import Observer, QuantizationConfig

_LAYERS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
_OPERATORS: Any = torch.ops.quantized_decomposed


class _Watch(nn.Module):
    """Observes for the eager network what PT2E does not round, such as a sum's first term."""

    def __init__(self, path: str, observer: Any) -> None:
        super().__init__()
        self.path = path
        self.observer = observer

    def forward(self, x: Tensor) -> None:
        self.observer(x)


def observe(model: nn.Module, config: QuantizationConfig, example: Tensor) -> nn.Module:
    """Return the float network's exported graph with observers (`conversion.Flow`)."""
    # At least two photographs: export takes a batch of one for a constant.
    photographs = torch.cat([example, example])[:2]
    batch = torch.export.Dim("batch")
    program = torch.export.export(named_copy(model), (photographs,), dynamic_shapes=({0: batch},))
    quantizer = X86InductorQuantizer().set_global(_torchao_config(config))
    with known_deprecations_filtered():
        prepared = prepare_pt2e(program.module(check_guards=False), quantizer)
        _watch(prepared, model, config)
    assert isinstance(prepared, GraphModule)
    return prepared


def convert_observed(
    observed: nn.Module, model: nn.Module, config: QuantizationConfig
) -> EngineBound:
    """Return the int8 network of what was observed (`conversion.Flow`).

    Raises:
        IndoorError: PT2E left a layer in float32.
    """
    assert isinstance(observed, GraphModule)
    tensors: dict[str, Tensor] = {}
    for module in observed.modules():
        if isinstance(module, _Watch):
            tensors |= output_tensors(module.path, *module.observer.calculate_qparams())
    outputs = {path: node.name for path, node in output_nodes(observed.graph, model).items()}
    with known_deprecations_filtered():
        converted: GraphModule = convert_pt2e(observed)
    nodes = {node.name: node for node in converted.graph.nodes}
    for path, name in outputs.items():
        for user in nodes[name].users:
            if user.target is _OPERATORS.quantize_per_tensor.default:
                tensors |= output_tensors(path, *user.args[1:3])
    for node in nodes.values():
        if node.target in _LAYERS:
            tensors |= {
                f"{owner_of(node)}.{part}": tensor
                for part, tensor in _weight_tensors(converted, node).items()
            }
    return assemble(model, tensors, config.engine)


def _torchao_config(config: QuantizationConfig) -> Any:
    """Return our configuration as torchao's.

    Its own default has no `reduce_range`, so that CPUs without VNNI would saturate, and lets no
    scale be smaller than 2**-12, which is coarse for the weights of many a folded channel.
    """
    smallest, largest = config.activation_range
    activation = QuantizationSpec(
        dtype=torch.uint8,
        observer_or_fake_quant_ctr=_observer_class(config.observer),
        quant_min=smallest,
        quant_max=largest,
        qscheme=torch.per_tensor_affine,
    )
    per_channel = config.weights == "per-channel"
    library = torchao_observers
    kind = library.PerChannelMinMaxObserver if per_channel else library.MinMaxObserver
    weight = QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=kind,
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric,
        ch_axis=0 if per_channel else None,
    )
    return AoConfig(activation, activation, weight, None)


def _observer_class(observer: Observer) -> Any:
    """Return an observer as a class of torchao's, which takes none of torch.ao's.

    Ours are histogram observers with another search, in both libraries.
    """
    kind: Any = ACTIVATION_OBSERVERS[observer]
    if own := getattr(torchao_observers, kind.__name__, None):
        return own
    search = {"_non_linear_param_search": kind._non_linear_param_search}
    return type(kind.__name__, (torchao_observers.HistogramObserver,), search)


def _watch(prepared: GraphModule, model: nn.Module, config: QuantizationConfig) -> None:
    """Observe each output that the eager network rounds where PT2E has not one observer for it."""
    smallest, largest = config.activation_range
    make = _observer_class(config.observer).with_args(
        dtype=torch.uint8, quant_min=smallest, quant_max=largest
    )
    for index, (path, node) in enumerate(output_nodes(prepared.graph, model).items()):
        if len({observer.target for observer in observers_of(node)}) != 1:
            prepared.add_submodule(f"watch_{index}", _Watch(path, make()))
            with prepared.graph.inserting_after(node):
                prepared.graph.call_module(f"watch_{index}", (node,))
    prepared.recompile()


def _weight_tensors(converted: GraphModule, layer: Node) -> dict[str, Tensor]:
    """Return what `checkpoints.weight_tensors` does, of a layer in a converted graph."""
    weight = layer.args[1]
    assert isinstance(weight, Node)
    if weight.target is _OPERATORS.dequantize_per_channel.default:
        packed, scale, zero_point = (_attribute(converted, arg) for arg in weight.args[:3])
    elif weight.target is _OPERATORS.dequantize_per_tensor.default:
        packed = _attribute(converted, weight.args[0])
        scale, zero_point = (torch.tensor(arg) for arg in weight.args[1:3])
    else:
        raise IndoorError(
            f"flow pt2e: torchao left {owner_of(layer)} in float32; expected int8; choose "
            "--flow eager"
        )
    bias = layer.args[2] if len(layer.args) > 2 else None
    return {
        "bias": torch.zeros(len(packed)) if bias is None else _attribute(converted, bias),
        "weight": packed,
        "weight.scale": scale.double(),
        "weight.zero_point": zero_point.long(),
    }


def _attribute(converted: GraphModule, node: Any) -> Tensor:
    """Return the tensor that a node reads off the module."""
    assert node.op == "get_attr"
    found: Any = converted
    for name in node.target.split("."):
        found = getattr(found, name)
    assert isinstance(found, Tensor)
    return found.detach().clone()
