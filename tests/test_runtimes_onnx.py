"""Runtimes that read our ONNX file: its logits, what they really ran, their threads."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quantizable import SIZE, config, network, noise
from test_int8_checkpoints import manifest
from torch import Tensor

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.explain.twin import twin_images, twin_run
from indoor.machine import num_usable_cores
from indoor.measure.threads import MAX_IDLE_CPUS, idle_cpus, watch_threads
from indoor.model import load_float, multiply_adds
from indoor.quantize import load_qdq, quantize, save_int8
from indoor.records import Ran
from indoor.runtimes import Loaded, all_variants, load_variant, why_not
from indoor.runtimes.loading import load_here
from indoor.runtimes.operators import operator_times
from indoor.runtimes.own_process import Host
from indoor.runtimes.proof import prove

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

NAMES = (
    "float32-onnxruntime",
    "int8-onnxruntime",
    "float32-openvino",
    "bfloat16-openvino",
    "int8-openvino",
)
ALL = all_variants()

pytestmark = [pytest.mark.runtime, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def run_folder(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 of random weights at 64 pixels, float32 and int8."""
    return shutil.copytree(home / "runs" / "tiny", tmp_path_factory.mktemp("onnx") / "run")


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest, run_folder: Path) -> Loaded:
    """A variant in this very process."""
    variant = ALL[request.param]
    pytest.importorskip(variant.runtime)
    if reason := why_not(variant):
        pytest.skip(reason)
    return load_here(variant, run_folder)


def reference(run_folder: Path, precision: str, images: Tensor) -> Tensor:
    """Return the logits that torch computes from the same checkpoint."""
    path = run_folder / f"{precision}.safetensors"
    model = load_float(path).model if precision == "float32" else load_qdq(path, round_sums=True)
    with torch.inference_mode():
        return model(images)


def share(ran: Ran, precision: str) -> float:
    """Return the share of the multiply-adds that were in a precision."""
    counts = [o.multiply_adds for o in ran.executed if o.precision == precision]
    return sum(counts) / sum(o.multiply_adds for o in ran.executed)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_logits_are_torchs(loaded: Loaded, run_folder: Path, batch: int) -> None:
    """One file takes any batch; what differs is rounding."""
    images = noise(batch, seed=5)
    logits = loaded(images)
    assert logits.dtype == torch.float32
    least = {"float32": 60, "int8": 15, "bfloat16": 25}[loaded.variant.precision]
    expected = reference(run_folder, loaded.variant.checkpoint, images)
    assert sqnr_db(expected, logits) >= least


def test_what_ran_is_what_it_is_called(loaded: Loaded) -> None:
    """Every layer's multiply-adds are counted, and all are in the variant's precision."""
    manifest = loaded.manifest
    ran = loaded.network.ran(noise(2))
    assert ran.precision == loaded.variant.precision
    assert share(ran, ran.precision) == 1
    counted = [o for o in ran.executed if o.multiply_adds]
    assert sum(o.multiply_adds for o in counted) == 2 * multiply_adds(
        manifest.arch, len(manifest.classes), SIZE
    )
    layers = {o.layer for o in counted}
    assert {"conv1", "layer1.0.conv1", "layer4.0.downsample.0", "fc"} <= layers
    assert len(layers) == len(counted) == 21
    assert ran.kernels == {}


def test_each_operator_is_timed(loaded: Loaded) -> None:
    """The same ones as those that ran, with seconds, and bytes of at least the weights."""
    images = noise(2)
    before = loaded(images)
    told = operator_times(loaded.network, images, 3)
    assert [o.operator for o in told] == [o.operator for o in loaded.network.ran(images).executed]
    assert all(o.seconds is not None for o in told)
    assert sum(o.seconds or 0.0 for o in told if o.multiply_adds) > 0
    (fc,) = (o for o in told if o.layer == "fc")
    one = {"float32": 4, "bfloat16": 2, "int8": 1}[loaded.variant.precision]
    assert one * 512 * 3 <= (fc.num_bytes or 0) <= 4 * (512 * 3 + 2 * 512 + 9)
    assert torch.equal(loaded(images), before)


@pytest.mark.parametrize("name", ["int8-onnxruntime", "int8-openvino"])
def test_biases_of_zero_leave_int8_as_it_is(home: Path, name: str) -> None:
    """The exporter leaves such a bias out; the thin twin's are zero."""
    pytest.importorskip(ALL[name].runtime)
    with twin_run(home / "runs" / "tiny") as folder:
        twin = load_here(ALL[name], folder)
        images = twin_images(folder)
        assert share(twin.network.ran(images), "int8") == 1
        expected = load_here(ALL["int8"], folder)(images)
        assert sqnr_db(expected, twin(images)) > 20 or torch.equal(expected, twin(images))


def test_the_artefact_is_one_file_of_nobodys_machine(loaded: Loaded) -> None:
    """It holds its precision's weights, float32's in four bytes, and no path."""
    (path,) = (p for p in loaded.artefact.iterdir() if p.name != "manifest.json")
    data = path.read_bytes()
    num_bytes = {"float32": 4, "int8": 1}[loaded.variant.checkpoint]
    assert len(data) == pytest.approx(11.2e6 * num_bytes, rel=0.05)
    for folder in (Path.cwd(), Path(torch.__file__).parent, loaded.artefact):
        assert str(folder).encode() not in data


