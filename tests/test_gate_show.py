"""`indoor gate --show`: a saved gate is told once more."""

from pathlib import Path

import pytest
from gate_records import OPEN, PASSED, SLOWER, gate

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.gate.records import CellReport, ChangedTest
from indoor.records import write_record


@pytest.mark.parametrize(
    ("cell", "words", "status"),
    [(SLOWER, (), 1), (OPEN, (), 3), (OPEN, ("--allow-inconclusive",), 0)],
)
def test_a_saved_gate_is_told_once_more(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cell: CellReport,
    words: tuple[str, ...],
    status: int,
) -> None:
    """In any format and with its status, and nothing is measured."""
    file = tmp_path / "gate.json"
    write_record(file, gate(cell))
    assert main(["gate", "--show", str(file), "--format", "markdown", *words]) == status
    assert capsys.readouterr().out.startswith(f"## Gate: {cell.verdict.value}")


@pytest.mark.parametrize("words", [["--base", "HEAD"], ["--minutes", "3"], ["--self-test"]])
def test_it_takes_no_word_about_measuring(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a word would not be heeded."""
    assert main(["gate", "--show", "gate.json", *words]) == 2
    assert f"{words[0]}: --show measures nothing" in capsys.readouterr().err


def test_what_is_no_gate_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, as any file that is none of ours."""
    (tmp_path / "gate.json").write_text("{}", encoding="utf-8")
    assert main(["gate", "--show", str(tmp_path / "gate.json")]) == 2
    assert "holds no GateReport" in capsys.readouterr().err


def test_changed_tests_are_accepted_after_a_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the report itself advises."""
    file = tmp_path / "gate.json"
    changed = (ChangedTest(name=PASSED.name, what="t.py: test_x"),)
    write_record(file, gate(PASSED, changed=changed))
    assert main(["gate", "--show", str(file)]) == 3
    assert "pass --accept-changed" in " ".join(capsys.readouterr().out.split())
    assert main(["gate", "--show", str(file), "--accept-changed"]) == 0
    assert "which was accepted" in " ".join(capsys.readouterr().out.split())


def test_a_page_that_cannot_be_written_costs_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk may be full after the minutes: the report is told, and no green status is left."""

    def refuse(*_: object) -> None:
        raise IndoorError("cannot write gate.html: No space left on device")

    monkeypatch.setattr("indoor.cli.gate.write_page", refuse)
    for told, status in ((PASSED, 3), (SLOWER, 1)):
        file = tmp_path / "gate.json"
        write_record(file, gate(told))
        words = ["--show", str(file), "--format", "markdown", "--html", str(tmp_path / "a.html")]
        assert main(["gate", *words]) == status
        printed = capsys.readouterr()
        assert printed.out.startswith(f"## Gate: {told.verdict.value}")
        assert "cannot write gate.html" in printed.err


def test_a_moment_that_no_zone_has_is_told_as_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stranger's file is no defect of the gate."""
    file = tmp_path / "gate.json"
    write_record(file, gate(PASSED, began_at="0001-01-01T00:00:00+23:59"))
    assert main(["gate", "--show", str(file)]) == 0
    assert "0001-01-01T00:00:00+23:59" in capsys.readouterr().out
