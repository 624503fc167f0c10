"""Runs, gates and histories as one page of HTML: the same figures, no request, names stay text."""

import dataclasses
import io
import re
import sys
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from gate_records import PASSED, gate
from PIL import Image
from report_records import AMX, ZEN3, full_run

from bench.studies.page import blown_up
from indoor.cli import main
from indoor.dataset import IndoorScenes
from indoor.gate.page import gate_page_blocks
from indoor.gate.records import CellTrace, GateReport, LaunchTrace
from indoor.history.page import history_page_blocks
from indoor.history.records import CellHistory, Change, History, Place
from indoor.pipeline.differences import find_differing
from indoor.records import Interval, from_json
from indoor.report import page as page_module
from indoor.report import render, write_report_page
from indoor.report.blocks import Column, Command, Facts, Grid, Heading, Items, Paragraph, Picture
from indoor.report.differences import Differing, differing_blocks
from indoor.report.headline import speedup_sentence
from indoor.report.marks import dots, histogram
from indoor.report.page import as_page, write_page
from indoor.report.plots import frontier
from indoor.runs.results import RunResult, load_results

GOLDEN = Path(__file__).parent / "golden"
EVIL = "<script>alert('x')</script>\"'&{{ 7 * 7 }}"


class Read(HTMLParser):
    """What stands in a page: its tables' cells, its identifiers, its links, its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and what it names."""
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action", "data"):
                self.links.append(value or "")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """Note where a cell ends."""
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        """Note the text, in its cell if it stands in one."""
        self.texts.append(data)
        if self._in_cell:
            self.tables[-1][-1][-1] += data


def evil(record: Any) -> Any:
    """The record with every free text in it replaced by markup."""
    if isinstance(record, str):
        return EVIL
    if isinstance(record, tuple):
        return tuple(map(evil, record))
    if isinstance(record, dict):
        return {key: evil(value) for key, value in record.items()}
    return record


@pytest.fixture(scope="module")
def golden() -> RunResult:
    """A run of the whole matrix."""
    return load_results([GOLDEN / "run-v2.json"])[0]


