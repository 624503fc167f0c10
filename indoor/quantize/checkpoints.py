"""int8 checkpoints: written as plain tensors, rebuilt to bit-identical logits."""

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic import ConvReLU2d
from torch.ao.nn.intrinsic.quantized import ConvReLU2d as QuantizedConvReLU2d
from torch.ao.nn.quantized import (
    DeQuantize,
    Dropout,
    Hardswish,
    Linear,
    QFunctional,
    Quantize,
)
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.ao.quantization.quantization_mappings import get_default_static_quant_module_mappings

from indoor.errors import IndoorError
from indoor.hints import command_line
from indoor.model import (
    ARCHS,
    LoadedModel,
    head_of,
    known_arch,
    read_tensors,
    write_tensors,
)
from indoor.model.network import build_empty, followers
from indoor.quantize.engines import (
    EngineBound,
    is_exact,
    known_deprecations_filtered,
    supported_engines,
    using_engine,
)
from indoor.quantize.float_layer import FloatLayer
from indoor.records import CheckpointManifest, Engine, QuantizationRecord

_WRITTEN = (WeightedQuantizedModule, FloatLayer, QFunctional, Hardswish, Quantize)
"""The modules that a file has something of."""

_NONE = torch.empty(0, dtype=torch.int8)


def save_int8(path: Path, model: nn.Module, manifest: CheckpointManifest) -> None:
    """Write an int8 checkpoint, whole or not at all.

    safetensors has no quantized dtypes, so a layer's weights become `weight` (int8) with
    `weight.scale` (float64) and `weight.zero_point` (int64), one each or one an output channel;
    `bias` stays float32, the outputs' `scale` is float64 and their `zero_point` int64. A layer that
    is kept in float32 has its `weight` in float32 and no scale of it; the last one rounds no
    output, so has none of that, either.

    Args:
        path: The file, usually `int8.safetensors`; an existing one is replaced.
        model: What `quantize` returned.
        manifest: Precision int8, with the quantization's record.

    Raises:
        ValueError: The model is not one of `quantize`, or the manifest is not an int8 one.
        IndoorError: The file cannot be written.
    """
    if not isinstance(model, EngineBound):
        raise ValueError(f"cannot save a {type(model).__name__}, expected what quantize returned")
    if manifest.precision != "int8" or manifest.quantization is None:
        raise ValueError(
            f"manifest.precision is {manifest.precision}, expected int8 with a quantization record"
        )
    write_tensors(path, _tensors_of(model.network), manifest)


def load_int8(path: Path) -> LoadedModel:
    """Read an int8 checkpoint; its logits are bit for bit those of the model that was saved.

    Nothing is calibrated again and nothing in the file is executed. The weights are packed for
    the engine of the record, whatever torch's global one is. Engine x86 packs for the CPU that
    it finds, so on another kind of CPU the last bits may differ.

    Args:
        path: A file of `save_int8`.

    Returns:
        The int8 network in eval mode with its manifest.

    Raises:
        IndoorError: No such file; damaged; not int8; its engine is not in this build; or its
            engine was exact where it was made and saturates on this CPU.
    """
    tensors, manifest = read_tensors(path)
    record = manifest.quantization
    if manifest.precision != "int8" or record is None:
        raise IndoorError(
            f"{path} holds a {manifest.precision} model, expected int8; "
            f"make one from it with {command_line('quantize', path, data='ROOT')}"
        )
    _require_engine(path, record)
    if not known_arch(manifest.arch) or not manifest.classes:
        raise IndoorError(
            f"{path} holds a {manifest.arch} of {len(manifest.classes)} classes, expected one of "
            f"{', '.join(ARCHS)} with at least 1; quantize again"
        )
    try:
        network = _rebuild(manifest, tensors)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise IndoorError(
            f"{path} holds no int8 {manifest.arch} of {len(manifest.classes)} classes "
            f"({reason}); expected a file of indoor quantize; quantize again"
        ) from error
    return LoadedModel(network, manifest, path)


