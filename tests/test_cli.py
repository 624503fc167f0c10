"""The commands, from a drawn data set to int8 and back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indoor.cli import main


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Call `indoor` with the words, in an empty working directory and the shared home."""
    monkeypatch.setenv("INDOOR_HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return lambda *words: main([str(word) for word in words])


def test_demo_draws_a_verified_data_set(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `indoor demo` draws, `indoor data verify` finds nothing wrong with."""
    assert run("demo", "--out", tmp_path / "d", "--train", 4, "--test", 2, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["num_test"] == 2 * data["num_classes"]
    assert run("data", "verify", tmp_path / "d", "--json") == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_verify_finds_a_defect(
    run: Callable[..., int],
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A broken photograph is named and the exit status is 1, a finding."""
    shutil.copytree(photographs, tmp_path / "d")
    (tmp_path / "d" / "Images" / "bars" / "bars_01.jpg").write_bytes(b"no picture")
    assert run("data", "verify", tmp_path / "d") == 1
    out = capsys.readouterr().out
    assert "problem: Images/bars/bars_01.jpg" in out
    assert out.splitlines()[-1] == "1 problems"


def test_train_keeps_checkpoint_and_curves(home: Path) -> None:
    """Fine-tuning leaves a float32 checkpoint and the curves as JSON and as a picture."""
    folder = home / "runs" / "tiny"
    curves = json.loads((folder / "curves.json").read_text())
    assert [epoch["epoch"] for epoch in curves["epochs"]] == [1, 2, 3]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "float32.safetensors").is_file()


def test_quantize_records_every_setting(
    run: Callable[..., int],
    home: Path,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The settings that were asked for stand in the record, with the calibration list's hash."""
    shutil.copytree(home / "runs" / "tiny", home / "runs" / "other", dirs_exist_ok=True)
    words = ["--observer", "minmax", "--num-calibration", 9, "--batch", 4, "--seed", 3]
    assert run("quantize", "other", "--data", photographs, *words, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    config = record["config"]
    assert (config["observer"], config["num_calibration"], config["batch"]) == ("minmax", 9, 4)
    assert config["seed"] == 3
    assert len(record["calibration_sha256"]) == 64
    assert record["num_quantized_modules"] > 10


def test_evaluate_pairs_float32_and_int8(
    run: Callable[..., int], photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both precisions are evaluated on the same 12 photographs, and compared as a pair."""
    assert run("evaluate", "tiny", "--data", photographs, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    names = [evaluation["variant"] for evaluation in report["evaluations"]]
    assert names[0] == "float32"
    assert "int8" in names
    pair = next(pair for pair in report["pairs"] if pair["candidate"] == "int8")
    assert (
        pair["num_both_right"]
        + pair["num_only_baseline_right"]
        + pair["num_only_candidate_right"]
        + pair["num_both_wrong"]
        == 12
    )
    assert run("evaluate", "tiny", "--data", photographs) == 0
    assert "no loss" not in capsys.readouterr().out


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_predict_names_classes(
    run: Callable[..., int],
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    variant: str,
) -> None:
    """Each photograph gets its likeliest classes, the likeliest first."""
    photo = photographs / "Images" / "bars" / "bars_00.jpg"
    words = ["--run", "tiny", "--variant", variant, "--top", 2, "--json"]
    assert run("predict", photo, photo, *words) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == second
    probabilities = [guess["probability"] for guess in first["guesses"]]
    assert len(probabilities) == 2
    assert probabilities == sorted(probabilities, reverse=True)


def test_doctor_tells_the_machine(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor names CPU, engines and torch, and exits 1 just where there is a warning."""
    status = run("doctor", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["engines"]
    assert status == int(any(item["level"] == "warning" for item in found["advice"]))
    assert all(item["remedy"] for item in found["advice"])
    run("doctor")
    assert found["machine"]["cpu_model"] in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["data", "verify"],
        ["train"],
        ["quantize"],
        ["evaluate"],
        ["predict"],
        ["report"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_help_shows_an_example(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Every command's help ends with an example that begins with the command itself."""
    assert run(*command, "--help") == 0
    assert f"example: indoor {' '.join(command)}" in capsys.readouterr().out
