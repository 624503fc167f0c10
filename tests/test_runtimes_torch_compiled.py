"""Inductor and AOTInductor: what they compile is the network, in the precision that it says."""

import dataclasses
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quantizable import config, network, noise
from test_int8_checkpoints import manifest
from torch import Tensor, fx, nn

from indoor.devices import use_threads
from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.measure.proof import judge
from indoor.model import load_float, multiply_adds, save_float
from indoor.quantize import load_qdq, quantize, save_int8
from indoor.records import REST, Ran
from indoor.runtimes import all_variants, compiling, why_not
from indoor.runtimes.compiling import SETTINGS, CompiledNetwork, all_in_int8
from indoor.runtimes.operators import operator_times

pytestmark = pytest.mark.usefixtures("one_thread")

VARIANTS = {
    name: v for name, v in all_variants().items() if v.runtime in ("inductor", "aotinductor")
}
BATCH = 2
NUM_CONVOLUTIONS = 20


def compiles(function: Callable[..., object]) -> Callable[..., object]:
    """Mark a test that compiles C++."""
    return pytest.mark.runtime(pytest.mark.compiles(function))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with both checkpoints of a ResNet-18 for photographs of 64 x 64."""
    folder = tmp_path_factory.mktemp("run")
    about = manifest(config())
    model = network(noise(32))
    save_int8(
        folder / "int8.safetensors",
        quantize(model, config(), noise(32, seed=1).split(8)),
        about,
    )
    about = dataclasses.replace(about, precision="float32", quantization=None)
    save_float(folder / "float32.safetensors", model, about)
    return folder


@pytest.fixture(scope="module", params=VARIANTS)
def compiled(request: pytest.FixtureRequest, run_folder: Path) -> CompiledNetwork:
    """Each variant, made and loaded once."""
    variant = VARIANTS[request.param]
    if reason := why_not(variant):
        pytest.skip(reason)
    runtime = importlib.import_module(f"indoor.runtimes.{variant.runtime}")
    checkpoint = run_folder / f"{variant.checkpoint}.safetensors"
    artefact = runtime.prepare(variant, checkpoint, BATCH)
    # Before `one_thread`, and torch compiles anew, without our settings, for other threads.
    with use_threads(1):
        loaded = runtime.load(variant, artefact, 1)
    assert isinstance(loaded, CompiledNetwork)
    return loaded


def test_the_variants_know_their_place() -> None:
    """Each is compiled for one batch in a process of its own; packages are preferred."""
    assert [(v.name, v.order, v.rank) for v in VARIANTS.values()] == [
        ("float32-inductor", 3, 3),
        ("float32-aotinductor", 4, 2),
        ("bfloat16-inductor", 11, 3),
        ("int8-inductor", 21, 3),
        ("int8-aotinductor", 22, 2),
    ]
    assert all(v.own_process and v.static_batch for v in VARIANTS.values())


@pytest.mark.slow
@compiles
def test_what_is_compiled_is_the_network(compiled: CompiledNetwork, run_folder: Path) -> None:
    """float32 but for rounding, and int8 what its checkpoint says, bit for bit in each layer."""
    images = noise(BATCH, seed=3)
    variant = VARIANTS[compiled.name]
    checkpoint = run_folder / f"{variant.checkpoint}.safetensors"
    if variant.precision == "int8":
        model = load_qdq(checkpoint, round_sums=False)
    else:
        model = load_float(checkpoint).model
    with torch.no_grad():
        expected = model(images)
    logits = compiled(images)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    limit = {"float32": 60, "bfloat16": 20, "int8": 30}[variant.precision]
    assert sqnr_db(expected, logits) > limit


@compiles
def test_all_is_computed_in_what_it_says(compiled: CompiledNetwork) -> None:
    """Every convolution, with its sum in the int8 ones, and no weights repacked in a warm call.

    But on AMX: torch packs int8 weights without asking which of oneDNN's kernels will read them,
    and some of AMX's want another layout; what ran says so.
    """
    ran = compiled.ran(noise(BATCH, seed=3))
    variant = VARIANTS[compiled.name]
    convolutions = [one for one in ran.executed if one.operator == "convolution"]
    assert len(convolutions) == NUM_CONVOLUTIONS
    assert {one.precision for one in convolutions} == {variant.precision}
    assert all(one.implementation for one in convolutions)
    on_amx = any("amx" in one.implementation for one in convolutions)
    assert ran.notes == () or (on_amx and variant.precision == "int8")
    assert not [one for one in ran.executed if one.operator in ("sum", "binary")]
    proof = judge(variant, ran, BATCH * multiply_adds("resnet18", 3, 64))
    assert proof.is_whole, proof.words


@compiles
def test_each_primitive_is_timed(compiled: CompiledNetwork) -> None:
    """OneDNN's in order with seconds and bytes, and last all the rest of a call."""
    *primitives, rest = operator_times(compiled, noise(BATCH, seed=3), 2)
    assert sum(one.operator == "convolution" for one in primitives) == NUM_CONVOLUTIONS
    assert all(one.seconds and one.num_bytes for one in primitives if one.multiply_adds)
    assert (rest.operator, rest.multiply_adds) == (REST, 0)


@compiles
def test_another_shape_is_refused(compiled: CompiledNetwork) -> None:
    """Compiled code would read beyond its photographs, or compile again without its settings."""
    with pytest.raises(IndoorError, match=rf"^{compiled.name}: .* \(1, 3, 64, 64\); expected \(2,"):
        compiled(noise(1))


