"""What `indoor explain` measures with: laid-out memory, the thin twin, and all of it together."""

import itertools
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import torch
from torch import nn

from indoor.errors import IndoorError
from indoor.explain import experiments, sides
from indoor.explain.experiments import observe
from indoor.explain.observations import Observations
from indoor.explain.pages import build_pages, choose, layouts, preloading
from indoor.explain.process import copies, layer_traffic, with_reorders
from indoor.explain.twin import SIZE, twin_run
from indoor.explain.verdict import explain
from indoor.measure.pairs import LocalCall
from indoor.measure.process import ChildLostError
from indoor.measure.worker import timed
from indoor.model import build_model, multiply_adds, read_manifest, thin
from indoor.records import Executed, Ran, read_record, write_record
from indoor.runtimes import all_variants
from indoor.runtimes.base import VariantError
from indoor.runtimes.limits import Bandwidth, Level
from indoor.runtimes.loading import load_here

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is laid out on Linux alone")

FAULTS = """
import resource, torch
from indoor.explain.pages import Layout, choose
torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.ones(1 << 24)
system = faults()
choose("kept")
torch.ones(1 << 24)
kept = faults()
choose("shared", Layout(unit_bytes=65536, parts=2))
a, b = torch.zeros(1 << 20), torch.zeros(1 << 20)
a[3], a[-3] = 7, 9
small = torch.zeros(100)
choose("shared", Layout(unit_bytes=65536, parts=1))  # on fewer pages than the blocks before
seen = (b[3], b[3 + 65536 // 4], b[-3], b[5], small[3])
print(system, kept, *(value.item() for value in seen))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The allocator, compiled."""
    return build_pages(tmp_path_factory.mktemp("pages"))


@linux
def test_kept_blocks_fault_no_more_and_shared_ones_are_the_same_memory(pages: Path) -> None:
    """What is written to a shared block stands in the other, in each unit of the same part."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env=preloading(pages),
        capture_output=True,
        text=True,
        check=True,
    )
    system, kept, *values = map(float, done.stdout.split())
    assert kept < 50 < system  # with huge pages 32 a block
    assert values == [7, 7, 9, 0, 0]


def test_a_process_without_the_allocator_says_so() -> None:
    """The switch is refused and does nothing."""
    with pytest.raises(IndoorError, match="no allocator of indoor's; expected it in LD_PRELOAD"):
        choose("kept")


@linux
@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_a_line_says_what_is_missing(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the compiler and the remedy."""
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(IndoorError, match=f"{compiler}.*expected.*compiler") as told:
        build_pages(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("before", "after"), [(None, "new"), ("old.so", "new:old.so")])
def test_a_preloaded_library_stays(before: str | None, after: str) -> None:
    """Ours comes first, and nothing else of the environment changes."""
    environment = {"A": "b"} | ({} if before is None else {"LD_PRELOAD": before})
    assert preloading(Path("new"), environment) == {"A": "b", "LD_PRELOAD": after}


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_layouts_have_a_unit_for_each_thread_and_fit_a_core(threads: int) -> None:
    """No two threads need to write the same lines, and a core's units fit its second cache."""
    tried = layouts(threads)
    assert any(layout.parts == threads for layout in tried)
    assert all(layout.unit_bytes <= 1 << 18 for layout in tried)
    assert len(set(tried)) == len(tried)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_the_twin_makes_the_same_calls_with_next_to_nothing_to_compute(arch: str) -> None:
    """As many layers of each kind, under the same names, and a thousandth of the multiply-adds."""
    twin, whole = build_model(thin(arch), 5, seed=0), build_model(arch, 5, seed=0)

    def layers(model: nn.Module) -> list[tuple[str, type[nn.Module]]]:
        return [(name, type(module)) for name, module in model.named_modules()]

    assert layers(twin) == layers(whole)
    assert multiply_adds(thin(arch), 5, SIZE) < multiply_adds(arch, 5, 224) / 1000


@pytest.mark.usefixtures("one_thread")
def test_the_twin_of_a_run_is_a_run(home: Path) -> None:
    """Both its checkpoints load and compute, as the run's own do."""
    run = home / "runs" / "tiny"
    with twin_run(run) as folder:
        for name in ("float32", "int8"):
            twin = load_here(all_variants()[name], folder)
            assert twin.manifest.arch == "resnet18-thin"
            assert twin(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, len(twin.manifest.classes))
    assert not folder.exists()


def test_traffic_is_that_of_each_layer() -> None:
    """The first convolution and the last layer, by hand: input, weights, output."""
    found = layer_traffic("resnet18", 10, 64, 2, "int8")
    assert found[0] == (2 * 3 * 64 * 64, 64 * 3 * 7 * 7, 2 * 64 * 32 * 32)
    assert found[-1] == (2 * 512, 10 * 512, 2 * 10)
    assert layer_traffic("resnet18", 10, 64, 2, "float32")[0] == tuple(4 * n for n in found[0])


def test_reorders_stand_before_the_layers_that_they_serve() -> None:
    """A repacked weight is read and written before its layer; layers that nobody tells follow."""

    def told(operator: str, multiply_adds: int, num_bytes: int | None) -> Executed:
        return Executed(
            operator=operator,
            types="f32",
            shape="1",
            precision=None,
            multiply_adds=multiply_adds,
            num_bytes=num_bytes,
        )

    executed = [
        told("reorder", 0, 20),
        told("convolution", 7, 9),
        told("reorder", 0, None),
        told("pooling", 0, 8),
        told("reorder", 0, 6),
    ]
    layers = [(1, 2, 3), (4, 5, 6)]
    assert with_reorders(layers, executed) == ((10, 0, 10), (1, 2, 3), (3, 0, 3), (4, 5, 6))
    assert with_reorders(layers, ()) == tuple(layers)


