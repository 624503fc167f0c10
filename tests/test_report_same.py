"""One result, one set of figures: page, terminal, JSON, README's table and README's picture."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from test_report_page import Read

from indoor.report import plot_latency, render, write_report_page
from indoor.report.picture import DRAWN, as_svg, drawn_sha256
from indoor.report.plots import draw_latency
from indoor.runs.results import RunResult, load_results

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = ROOT / next(iter(re.findall(r"!\[[^]]*\]\((results/published/[^)]+\.png)\)", README)))
PUBLISHED = PICTURE.with_suffix(".json.gz")

Row = dict[str, str]
Case = dict[str, Any]


def digits(value: float | None) -> str:
    """Three significant digits, with separators and no exponent; a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}".rstrip(".")


def few(value: float | None) -> str:
    """A count: a decimal below 10, a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:.1f}" if 0.05 <= value < 9.95 else f"{value:,.0f}"


def ends(interval: dict[str, float] | None, share: bool = False) -> str:
    """An interval, of a share in percent."""
    if interval is None:
        return ""
    low, high = interval["low"], interval["high"]
    return f"{100 * low:.1f}-{100 * high:.1f}" if share else f"{digits(low)}-{digits(high)}"


class Figures:
    """A report's JSON, asked for what a table's cell should hold."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run
        self.cases = [{**case, **case["measurement"]} for case in run["cases"]]

    def case(self, kind: str, **members: object) -> Case:
        """The one case of the kind with these members; nothing where there is none."""
        found = [
            case
            for case in self.cases
            if case["case"] == kind
            and case["allocator"] == self.run["headline"]["allocator"]
            and all(str(case[name]) == str(value) for name, value in members.items())
        ]
        assert len(found) < 2
        return found[0] if found else {}

    def timed(self, row: Row) -> Case:
        """The cell of the matrix that a row is about."""
        members = {name: row[name] for name in ("variant", "batch", "threads")}
        return self.case("latency", **members)

    def of(self, variant: str, member: str) -> Any:
        """A variant's first value of a member that some of its cases have."""
        told = (case[member] for case in self.cases if case["variant"] == variant)
        return next(value for value in told if value is not None)


