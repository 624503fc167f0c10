"""The histogram observer: torch's range to the last bit."""

import pytest
import torch
from quantizable import config, network, noise
from torch.ao.quantization.observer import HistogramObserver

from indoor.quantize import config as module
from indoor.quantize import quantize
from indoor.quantize.checkpoints import _tensors_of
from indoor.quantize.observers import QuickHistogramObserver

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*quant_min and quant_max.*"),
]

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = {
    "normal": [torch.randn(4, 8, 9, 9, generator=GENERATOR) * scale for scale in (1, 3, 2)],
    "rectified": [torch.randn(4000, generator=GENERATOR).relu() for _ in range(3)],
    "outliers": [torch.randn(4000, generator=GENERATOR).exp().pow(3), torch.ones(9)],
    "one value": [torch.full((50,), 2.5), torch.full((50,), 2.5)],
    "negative": [-torch.rand(3000, generator=GENERATOR) - 1],
    "zero": [torch.zeros(10)],
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("largest", [127, 255])
def test_scale_and_zero_point_are_torchs(name: str, largest: int) -> None:
    """After several batches of different ranges, of one value, and with outliers to cut off."""
    parameters = []
    for kind in (HistogramObserver, QuickHistogramObserver):
        observer = kind(dtype=torch.quint8, quant_min=0, quant_max=largest)
        for batch in BATCHES[name]:
            observer(batch)
        parameters.append(observer.calculate_qparams())
    (scale, zero_point), (other_scale, other_zero_point) = parameters
    assert torch.equal(scale, other_scale)
    assert torch.equal(zero_point, other_zero_point)


def test_a_network_is_quantized_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor of the int8 network is that of torch's own observer."""
    model = network(noise(4))
    quick = quantize(model, config(observer="histogram"), [noise(4), noise(2, seed=1)])
    monkeypatch.setitem(module._ACTIVATION_OBSERVERS, "histogram", HistogramObserver)
    torchs = quantize(model, config(observer="histogram"), [noise(4), noise(2, seed=1)])
    first, second = _tensors_of(quick.network), _tensors_of(torchs.network)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