def test_copies_write_what_the_layers_would() -> None:
    """Each layer reads what the one before wrote; a call moves and multiplies nothing."""
    move: Any = copies([(80, 8, 40), (40, 8, 80)])
    move()
    buffers = next(c.cell_contents for c in move.__closure__ if isinstance(c.cell_contents, list))
    assert buffers[1][:5].tolist() == [0] * 5
    assert buffers[0][:10].tolist() == [1] * 10


@pytest.mark.slow
@linux
def test_everything_is_measured_in_the_same_rounds(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides have every experiment, as often, and what is saved can be explained."""
    monkeypatch.setattr(experiments, "LIMIT_S", 0.01)
    run, variants = home / "runs" / "tiny", all_variants()
    lines: list[str] = []
    saved: list[Observations] = []
    size = read_manifest(run / "float32.safetensors").preprocessing.size
    seen = observe(
        run,
        [(variants["float32"], variants["int8"])],
        [2],
        [1],
        torch.randn(2, 3, size, size),
        0.01,
        lines.append,
        saved.append,
    )
    assert len(saved) == 2  # after its cell, and with the limits as they are known at the end
    assert saved[-1] == seen
    assert saved[0].cells[0][0].as_is_s == seen.cells[0][0].as_is_s
    (both,) = seen.cells
    for side in both:
        rounds = (side.as_is_s, side.kept_s, side.in_cache_s, side.empty_s, side.bytes_s)
        assert {len(seconds) for seconds in rounds} == {len(side.as_is_s)}
        assert side.notes == ()
        for operators in (side.operators_kept, side.operators_in_cache):
            assert sum(one.multiply_adds for one in operators) == side.multiply_adds
    assert lines[-1] == "cell 1 of 1: float32 and int8, batch 2, threads 1"
    write_record(tmp_path / "seen.json", seen)
    assert len(explain(read_record(tmp_path / "seen.json", type(seen))).cells) == 1


class FakeHost:
    """A process that computes nothing; the one with `dying` tensors in the cache dies in a turn."""

    dying = ""
    dying_profiles: ClassVar[list[str]] = []

    def __init__(self, name: str, *_: object, **__: object) -> None:
        self.name = name

    def __enter__(self) -> "FakeHost":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def load(self, _variant: object) -> None:
        """Load nothing."""

    def show(self, _images: object) -> None:
        """Look at nothing."""

    def ask(self, what: str, **_: object) -> dict[str, Any]:
        """Answer as a process would that tells no operators."""
        if what == "operators" and self.name in self.dying_profiles:
            self.dying_profiles.remove(self.name)
            raise VariantError(self.name, ChildLostError(self.name, "died by SIGSEGV"))
        return {"operators": []} if what == "operators" else {"renewed": True}

    def ran(self, _variant: str) -> Ran:
        """Tell that nothing was executed."""
        return Ran(precision=None)

    def subject(self, *_: object, **__: object) -> LocalCall:
        """Return its calls."""

        def call() -> None:
            if self.name == self.dying:
                raise ChildLostError(self.name, "died by SIGSEGV")

        return LocalCall(timed(call), clock=itertools.count().__next__)  # a second a look


@pytest.fixture
def fake_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `observe` start no process and measure no machine."""
    copies = [
        Bandwidth(level=level, threads=1, num_bytes=1, seconds=1.0) for level in get_args(Level)
    ]
    monkeypatch.setattr(sides, "Host", FakeHost)
    monkeypatch.setattr(experiments, "twin_run", nullcontext)
    monkeypatch.setattr(experiments, "measure_limits", lambda *_: ())
    monkeypatch.setattr(experiments, "measure_bandwidths", lambda *_: copies)
    monkeypatch.setattr(experiments, "build_pages", lambda folder: folder)


@pytest.mark.usefixtures("fake_processes")
@pytest.mark.parametrize("lost", ["float32 in_cache", "int8 in_cache", "int8 kept"])
def test_a_process_that_dies_of_rubbish_costs_its_experiment_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The cell is measured again without it, and says so; any other process's death is an error."""
    monkeypatch.setattr(FakeHost, "dying", lost)
    pair = tuple(all_variants()[name] for name in ("float32", "int8"))
    run, images = home / "runs" / "tiny", torch.zeros(2, 3, 64, 64)
    if not lost.endswith("in_cache"):
        with pytest.raises(IndoorError, match="int8 kept: died by SIGSEGV"):
            observe(run, [pair], [2], [1], images, 0, lambda _line: None)
        return
    seen = observe(run, [pair], [2], [1], images, 0, lambda _line: None)
    for side in seen.cells[0]:
        is_lost = lost.startswith(side.variant)
        assert (side.in_cache_s == ()) == is_lost
        assert (f"cannot be brought into the cache: {lost}: died" in str(side.notes)) == is_lost


@pytest.mark.usefixtures("fake_processes")
@pytest.mark.parametrize(("deaths", "is_told"), [(2, True), (3, False)])
def test_a_profile_that_dies_is_tried_in_another_process(
    home: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, is_told: bool
) -> None:
    """The rubbish in the cache decides whether one dies; after three it stays unknown."""
    monkeypatch.setattr(FakeHost, "dying_profiles", ["int8 in_cache"] * deaths)
    pair = tuple(all_variants()[name] for name in ("float32", "int8"))
    seen = observe(
        home / "runs" / "tiny", [pair], [2], [1], torch.zeros(2, 3, 64, 64), 0, lambda _line: None
    )
    notes = str(seen.cells[0][1].notes)
    assert ("cannot be timed: int8 in_cache: " in notes) == (not is_told)
    assert FakeHost.dying_profiles == []
