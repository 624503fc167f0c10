"""A run is prepared once, and again only where something changed."""

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indoor.errors import IndoorError
from indoor.files import sha256_of_file
from indoor.pipeline import (
    EVALUATION_BATCH,
    Prepared,
    evaluate_run,
    evaluation,
    preparation,
    prepare,
)
from indoor.quantize import default_config
from indoor.records import Variant
from indoor.runtimes import baseline, native_variants


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, photographs: Path, backbone: Path
) -> Prepared:
    """A run on the drawn photographs, from the backbone's weights."""
    home = tmp_path_factory.mktemp("pipeline")
    return prepare(photographs, backbone, home=home, arch="resnet18")


def again(prepared: Prepared, weights: Path, **changes: object) -> tuple[Prepared, list[str]]:
    """Prepare once more in the same home; return the run and what was said."""
    said: list[str] = []
    home = prepared.run_folder.parent.parent
    settings: dict[str, object] = {"home": home, "arch": "resnet18", "say": said.append}
    run = prepare(prepared.root, weights, **(settings | changes))  # type: ignore[arg-type]
    return run, said


def test_a_run_holds_checkpoints_records_and_figures(prepared: Prepared) -> None:
    """Both checkpoints are there, evaluated on the 12 test photographs, with every step told."""
    assert set(prepared.checkpoint_sha256) == {"float32", "int8"}
    assert prepared.data.num_test == 12
    assert {evaluation.num_photographs for evaluation in prepared.report.evaluations} == {12}
    assert prepared.report.evaluations[0].variant == "float32"
    assert {pair.baseline for pair in prepared.report.pairs} == {"float32"}
    steps = [note.split()[0] for note in prepared.notes]
    assert [step for step in steps if step in {"fine-tuned", "quantized", "evaluated"}] == [
        "fine-tuned",
        "quantized",
        "evaluated",
    ]


def test_what_is_there_is_used_again(prepared: Prepared, backbone: Path) -> None:
    """A second preparation makes nothing anew and says so by saying nothing."""
    files = {path: path.stat().st_mtime_ns for path in prepared.run_folder.iterdir()}
    run, said = again(prepared, backbone)
    assert said == []
    assert run.report == prepared.report
    assert run.quantization == prepared.quantization
    assert {path: path.stat().st_mtime_ns for path in prepared.run_folder.iterdir()} == files


def test_other_settings_quantize_anew(prepared: Prepared, backbone: Path, tmp_path: Path) -> None:
    """Another observer gives another int8 file and new figures, and the one that lay there stays.

    A search or a training may have made that one; copied back it is used as it was.
    """
    home = tmp_path / "home"
    shutil.copytree(prepared.run_folder.parent.parent, home)
    config = replace(default_config(), observer="minmax")
    run, said = again(prepared, backbone, home=home, config=config)
    assert [line.split()[0] for line in said] == ["kept", "quantized", "evaluated"]
    assert run.quantization.config.observer == "minmax"
    before = prepared.checkpoint_sha256["int8"]
    kept = run.run_folder / f"int8-{before[:12]}.safetensors"
    assert str(kept) in said[0]
    assert sha256_of_file(kept) == before
    shutil.copyfile(kept, run.run_folder / "int8.safetensors")
    back, said = again(prepared, backbone, home=home)
    assert [line.split()[0] for line in said] == ["evaluated"]
    assert back.checkpoint_sha256 == prepared.checkpoint_sha256
    assert run.checkpoint_sha256["float32"] == prepared.checkpoint_sha256["float32"]


def test_figures_of_a_run_of_another_seed_are_used_again(
    prepared: Prepared, photographs: Path, tmp_path: Path
) -> None:
    """What chose the validation photographs moves no figure of the test split."""
    weights = prepared.run_folder / "float32.safetensors"
    said: list[str] = []
    for _ in range(2):
        said.clear()
        run = prepare(photographs, weights, home=tmp_path, seed=1, say=said.append)
    assert said == []
    assert run.report.data.seed == 0


def test_damaged_figures_are_taken_again(
    prepared: Prepared, backbone: Path, tmp_path: Path
) -> None:
    """An evaluation that cannot be read is told and made again, equal to the first."""
    home = tmp_path / "home"
    shutil.copytree(prepared.run_folder.parent.parent, home)
    (home / "runs" / prepared.run_folder.name / "evaluation.json").write_text("{")
    run, said = again(prepared, backbone, home=home)
    assert said[0].startswith("evaluating again: ")
    assert run.report.evaluations == prepared.report.evaluations


def test_weights_of_the_same_classes_are_not_trained(
    prepared: Prepared, photographs: Path, tmp_path: Path
) -> None:
    """Where the weights know the data's classes, training is skipped and said so."""
    run = prepare(
        photographs,
        prepared.run_folder / "float32.safetensors",
        home=tmp_path,
        arch="resnet18",
    )
    assert run.notes[0] == "training skipped: float32.safetensors knows these 3 classes"
    assert not (run.run_folder / "curves.json").exists()
    assert run.report.evaluations[0].top1 == prepared.report.evaluations[0].top1


