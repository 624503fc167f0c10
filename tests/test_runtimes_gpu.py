"""What a GPU alone can do: where it is offered, how float32 is multiplied, and captured calls."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from indoor.cli import main
from indoor.devices import float32_products
from indoor.errors import IndoorError
from indoor.model import multiply_adds
from indoor.records import Variant
from indoor.runtimes import (
    all_variants,
    baseline,
    check_output,
    compiling,
    eager,
    find_variant,
    gpu,
    load_variant,
    why_not,
)
from indoor.runtimes.fingerprint import operators_of
from indoor.runtimes.gpu import CAPTURED, GraphedNetwork, capture

ON_GPU = {v.name: v for v in all_variants("cuda").values() if v.runtime == "gpu"}
INT8 = [v.name for v in all_variants("cuda").values() if v.precision == "int8"]

pytestmark = pytest.mark.usefixtures("one_thread")


# where it is offered


def test_a_cpu_is_offered_nothing_that_only_a_gpu_can_do() -> None:
    """Its tables and the lines of what is left out are as they were."""
    assert set(ON_GPU) == {v.name for v in gpu.VARIANTS}
    assert not set(ON_GPU) & set(all_variants())
    assert {v.precision for v in ON_GPU.values()} == {"float32", "tf32", "bfloat16", "float16"}
    assert next(iter(all_variants("cuda"))) == baseline().name


def test_a_gpus_variant_on_a_cpu_says_where_it_computes() -> None:
    """One line, with the device that has it."""
    with pytest.raises(
        IndoorError,
        match=r"^variant float16: it computes on cuda and not on cpu; expected one of float32, .*"
        r", or --device cuda$",
    ):
        find_variant("float16")


@pytest.mark.parametrize("name", INT8)
def test_int8_on_a_gpu_says_what_to_take(name: str) -> None:
    """Every engine of int8 is the CPU's, whoever made it."""
    with pytest.raises(
        IndoorError,
        match=rf"^variant {name}: .* CPU only, not (on|for) cuda; expected one of float32, .*; "
        r"int8's engines are the CPU's \(--device cpu\); a GPU has bfloat16 and float16$",
    ):
        find_variant(name, "cuda")


def test_int8_on_a_gpu_is_one_line_of_the_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`predict` and `evaluate` refuse it before a photograph is opened."""
    monkeypatch.setenv("INDOOR_HOME", str(home))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for words in (
        ["predict", "--run", "tiny", "--variant", "int8", "--device", "cuda", "x.jpg"],
        ["evaluate", "tiny", "--variant", "int8", "--device", "cuda", "--data", str(home)],
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("indoor: variant int8: torch computes eager int8 on the CPU only")
        assert line.endswith("a GPU has bfloat16 and float16")


def test_without_triton_nothing_is_compiled_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eager and the captured ones stay."""
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda _: None)
    compiled = [v for v in all_variants("cuda").values() if "inductor" in v.name]
    assert len(compiled) == 8  # with int8's and AOTInductor's
    assert all(why_not(v) is not None for v in compiled)
    assert "there is no triton" in str(why_not(find_in("float16-inductor")))
    assert why_not(find_in("float16-cudagraph")) is None


def find_in(name: str) -> Variant:
    """Return a variant as it would be on a GPU."""
    return all_variants("cuda")[name]


# how float32 is multiplied


class Pretending(nn.Module):
    """A network that takes any device for its own, and remembers how float32 is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []
        self.moved: list[object] = []

    def to(self, *args: Any, **kwargs: Any) -> "Pretending":
        """Stay."""
        self.moved += [*args, *kwargs.values()]
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return a logit a photograph."""
        switches = torch.backends.cudnn, torch.backends.cuda.matmul
        self.seen.append(tuple(one.allow_tf32 for one in switches))  # type: ignore[arg-type]
        return images.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("float32", (False, False)),
        ("float32-channels-last", (False, False)),
        ("float32-tf32", (True, True)),
        ("bfloat16", (False, False)),
    ],
)
def test_float32_on_a_gpu_is_float32(name: str, expected: tuple[bool, bool]) -> None:
    """CuDNN would round it to TF32 unasked, so that is a variant of its own name."""
    model = Pretending()
    with float32_products(tf32=not expected[0]):
        eager.on_device(find_in(name), model)(torch.zeros(2, 3, 4, 4))
        before = torch.backends.cudnn.allow_tf32
    assert model.seen == [expected]
    assert before is not expected[0]
    assert model.moved[:2] == [torch.device("cuda"), eager.DTYPES[find_in(name).precision]]


def test_on_a_cpu_nothing_is_switched() -> None:
    """A timed call there does what it always did."""
    model = Pretending()
    with float32_products(tf32=True):
        eager.on_device(baseline(), model)(torch.zeros(2, 3, 4, 4))
    assert model.seen == [(True, True)]


def traced(kind: str, device: str) -> dict[str, Any]:
    """Return a matrix product as torch's trace has it."""
    tensors = [[f"Tensor({kind})", shape, [0, 0, 0, 0, 4, device]] for shape in ([2, 4], [4, 3])]
    return {
        "id": 5,
        "ctrl_deps": 1,
        "name": "aten::mm",
        "inputs": {
            "types": [t[0] for t in tensors],
            "shapes": [t[1] for t in tensors],
            "values": [t[2] for t in tensors],
        },
        "outputs": {"types": [f"Tensor({kind})"], "shapes": [[2, 3]]},
    }


