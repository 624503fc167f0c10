"""`indoor results`: the saved runs, and which of them is the baseline."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indoor.cli.output import Outcome, use_color, width
from indoor.cli.prune import prune
from indoor.errors import IndoorError
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.text import as_text
from indoor.runs.storage import (
    SavedRun,
    list_runs,
    lock_results,
    mismatch,
    number_of,
    read_promoted,
    read_run,
    write_promoted,
)

LOCK_WAIT_S = 120.0
"""Saving takes seconds; somebody who holds the lock for minutes is stopped or stuck."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A saved run as `--json` shows it; None where the file does not say."""

    folder: str
    number: str
    name: str
    saved_at: str | None
    commit: str | None
    dirty: bool | None
    arch: str | None
    data: str | None
    cpu_model: str | None
    num_cases: int
    problems: tuple[str, ...]
    promoted: bool


def run(parsed: argparse.Namespace) -> Outcome:
    """List, promote or prune, as the words say."""
    results = parsed.results or Path("results")
    if parsed.action == "list":
        return _list(results, parsed.width or width())
    with lock_results(_existing(results), LOCK_WAIT_S):
        if parsed.action == "promote":
            return _promote(results, parsed.result, force=parsed.force)
        return prune(results, parsed.keep, parsed.partial_days, dry_run=parsed.dry_run)


def _list(results: Path, columns: int) -> Outcome:
    entries = [_entry(path) for path in list_runs(results)]
    if not entries:
        return Outcome(record=entries, text=f"no runs in {results}; make one with pytest bench")
    blocks: list[Block] = []
    for folder in dict.fromkeys(entry.folder for entry in entries):
        rows = [entry for entry in entries if entry.folder == folder]
        blocks += [Heading(str(results / folder)), _grid(rows)]
    notes = [
        f"{name} was promoted and is not in {folder} any more; promote another"
        for folder in dict.fromkeys(entry.folder for entry in entries)
        for name in read_promoted(results / folder)
        if not (results / folder / name).is_file()
    ]
    blocks += [Paragraph(note, "strong") for note in notes]
    return Outcome(record=entries, text=as_text(blocks, width=columns, color=use_color()))


def _entry(path: Path) -> _Entry:
    known = read_run(path)
    identity = known.identity if known else None
    problems = known.problems if known else ("unreadable",)
    if known and identity is None:
        problems = ("of another suite",)
    return _Entry(
        folder=path.parent.name,
        number=path.name.split("_")[0],
        name=path.stem,
        saved_at=(known.saved_at or None) if known else None,
        commit=identity.commit if identity else None,
        dirty=identity.dirty if identity else None,
        arch=identity.arch if identity else None,
        data=identity.data.name if identity else None,
        cpu_model=identity.machine.cpu_model if identity else None,
        num_cases=len(known.benchmarks) if known else 0,
        problems=problems,
        promoted=path.name in read_promoted(path.parent),
    )


def _grid(entries: Sequence[_Entry]) -> Grid:
    return Grid(
        columns=(
            Column("number"),
            Column("saved (UTC)", "left"),
            Column("commit", "left"),
            Column("cases"),
            Column("state", "left"),
            Column("network", "left"),
            Column("data", "left"),
            Column("CPU", "left"),
            Column("name", "left"),
        ),
        rows=tuple(
            (
                entry.number,
                (entry.saved_at or "")[:16].replace("T", " "),
                (entry.commit or "")[:8] + ("+" if entry.dirty else ""),
                str(entry.num_cases),
                ", ".join((*(["promoted"] if entry.promoted else []), *entry.problems)),
                entry.arch or "",
                entry.data or "",
                entry.cpu_model or "",
                entry.name.partition("_")[2],
            )
            for entry in entries
        ),
    )


def _promote(results: Path, wanted: str, *, force: bool) -> Outcome:
    path = _find(results, wanted)
    chosen = read_run(path)
    if chosen is None or chosen.identity is None:
        raise IndoorError(
            f"{path} {'cannot be read' if chosen is None else 'holds nothing of this suite'}; "
            "expected a run that `pytest bench` saved; promote another"
        )
    refused = [problem for problem in chosen.problems if problem in ("narrowed", "failed")]
    if refused and not force:
        raise IndoorError(
            f"{path} is {' and '.join(refused)}; expected a run of all cases without a failure; "
            "promote another, or this one with --force"
        )
    replaced = [
        name
        for name in read_promoted(path.parent)
        if name != path.name and _gives_way(read_run(path.parent / name), chosen)
    ]
    kept = [name for name in read_promoted(path.parent) if name not in {*replaced, path.name}]
    write_promoted(path.parent, [*kept, path.name])
    identity = chosen.identity
    lines = [
        f"{path.stem} is the baseline of `pytest bench --benchmark-compare` for {identity.arch}, "
        f"{identity.data.name}, {identity.machine.cpu_model}",
        *(f"{Path(name).stem} is not any more" for name in replaced),
    ]
    if "regressed" in chosen.problems:
        lines.append("it was slower than --benchmark-compare-fail allowed: that is accepted now")
    return Outcome(
        record={"promoted": path.name, "folder": path.parent.name, "replaced": replaced},
        text="\n".join(lines),
    )


def _gives_way(earlier: SavedRun | None, chosen: SavedRun) -> bool:
    """Return whether an earlier promoted run is of the same machine and subject, or gone."""
    assert chosen.identity is not None
    return earlier is None or mismatch(earlier, chosen.identity, chosen.allocator) is None


def _find(results: Path, wanted: str) -> Path:
    runs = list_runs(results)
    if wanted.isascii() and wanted.isdigit():
        found = [path for path in runs if number_of(path) == int(wanted)]
    else:
        file = Path(wanted)
        found = [path for path in runs if path.resolve() == file.resolve()]
        if not found and file.is_file():
            raise IndoorError(
                f"{file} is not among the runs in {results}; expected {results}/<machine>/"
                f"NNNN_name.json; name it with --benchmark-compare={file} instead"
            )
    if not found:
        known = ", ".join(path.name.split("_")[0] for path in runs[-8:]) or "none yet"
        raise IndoorError(
            f"no run {wanted!r} in {results}; expected a file there or a number: {known}; "
            "see indoor results list"
        )
    if len(found) > 1:
        raise IndoorError(
            f"{len(found)} runs have the number {wanted}; expected one; name its file: "
            f"{', '.join(map(str, found))}"
        )
    return found[0]


def _existing(results: Path) -> Path:
    """Return the folder; a lock in a folder that is not there would make it."""
    list_runs(results)
    return results