def _require_engine(path: Path, record: QuantizationRecord) -> None:
    engine, (smallest, largest) = record.config.engine, record.config.activation_range
    if engine not in supported_engines():
        raise IndoorError(
            f"{path} is for engine {engine}, which is not in this torch build; expected one of "
            f"{', '.join(supported_engines())}; quantize again on this machine"
        )
    # A silent saturation is the worst thing that a copied file can do; who recorded an engine
    # that was not exact in the first place has asked for it.
    if record.exact and not is_exact(engine, (smallest, largest)):
        raise IndoorError(
            f"{path} was made on {record.cpu_model}, where engine {engine} is exact for "
            f"activations {smallest}..{largest}; on this CPU it saturates and the logits would be "
            "wrong; quantize again on this machine"
        )


def _tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return everything that the network computes with, as tensors that safetensors knows."""
    tensors: dict[str, Tensor] = {}
    for name, module in _quantized_modules(network):
        if module.scale is not None:
            tensors |= output_tensors(name, module.scale, module.zero_point)
        if isinstance(module, WeightedQuantizedModule):
            parts = weight_tensors(module)
            tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
        elif isinstance(module, FloatLayer):
            tensors |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    return tensors


def output_tensors(name: str, scale: Any, zero_point: Any) -> dict[str, Tensor]:
    """Return the `scale` and `zero_point` of a module's output, under its name."""
    return {
        f"{name}.scale": torch.tensor(float(scale), dtype=torch.float64),
        f"{name}.zero_point": torch.tensor(int(zero_point)),
    }


def weight_tensors(layer: Any) -> dict[str, Tensor]:
    """Return a quantized layer's `weight` (int8), its scales and zero points, and its `bias`."""
    weight, bias = layer._weight_bias()
    if weight.qscheme() == torch.per_channel_affine:
        scales, zero_points = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    else:
        scales = torch.tensor(weight.q_scale(), dtype=torch.float64)
        zero_points = torch.tensor(weight.q_zero_point())
    return {
        "bias": bias.detach(),
        "weight": weight.int_repr(),
        "weight.scale": scales,
        "weight.zero_point": zero_points,
    }


def _quantized_modules(network: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in network.named_modules():
        if isinstance(module, _WRITTEN):
            yield name, module


def _rebuild(manifest: CheckpointManifest, tensors: dict[str, Tensor]) -> nn.Module:
    """Build the network of a checkpoint, first without memory."""
    assert manifest.quantization is not None
    config = manifest.quantization.config
    network = build_empty(manifest.arch, len(manifest.classes))
    last, _ = head_of(network)
    filled = _fill(network, tensors, config.engine)
    kept = {n: m for n, m in network.named_modules() if isinstance(m, FloatLayer)}
    if wrong := kept.keys() ^ config.float_layers:
        raise ValueError(f"its record and its weights differ on whether {min(wrong)} is float32")
    if lacking := [name for name, m in kept.items() if m.scale is None and name != last]:
        raise ValueError(f"it lacks {lacking[0]}.scale")
    return filled


def assemble(model: nn.Module, tensors: Mapping[str, Tensor], engine: Engine) -> EngineBound:
    """Return the int8 network of a float32 one that some tensors describe.

    Args:
        model: The float32 network, which is not changed.
        tensors: What `save_int8` writes, by the same names.
        engine: What the weights are packed for.

    Raises:
        ValueError: They are not that network's.
    """
    return _fill(copy.deepcopy(model), tensors, engine)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], engine: Engine) -> EngineBound:
    """Swap each module of a float32 network, which may have no memory, for its quantized one."""
    left = dict(tensors)
    with using_engine(engine), known_deprecations_filtered():
        _swap_children(network, "", left, get_default_static_quant_module_mappings())
    if left:
        raise ValueError(f"it has {min(left)} besides")
    return EngineBound(network.eval(), engine).eval()


def _swap_children(
    parent: nn.Module, prefix: str, left: dict[str, Tensor], mapping: dict[Any, Any]
) -> None:
    """Put quantized modules in the place of those that fusing and the conversion replace.

    torch's own `fuse_model` computes batch norms that nobody needs; it takes longer than all else.
    """
    kinds: dict[str, Any] = {}
    for name, (norm, relu) in followers(parent).items():
        kinds[name] = nn.Conv2d if relu is None else ConvReLU2d
        for follower in filter(None, (norm, relu)):
            setattr(parent, follower, nn.Identity().eval())
    for name, child in list(parent.named_children()):
        path, kind = f"{prefix}{name}", kinds.get(name, type(child))
        if kind in mapping:
            setattr(parent, name, _quantized(mapping[kind], child, path, left))
        else:
            _swap_children(child, f"{path}.", left, mapping)


