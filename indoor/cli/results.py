"""`indoor results`: the saved runs, and which of them is the baseline."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from indoor.cli.bar import Bar
from indoor.cli.output import Outcome, tell, use_color, width
from indoor.machine import num_usable_cores
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.text import as_text
from indoor.runs.pruning import plan_pruning, prune
from indoor.runs.saved import SavedRun, group_runs, promote_run, read_runs
from indoor.runs.storage import find_run, list_runs, lock_results, lost_promotions
from indoor.workers import workers


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
    group: str | None
    """Runs of one group may be compared in time."""
    weakened: tuple[str, ...]
    reason: str | None = None
    """Why it cannot be read or trusted."""
    commit_unknown: str | None = None


def run(parsed: argparse.Namespace) -> Outcome:
    """List, promote or prune, as the words say."""
    results = parsed.results or Path("results")
    if parsed.action == "list":
        return _list(results, parsed.width or width())
    if parsed.action == "site":
        return _site(parsed.folder, results, parsed.pages)
    list_runs(results)  # a lock in a folder that is not there would make it
    with lock_results(results, say=tell):
        if parsed.action == "promote":
            return _promote(results, parsed.result, force=parsed.force)
        return _prune(results, parsed.keep, parsed.partial_days, dry_run=parsed.dry_run)


def _list(results: Path, columns: int) -> Outcome:
    with workers(num_usable_cores()) as start:
        runs = list(read_runs(list_runs(results), progress=Bar(), start=start))
    if not runs:
        measure = shlex.join(["pytest", "bench", "--results", str(results)])
        return Outcome(record=[], text=f"no runs in {results}; make one with {measure}")
    entries = _entries(runs)
    text = as_text(_blocks(results, runs, entries), width=columns, color=use_color())
    return Outcome(record=entries, text=text)


def _entries(runs: Sequence[SavedRun]) -> list[_Entry]:
    return [_entry(run, group) for run, group in zip(runs, group_runs(runs), strict=True)]


def _blocks(
    results: Path,
    runs: Sequence[SavedRun],
    entries: Sequence[_Entry],
    links: Mapping[Path, str] = MappingProxyType({}),
) -> list[Block]:
    """Return the runs as tables, a folder each; `links` has the pages of some."""
    blocks: list[Block] = []
    for folder in dict.fromkeys(entry.folder for entry in entries):
        here = [place for place, entry in enumerate(entries) if entry.folder == folder]
        there = tuple(links.get(runs[place].path, "") for place in here) if links else ()
        blocks += [
            Heading(str(results / folder)),
            replace(_grid([entries[place] for place in here]), links=there),
        ]
    blocks += [
        Paragraph(
            f"{name} was promoted and is not in {folder.name} any more; promote another", "strong"
        )
        for folder, name in lost_promotions(run.path.parent for run in runs)
    ]
    blocks += [
        Paragraph(f"{run.name} is {run.fault}: {run.reason}")
        for run in runs
        if run.fault in ("unreadable", "changed")
    ]
    blocks += [
        Paragraph(f"{entry.name}: commit unknown: {entry.commit_unknown}")
        for entry in entries
        if entry.commit_unknown
    ]
    if any(entry.group for entry in entries):
        blocks.append(
            Paragraph("Runs of one letter have the same machine, environment and subject.", "faint")
        )
    return blocks


def _site(folder: Path, results: Path, num_pages: int) -> Outcome:
    from indoor.cli.results_site import write_site  # pages and the history, which no list needs
    from indoor.report.page import require_pages

    require_pages()  # before all runs are read
    with workers(num_usable_cores()) as start:
        runs = list(read_runs(list_runs(results), progress=Bar(), start=start))
        entries = _entries(runs)

        def listed(links: Mapping[Path, str]) -> list[Block]:
            return _blocks(Path(results.name), runs, entries, links)

        num_made = write_site(folder, results, runs, listed, num_pages, start)
    return Outcome(
        record={"folder": str(folder), "runs": len(runs), "made": num_made},
        text=f"{folder / 'index.html'}: {len(runs)} runs, {num_made} pages made anew",
    )


def _entry(run: SavedRun, group: str | None) -> _Entry:
    identity = run.identity
    return _Entry(
        folder=run.path.parent.name,
        number=run.path.name.split("_")[0],
        name=run.name,
        saved_at=(run.summary.datetime or None) if run.summary else None,
        commit=identity.commit if identity else None,
        dirty=identity.dirty if identity else None,
        arch=identity.arch if identity else None,
        data=identity.data.name if identity else None,
        cpu_model=identity.machine.cpu_model if identity else None,
        num_cases=run.summary.num_benchmarks if run.summary else 0,
        problems=run.problems,
        promoted=run.promoted,
        group=group,
        weakened=(identity.weakened or ()) if identity else (),
        reason=run.reason or None,
        commit_unknown=identity.commit_unknown if identity else None,
    )


def _grid(entries: Sequence[_Entry]) -> Grid:
    return Grid(
        columns=(
            Column("number"),
            Column("saved (UTC)", "left"),
            Column("commit", "left"),
            Column("cases"),
            Column("same", "left"),
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
                _commit(entry),
                str(entry.num_cases),
                entry.group or "",
                ", ".join((*(["promoted"] if entry.promoted else []), *entry.problems)),
                entry.arch or "",
                entry.data or "",
                entry.cpu_model or "",
                entry.name.partition("_")[2],
            )
            for entry in entries
        ),
    )


def _commit(entry: _Entry) -> str:
    if entry.commit is None:
        return "unknown" if entry.commit_unknown else ""
    return entry.commit[:8] + ("+" if entry.dirty else "")


def _promote(results: Path, wanted: str, *, force: bool) -> Outcome:
    path = find_run(results, wanted)
    chosen, replaced = promote_run(path, force=force)
    assert chosen.identity is not None
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


def _prune(results: Path, keep: int, partial_days: int, *, dry_run: bool) -> Outcome:
    pruning = plan_pruning(results, keep, partial_days)
    if not dry_run:
        prune(results, pruning)
    verb = "would remove" if dry_run else "removed"
    removed = (*pruning.runs, *pruning.partial)
    lines = [
        *(f"{verb} {path}" for path in removed),
        *(f"kept {path}: {reason}" for path, reason in pruning.kept.items()),
    ]
    return Outcome(
        record={
            "dry_run": dry_run,
            "removed": [str(path.relative_to(results)) for path in removed],
            "kept": {str(path.relative_to(results)): why for path, why in pruning.kept.items()},
        },
        text="\n".join(lines or [f"nothing to remove among {pruning.num_runs} runs"]),
    )