@pytest.mark.parametrize(
    ("kind", "device", "float32_is", "expected"),
    [
        ("float", "cuda:0", "float32", "float32"),
        ("float", "cuda:0", "tf32", "tf32"),
        ("float", "cuda:0", None, None),
        ("c10::BFloat16", "cuda:0", "float32", "bfloat16"),
        ("c10::Half", "cuda:0", "float32", "float16"),
        ("float", "cpu", "tf32", "float32"),
        ("c10::Half", "cpu", None, None),
    ],
)
def test_what_a_gpu_multiplied_in(
    kind: str, device: str, float32_is: Any, expected: str | None
) -> None:
    """A type tells it, but for float32, of which it is known what the GPU was told."""
    (told,) = operators_of([traced(kind, device)], {}, float32_is)
    assert told.precision == expected


# captured calls


class FakeGraph:
    """A captured call of `network` on `images`, which writes into `logits`."""

    def __init__(self) -> None:
        self.replayed = 0
        self.captured: tuple[Any, Tensor, Tensor] | None = None

    def replay(self) -> None:
        """Compute what was captured, where it was."""
        assert self.captured is not None
        network, images, logits = self.captured
        logits.copy_(network(images))
        self.replayed += 1


def graphed() -> GraphedNetwork:
    """Return a captured network of two photographs of 4 x 4, on this CPU."""
    network = eager.EagerNetwork(Pretending())
    images, graph = torch.zeros(2, 3, 4, 4), FakeGraph()
    with torch.inference_mode():
        logits = torch.zeros(2, 1)
    graph.captured = network, images, logits
    return GraphedNetwork("float16-cudagraph", network, graph, images, logits)  # type: ignore[arg-type]


def test_a_replay_computes_the_photographs_that_it_is_given() -> None:
    """They go where the graph reads, and the next replay leaves the logits before it alone."""
    network = graphed()
    first = network(torch.full((2, 3, 4, 4), 2.0))
    second = network(torch.full((2, 3, 4, 4), 3.0))
    assert first.flatten().tolist() == [2.0, 2.0]
    assert second.flatten().tolist() == [3.0, 3.0]


def test_another_batch_was_not_captured() -> None:
    """Its shape and that of the graph, in one line."""
    with pytest.raises(
        IndoorError,
        match=r"^float16-cudagraph: photographs of the shape \(1, 3, 4, 4\); expected "
        r"\(2, 3, 4, 4\), for which it was captured; load it for that batch$",
    ):
        graphed()(torch.zeros(1, 3, 4, 4))


def test_what_a_replay_ran_is_what_was_captured() -> None:
    """A replay tells no operators, so its call is told before it was captured, and that is said."""
    assert graphed().ran(torch.zeros(2, 3, 4, 4)).notes == (CAPTURED,)


def test_a_call_is_captured_once_it_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three calls beside the stream that captures, then the one that counts."""
    log: list[str] = []

    class Stream:
        def wait_stream(self, _other: object) -> None:
            log.append("waits")

    @contextmanager
    def within(name: str) -> Iterator[None]:
        log.append(f"{name} begins")
        yield
        log.append(f"{name} ends")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: within("beside"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda _: within("capture"))
    network = eager.EagerNetwork(Pretending())
    calling = eager.EagerNetwork.__call__

    def logged(self: eager.EagerNetwork, images: Tensor) -> Tensor:
        log.append("called")
        return calling(self, images)

    monkeypatch.setattr(eager.EagerNetwork, "__call__", logged)
    found = capture("x", network, (2, 3, 4, 4), torch.device("cpu"))
    assert found.images.shape == (2, 3, 4, 4)
    assert found.logits.shape == (2, 1)
    warm = ["waits", "beside begins", *["called"] * 3, "beside ends", "waits"]
    assert log == [*warm, "capture begins", "called", "capture ends"]


# on a GPU


@pytest.fixture
def on_a_gpu() -> None:
    """Skip where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("gpu: there is no GPU; python -m bench.studies.gpu runs these where there is")


@pytest.mark.gpu
@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("name", [v.name for v in all_variants("cuda").values()])
def test_a_variant_on_a_gpu_is_the_network(home: Path, name: str) -> None:
    """Its logits are near the CPU's float32, and what ran is what its name says."""
    variant = find_in(name)
    if reason := why_not(variant):
        pytest.skip(reason)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    folder = home / "runs" / "tiny"
    reference = load_variant(baseline(), folder).logits(images)
    with closing(load_variant(variant, folder, 4)) as loaded:
        logits = loaded.logits(images)
        again = loaded.logits(images)
        ran = loaded.network.ran(loaded.filled(images))
    assert torch.equal(logits, again)
    check_output(replace(variant, min_sqnr_db=variant.min_sqnr_db or 60.0), logits, reference)
    if ran.precision is not None:
        assert ran.precision == variant.precision
        total = sum(one.multiply_adds for one in ran.executed)
        assert total == 4 * multiply_adds("resnet18", 3, 64)
