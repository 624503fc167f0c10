"""Gates become lines of the kept file, one a commit, and what is no link is told."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from gate_records import MOVED, OPEN, PASSED, SLOWER, gate
from history_lines import kept_lines, name

from indoor.errors import IndoorError
from indoor.gate.records import CellReport, ChangedTest, GateReport
from indoor.history.keep import (
    FILE,
    Branch,
    Kept,
    keep_gates,
    newest_kept,
    read_branch,
    read_history,
)
from indoor.records import to_json, write_record

BRANCH = Branch(
    positions={name(position): position for position in range(1, 10)},
    subjects={name(position): f"change {position}" for position in range(1, 10)},
)


def measured(base: int | str, head: int | str, *cells: CellReport, **changes: object) -> GateReport:
    """A gate of two clean commits."""
    report = gate(*(cells or (PASSED, OPEN)), **changes)  # type: ignore[arg-type]
    return replace(
        report,
        base=replace(report.base, commit=base if isinstance(base, str) else name(base)),
        head=replace(
            report.head, commit=head if isinstance(head, str) else name(head), dirty=False
        ),
    )


def keep(folder: Path, *reports: GateReport) -> Kept:
    """Keep the reports, each written to a file as the gate writes it."""
    files = []
    for number, report in enumerate(reports):
        files.append(folder / f"gate-{number}.json")
        write_record(files[-1], report)
    return keep_gates(folder / "results", files, BRANCH)


def test_a_gate_becomes_a_line_a_commit(tmp_path: Path) -> None:
    """With head's commit, its place and subject, and each cell's ratio, an undecided one's too."""
    kept = keep(tmp_path, measured(1, 2))
    assert kept.left_out == ()
    (line,) = (tmp_path / "results" / FILE).read_text("utf-8").splitlines()
    assert line == to_json(kept.commits[0]).decode()
    (commit,) = kept.commits
    assert (commit.commit, commit.position, commit.subject) == (name(2), 2, "change 2")
    (link,) = commit.gates
    assert (link.base, link.base_position) == (name(1), 1)
    assert {cell: one.ratio for cell, one in link.cells.items()} == {
        PASSED.name: PASSED.ratio,
        OPEN.name: OPEN.ratio,
    }


def test_a_cell_whose_test_changed_is_kept_as_such(tmp_path: Path) -> None:
    """It is a link, and its ratio may be the test's."""
    other = ChangedTest(name=OPEN.name, what="test_forward in bench/test_latency.py")
    (line,) = keep(tmp_path, replace(measured(1, 2), changed=(other,))).commits
    told = {cell: one.test_changed for cell, one in line.gates[0].cells.items()}
    assert told == {PASSED.name: False, OPEN.name: True}


def test_two_gates_of_a_commit_are_one_line(tmp_path: Path) -> None:
    """That against the release stands beside that against the commit before."""
    kept = keep(tmp_path, measured(1, 4), measured(3, 4), measured(1, 2))
    assert [line.position for line in kept.commits] == [2, 4]
    assert [link.base for link in kept.commits[1].gates] == [name(1), name(3)]


