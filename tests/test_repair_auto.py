"""`find_int8`: what judges, what is kept, how long it takes, and how it goes on."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from searching import START, Job, draw, shorten_ladder, without_seconds, write_float32

from indoor.dataset import identify, stratified_sample
from indoor.errors import CollapseError, IndoorError
from indoor.locks import locked
from indoor.model import load_float, read_manifest, save_float
from indoor.quantize import load_int8, open_source, quantize_checkpoint
from indoor.records import Provenance, read_record
from indoor.repair import ladder
from indoor.repair import session as session_module
from indoor.repair.photographs import (
    HeldOutScenes,
    held_out_places,
    hold_out,
    trained_on,
)
from indoor.repair.records import Search

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def short_ladder() -> Iterator[None]:
    """Few steps, which are of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_ladder(patch)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of three classes."""
    return draw(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A run's float32."""
    return write_float32(tmp_path_factory.mktemp("run") / "float32.safetensors", root)


@pytest.fixture
def job(tmp_path: Path, root: Path, float32: Path) -> Job:
    """A search that has not begun."""
    return fresh(tmp_path / "run", root, float32)


def fresh(run: Path, root: Path, float32: Path) -> Job:
    """Return a search in a new folder."""
    run.mkdir()
    shutil.copy(float32, run)
    return Job(root=root, run=run)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, root: Path, float32: Path
) -> tuple[Job, Search]:
    """A search that nothing cut short."""
    job = fresh(tmp_path_factory.mktemp("whole") / "run", root, float32)
    return job, job.search()


def test_the_best_lies_there_and_can_be_made_again(
    whole: tuple[Job, Search], tmp_path: Path
) -> None:
    """What was found is in the file, and its configuration alone makes the same bytes of it."""
    job, search = whole
    assert search.ended == "finished"
    assert search.chosen is not None
    there = load_int8(job.out)
    assert there.manifest.quantization is not None
    assert there.manifest.quantization.config == search.chosen.config
    again = tmp_path / "int8.safetensors"
    quantize_checkpoint(job.run / "float32.safetensors", job.root, search.chosen.config, out=again)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(there.model(images), load_int8(again).model(images))


def test_every_step_is_recorded_with_its_cost(whole: tuple[Job, Search]) -> None:
    """The file beside it says what was tried, what it cost, and how each was judged."""
    job, search = whole
    assert read_record(job.run / "auto" / "search.json", Search) == search
    steps = {one.step for one in search.tried}
    assert {"plain", "observer", "bias correction", "equalisation"} <= steps
    assert all(t.made_s > 0 and (t.judged_s > 0 or t.failed) for t in search.tried)
    judged = [one.judged for one in search.tried if one.judged]
    assert {one.num_photographs for one in judged} == {search.held_out.num_photographs}
    assert [i for i, t in enumerate(search.tried) if t.best][-1] == search.best


def test_judges_are_train_photographs_that_nobody_tuned_on(root: Path, float32: Path) -> None:
    """All of validation and half of the rest, none of which calibration takes, and more views."""
    source = hold_out(open_source(load_float(float32), root), START.num_calibration)
    places = held_out_places(source, START.seed)
    calibrating = stratified_sample(source.train.labels, START.num_calibration, START.seed)
    val, train = (
        sorted(i for p, i, view in places if (p, view) == (part, 0)) for part in ("val", "train")
    )
    assert val == list(range(len(source.val)))
    assert len(train) == len(source.train) // 2
    assert not set(train) & set(calibrating)
    assert len(places) == len(set(places)) == 2 * len(val + train)
    assert [view for _, _, view in places] == sorted(view for _, _, view in places)
    more = hold_out(source, len(source.train) - 5)
    assert len({i for part, i, _ in held_out_places(more, START.seed) if part == "train"}) == 5


