"""The commands, from a drawn data set to int8 and back."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gate_records import PASSED, SLOWER, gate

from indoor.cli import main
from indoor.cli.bar import Bar
from indoor.dataset import write_shards
from indoor.gate.records import CellReport, GateReport
from indoor.gate.sides.setup import GateJob


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Call `indoor` with the words, in an empty working directory and the shared home."""
    monkeypatch.setenv("INDOOR_HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return lambda *words: main([str(word) for word in words])


GOLDEN = Path(__file__).parent / "golden" / "run-v1.json"


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
    run: Callable[..., int],
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
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
    page = tmp_path / "page.html"
    words = ("evaluate", "tiny", "--data", photographs, "--photographs")
    assert run(*words, "--html", page) == 0
    assert "no loss" not in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "Where int8 answers otherwise than float32" in text
    assert "Loss and accuracy over 3 epochs" in text  # the run's own curves, drawn
    assert run(*words) == 2
    assert "expected --html FILE beside it" in capsys.readouterr().err


def test_evaluate_reads_shards(
    run: Callable[..., int], photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are those of the folder; no photograph is proposed to predict from."""
    write_shards(photographs, tmp_path / "shards")
    told = []
    for root in (photographs, tmp_path / "shards"):
        assert run("evaluate", "tiny", "--data", root) == 0
        told.append(capsys.readouterr().out.rstrip())
    assert told[0].startswith(told[1])
    assert "next:" not in told[1]


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
        ["export"],
        ["predict"],
        ["report"],
        ["results", "list"],
        ["results", "promote"],
        ["results", "prune"],
        ["gate"],
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


def test_a_gate_without_a_base_is_a_mistake(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what may be given, and that the help has the rest."""
    assert run("gate", "--format", "json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("indoor gate: nothing to compare with: give --base REV")


def test_a_head_without_a_base_is_a_mistake(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two environments run the working tree; a revision beside them would go unread."""
    assert run("gate", "--base-python", "old", "--head", "v2") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("indoor gate: --head v2: expected --base REV beside it")


@pytest.mark.parametrize(
    ("out", "folder", "reason"),
    [
        ("file/gate.json", "file", "Not a directory"),
        ("file/new/gate.json", "file", "Not a directory"),
        ("link/gate.json", "link", "No such file or directory"),
        ("x" * 250, "", "File name too long"),
        ("/proc/new/gate.json", "/proc", "No such file or directory"),  # root may write elsewhere
    ],
    ids=["file", "below a file", "link to nowhere", "long", "no files"],
)
def test_a_gates_file_that_cannot_be_written_is_refused_at_once(
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    folder: str,
    reason: str,
) -> None:
    """One line names the option, the folder and what is wrong, and no gate has begun."""
    monkeypatch.setattr("indoor.cli.gate.run_gate", lambda _: pytest.fail("it has begun"))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert run("gate", "--base", "HEAD", "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"indoor: --out {out}: nothing can be written to {tmp_path / folder} (")
    assert f"({reason}); expected a folder with write permission and free space" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_folder_as_the_gates_file_is_refused(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told at once what was expected."""
    assert run("gate", "--base", "HEAD", "--out", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"indoor: --out {tmp_path}: it is a folder; expected a file's name; add one"


def test_a_gates_file_may_lie_in_a_folder_that_is_not_there_yet(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate makes it when it has something to write; before, nothing appears."""
    asked: list[GateJob] = []

    def stub(job: GateJob) -> GateReport:
        assert list(tmp_path.iterdir()) == []
        asked.append(job)
        return gate(PASSED)

    monkeypatch.setattr("indoor.cli.gate.run_gate", stub)
    assert run("gate", "--base", "HEAD", "--out", "new/deep/gate.json") == 0
    assert [job.out for job in asked] == [tmp_path / "new" / "deep" / "gate.json"]


@pytest.mark.parametrize(
    ("words", "accepted", "strict"),
    [
        ([], 0.05, False),
        (["--accept", "10%"], 0.1, False),
        (["--accept", "0.07"], 0.07, False),
        (["--strict"], 0.05, True),
    ],
)
def test_the_command_line_chooses_the_accepted_rung(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    accepted: float,
    strict: bool,
) -> None:
    """A share in percent or as a number, or the first rung alone; the settings' without."""
    asked: list[GateJob] = []

    def stub(job: GateJob) -> GateReport:
        asked.append(job)
        return gate(PASSED)

    monkeypatch.setattr("indoor.cli.gate.run_gate", stub)
    assert run("gate", "--base", "HEAD", *words) == 0
    plan = asked[0].config.plan
    assert (plan.accepted, plan.strict) == (accepted, strict)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--accept", "10"], "'10' is not a share such as 5% or 0.05"),
        (["--accept", "x%"], "'x%' is not a share such as 5% or 0.05"),
        (["--accept", "5%", "--strict"], "--accept 0.05 beside --strict"),
    ],
)
def test_an_accepted_rung_that_is_none_is_a_mistake(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    """One line says what was expected, and nothing is measured."""
    assert run("gate", "--base", "HEAD", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(
    "words",
    [
        ["--base", "HEAD"],
        ["--head", "HEAD"],
        ["--base-python", "python"],
        ["--head-python", "python"],
        ["--config", "gate.toml"],
        ["--suite", "bench"],
        ["--suite-argument=--data"],
        ["--out", "gate.json"],
        ["--allow-inconclusive"],
        ["--minutes", "3"],
        ["--accept", "10%"],
        ["--strict"],
        ["--no-facts"],
        ["--format", "markdown"],
    ],
    ids=" ".join,
)
def test_a_self_test_refuses_what_it_would_not_heed(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    """One line names the option, before half an hour is spent without it."""
    monkeypatch.setattr("indoor.cli.gate.run_gate", lambda _: pytest.fail("it has begun"))
    assert run("gate", "--self-test", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    option = " ".join(words) if words[0] == "--format" else words[0].partition("=")[0]
    assert line.startswith(f"indoor gate: {option}: a self-test measures trees of its own")


@pytest.mark.parametrize(
    ("slower", "status"),
    [(SLOWER, 0), (PASSED, 3)],
    ids=["found", "not found"],
)
@pytest.mark.parametrize("output_format", ["table", "json"])
def test_a_self_test_runs_gates_on_trees_of_its_own(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    slower: CellReport,
    status: int,
    output_format: str,
) -> None:
    """25 gates whose truth their sources tell; slowdowns that are not found end with exit 3."""
    jobs: list[GateJob] = []

    def stub(job: GateJob) -> GateReport:
        jobs.append(job)
        assert job.base_root is not None
        assert job.head_root is not None
        base, head = (
            (root / "ordinary.py").read_bytes() for root in (job.base_root, job.head_root)
        )
        return gate(PASSED if base == head else slower)

    monkeypatch.setattr("indoor.cli.gate.run_gate", stub)
    assert run("gate", "--self-test", "--seed", 2, "--format", output_format) == status
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == len(jobs) == 25
    assert {(job.config.suite, job.out, job.base) for job in jobs} == {("suite", None, None)}
    if output_format == "json":
        ended = json.loads(told.out)["gates"]
        assert [one["verdict"] for one in ended if one["slowdown"]] == [slower.verdict] * 5
    else:
        assert ("NOT TO BE TRUSTED HERE: 5 of 5 slowdowns" in told.out) == (status == 3)


@pytest.mark.slow
def test_a_finding_stays_one_where_nobody_reads_on(
    photographs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The exit status is the finding's, also with the reader of a pipe gone or on a full disk."""
    shutil.copytree(photographs, tmp_path / "d")
    (tmp_path / "d" / "Images" / "bars" / "bars_01.jpg").write_bytes(b"no picture")
    words = ["data", "verify", str(tmp_path / "d")]
    command = [sys.executable, "-c", "from indoor.cli import main; raise SystemExit(main())"]
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        for output in (writer, full):
            assert subprocess.run([*command, *words], stdout=output, check=False).returncode == 1
    os.close(writer)
    told = capfd.readouterr().err
    assert "the result cannot be printed: No space left on device" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_closed_hears_nothing(tmp_path: Path, closed: str) -> None:
    """The exit status is the same, and no traceback comes out of the other stream."""
    program = "from indoor.cli import main; raise SystemExit(main())"
    for words, status in (("report --width 80 " + str(GOLDEN), 0), ("report nowhere.json", 2)):
        call = f'"{sys.executable}" -c "{program}" {words} {closed}'
        done = subprocess.run(  # noqa: S602 - closing streams is the shell's
            call, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == status
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("output_format", ["table", "markdown", "json", "csv"])
def test_report_renders_a_file_in_every_format(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], output_format: str
) -> None:
    """Each format holds the golden run: as lines of 80, pipes, an object, or rows."""
    assert run("report", GOLDEN, "--format", output_format, "--width", 80) == 0
    out = capsys.readouterr().out
    if output_format == "json":
        assert json.loads(out)
    elif output_format == "csv":
        rows = list(csv.DictReader(out.splitlines()))
        assert {"float32", "int8"} <= {row["variant"] for row in rows}
    else:
        assert "int8 pays" in out
        assert output_format == "markdown" or max(map(len, out.splitlines())) <= 80


def test_report_finds_the_newest_result(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file the newest of the folder is taken; with a baseline it is compared."""
    for number, age_s in (("0001", 100), ("0002", 500)):
        path = tmp_path / "results" / "Linux-CPython-3.11-64bit" / f"{number}_run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(GOLDEN, path)
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    assert run("report", "--baseline", GOLDEN, "--plot", tmp_path / "plot.png") == 0
    out = capsys.readouterr().out
    assert "0001_run.json" in out
    assert "advisory" in out.lower()
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_report_counts_on_beyond_four_digits(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run after 9999 is found as `indoor results list` finds it."""
    path = tmp_path / "results" / "Linux-CPython-3.11-64bit" / "10000_run.json"
    path.parent.mkdir(parents=True)
    shutil.copy(GOLDEN, path)
    assert run("report") == 0
    assert "10000_run.json" in capsys.readouterr().out


def test_the_home_is_data_where_there_is_one(
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without INDOOR_HOME a run is looked for in ./data, and the message says where."""
    monkeypatch.delenv("INDOOR_HOME")
    (tmp_path / "data").mkdir()
    assert run("quantize", "nobody", "--data", tmp_path) == 2
    assert "no run 'nobody': expected a name in data/runs (none yet)" in capsys.readouterr().err


def test_a_bar_speaks_only_of_long_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work under two seconds leaves no line; longer work leaves one that counts its steps."""
    clock = [0.0]
    monkeypatch.setattr("indoor.cli.bar.time.perf_counter", lambda: clock[0])
    bar = Bar()
    for seconds in (1.0, 3.0):
        bar.start("decoding", 5)
        bar.advance(5)
        clock[0] += seconds
        bar.finish()
    assert capsys.readouterr().err == "decoding: 5 in 3.0 s\n"


def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photographs: Path
) -> None:
    """An interrupted command says how to go on and exits with 130."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("indoor.cli.data.verify", interrupt)
    assert main(["data", "verify", str(photographs)]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [[GOLDEN], ["--baseline", GOLDEN], ["--plot", "x.png"], [GOLDEN, GOLDEN]]
)
def test_the_schema_is_of_any_measurement(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], words: list[object]
) -> None:
    """A file beside --schema would go unread, so it is refused; alone it prints the schema."""
    assert run("report", "--schema", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(words[-1]) in line
    assert "--schema alone" in line
    assert run("report", "--schema") == 0
    assert "$schema" in json.loads(capsys.readouterr().out)