def column(header: str, figures: Figures) -> Callable[[Row], str] | None:
    """How a column's cells follow from the JSON and the row's keys; None: it is words."""
    head = figures.run["headline"]
    threads = head["threads"]

    def at(batch: str) -> Callable[[Row], str]:
        return lambda row: digits(
            1e3 * figures.case("latency", variant=row["variant"], batch=batch, threads=threads)
            ["latency"]["median_s"]
        )  # fmt: skip

    def mean(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = head["mean_speedups"].get(row["variant"], {})
        return found

    def pair(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = figures.of(row["pair"].split(", ")[1], "paired_evaluation")
        return found

    def rate(name: str) -> Callable[[Row], dict[str, Any]]:
        return lambda row: figures.of(row["variant"], "evaluation")[name]

    def percent(name: str) -> Callable[[Row], str]:
        return lambda row: f"{100 * rate(name)(row)['value']:.2f}"

    def speedup(row: Row) -> dict[str, Any]:
        return figures.timed(row)["speedup"] or {}

    def load(row: Row) -> Case:
        return figures.case("load", variant=row["variant"])

    def peak(row: Row) -> Case:
        return figures.case("peak-memory", variant=row["variant"])

    def ran(row: Row) -> set[tuple[str, str]]:
        told = [
            case
            for case in figures.cases
            if case["variant"] == row["variant"] and case["ran"] is not None
        ]
        assert told
        return {(one["ran"]["precision"], share(one)) for one in told}

    def share(one: Case) -> str:
        counted: dict[str, int] = {}
        for step in one["ran"]["executed"]:
            name = step["precision"]
            counted[name] = counted.get(name, 0) + step["multiply_adds"]
        network = (one["multiply_adds"] or 0) * (one["batch"] or 0)
        total = max(network, sum(counted.values()))
        tenths = 1000 * counted[one["ran"]["precision"]] // total if total else 0
        return f"{tenths / 10:.3g}%" if total else "-"  # rounded down: 100% is all of them

    def decoding(row: Row) -> float:
        found: float = figures.case("decode", threads=row["threads"])["latency"]["median_s"]
        return found

    def model(row: Row) -> float:
        cell = figures.case("latency", variant=row["variant"], batch=8, threads=row["threads"])
        found: float = cell["latency"]["median_s"]
        return found

    rules: dict[str, Callable[[Row], str]] = {
        "size MB": lambda row: digits(figures.of(row["variant"], "size_bytes") / 1e6),
        "top-1 %": percent("top1"),
        "top-1 % 95% interval": lambda row: ends(rate("top1")(row)["interval"], share=True),
        "top-5 %": percent("top5"),
        "top-5 % 95% interval": lambda row: ends(rate("top5")(row)["interval"], share=True),
        "mean class %": lambda row: (
            f"{100 * figures.of(row['variant'], 'evaluation')['mean_class_accuracy']:.2f}"
        ),
        "loss": lambda row: f"{figures.of(row['variant'], 'evaluation')['loss']:.3f}",
        "speedup 1 and 8": lambda row: digits(mean(row)["value"]) + "x" if mean(row) else "",
        "speedup 1 and 8 95% interval": lambda row: ends(mean(row).get("interval")),
        "median ms": lambda row: digits(1e3 * figures.timed(row)["latency"]["median_s"]),
        "p90 ms": lambda row: (
            digits(p90 and 1e3 * p90)
            if (p90 := figures.timed(row)["latency"]["p90_s"]) is not None
            else "-"
        ),
        "photos per s": lambda row: digits(figures.timed(row)["photographs_per_s"]),
        "faults per photo": lambda row: few(figures.timed(row)["minor_faults_per_photograph"]),
        "speedup": lambda row: digits(speedup(row)["speedup"]) + "x" if speedup(row) else "",
        "speedup 95% interval": lambda row: ends(speedup(row).get("interval")),
        "ran": lambda row: row["ran"] if row["ran"] in {one for one, _ in ran(row)} else "?",
        "of all multiply-adds": lambda row: (
            row["of all multiply-adds"]
            if row["of all multiply-adds"] in {one for _, one in ran(row)}
            else f"one of {ran(row)}"
        ),
        "same answer %": lambda row: f"{100 * pair(row)['agreement']['value']:.2f}",
        "both right": lambda row: f"{pair(row)['num_both_right']:,}",
        "only first right": lambda row: f"{pair(row)['num_only_baseline_right']:,}",
        "only second right": lambda row: f"{pair(row)['num_only_candidate_right']:,}",
        "both wrong": lambda row: f"{pair(row)['num_both_wrong']:,}",
        "logit SQNR dB": lambda row: f"{pair(row)['sqnr_db']:.1f}",
        "load ms": lambda row: digits(1e3 * load(row)["latency"]["median_s"]),
        "peak memory MB": lambda row: (
            digits(peak(row)["peak_memory_bytes"] / 1e6) if peak(row) else "-"
        ),
        "at batch": lambda row: str(peak(row)["batch"]) if peak(row) else "-",
        "decode and transform": lambda row: digits(1e3 * decoding(row)),
        "model at batch 8": lambda row: digits(1e3 * model(row)),
        "together": lambda row: digits(1e3 * (decoding(row) + model(row))),
        "of it decoding": lambda row: f"{decoding(row) / (decoding(row) + model(row)):.0%}",
    }
    if found := re.fullmatch(r"(?:ms at |batch )(\d+)(?: ms)?", header):
        return at(found[1])
    if found := re.fullmatch(r"batch (\d+) (\d+) threads?", header):
        batch, count = found[1], found[2]
        return lambda row: (
            f"{figures.case('latency', variant=row['variant'], batch=batch, threads=count)['share_of_limit']:.0%}"  # noqa: E501
        )
    return rules[header] if header not in ("kernel", "where it differs") else None


def headers(cells: list[str]) -> list[str]:
    """The columns' names: that of an interval follows the one before it."""
    names: list[str] = []
    for cell in (" ".join(one.split()) for one in cells):
        names.append(f"{names[-1]} {cell}" if cell == "95% interval" else cell)
    return names


@pytest.fixture(scope="module")
def run() -> RunResult:
    """The run that README shows."""
    return load_results([PUBLISHED])[0]


@pytest.fixture(scope="module")
def page(run: RunResult, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its page."""
    path = tmp_path_factory.mktemp("same") / "page.html"
    write_report_page([run], path)
    return path.read_text(encoding="utf-8")


def test_every_cell_of_the_page_follows_from_the_json(run: RunResult, page: str) -> None:
    """All columns of all tables: worked out once more here, from what `--format json` prints."""
    figures = Figures(json.loads(render([run], format="json"))["runs"][0])
    tables = Read(page).tables
    checked = 0
    for first, *rows in tables:
        names = headers(first)
        keys = [name for name in names if name in ("variant", "pair", "batch", "threads")]
        assert keys
        for cells in rows:
            row = dict(zip(names, (" ".join(one.split()) for one in cells), strict=True))
            if "variant" in row:
                row["variant"] = row["variant"].removesuffix(" *")
            for name in names:
                rule = None if name in keys else column(name, figures)
                if rule is not None:
                    assert (row, name, row[name]) == (row, name, rule(row))
                    checked += 1
    assert len(tables) >= 6
    assert checked > 500


def test_the_terminal_holds_the_pages_rows(run: RunResult, page: str) -> None:
    """Every row in its order; a key that stands above is left out in the terminal alone."""
    lines = iter(render([run], width=400).splitlines())
    for table in Read(page).tables:
        for cells in table[1:]:
            wanted = [" ".join(one.split()) for one in cells if one.strip()]
            for line in lines:
                found = [one for one in re.split(r"\s{2,}", line.strip()) if one]
                if found and len(found) > 1 and wanted[-len(found) :] == found:
                    break
            else:
                pytest.fail(f"the terminal has no row {wanted}")


def test_readmes_table_is_the_pages(page: str) -> None:
    """The first table of both, cell by cell."""
    block = README[README.index("| variant | size MB") :].split("\n\n")[0].splitlines()
    rows = [
        [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line.strip("|").split(" | ")]
        for line in block
        if not line.startswith("| :---")
    ]
    shown = [[" ".join(cell.split()) for cell in row] for row in Read(page).tables[0]]
    assert shown == rows


def test_readmes_picture_is_the_pages(run: RunResult, page: str) -> None:
    """The page's first picture is drawn from the figure whose hash the committed PNG carries."""
    figure = draw_latency([run])
    with Image.open(PICTURE) as image:
        assert getattr(image, "text", {}).get(DRAWN) == drawn_sha256(figure)
    own = re.compile(r"(?<=[\"#])(own-|p\d+-)")
    (first, *_) = re.findall(r"<svg\b.*?</svg>", page, re.DOTALL)
    assert own.sub("", first) == own.sub("", as_svg(figure)).strip()


def test_readmes_picture_is_drawn_as_it_is_committed(run: RunResult, tmp_path: Path) -> None:
    """Dot by dot, by the matplotlib that drew it."""
    with Image.open(PICTURE) as image:
        software, committed = str(image.info.get("Software")), np.asarray(image.convert("RGB"))
    if mpl.__version__ not in software:
        pytest.skip(f"{software} drew it, and matplotlib {mpl.__version__} is installed")
    plot_latency([run], tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as image:
        assert np.array_equal(committed, np.asarray(image.convert("RGB")))


def test_another_figure_is_another_hash(run: RunResult) -> None:
    """A single point that moves, or a label, is seen."""
    hashes = {drawn_sha256(draw_latency([run]))}
    moved, named = draw_latency([run]), draw_latency([run])
    line = moved.axes[0].lines[0]
    line.set_ydata([1.001 * y for y in line.get_ydata()])
    named.axes[0].set_title("4 threads")
    assert len(hashes | {drawn_sha256(moved), drawn_sha256(named)}) == 3