def test_the_test_list_decides_nothing(
    prepared: Prepared, photographs: Path, backbone: Path, tmp_path: Path
) -> None:
    """Another test list leaves float32 and int8 as they were, bit for bit."""
    root = tmp_path / photographs.name
    shutil.copytree(photographs, root)
    lines = (root / "TestImages.txt").read_text().splitlines()
    (root / "TestImages.txt").write_text("\n".join(lines[::2]))
    run = prepare(root, backbone, home=tmp_path / "home", arch="resnet18")
    assert run.data.num_test == 6
    first = prepared.run_folder / "float32.safetensors"
    assert (run.run_folder / "float32.safetensors").read_bytes() == first.read_bytes()
    assert run.quantization.calibration_sha256 == prepared.quantization.calibration_sha256


def test_broken_photographs_are_counted(photographs: Path, backbone: Path, tmp_path: Path) -> None:
    """A broken photograph is an error, or is left out and counted in words and figures."""
    root = tmp_path / "broken"
    shutil.copytree(photographs, root)
    (root / "Images" / "bars" / "bars_00.jpg").write_bytes(b"")
    with pytest.raises(IndoorError, match=r"bars_00\.jpg"):
        prepare(root, backbone, home=tmp_path / "home", arch="resnet18")
    run = prepare(root, backbone, home=tmp_path / "home", arch="resnet18", skip_broken=True)
    assert run.data.num_skipped == 1
    assert "left out 1 photographs" in run.notes[0]


def test_accuracies_can_be_left_out(prepared: Prepared, backbone: Path, tmp_path: Path) -> None:
    """Where they are not asked for no photograph is evaluated; all else is as with them."""
    home = tmp_path / "home"
    shutil.copytree(prepared.run_folder.parent.parent, home)
    report = home / "runs" / prepared.run_folder.name / "evaluation.json"
    report.unlink()
    run, said = again(prepared, backbone, home=home, evaluates=False)
    assert said == []
    assert run.report is None
    assert not report.exists()
    assert (run.data, run.checkpoint_sha256) == (prepared.data, prepared.checkpoint_sha256)


def test_a_second_preparation_says_for_whom_it_waits(prepared: Prepared, backbone: Path) -> None:
    """While another process makes the same run, the second tells its number and goes on after."""
    folder = prepared.run_folder
    lock = folder.parent / f".{folder.name}.lock"
    code = (
        "import sys, time; from pathlib import Path; from indoor.locks import wait_for_lock\n"
        "wait_for_lock(Path(sys.argv[1]), 'nobody', print); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        timer = threading.Timer(0.3, holder.stdin.close)
        timer.start()
        _, said = again(prepared, backbone)
        timer.join()
    assert said == [
        f"waiting for another process that prepares {folder.name} (process {holder.pid}) to end"
    ]


def test_only_what_is_missing_is_evaluated(
    prepared: Prepared, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that joins later costs itself and the baseline; the others keep their figures."""
    calls: list[str] = []
    load = evaluation.load_variant

    def watched(variant: Variant, *arguments: Any) -> Any:
        calls.append(variant.name)
        return load(variant, *arguments)

    monkeypatch.setattr(evaluation, "load_variant", watched)
    (prepared.run_folder / "evaluation.json").unlink()
    few, said = again(prepared, backbone, variants=("float32",))
    assert calls == ["float32"]
    assert [e.variant for e in few.report.evaluations] == ["float32"]
    assert said[0].startswith("evaluated on 12 test photographs: float32 ")
    more, said = again(prepared, backbone, variants=("int8",))
    assert calls == ["float32", "float32", "int8"]
    assert said[0].startswith("evaluated on 12 test photographs: int8 ")
    assert [e.variant for e in more.report.evaluations] == ["float32", "int8"]
    assert [p.candidate for p in more.report.pairs] == ["int8"]
    again(prepared, backbone, variants=("int8", "float32"))
    assert len(calls) == 3


def test_another_version_of_a_library_is_evaluated_again(
    prepared: Prepared, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime's upgrade may move logits; what needs no such library keeps its figures."""
    again(prepared, backbone, variants=("float32", "int8"))
    monkeypatch.setattr(preparation, "libraries_of", lambda v: "toy 2" if v.name == "int8" else "")
    _, said = again(prepared, backbone, variants=("float32", "int8"))
    assert said[0].startswith("evaluated on 12 test photographs: int8 ")


def test_a_static_batch_is_that_of_the_suite(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluated with the number of photographs that it has a package for anyway."""
    batches: list[int] = []
    load = evaluation.load_variant

    def watched(variant: Variant, folder: Path, batch: int) -> Any:
        batches.append(batch)
        return load(variant, folder, batch)

    monkeypatch.setattr(evaluation, "load_variant", watched)
    (int8,) = (v for v in native_variants() if v.name == "int8")
    monkeypatch.setattr(
        evaluation, "native_variants", lambda _: (baseline(), replace(int8, static_batch=True))
    )
    report = evaluate_run(prepared.root, prepared.run_folder, variants=("int8",), static_batch=5)
    assert batches == [EVALUATION_BATCH, 5]
    assert [e.num_photographs for e in report.evaluations] == [12, 12]
