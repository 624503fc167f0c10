"""`indoor history`: keeps gates and tells the chain, in every format."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from gate_records import PASSED, gate
from history_lines import CELL, STEP_AT, keep_lines, keep_stepped, kept_lines, name, stepped
from test_history_keep import git

from indoor.cli import main
from indoor.history.history import tell_history
from indoor.history.records import History
from indoor.history.render import render_history
from indoor.records import Interval, from_json, write_record


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder in which a history with a step is kept."""
    keep_stepped(tmp_path / "results")
    return tmp_path / "results"


def run(*words: object) -> int:
    """Call `indoor history`."""
    return main(["history", *map(str, words)])


def test_the_text_names_the_commit(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line counts what changed; the step's has its commit, subject and interval."""
    assert run("--results", results, "--width", 160) == 0
    told = capsys.readouterr().out
    assert told.startswith("History: 1 slowdown and 0 gains\n")
    assert f"- test_sort: +5.0% (+4.4 to +5.6%) with {name(STEP_AT)[:12]} (change 13)" in told


def test_markdown_folds_the_chains(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What changed comes first, the tables are details."""
    assert run("--results", results, "--format", "markdown") == 0
    told = capsys.readouterr().out
    assert told.startswith("## History: 1 slowdown and 0 gains\n")
    assert told.index("What changed") < told.index("<details>") < told.index("95% interval")


def test_json_holds_every_place(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole record, as it is read again."""
    assert run("--results", results, "--json") == 0
    history = from_json(capsys.readouterr().out, History, "output")
    (cell,) = history.cells
    assert [place.position for place in cell.places] == list(range(1, 21))
    assert [change.commit for change in cell.changes] == [name(STEP_AT)]


@pytest.mark.parametrize(("newest", "status"), [(8, 1), (7, 0)])
def test_an_alarm_is_for_new_slowdowns(results: Path, newest: int, status: int) -> None:
    """Exit 1 where a slowdown came with one of the newest commits; what is known is no alarm."""
    assert run("--results", results, "--alarm", newest) == status


def test_an_alarm_is_for_slowdowns_that_ended_with_a_base_too(tmp_path: Path) -> None:
    """A commit that was only ever a gate's base has a place on the chain and no line of its own."""
    heads = range(5, 65, 5)
    pairs = [(base, head) for head in heads for base in (1, head - 1)]
    slow = {(base, head): base < 47 <= head for base, head in pairs}
    lines = kept_lines([(b, h, 1.05 if slow[b, h] else 1.0, 0.003) for b, h in pairs])
    keep_lines(tmp_path, lines)
    (change,) = tell_history(lines).cells[0].changes
    assert change.commit == name(49)
    # The newest three lines are of 50, 55 and 60.
    assert [run("--results", tmp_path, "--alarm", n) for n in (4, 3)] == [1, 0]


def test_a_place_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is too long, for one; a missing file is an empty history."""
    assert run("--results", tmp_path / ("a" * 300)) == 2
    assert "File name too long; expected one JSON record a line" in capsys.readouterr().err


def test_a_plot_is_drawn(results: Path, tmp_path: Path) -> None:
    """A PNG, whole."""
    assert run("--results", results, "--plot", tmp_path / "history.png") == 0
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_kept_is_told_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error: a history begins empty; a plot of it is one."""
    assert run("--results", tmp_path) == 0
    assert "Nothing is kept yet: indoor gate --base REV --head REV" in capsys.readouterr().out
    assert run("--results", tmp_path, "--plot", tmp_path / "none.png") == 2
    assert "no gate is kept; expected one or more" in capsys.readouterr().err


def test_gates_are_kept_and_the_next_one_begins_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate's file becomes a link in a clone of its repository; what is none is told."""
    git(tmp_path, "init")
    commits = []
    for subject in ("first", "second"):
        git(tmp_path, "commit", "--allow-empty", "--message", subject)
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    report = gate(PASSED)
    link = replace(
        report,
        base=replace(report.base, commit=commits[0]),
        head=replace(report.head, commit=commits[1], dirty=False),
    )
    write_record(tmp_path / "gate.json", link)
    write_record(tmp_path / "dirty.json", report)
    monkeypatch.chdir(tmp_path)
    assert run("gate.json", "dirty.json", "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["num_gates"] == 1
    assert "dirty.json is left out: head had changes that no commit holds" in told.err
    assert run("--newest") == 0
    assert capsys.readouterr().out == f"{commits[1]}\n"


def test_newest_of_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that asks for a base gets a status to go by, and no empty line."""
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "first")
    monkeypatch.chdir(tmp_path)
    assert run("--newest") == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "holds no commit that HEAD comes after" in told.err


def test_newest_takes_nothing_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It would not heed it."""
    assert run("--newest", "--alarm", 3) == 2
    assert "expected no FILE, --plot, --html or --alarm beside it" in capsys.readouterr().err


def test_a_step_of_a_changed_test_says_so() -> None:
    """Where the gate of just these two commits saw another test, it may be the test's."""
    lines = []
    for line in kept_lines(stepped()):
        gates = [
            replace(gate, cells={CELL: replace(gate.cells[CELL], test_changed=True)})
            if line.position == STEP_AT
            else gate
            for gate in line.gates
        ]
        lines.append(replace(line, gates=tuple(gates)))
    text = render_history(tell_history(lines), width=200)
    assert "(change 13), which changed its test, too\n" in text


def test_only_the_newest_are_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Older commits are there as bases, and their number is told."""
    assert run("--results", results, "--last", 5, "--width", 160) == 0
    told = capsys.readouterr().out
    assert "or another of the 14 commits behind 000100000000" in told
    assert "- 14 older commits are kept and not told of; --last N takes more" in told


def test_a_drift_is_told_with_its_begin_and_end() -> None:
    """In words that name both commits and how many lie between."""
    history = tell_history(kept_lines(stepped()))
    (cell,) = history.cells
    drift = replace(
        cell.changes[0],
        kind="drift",
        after=name(3),
        num_commits=10,
        ratio=1.104,
        interval=Interval(low=1.09, high=1.12),
    )
    text = render_history(replace(history, cells=(replace(cell, changes=(drift,)),)), width=200)
    assert "+10.4% (+9.0 to +12.0%), little by little over the 10 commits behind" in text