def test_a_gate_is_kept_once(tmp_path: Path) -> None:
    """Kept again, or out of a file that two others were put together to, it stays one link."""
    keep(tmp_path, measured(1, 2))
    again = keep(tmp_path, measured(1, 2), measured(2, 3))
    file = tmp_path / "results" / FILE
    file.write_bytes(file.read_bytes() * 2)
    assert read_history(tmp_path / "results") == again
    assert [len(line.gates) for line in again.commits] == [1, 1]


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (measured(1, 2, PASSED, instrument=MOVED), "the instrument was unreliable"),
        (
            measured(1, 2, PASSED, instrument=MOVED, vanished=("t.py::test_gone",)),
            "the instrument was unreliable",
        ),
        (measured(1, 2, PASSED, partial=True), "the run broke off"),
        (measured(2, 2), "both sides were the same commit"),
        (measured(1, "a" * 40), "head aaaaaaaaaaaa is not on HEAD's first parents"),
        (measured(1, 2, replace(PASSED, ratio=None)), "no cell has a ratio with an interval"),
        (gate(PASSED), "head had changes that no commit holds; gate --head REV instead"),
        (
            replace(measured(1, 2), base=replace(measured(1, 2).base, commit=None)),
            "no commit is known of base",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_link_is_left_out_with_the_reason(
    tmp_path: Path, report: GateReport, reason: str
) -> None:
    """Nothing is written, and the line names the file."""
    kept = keep(tmp_path, report)
    (line,) = kept.left_out
    assert line.startswith(f"{tmp_path}/gate-0.json is left out: {reason}")
    assert not (tmp_path / "results" / FILE).exists()


def test_a_release_of_another_branch_is_a_base_without_a_place(tmp_path: Path) -> None:
    """Its commit is on no first parent of HEAD, and the link is kept all the same."""
    (line,) = keep(tmp_path, measured("b" * 40, 5, SLOWER)).commits
    assert (line.gates[0].base, line.gates[0].base_position) == ("b" * 40, None)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    """With its number, in one line."""
    keep(tmp_path, measured(1, 2))
    file = tmp_path / "results" / FILE
    file.write_text(file.read_text("utf-8") + "{}\n", encoding="utf-8")
    with pytest.raises(IndoorError, match=r"commits\.jsonl, line 2 holds no KeptCommit"):
        read_history(tmp_path / "results")


def test_a_newer_line_is_refused(tmp_path: Path) -> None:
    """What a later version means by it is not known here."""
    file = tmp_path / "results" / FILE
    file.parent.mkdir(parents=True)
    (line,) = kept_lines([(1, 2, 1.0, 0.01)])
    file.write_bytes(to_json(replace(line, schema_version=99)))
    with pytest.raises(IndoorError, match="line 1 has schema version 99; expected 1 at most"):
        read_history(tmp_path / "results")


def test_the_next_link_begins_at_the_newest_kept_commit() -> None:
    """Of those that HEAD comes after; a commit of another branch is none."""
    lines = kept_lines([(1, 2, 1.0, 0.01), (2, 3, 1.0, 0.01)])
    there = {name(position): position for position in (1, 2)}
    assert newest_kept(Kept(commits=lines), BRANCH) == name(3)
    assert newest_kept(Kept(commits=lines), Branch(positions=there, subjects={})) == name(2)
    assert newest_kept(Kept(commits=lines), Branch(positions={}, subjects={})) is None


def git(folder: Path, *words: str) -> str:
    """Run git as nobody in particular, and return what it says."""
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_branch_is_its_first_parents(tmp_path: Path) -> None:
    """Merged commits are no places of their own: their merge is, with its subject."""
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "first")
    git(tmp_path, "checkout", "-b", "change")
    git(tmp_path, "commit", "--allow-empty", "--message", "beside")
    git(tmp_path, "checkout", "main")
    git(tmp_path, "merge", "--no-ff", "--message", "merge it", "change")
    branch = read_branch(tmp_path)
    assert list(branch.positions.values()) == [1, 2]
    assert branch.positions[git(tmp_path, "rev-parse", "HEAD")] == 2
    assert list(branch.subjects.values()) == ["first", "merge it"]


def test_a_shallow_clone_is_refused(tmp_path: Path) -> None:
    """There a commit's place would be another one than in the next clone."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    git(source, "init")
    for subject in ("first", "second"):
        git(source, "commit", "--allow-empty", "--message", subject)
    git(tmp_path, "clone", "--depth", "1", source.as_uri(), str(clone))
    with pytest.raises(IndoorError, match=r"this clone is shallow.*fetch-depth: 0"):
        read_branch(clone)


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    """The commits' order is git's to tell."""
    with pytest.raises(IndoorError, match="git cannot tell the commits of"):
        read_branch(tmp_path)


_GPG = """#!/bin/sh
case "$*" in
*--verify*) echo "gpg: Good signature" >&2; echo "[GNUPG:] GOODSIG 1 me";;
*) cat > /dev/null
   printf '%s\\n' "-----BEGIN PGP SIGNATURE-----" "" x "-----END PGP SIGNATURE-----"
   echo "[GNUPG:] SIG_CREATED " >&2;;
esac
"""


def test_signed_commits_have_their_places(tmp_path: Path) -> None:
    """Whoever has git show signatures in its log gets them before each hash."""
    gpg = tmp_path / "gpg"
    gpg.write_text(_GPG)
    gpg.chmod(0o755)
    git(tmp_path, "init")
    git(tmp_path, "config", "gpg.program", str(gpg))
    git(tmp_path, "config", "log.showSignature", "true")
    git(tmp_path, "commit", "--gpg-sign", "--allow-empty", "--message", "first")
    assert "Good signature" in git(tmp_path, "log", "--format=%H")
    assert read_branch(tmp_path).positions == {git(tmp_path, "rev-parse", "HEAD"): 1}