class Ticking:
    """A clock that goes on by a second for each photograph that a step has done with."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now

    def start(self, description: str, total: int) -> None:
        """Begin."""

    def advance(self, count: int = 1) -> None:
        """Go on."""
        self.now += count

    def finish(self) -> None:
        """End."""


def timed(job: Job, minutes: float, **changes: Any) -> tuple[Search, float]:
    """Search with a clock of photographs; return what it took, in seconds, too."""
    clock = Ticking()
    found = job.search(minutes=minutes, progress=clock, clock=clock, **changes)
    return found, clock.now


@pytest.mark.parametrize("minutes", [5, 9])
def test_the_time_is_kept(job: Job, minutes: float, whole: tuple[Job, Search]) -> None:
    """No step is begun that would take longer than is left; what was found until then is there."""
    search, took = timed(job, minutes)
    assert took <= 60 * minutes
    assert search.ended == "out of time"
    assert search.best is not None
    assert load_int8(job.out).manifest.quantization.config == search.chosen.config  # type: ignore[union-attr]
    assert 0 < len(search.tried) < len(whole[1].tried)


def test_the_next_call_goes_on(job: Job, whole: tuple[Job, Search]) -> None:
    """Calls that ran out of time end together where one long call does, and try nothing twice."""
    found, _ = timed(job, 7)
    num = len(found.tried)
    heard: list[str] = []
    second = job.search(say=heard.append)
    assert without_seconds(second) == without_seconds(whole[1])
    assert second.tried[:num] == found.tried
    assert len(heard) == len(second.tried) - num
    heard.clear()
    assert job.search(say=heard.append) == second
    assert heard == []


def test_a_short_time_calibrates_on_fewer(job: Job) -> None:
    """Where not even one calibration fits, the plain candidate's is cut, and its record says so."""
    heard: list[str] = []
    search, _ = timed(job, 0.5, say=heard.append)
    (plain,) = search.tried
    assert plain.config.num_calibration < START.num_calibration
    assert any("since the time is short" in line for line in heard)
    record = read_manifest(job.out).quantization
    assert record is not None
    assert record.num_calibrated == record.config.num_calibration == plain.config.num_calibration