def test_nothing_reaches_the_terminal(
    loaded: Loaded, run_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither loading, computing nor telling what ran prints or warns."""
    again = load_here(loaded.variant, run_folder)
    again(noise(1))
    again.network.ran(noise(1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_on_as_many_threads_as_asked(
    loaded: Loaded, run_folder: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that ran during calls are the number that was asked for, and none is pinned."""
    torch.set_num_threads(threads)
    if threads > 1:  # where other work has its core, the second one comes to little
        monkeypatch.setattr("indoor.measure.threads.BUSY_SHARE", 0.01)
    network, images = load_here(loaded.variant, run_folder).network, noise(64)
    network(images)  # which may compile, on all cores
    asked = min(threads, num_usable_cores())
    for _ in range(20):  # on a busy machine the first may do all before the second wakes
        found = watch_threads(os.getpid(), lambda: network(images))
        if found is not None and found.num_busy >= asked:
            break
    assert found is not None
    assert found.num_busy == asked
    assert found.num_cpus == num_usable_cores()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_an_idle_one_leaves_the_cpu_alone(loaded: Loaded, run_folder: Path) -> None:
    """Between calls its threads use less than a hundredth of a CPU."""
    torch.set_num_threads(2)
    network = load_here(loaded.variant, run_folder).network
    for _ in range(3):
        network(noise(4))
    used = idle_cpus([os.getpid()], 0.5)
    assert used is not None
    assert used[os.getpid()] < MAX_IDLE_CPUS


@pytest.mark.parametrize("name", ["float32-onnxruntime", "float32-openvino"])
def test_it_runs_in_a_process_of_its_own(run_folder: Path, name: str) -> None:
    """There the logits are the same bits."""
    pytest.importorskip(ALL[name].runtime)
    images = noise(2)
    own = load_variant(ALL[name], run_folder)
    try:
        assert torch.equal(own(images), load_here(ALL[name], run_folder)(images))
    finally:
        own.close()


def test_onnxruntime_without_its_fusions_is_told_as_float32(run_folder: Path) -> None:
    """Its int8 file, not optimised, is dequantized first: told as float32 by layer, and refused."""
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded = load_here(ALL["int8-onnxruntime"], run_folder)
    honest: Any = loaded.network
    off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    lying = replace(honest, options=honest.options | {"graph_optimization_level": off})
    ran = lying.ran(noise(2))
    assert ran.precision == "float32"
    assert share(ran, "float32") == 1
    assert {o.operator for o in ran.executed if o.multiply_adds} == {"Conv", "Gemm"}
    assert len({o.layer for o in ran.executed if o.multiply_adds}) == 21
    refused = r"^int8-onnxruntime computes 100% .* in float32, 21 of 21 layers: conv1, "
    with pytest.raises(IndoorError, match=refused):
        prove(replace(loaded, network=lying), noise(2))


def test_weights_of_one_scale_run_in_int8_too(tmp_path: Path) -> None:
    """An int8 checkpoint that is not per channel is computed in int8 to the last layer."""
    pytest.importorskip("onnxruntime")
    chosen = config(weights="per-tensor")
    model = quantize(network(noise(32)), chosen, noise(32, seed=1).split(8))
    save_int8(tmp_path / "int8.safetensors", model, manifest(chosen))
    loaded = load_here(ALL["int8-onnxruntime"], tmp_path)
    assert share(loaded.network.ran(noise(2)), "int8") == 1


@pytest.mark.parametrize("hint", [None, "bf16"])
def test_openvinos_float32_may_be_bfloat16(run_folder: Path, hint: str | None) -> None:
    """Without our hint it takes bfloat16 where the CPU has it, and the same code says so."""
    pytest.importorskip("openvino")
    if reason := why_not(ALL["bfloat16-openvino"]):
        pytest.skip(reason)
    from indoor.runtimes.openvino import OpenVinoNetwork, settings

    honest = load_here(ALL["float32-openvino"], run_folder)
    chosen = settings(1, hint or "")
    if hint is None:
        del chosen["INFERENCE_PRECISION_HINT"]
    rounding = OpenVinoNetwork(honest.artefact / "model.onnx", chosen)
    ran, proof = prove(replace(honest, network=rounding), noise(2))
    assert proof.is_otherwise
    assert ran.precision == proof.precision == "bfloat16"
    assert share(ran, "bfloat16") >= 0.99
    assert honest.network.ran(noise(2)).precision == "float32"


def test_openvino_fuses_the_sums_and_names_its_kernels(run_folder: Path) -> None:
    """No operation of int8 adds by itself, and each convolution tells its kernel."""
    pytest.importorskip("openvino")
    ran = load_here(ALL["int8-openvino"], run_folder).network.ran(noise(2))
    assert not {o.operator for o in ran.executed} & {"Eltwise", "Add"}
    kernels = [o.implementation or "" for o in ran.executed if o.operator == "Convolution"]
    assert len(kernels) == 20
    assert all(name.endswith("I8") for name in kernels)


def test_openvino_tells_its_maker_nothing(run_folder: Path, tmp_path: Path) -> None:
    """A process that loads it leaves no file of its telemetry in the home."""
    pytest.importorskip("openvino")
    environment = os.environ | {"HOME": str(tmp_path)}
    with Host("o", run_folder, batch=1, threads=1, environment=environment) as host:
        host.load(ALL["int8-openvino"])
        host.show(noise(1))
        host.run("int8-openvino")
    assert not (tmp_path / "intel").exists()