def part_of(checkpoint: Path) -> nn.Module:
    """Return the last five convolutions of an int8 network, most of its weights."""
    whole: Any = load_qdq(checkpoint, round_sums=False)
    nodes = {node.target: node for node in whole.graph.nodes}
    rounding, end = nodes["layer4.0.conv1"].args[0], nodes["avgpool"].args[0]
    graph = fx.Graph()
    copied = {rounding.args[0]: graph.placeholder("x")}
    node = rounding
    while end not in copied:
        copied[node] = graph.node_copy(node, copied.__getitem__)
        node = node.next
    graph.output(copied[end])
    return fx.GraphModule(whole, graph)


def features(seed: int = 3) -> Tensor:
    """Return noise in the place of what that part reads."""
    return torch.randn(BATCH, 256, 4, 4, generator=torch.Generator().manual_seed(seed)).relu()


def package(checkpoint: Path, path: Path, settings: dict[str, Any]) -> None:
    """Compile a part of the network as somebody would who knows no better."""
    with torch.no_grad():
        program = torch.export.export(part_of(checkpoint), (features(),))
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=settings
        )


def told_of(path: Path, images: Tensor) -> tuple[Tensor, Ran]:
    """Return what a package computes, and what it says that it ran."""
    loaded = CompiledNetwork(
        "int8-aotinductor",
        torch._inductor.aoti_load_package(str(path)),
        tuple(images.shape),
        torch.float32,
    )
    return loaded(images), loaded.ran(images)


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("liar", ["without freezing", "without the passes of torchao"])
def test_a_liar_is_told(liar: str, run_folder: Path, tmp_path: Path) -> None:
    """A package of int8's size and outputs that computes in float32 is seen and refused as that."""
    pytest.importorskip("torchao")
    checkpoint, path = run_folder / "int8.safetensors", tmp_path / "liar.pt2"
    if liar == "without freezing":
        importlib.import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
        package(checkpoint, path, SETTINGS | {"freezing": False})
    else:  # once they are imported, a process has them
        code = (
            "import sys; from pathlib import Path; "
            "from test_runtimes_torch_compiled import SETTINGS, package; "
            "package(Path(sys.argv[1]), Path(sys.argv[2]), SETTINGS)"
        )
        command = [sys.executable, "-c", code, str(checkpoint), str(path)]
        subprocess.run(command, check=True, cwd=Path(__file__).parent, capture_output=True)
    part = part_of(checkpoint)
    outputs, ran = told_of(path, features())
    with torch.no_grad():
        assert sqnr_db(part(features()), outputs) > 30
    num_weights = sum(m.weight.numel() for m in part.modules() if hasattr(m, "zero_point"))
    assert path.stat().st_size < 1.3 * num_weights  # a byte each
    assert ran.precision == "float32"
    convolutions = [one for one in ran.executed if one.operator == "convolution"]
    assert [one.precision for one in convolutions] == ["float32"] * 5
    assert ran.notes[0].startswith("5 weights are repacked in every call, ")
    with pytest.raises(IndoorError, match=r"int8-aotinductor.*float32"):
        judge(VARIANTS["int8-aotinductor"], ran, sum(one.multiply_adds for one in convolutions))


def test_a_build_of_a_liar_is_refused(run_folder: Path) -> None:
    """Where Inductor found none of the int8 convolutions, nothing is kept."""
    model = load_qdq(run_folder / "int8.safetensors", round_sums=False)
    message = r"^int8-aotinductor: Inductor found 0 of 20 int8 convolutions, .* constraints\.txt"
    with (
        pytest.raises(IndoorError, match=message),
        all_in_int8(VARIANTS["int8-aotinductor"], model),
    ):
        pass
    with all_in_int8(VARIANTS["float32-aotinductor"], model):
        pass


@pytest.mark.parametrize("name", VARIANTS)
def test_without_a_compiler_nothing_is_compiled(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its variants alone are left out, with what is missing: a compiler, or Python's headers."""
    monkeypatch.setattr(compiling.eager, "why_not", lambda _: None)
    monkeypatch.setattr(compiling, "TORCHAO", {})
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    reason = compiling.why_not_compiled(VARIANTS[name])
    assert reason == (
        "it compiles C++, and there is no no-such-compiler -O2; install one, or name another in CXX"
    )
    monkeypatch.setenv("CXX", sys.executable)
    assert compiling.why_not_compiled(VARIANTS[name]) is None
    monkeypatch.setattr(compiling.sysconfig, "get_path", lambda _: str(tmp_path))
    assert "Python.h; install Python's headers" in str(compiling.why_not_compiled(VARIANTS[name]))


def test_int8_alone_needs_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it float32 stays, and int8 says what installs it; a GPU is no place for either."""
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(compiling, "TORCHAO", {"torchao": ">=99"})
    assert compiling.why_not_compiled(VARIANTS["float32-inductor"]) is None
    reason = compiling.why_not_compiled(VARIANTS["int8-inductor"])
    assert str(reason).startswith("it needs torchao>=99, ")
    assert "[torchao]" in str(reason)
    on_gpu = dataclasses.replace(VARIANTS["int8-inductor"], device="cuda")
    assert "for the CPU only, not for cuda" in str(compiling.why_not_compiled(on_gpu))


def test_nobody_imports_a_compiler_to_ask_for_one() -> None:
    """A process that only lists variants imports neither Inductor's compiler nor torchao."""
    code = (
        "import sys; from indoor.runtimes import native_variants; native_variants(); "
        "print([m for m in ('torch._inductor.compile_fx', 'torchao') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "[]\n"