def change_float32(job: Job) -> dict[str, Any]:
    """Make the float32 another network."""
    loaded = load_float(job.run / "float32.safetensors")
    with torch.no_grad():
        loaded.model.get_parameter("fc.bias").add_(0.01)
    save_float(job.run / "float32.safetensors", loaded.model, loaded.manifest)
    return {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_float32, "the float32 checkpoint changed since"),
        (lambda _: {"start": replace(START, num_calibration=16)}, "the options changed since"),
        (lambda _: {"max_drop_points": 0.5}, "--max-drop changed since"),
        (lambda job: (job.run / "auto" / "search.json").write_text("{") and {}, "holds no Search"),
        (lambda job: (job.run / "auto" / "float32-answers.safetensors").unlink() or {}, "answered"),
        (lambda job: job.out.unlink() or {}, "is not the one that lies there any more"),
    ],
    ids=["float32", "options", "bar", "damaged", "answers", "int8"],
)
def test_another_question_begins_anew(
    job: Job, change: Callable[[Job], dict[str, Any]], reason: str
) -> None:
    """What was found for something else is not gone on with, and the line says why."""
    timed(job, 2.5)
    heard: list[str] = []
    clock = Ticking()
    asked = {"minutes": 2.5, "clock": clock, "progress": clock, "say": heard.append}
    job.search(**asked | change(job))
    assert "the search begins anew: " in heard[0]
    assert reason in heard[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_an_int8_that_was_there_is_the_first_candidate(job: Job, seed: int) -> None:
    """It is judged and not made again, unless it was calibrated on photographs that judge."""
    asked = replace(START, observer="moving-average", seed=seed)
    quantize_checkpoint(job.run / "float32.safetensors", job.root, asked, out=job.out)
    before = job.out.read_bytes()
    search = job.search()
    assert (search.tried[0].step == "as it was") is (seed == 0)
    if search.best == 0 and seed == 0:
        assert job.out.read_bytes() == before
    assert [t.step for t in search.tried].count("plain") == 1


@pytest.mark.parametrize("kept_out", [True, False])
def test_what_float32_was_trained_on_judges_by_views(
    whole: tuple[Job, Search], root: Path, float32: Path, kept_out: bool
) -> None:
    """Validation photographs judge as they are only if the checkpoint's training kept them out."""
    loaded = load_float(float32)
    if kept_out:
        origin = Provenance(made_from={}, data=identify(root, test=False))
        manifest = replace(loaded.manifest, provenance=origin)
        loaded = replace(loaded, manifest=manifest)
    source = open_source(loaded, root)
    parts = trained_on(source)
    assert parts == ({"train"} if kept_out else {"train", "val"})
    assert whole[1].held_out.views == ("train", "val")
    scenes = HeldOutScenes(source, (("val", 0, 0), ("train", 0, 0), ("train", 0, 1)), parts)
    assert torch.equal(scenes[0][0], source.val[0][0]) is kept_out
    assert not torch.equal(scenes[1][0], source.train[0][0])
    assert torch.equal(scenes[1][0], scenes[1][0])
    assert not torch.equal(scenes[1][0], scenes[2][0])
    assert scenes[1][1] == scenes[2][1] == source.train[0][1]
    once = [part for part, _, view in held_out_places(hold_out(source, 1), 0) if view == 1]
    assert ("val" in once) is not kept_out


def test_a_search_without_a_sound_candidate_writes_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each candidate collapses, that is what is said, with the first one's findings."""
    check = session_module.check_logits
    monkeypatch.setattr(
        session_module, "check_logits", lambda *given: replace(check(*given), findings=("no!",))
    )
    with pytest.raises(CollapseError, match=r"no int8 of resnet18-thin does .* collapsed: no!;"):
        job.search()
    assert not job.out.exists()


def test_two_searches_of_one_run_do_not_meet(job: Job) -> None:
    """The second is told of the first."""
    folder = job.run / "auto"
    with (
        locked(folder / ".lock", "a test"),
        pytest.raises(IndoorError, match="another indoor quantize --auto works on"),
    ):
        job.search()


def test_a_step_that_cannot_be_made_is_recorded(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason stands in the record, and the next steps are tried."""
    make = session_module.make_int8

    def refuse(source: Any, config: Any, **how: Any) -> Any:
        if config.bias_corrected:
            raise IndoorError("no biases here")
        return make(source, config, **how)

    monkeypatch.setattr(session_module, "make_int8", refuse)
    search = job.search()
    (failed,) = [one for one in search.tried if one.step == "bias correction"]
    assert failed.failed == "no biases here"
    assert "equalisation" in {one.step for one in search.tried}


def test_a_layer_in_float32_is_named_by_a_diagnosis_and_timed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no plain kernels hold the bar, what a layer in float32 costs stands beside its gain."""
    monkeypatch.setattr(ladder, "FLOAT_LAYERS", (1, 2))
    monkeypatch.setattr(ladder, "answer", lambda *_: "missed")
    search = job.search()
    *last, found = [one for one in search.tried if one.step == "float layers"]
    assert {one.config.float_layers for one in last} == {("fc",)}
    assert found.failed is None
    assert found.config.float_layers[0] == "fc"
    assert load_float(job.run / "float32.safetensors").model.get_submodule(
        found.config.float_layers[1]
    )
    assert found.against_plain is not None
    assert found.plain_s is not None
    assert all(
        (one.against_plain is None) is not bool(one.config.float_layers) for one in search.tried
    )


def test_training_sees_no_photograph_that_judges(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """QAT is the last step, on the photographs that are there for tuning."""
    monkeypatch.setattr(ladder, "QAT_EPOCHS", (1,))
    monkeypatch.setattr(ladder, "answer", lambda *_: "missed")
    clock = Ticking()
    search = job.search(minutes=60, progress=clock, clock=clock)
    found = search.tried[-1]
    assert (found.step, found.config.qat_epochs, found.failed) == ("QAT", 1, None)
    calibrated = START.num_calibration
    assert found.made_s == calibrated + search.held_out.num_tuned