@pytest.fixture(scope="module")
def page(golden: RunResult, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its page."""
    path = tmp_path_factory.mktemp("page") / "run.html"
    write_report_page([golden], path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(page: str) -> Read:
    """What stands in it."""
    return Read(page)


def test_the_pages_tables_hold_the_terminals_figures(golden: RunResult, read: Read) -> None:
    """Every cell of every table of the markdown report, in its order; keys are filled in."""
    lines = render([golden], format="markdown").splitlines()
    rows = [
        [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("| ") and not line.startswith(("| :---", "| ---"))
    ]
    found = [[" ".join(cell.split()) for cell in row] for table in read.tables for row in table]
    assert len(found) == len(rows)
    for expected, shown in zip(rows, found, strict=True):
        for one, other in zip(expected, shown, strict=True):
            assert " ".join(one.replace("<br>", " ").split()) in ("", other)


def test_the_sentence_comes_first_and_once(golden: RunResult, page: str, read: Read) -> None:
    """Before any picture or table, and not again below the first table."""
    sentence = speedup_sentence(golden)
    (place,) = [i for i, text in enumerate(read.texts) if text == sentence]
    assert "".join(read.texts[:place]).count("median") == 0
    assert page.index("<svg") < page.index("<table")
    assert read.tags.index("p") < read.tags.index("figure") < read.tags.index("table")


def test_every_cell_of_the_matrix_leads_to_its_rounds(golden: RunResult, read: Read) -> None:
    """Links and identifiers agree, and none is there twice."""
    cells = [link for link in read.links if link.startswith("#s0-")]
    assert len(cells) == sum(case.measurement.case == "latency" for case in golden.cases)
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    assert read.tags.count("details") == len(cells)


def test_nothing_is_asked_of_any_network(page: str, read: Read) -> None:
    """All links stay within the page, and the policy forbids the rest."""
    assert all(link.startswith("#") for link in read.links)
    assert "default-src 'none'" in page
    assert not {"img", "iframe", "link", "object", "embed", "base", "form"} & set(read.tags)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|WebSocket", page)


def test_the_same_run_gives_the_same_page(golden: RunResult, page: str, tmp_path: Path) -> None:
    """Byte for byte, so that a stored page can be compared."""
    write_report_page([golden], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_runs_of_one_machine_stand_together(golden: RunResult, tmp_path: Path) -> None:
    """Each with sections and anchors of its own, never merged."""
    runs = [golden, full_run(ZEN3), full_run(AMX)]
    write_report_page(runs, tmp_path / "three.html")
    found = Read((tmp_path / "three.html").read_text(encoding="utf-8"))
    assert len(set(found.ids)) == len(found.ids)
    shorts = [text for text in found.texts if "; torch " in text and "; commit " in text]
    order = [text.split(",")[0] for text in shorts]
    assert len(set(order)) == 2
    assert order == sorted(order, key=order.index)


@pytest.mark.parametrize(
    "block",
    [
        Heading(EVIL),
        Paragraph(EVIL),
        Facts(((EVIL, EVIL),)),
        Items((EVIL,)),
        Grid((Column(EVIL), Column("x")), ((EVIL, EVIL),), anchors=(EVIL,)),
        Command(EVIL, EVIL),
        Picture("<svg></svg>", EVIL),
    ],
    ids=lambda block: type(block).__name__,
)
def test_whatever_a_name_holds_stays_text(block: Any) -> None:
    """No block lets markup or a template's braces out of a text."""
    found = as_page(EVIL, [block])
    assert found.count("<script>") == 1  # our own
    assert "49" not in found.replace(EVIL, "")
    assert "alert('x')</script>" not in found


def test_hostile_names_in_a_gate_and_a_history_stay_text() -> None:
    """Cells, reasons, commits' subjects and pictures."""
    report = from_json((GOLDEN / "gate-v1.json").read_bytes(), GateReport, "golden")
    texts = {
        field.name: evil(getattr(report, field.name))
        for field in dataclasses.fields(report)
        if field.name in ("reason", "notes", "vanished", "new", "rule_changes")
    }
    cells = tuple(
        replace(cell, name=f"{cell.name}{EVIL}", reason=EVIL, advice=EVIL) for cell in report.cells
    )
    found = as_page("gate", gate_page_blocks(replace(report, cells=cells, **texts)))
    assert found.count("<script>") == 1
    first, last = (
        Place(commit=letter * 40, position=position, level=1.0, interval=None)
        for position, letter in enumerate("ab", 1)
    )
    change = Change(
        kind="step",
        after=first.commit,
        commit=last.commit,
        subject=EVIL,
        num_commits=1,
        ratio=1.1,
        interval=Interval(low=1.05, high=1.15),
        p_value=0.001,
    )
    chain = CellHistory(
        name=EVIL,
        reference=first.commit,
        places=(first, last),
        changes=(change,),
        num_links=1,
        scatter=1.0,
    )
    history = History(
        cells=(chain,), num_commits=2, num_gates=1, machines=(EVIL,), alpha=0.01, notes=(EVIL,)
    )
    assert as_page("history", history_page_blocks(history)).count("<script>") == 1


def test_a_gates_page_draws_intervals_and_pairs() -> None:
    """The verdict, each cell's interval, and the pairs in their order."""
    seconds = {"base": (1.0, 1.0, 1.0), "head": (1.02, 1.01, 0.99)}
    report = gate(PASSED)
    name = PASSED.name
    launch = LaunchTrace(launch=1, confirms=False, seconds=seconds)
    again = replace(launch, seconds={"base": (1.0,), "again": (1.0,)})
    coarse = replace(launch, seconds={"base": (0.0,), "head": (0.0,)})
    launches = (launch, launch, again, coarse)
    traces = (CellTrace(name=name, iterations=1, launches=launches),)
    found = Read(as_page("gate", gate_page_blocks(replace(report, traces=traces))))
    assert found.tags.count("figure") == 2
    assert any("6 pairs in 4 launches" in text for text in found.texts)


def test_commands_write_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed stays, and the file is whole."""
    for words in (("report", GOLDEN / "run-v2.json"), ("gate", "--show", GOLDEN / "gate-v1.json")):
        path = tmp_path / f"{words[0]}.html"
        main([*map(str, words), "--html", str(path)])
        assert capsys.readouterr().out
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_what_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder in the page's place, and an installation without Jinja2."""
    assert main(["report", str(GOLDEN / "run-v2.json"), "--html", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setitem(sys.modules, "jinja2", None)
    page_module._template.cache_clear()
    path = tmp_path / "page.html"
    assert main(["report", str(GOLDEN / "run-v2.json"), "--html", str(path)]) == 2
    assert "expected Jinja2; pip install" in capsys.readouterr().err
    assert not path.exists()
    page_module._template.cache_clear()


def test_photographs_that_differ_come_with_both_answers() -> None:
    """The surest first, the right answer marked, a picture only where there is one."""
    one = Differing(
        name=EVIL,
        label="office",
        first="office",
        first_confidence=0.61,
        other="store",
        other_confidence=0.55,
        jpeg=b"\xff\xd8",
    )
    found = as_page("x", differing_blocks([one, replace(one, jpeg=None)], "float32", "int8", 9))
    read = Read(found)
    assert read.tables[0][1][1:] == ["office *", "61.00", "store", "55.00", "office"]
    assert read.tags.count("img") == 1
    assert read.links == [f"data:image/jpeg;base64,{b64encode(one.jpeg or b'').decode()}"]
    assert found.count("<script>") == 1
    none = Read(as_page("x", differing_blocks([], "float32", "int8", 9)))
    assert any("all 9 answers are the same" in text for text in none.texts)


def test_differing_answers_are_found_and_ordered(photographs: Path) -> None:
    """By the sum of both confidences; a thumbnail is a small JPEG."""
    scenes = IndoorScenes(photographs, "test")
    num = len(scenes)
    first = torch.zeros(num, len(scenes.classes))
    first[:, 0] = torch.linspace(1, 2, num)
    other = first.clone()
    other[1, 1], other[2, 1] = 5.0, 9.0
    found = find_differing(scenes, first, other, thumbnails=True)
    assert [one.name for one in found] == [scenes.samples[place].name for place in (2, 1)]
    assert (found[0].first, found[0].other) == (scenes.classes[0], scenes.classes[1])
    assert max(Image.open(io.BytesIO(found[0].jpeg or b"")).size) <= 200


def test_a_histogram_counts_every_round() -> None:
    """Equal values make one bar; the words tell how many and how far."""
    assert histogram([2.0, 2.0], "ms").alt == "2 rounds from 2 to 2 ms"
    assert histogram([1.0, 2.0, 5.0], "ms").svg.count("M") == 3
    assert dots([0.01, -0.02, 0.03], "pairs").alt.startswith("3 pairs in their order, -2.0%")


def test_the_frontier_holds_what_nothing_beats() -> None:
    """Ascending in both; of equal times the better answer, of equal answers the faster."""
    points = [(3.0, 79.0), (1.0, 78.0), (2.0, 77.0), (1.0, 77.5), (4.0, 79.0), (5.0, 80.0)]
    assert frontier(points) == [(1.0, 78.0), (3.0, 79.0), (5.0, 80.0)]


def test_a_thousand_cells_stay_small(golden: RunResult, tmp_path: Path) -> None:
    """At most 2 MB, as they must open at once."""
    write_report_page([blown_up(golden, 1000)], tmp_path / "many.html")
    assert (tmp_path / "many.html").stat().st_size < 2_000_000


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What breaks while it is made leaves the earlier page."""

    def breaking() -> Any:
        yield Paragraph("before")
        raise ValueError("broken")

    path = tmp_path / "page.html"
    path.write_text("earlier")
    with pytest.raises(ValueError, match="broken"):
        write_page(path, "x", breaking())
    assert path.read_text() == "earlier"
