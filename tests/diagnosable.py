"""A small network with a sum, and its int8, whose faults the tests of diagnosis make on purpose."""

from typing import Any

import torch
from quantizable import config, noise
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules

from indoor.diagnose.layers import layer_errors
from indoor.diagnose.records import LayerError
from indoor.quantize import quantize
from indoor.quantize.engines import EngineBound, known_deprecations_filtered, using_engine

CHANNELS = 16
RANGE = (0, 127)


class Small(nn.Module):
    """Three convolutions, the last two of them a block with an identity, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.conv1 = nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(CHANNELS) for _ in range(3))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU(inplace=True)
        self.skip = FloatFunctional()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(4), nn.Linear(CHANNELS * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of five classes."""
        x = self.relu1(self.bn1(self.conv1(self.quant(x))))
        y = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(x)))))
        pooled = self.pool(self.skip.add_relu(x, y))
        logits: Tensor = self.dequant(self.fc(torch.flatten(pooled, 1)))
        return logits

    def fuse_model(self, is_qat: bool | None = None) -> None:
        """Fuse as torchvision's quantizable networks do."""
        assert is_qat is False
        names = [["conv1", "bn1", "relu1"], ["conv2", "bn2", "relu2"], ["conv3", "bn3"]]
        fuse_modules(self, names, inplace=True)


def small() -> Small:
    """Return the network with weights of a seed and batch norms that know the noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Small()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(noise(16))
    return model.eval()


def made(model: nn.Module, calibration: Tensor | None = None, **changes: Any) -> Any:
    """Return the network's int8, calibrated on noise unless on something else."""
    seen = noise(16) if calibration is None else calibration
    return quantize(model, config(activation_range=RANGE, **changes), [seen])


def errors(
    model: nn.Module, int8_model: nn.Module, images: Tensor | None = None
) -> dict[str, LayerError]:
    """Return the layers' errors by their names, on noise that calibration did not see."""
    images = noise(8, seed=1) if images is None else images
    found = layer_errors(model, int8_model, images, activation_range=RANGE)
    return {one.layer: one for one in found}


def unequal(model: Small, largest: float = 64.0) -> Small:
    """Scale the channels between conv2 and conv3 apart; float32's logits stay as they are."""
    scales = torch.logspace(0, 1, CHANNELS, base=largest)
    with torch.no_grad():
        model.bn2.weight *= scales
        model.bn2.bias *= scales
        model.conv3.weight /= scales[None, :, None, None]
    return model


def change_weights(int8_model: EngineBound, layer: str, change: Any) -> None:
    """Replace the int8 weights of a layer by `change` of them (float32, scales)."""
    module: Any = int8_model.network.get_submodule(layer)
    weight, bias = module._weight_bias()
    scales = weight.q_per_channel_scales()
    values, scales = change(weight.dequantize(), scales.reshape(-1, *[1] * (weight.dim() - 1)))
    with using_engine(int8_model.engine), known_deprecations_filtered():
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        changed = torch.quantize_per_channel(
            values.float(), scales.flatten(), zeros, 0, torch.qint8
        )
        module.set_weight_bias(changed, bias)
