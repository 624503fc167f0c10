"""The pages of runs in a site's folder, made once for each state of a run's file."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import indoor
from indoor.files import sha256_of_file
from indoor.records import read_record, write_record
from indoor.report import page as page_module
from indoor.report import write_report_page
from indoor.runs.saved import SavedRun

_MADE = "made.json"
"""In the site's folder: of what each page was made."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a site's pages were made of: by page the SHA-256 of the run's file, and by whom."""

    made_by: str
    pages: dict[str, str] = field(default_factory=dict)


def newest(runs: Sequence[SavedRun], count: int) -> list[SavedRun]:
    """Return the runs that have pages: the newest that can be read, and every promoted one."""
    readable = [run for run in runs if run.summary is not None]
    by_time = sorted(readable, key=lambda run: run.summary.datetime if run.summary else "")
    chosen = {run.path for run in by_time[max(0, len(by_time) - count) :]}
    return [run for run in readable if run.path in chosen or run.promoted]


class Site:
    """A folder of pages, which keeps those that are up to date.

    Args:
        folder: Made where it is not there.

    Raises:
        IndoorError: Its record cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        template = sha256_of_file(Path(page_module.__file__).with_name("page.html"))
        made_by = f"indoor {indoor.__version__}, {template[:16]}"
        path = folder / _MADE
        before = read_record(path, Made) if path.is_file() else None
        self._pages = dict(before.pages) if before and before.made_by == made_by else {}
        self._made_by = made_by
        self.num_made = 0

    def add(self, run: SavedRun) -> None:
        """Make a run's page, unless it is there and its file is as it was.

        Raises:
            IndoorError: The run cannot be read any more, or its page cannot be written.
        """
        name = _page_of(run.path)
        state = sha256_of_file(run.path)
        page = self._folder / name
        if self._pages.get(name) == state and page.is_file():
            return
        assert run.result is not None
        write_report_page([run.result], page)
        self._pages[name] = state
        self.num_made += 1

    def finish(self, runs: Collection[Path]) -> dict[Path, str]:
        """Remove the pages of runs that are gone, write the record, return each run's page.

        Args:
            runs: All that can be read; older ones keep the pages that they have.
        """
        by_page = {_page_of(path): path for path in runs}
        for name in [name for name in self._pages if name not in by_page]:
            (self._folder / name).unlink(missing_ok=True)
            del self._pages[name]
        write_record(self._folder / _MADE, Made(made_by=self._made_by, pages=self._pages))
        return {by_page[name]: name for name in self._pages if (self._folder / name).is_file()}


def _page_of(path: Path) -> str:
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    return f"runs/{path.parent.name}/{stem}.html"