def _quantized(kind: Any, original: nn.Module, path: str, left: dict[str, Tensor]) -> nn.Module:
    """Build one quantized module, of the class `kind`, and take its tensors out of `left`."""
    layer: Any = original
    if kind is DeQuantize:
        return DeQuantize()
    if kind is Dropout:
        return Dropout(layer.p, layer.inplace)
    is_float = left.get(f"{path}.weight", _NONE).is_floating_point()
    if is_float and f"{path}.weight.scale" not in left:
        return _float_layer(original, path, left, rectifies=kind is QuantizedConvReLU2d)
    scale, zero_point = _take_output(path, left)
    if kind is Quantize:
        return Quantize(scale, zero_point, torch.quint8)  # type: ignore[no-untyped-call]
    if kind is Hardswish:
        return Hardswish(scale, zero_point)  # type: ignore[no-untyped-call]
    if kind is QFunctional:
        functional = QFunctional()
        functional.scale, functional.zero_point = scale, zero_point
        return functional
    weight, bias = _take_weight(path, tuple(layer.weight.shape), left)
    if kind is Linear:
        linear = Linear(layer.in_features, layer.out_features)  # type: ignore[no-untyped-call]
        linear.set_weight_bias(weight, bias)
        linear.scale, linear.zero_point = scale, zero_point
        return linear
    # By its unpickling hook: the constructor would pack an empty weight first, which doubles the
    # time that loading takes.
    convolution = kind.__new__(kind)
    nn.Module.__init__(convolution)
    convolution.__setstate__(
        (
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.transposed,
            layer.output_padding,
            layer.groups,
            layer.padding_mode,
            weight,
            bias,
            scale,
            zero_point,
            False,
        )
    )
    assert isinstance(convolution, nn.Module)
    return convolution


def _float_layer(
    original: Any, path: str, left: dict[str, Tensor], *, rectifies: bool
) -> FloatLayer:
    rounds = f"{path}.scale" in left
    output = _take_output(path, left) if rounds else None
    weight = _take(f"{path}.weight", tuple(original.weight.shape), torch.float32, left)
    bias = _take(f"{path}.bias", weight.shape[:1], torch.float32, left)
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise ValueError(f"{path} has weights that are not finite")
    return FloatLayer(original, weight, bias, output, rectifies=rectifies).eval()


def _take_output(path: str, left: dict[str, Tensor]) -> tuple[float, int]:
    scale = float(_take(f"{path}.scale", (), torch.float64, left))
    zero_point = int(_take(f"{path}.zero_point", (), torch.int64, left))
    if not (math.isfinite(scale) and scale > 0 and 0 <= zero_point <= 255):
        raise ValueError(f"{path} has scale {scale} and zero point {zero_point}")
    return scale, zero_point


def _take_weight(
    path: str, shape: tuple[int, ...], left: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    values = _take(f"{path}.weight", shape, torch.int8, left)
    bias = _take(f"{path}.bias", shape[:1], torch.float32, left)
    scales_name = f"{path}.weight.scale"
    parameters = left.get(scales_name, torch.empty(0)).shape and shape[:1]
    scales = _take(scales_name, parameters, torch.float64, left)
    zero_points = _take(f"{path}.weight.zero_point", parameters, torch.int64, left)
    if not (scales.isfinite().all() and (scales > 0).all() and not zero_points.any()):
        raise ValueError(f"{path}.weight has scales that are not positive, or is not symmetric")
    if parameters:
        return torch._make_per_channel_quantized_tensor(values, scales, zero_points, 0), bias
    return torch._make_per_tensor_quantized_tensor(values, float(scales), int(zero_points)), bias


def _take(name: str, shape: tuple[int, ...], dtype: torch.dtype, left: dict[str, Tensor]) -> Tensor:
    if name not in left:
        raise ValueError(f"it lacks {name}")
    tensor = left.pop(name)
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)} and not {dtype} {shape}")
    return tensor
