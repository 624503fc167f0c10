"""The FX flow of torch.ao.quantization: prepare and convert on the network's symbolic trace."""

from typing import Any

from torch import Tensor, nn
from torch.ao.nn.quantized import Hardswish
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.fx import GraphModule

from indoor.quantize.checkpoints import assemble, output_tensors, weight_tensors
from indoor.quantize.config import qconfig_of
from indoor.quantize.engines import EngineBound, known_deprecations_filtered, using_engine
from indoor.quantize.traced import named_copy, observers_of, output_nodes
from indoor.records import QuantizationConfig


def observe(model: nn.Module, config: QuantizationConfig, example: Tensor) -> nn.Module:
    """Return the float network's graph with observers (`conversion.Flow`)."""
    with known_deprecations_filtered():
        # torch's mapping knows the operations whose outputs have fixed scales.
        mapping = get_default_qconfig_mapping("fbgemm").set_global(qconfig_of(config))
        prepared = prepare_fx(named_copy(model), mapping, (example,))
    assert isinstance(prepared, GraphModule)
    return prepared


def convert_observed(
    observed: nn.Module, model: nn.Module, config: QuantizationConfig
) -> EngineBound:
    """Return the int8 network of what was observed (`conversion.Flow`)."""
    assert isinstance(observed, GraphModule)
    tensors: dict[str, Tensor] = {}
    for path, node in output_nodes(observed.graph, model).items():
        for observer in observers_of(node):
            module: Any = observed.get_submodule(str(observer.target))
            tensors |= output_tensors(path, *module.calculate_qparams())
    with using_engine(config.engine), known_deprecations_filtered():
        converted = convert_fx(observed)
        for path, layer in converted.named_modules():
            if isinstance(layer, WeightedQuantizedModule | Hardswish):
                tensors |= output_tensors(path, layer.scale, layer.zero_point)
            if isinstance(layer, WeightedQuantizedModule):
                weights = weight_tensors(layer)
                tensors |= {f"{path}.{part}": tensor for part, tensor in weights.items()}
    return assemble(model, tensors, config.engine)
