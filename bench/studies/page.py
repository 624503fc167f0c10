"""How large a page of many cells is, how long it takes to make, and when a browser answers on it.

A run is blown up to the number of cells that is asked for, its page is written and opened in
chromium: `ready` is the load event since the navigation began, `sorted` a click on a header of the
table of all cells until the next frame is drawn.

Example:
    python -m bench.studies.page --run results/published/FILE.json.gz --cells 1000
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from bench.studies import run
from indoor.errors import IndoorError
from indoor.hints import install_line
from indoor.machine import read_machine
from indoor.records import write_record
from indoor.report import write_report_page
from indoor.runs.results import MeasuredCase, RunResult, load_results

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_THREADS = (1, 2, 4, 8, 16)
_SORT = """() => new Promise(done => {
    const tables = [...document.querySelectorAll("table.sorts")];
    const table = tables.sort((one, other) => other.rows.length - one.rows.length)[0];
    const header = [...table.tHead.rows[0].cells].find(cell => cell.textContent.includes("median"));
    const began = performance.now();
    header.querySelector("button").click();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""
_READY = "performance.getEntriesByType('navigation')[0].loadEventEnd"


@dataclass(frozen=True, kw_only=True)
class PageStudy:
    """The figures, in bytes and seconds; of the browser's the median and all."""

    cells: int
    num_bytes: int
    make_s: float
    ready_s: tuple[float, ...]
    sorted_s: tuple[float, ...]
    cpu_model: str
    browser: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the page, open it some times, print and record the figures; 0."""
    parsed = _parse(arguments)
    study = measure(load_results([parsed.run])[0], parsed.cells, parsed.times)
    if parsed.out:
        write_record(parsed.out, study)
    print(describe(study))  # noqa: T201 - a script's output
    return 0


def describe(study: PageStudy) -> str:
    """Return the figures in a line."""
    ready, ordered = (statistics.median(one) for one in (study.ready_s, study.sorted_s))
    return (
        f"{study.cells:,} cells: {study.num_bytes / 1e6:.2f} MB, made in {study.make_s:.1f} s; "
        f"ready after {ready:.2f} s ({min(study.ready_s):.2f} to {max(study.ready_s):.2f}), sorted "
        f"in {ordered:.2f} s; {study.browser}, {study.cpu_model}"
    )


def measure(result: RunResult, num_cells: int, times: int) -> PageStudy:
    """Return the figures of a page of a run that is blown up to so many cells.

    Raises:
        IndoorError: There is no chromium, or no playwright to drive it.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        remedy = install_line("browser", "playwright>=1.50")
        raise IndoorError(f"{error}; expected playwright; {remedy}") from error
    if program is None:
        raise IndoorError(f"no browser: expected one of {', '.join(BROWSERS)} on the PATH")
    with tempfile.TemporaryDirectory(prefix="indoor-page-") as folder:
        path = Path(folder) / "page.html"
        began = time.perf_counter()
        write_report_page([blown_up(result, num_cells)], path)
        make_s = time.perf_counter() - began
        ready, ordered = [], []
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
            for _ in range(times):
                page = browser.new_page()
                page.goto(path.as_uri())
                ready.append(page.evaluate(_READY) / 1e3)
                ordered.append(page.evaluate(_SORT) / 1e3)
                page.close()
            version = f"chromium {browser.version}"
            browser.close()
        return PageStudy(
            cells=num_cells,
            num_bytes=path.stat().st_size,
            make_s=make_s,
            ready_s=tuple(ready),
            sorted_s=tuple(ordered),
            cpu_model=read_machine().cpu_model,
            browser=version,
        )


def blown_up(result: RunResult, num_cells: int) -> RunResult:
    """Return a run with copies of its cells at more batches, threads and variants, so many."""
    cells = [case for case in result.cases if case.measurement.case == "latency"]
    others = [case for case in result.cases if case.measurement.case != "latency"]
    many: list[MeasuredCase] = []
    places = (
        (number, threads, 2**e) for number in count() for threads in _THREADS for e in range(8)
    )
    while len(many) < num_cells:
        number, threads, batch = next(places)
        for case in cells:
            one = case.measurement
            variant = f"{one.variant}-{number}" if number else one.variant
            changed = replace(one, variant=variant, threads=threads, batch=batch)
            many.append(replace(case, measurement=changed))
    return replace(result, cases=(*others, *many[:num_cells]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.page", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a saved run")
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5, help="how often it is opened")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
