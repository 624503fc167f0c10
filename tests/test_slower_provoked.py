"""int8 that is really slower than float32, provoked in three ways, and why it says it is."""

from pathlib import Path

import pytest
from liar_runtimes import liars
from quantizable import config, network, noise
from slower_cells import cells, cells_of_layers, elsewhere, explained, limits_here
from test_int8_checkpoints import manifest

from indoor.machine import read_machine
from indoor.model import multiply_adds
from indoor.quantize import quantize, save_int8, supported_engines
from indoor.records import Measurement
from indoor.runtimes import all_variants
from indoor.runtimes.eager import EagerNetwork

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif("onednn" not in supported_engines(), reason="this torch has no oneDNN"),
]


@pytest.fixture(scope="module")
def limits() -> tuple[Measurement, ...]:
    """This machine's limits on one thread."""
    return limits_here()


def test_a_network_of_tiny_layers_says_so(limits: tuple[Measurement, ...]) -> None:
    """Its multiply-adds take next to none of float32's time, so int8's speed has no say."""
    first, *others = explained(cells_of_layers(16, 40, 1), limits)
    assert (first.kind, first.certainty) == ("tiny layers", "shown"), [first, *others]
    assert "in 41 layers, 250 each" in first.words


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in read_machine().isa, reason="oneDNN caps x86's instructions")
def test_an_instruction_set_capped_below_vnni_says_so() -> None:
    """A real process whose oneDNN may use SSE4.1 alone, which keeps MKL's float32 as it was."""
    cap = {"ONEDNN_MAX_CPU_ISA": "SSE41"}
    for _ in range(3):  # what other work takes of one process is explained by nothing
        reference, slow, *limits = elsewhere(384, 6, 96, environment=cap)
        first, *others = explained((reference, slow), tuple(limits))
        if "not explained" not in [one.kind for one in others]:
            break
    assert first.kind == "no VNNI", [first, *others]
    assert "not explained" not in [one.kind for one in others]
    assert first.words.startswith("its kernels (gemm:jit and jit_uni_int8_1x1:sse41) do without")
    if slow.run.machine.vnni:
        assert "since ONEDNN_MAX_CPU_ISA=SSE41 keeps oneDNN off them" in first.words


def test_float32_kernels_behind_an_int8_graph_say_so(
    tmp_path: Path, limits: tuple[Measurement, ...]
) -> None:
    """int8's values between float32's layers: all of them are told, and what they take."""
    float32, chosen, path = network(noise(8)), config(), tmp_path / "int8.safetensors"
    save_int8(path, quantize(float32, chosen, [noise(8)]), manifest(chosen))
    pretender = liars.VARIANTS[0]
    networks = {
        all_variants()["float32"]: EagerNetwork(float32),
        pretender: liars.load(pretender, path, 1),
    }
    found = cells(networks, noise(1), multiply_adds("resnet18", 3, 64))
    first, *others = explained(found, limits)
    assert (first.kind, first.certainty) == ("float32 kernels", "shown"), [first, *others]
    assert first.words.startswith(
        "100% of 0.148 G multiply-adds are computed in float32, not in int8, 21 of 21 layers"
    )
