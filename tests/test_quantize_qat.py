"""Quantization-aware training: closer to float32 than calibration alone."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from quantizable import config, network
from quantizable import noise as large_noise
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.quantize import (
    count_quantized_modules,
    load_int8,
    quantize,
    quantize_checkpoint,
    validate_config,
)
from indoor.quantize.qat import Training

pytestmark = pytest.mark.usefixtures("one_thread")
ASKED = config(weights="per-tensor", qat_epochs=2, batch=8)
NUM_TRAIN = 80


def noise(num_photographs: int, seed: int = 0) -> Tensor:
    """Return noise of half the usual size, as training takes its time."""
    return large_noise(num_photographs, seed)[..., ::2, ::2].contiguous()


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 that is only ever copied."""
    return network(noise(32))


@pytest.fixture(scope="module")
def trained(float_network: nn.Module) -> nn.Module:
    """The same in int8 after 2 epochs."""
    return train(float_network, ASKED.qat_epochs)


def train(model: nn.Module, epochs: int, num_train: int = NUM_TRAIN) -> nn.Module:
    """Return the network in int8, trained on noise."""
    images = noise(num_train, seed=1)

    def batches(epoch: int) -> list[Tensor]:
        order = torch.randperm(num_train, generator=torch.Generator().manual_seed(epoch))
        return [images[places] for places in torch.split(order, ASKED.batch)]

    asked = dataclasses.replace(ASKED, qat_epochs=epochs)
    return quantize(model, asked, [noise(16)], training=Training(num_train, batches))


def test_training_brings_the_logits_closer(float_network: nn.Module, trained: nn.Module) -> None:
    """On photographs that it was not trained on, with the same observers' scales."""
    unseen = noise(64, seed=9)
    plain = quantize(float_network, dataclasses.replace(ASKED, qat_epochs=0), [noise(16)])
    with torch.inference_mode():
        reference, before, after = (one(unseen) for one in (float_network, plain, trained))
    assert sqnr_db(reference, after) > sqnr_db(reference, before)
    assert count_quantized_modules(trained) == count_quantized_modules(plain)


def test_the_same_batches_give_the_same_network(float_network: nn.Module) -> None:
    """Bit for bit, and the float32 network that it started from stays as it was."""
    before = copy.deepcopy(float_network.state_dict())
    first, second = (train(float_network, 1, num_train=16) for _ in range(2))
    with torch.inference_mode():
        assert torch.equal(first(noise(4)), second(noise(4)))
    for name, tensor in float_network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_training_without_photographs_is_a_bad_argument(float_network: nn.Module) -> None:
    """Epochs alone do not say what to train on."""
    with pytest.raises(ValueError, match="qat_epochs is 2 and training None"):
        quantize(float_network, ASKED, [noise(4)])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"flow": "fx"}, "with flow fx: expected flow eager"), ({"float_layers": ("fc",)}, "fc: exp")],
)
def test_what_does_not_go_with_a_training_is_refused(
    changes: dict[str, object], expected: str
) -> None:
    """In one line that names both options."""
    with pytest.raises(IndoorError, match=f"--qat-epochs 2 .*{expected}"):
        validate_config(config(qat_epochs=2, **changes))


def test_a_checkpoint_is_trained_on_its_train_photographs(
    home: Path, photographs: Path, tmp_path: Path
) -> None:
    """The record says for how many epochs, and the file reads as any other."""
    checkpoint, out = home / "runs" / "tiny" / "float32.safetensors", tmp_path / "int8.safetensors"
    asked = config(qat_epochs=1, batch=4)
    record = quantize_checkpoint(checkpoint, photographs, asked, out=out, force=True)
    assert record.config.qat_epochs == 1
    assert load_int8(out).manifest.quantization == record
