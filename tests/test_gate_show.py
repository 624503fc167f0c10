"""`indoor gate --show`: a saved gate is told once more."""

from pathlib import Path

import pytest
from gate_records import OPEN, SLOWER, gate

from indoor.cli import main
from indoor.gate.records import CellReport
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
