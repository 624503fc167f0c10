"""The kept file: gates become lines of it, one a commit, and lines are read again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from indoor.errors import IndoorError
from indoor.files import read_bytes, write_bytes
from indoor.gate.records import CellReport, GateReport, GateVerdict
from indoor.history.records import (
    HISTORY_SCHEMA_VERSION,
    KeptCell,
    KeptCommit,
    KeptGate,
)
from indoor.locks import locked
from indoor.machine import run_git, why_git_failed
from indoor.records import from_json, read_record, to_json

FILE = Path("history", "commits.jsonl")
"""Within the folder of results."""

_LOCK = Path("history", ".lock")
_LOCK_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The commits on HEAD's first parents: where each stands, from 1, and its subject."""

    positions: Mapping[str, int]
    subjects: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The lines, rising by position, and why a gate's file did not become a part of them."""

    commits: tuple[KeptCommit, ...]
    left_out: tuple[str, ...] = ()


def read_history(results: Path) -> Kept:
    """Read the kept lines; where nothing was kept yet there are none.

    Raises:
        IndoorError: The file cannot be read, or a line is none of ours.
    """
    path = results / FILE
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return Kept(commits=())
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror}; expected one JSON record a line"
        ) from error
    commits = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        kept = from_json(line, KeptCommit, f"{path}, line {number}")
        if kept.schema_version > HISTORY_SCHEMA_VERSION:
            raise IndoorError(
                f"{path}, line {number} has schema version {kept.schema_version}; expected "
                f"{HISTORY_SCHEMA_VERSION} at most; read it with the indoor that wrote it"
            )
        commits.append(kept)
    return Kept(commits=_merged(commits))


def keep_gates(
    results: Path,
    files: Sequence[Path],
    branch: Branch,
    say: Callable[[str], None] = lambda _: None,
) -> Kept:
    """Add what `indoor gate --out` wrote to the kept lines; a gate that is there stays once.

    A gate that was undecided is a link as well: its ratio and interval are what was measured.

    Args:
        results: The folder of results.
        files: JSON of gates.
        branch: The commits that may stand on the chain.
        say: Hears for whom there is to wait.

    Returns:
        All lines, and for each file that is no link of this branch a line that says why.

    Raises:
        IndoorError: A file is no gate's, or the kept file cannot be read or written.
    """
    gates = [(path, read_record(path, GateReport)) for path in files]
    left_out, new = [], []
    for path, report in gates:
        reason = _why_no_link(report, branch)
        if reason:
            left_out.append(f"{path} is left out: {reason}")
        else:
            new.append(_line_of(report, branch))
    busy = (
        f"{results / _LOCK} is held by another process for more than {_LOCK_WAIT_S:g} s; "
        "expected its end; look for an `indoor history` that is stopped or stuck"
    )
    holder = "another process that keeps gates"
    with locked(results / _LOCK, holder, wait_s=_LOCK_WAIT_S, busy=busy, say=say):
        commits = _merged([*read_history(results).commits, *new])
        if new:
            write_bytes(results / FILE, b"".join(to_json(one) + b"\n" for one in commits))
    return Kept(commits=commits, left_out=tuple(left_out))


def read_branch(repo: Path) -> Branch:
    """Return the commits on HEAD's first parents.

    Raises:
        IndoorError: There is no repository with a commit.
    """
    if run_git(repo, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        raise IndoorError(
            "this clone is shallow, so where a commit stands on its branch is not known; expected "
            "all commits; run `git fetch --unshallow`, or set fetch-depth: 0 where CI checks out"
        )
    # What log.showSignature prints would stand before each hash.
    words = ("--no-show-signature", "--first-parent", "--reverse", "-z", "--format=%H %s")
    done = run_git(repo, "log", *words, "HEAD")
    if done.returncode != 0:
        raise IndoorError(
            f"git cannot tell the commits of {repo.name or repo} ({why_git_failed(done)}); "
            "expected a clone of the gated repository, since the commits' order is git's to tell; "
            "call it there"
        )
    commits = [line.partition(" ") for line in done.stdout.split("\0") if line]
    return Branch(
        positions={commit: number for number, (commit, _, _) in enumerate(commits, start=1)},
        subjects={commit: subject for commit, _, subject in commits},
    )


def newest_kept(kept: Kept, branch: Branch) -> str | None:
    """Return the newest kept commit that HEAD comes after: what the next gate begins from."""
    known = [one for one in kept.commits if one.commit in branch.positions]
    newest = max(known, key=lambda one: branch.positions[one.commit], default=None)
    return None if newest is None else newest.commit


def _why_no_link(report: GateReport, branch: Branch) -> str | None:
    """Return why a gate joins no two commits of the chain; None: it does."""
    head, base = report.head, report.base
    # Findings of the instrument stay in a report that is FAIL for what needs no clock.
    if report.verdict is GateVerdict.UNRELIABLE or report.instrument.findings:
        return "the instrument was unreliable, so no timing of it counts"
    if report.partial:
        return "the run broke off, so the instrument was not watched to its end"
    for name, side in (("head", head), ("base", base)):
        if side.commit is None:
            return f"no commit is known of {name}"
        if side.dirty:
            return f"{name} had changes that no commit holds; gate --head REV instead"
    assert head.commit is not None
    if head.commit == base.commit:
        return "both sides were the same commit"
    if head.commit not in branch.positions:
        return (
            f"head {head.commit[:12]} is not on HEAD's first parents (a pull request's merge, "
            "another branch, or a shallow clone)"
        )
    if not any(_kept_cell(cell) for cell in report.cells):
        return "no cell has a ratio with an interval"
    return None


def _line_of(report: GateReport, branch: Branch) -> KeptCommit:
    commit, base = report.head.commit, report.base.commit
    assert commit is not None
    assert base is not None
    changed = {one.name for one in report.changed}
    kept = {cell.name: _kept_cell(cell, cell.name in changed) for cell in report.cells}
    gate = KeptGate(
        base=base,
        base_position=branch.positions.get(base),
        began_at=report.began_at,
        cpu_model=report.cpu_model,
        num_cores=report.num_cores,
        verdict=report.verdict,
        cells={name: cell for name, cell in kept.items() if cell is not None},
    )
    return KeptCommit(
        commit=commit,
        position=branch.positions[commit],
        subject=branch.subjects[commit],
        gates=(gate,),
    )


def _kept_cell(cell: CellReport, test_changed: bool = False) -> KeptCell | None:
    """Return what a link needs of a cell; None where too little was measured of it."""
    if cell.ratio is None or cell.interval is None or cell.num_launches < 2:
        return None
    return KeptCell(
        ratio=cell.ratio,
        low=cell.interval.low,
        high=cell.interval.high,
        num_launches=cell.num_launches,
        base_s=cell.base_s,
        test_changed=test_changed,
    )


def _merged(lines: Sequence[KeptCommit]) -> tuple[KeptCommit, ...]:
    """Return one line a commit, rising by position, each gate once (two files put together)."""
    commits: dict[str, KeptCommit] = {}
    for line in lines:
        before = commits.get(line.commit)
        gates = {(gate.base, gate.began_at): gate for gate in (before or line).gates}
        gates |= {(gate.base, gate.began_at): gate for gate in line.gates}
        commits[line.commit] = replace(line, gates=tuple(gates.values()))
    return tuple(sorted(commits.values(), key=lambda line: (line.position, line.commit)))
