"""A site's folder: the list of all runs, their machines, pages of some, and the history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import indoor
from indoor.files import sha256_of_file
from indoor.history.history import tell_history
from indoor.history.keep import read_history
from indoor.history.page import history_page_blocks
from indoor.records import read_record, write_record
from indoor.report import page as page_module
from indoor.report import survey, write_report_page
from indoor.report.blocks import Block, Column, Grid
from indoor.report.fleet_tables import fleet_blocks
from indoor.report.page import write_page
from indoor.runs.saved import SavedRun
from indoor.workers import Start, here

_MADE = "made.json"
"""In the site's folder: of what each page was made."""

_HISTORY = Grid(
    columns=(Column("page", "left"), Column("what it tells", "left")),
    rows=(("history", "the gates over the commits"),),
    links=("history.html",),
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a site's pages were made of: by page the SHA-256 of the run's file, and by whom."""

    made_by: str
    pages: dict[str, str] = field(default_factory=dict)


def write_site(
    folder: Path,
    results: Path,
    runs: Sequence[SavedRun],
    listed: Callable[[Mapping[Path, str]], Sequence[Block]],
    num_pages: int,
    start: Start = here,
) -> int:
    """Write a site, or bring it up to date: what is new or changed is made.

    Args:
        folder: The site's; made where it is not there.
        results: The folder with a folder a machine, and with the history.
        runs: All that are in it.
        listed: Returns the list of all runs, with links to the pages of some.
        num_pages: How many of the newest runs have a page, beside the promoted ones.
        start: Begins the making of a page.

    Returns:
        How many pages of runs were made.

    Raises:
        IndoorError: Jinja2 or matplotlib is not installed, or a file cannot be read or written.
    """
    readable = [run for run in runs if run.summary is not None]
    links, num_made = _bring_up(folder, readable, _newest(readable, num_pages), start)
    known = [(run.path, run.summary) for run in readable if run.summary is not None]
    blocks: list[Block] = [*fleet_blocks(survey(known))] if known else []
    if kept := read_history(results).commits:
        history = history_page_blocks(tell_history(kept))
        write_page(folder / "history.html", "indoor history", history)
        blocks.append(_HISTORY)
    title = f"indoor: {len(runs)} runs"
    write_page(folder / "index.html", title, [*blocks, *listed(links)])
    return num_made


def _newest(readable: Sequence[SavedRun], count: int) -> list[SavedRun]:
    """Return the runs that are to have pages: the newest, and every promoted one."""
    by_time = sorted(readable, key=lambda run: run.summary.datetime if run.summary else "")
    chosen = {run.path for run in by_time[max(0, len(by_time) - count) :]}
    return [run for run in readable if run.path in chosen or run.promoted]


def _bring_up(
    folder: Path, readable: Sequence[SavedRun], chosen: Sequence[SavedRun], start: Start
) -> tuple[dict[Path, str], int]:
    """Make the chosen runs' pages unless their files are as they were; remove those of no run.

    Older runs keep the pages that they have.

    Returns:
        The page of each run that has one, and how many were made.
    """
    template = sha256_of_file(Path(page_module.__file__).with_name("page.html"))
    made_by = f"indoor {indoor.__version__}, {template[:16]}"
    record = folder / _MADE
    before = read_record(record, Made) if record.is_file() else None
    pages = dict(before.pages) if before and before.made_by == made_by else {}
    made = {}
    for run in chosen:
        name, state = _page_of(run), sha256_of_file(run.path)
        if pages.get(name) != state or not (folder / name).is_file():
            made[name] = state, start(_make, run, folder / name)
    for name, (state, end) in made.items():
        end()
        pages[name] = state
    by_page = {_page_of(run): run.path for run in readable}
    for name in pages.keys() - by_page.keys():
        (folder / name).unlink(missing_ok=True)
        del pages[name]
    write_record(record, Made(made_by=made_by, pages=pages))
    return {by_page[name]: name for name in pages if (folder / name).is_file()}, len(made)


def _make(run: SavedRun, page: Path) -> None:
    assert run.result is not None
    write_report_page([run.result], page)


def _page_of(run: SavedRun) -> str:
    return f"runs/{run.path.parent.name}/{run.name}.html"
