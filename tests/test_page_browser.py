"""The pages in a real Chromium: no error, no request, sorting, filtering, keys, widths, axe."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_lines import keep_stepped
from test_explain_cli import measured
from test_report_same import PUBLISHED

from bench.studies.page import BROWSERS
from indoor.cli import main
from indoor.records import write_record

GOLDEN = Path(__file__).parent / "golden"
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
AXE = Path(os.environ.get("INDOOR_AXE", "node_modules/axe-core/axe.min.js"))
"""axe-core's one file; `npm install --no-save axe-core` puts it there."""
KINDS = ("run", "many", "fleet", "gate", "history", "explain", "diagnose", "evaluate", "site")
WIDTHS = {360: 740, 1280: 900, 3840: 2160}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or importlib.util.find_spec("playwright") is None,
        reason="needs chromium on the PATH and playwright (pip install playwright)",
    ),
]


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory, home: Path, photographs: Path
) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    results, site = folder / "results", folder / "site"
    for number in (1, 2):
        path = results / "Linux-CPython-3.11-64bit" / f"000{number}_resnet50.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(GOLDEN / "run-v2.json", path)
    keep_stepped(results)
    write_record(folder / "explained.json", measured())
    words = {
        "run": ("report", GOLDEN / "run-v2.json"),
        "many": ("report", PUBLISHED),
        "fleet": ("report", "--summary", results),
        "gate": ("gate", "--show", GOLDEN / "gate-v1.json"),
        "history": ("history", "--results", results),
        "explain": ("explain", folder / "explained.json"),
        "diagnose": ("diagnose", "tiny", "--data", photographs, "--photographs", 4),
        "evaluate": ("evaluate", "tiny", "--data", photographs, "--photographs"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INDOOR_HOME", str(home))
        for name, said in words.items():
            main([*map(str, said), "--html", str(folder / f"{name}.html")])
        assert main(["results", "site", str(site), "--results", str(results), "--pages", "1"]) == 0
    return {name: folder / f"{name}.html" for name in words} | {"site": site / "index.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Open a file; what it asked for and complained of must be nothing at the end."""
    requests: list[str] = []
    errors: list[str] = []
    contexts = []

    def open_page(path: Path, width: int = 1280, **how: Any) -> Any:
        size = {"width": width, "height": WIDTHS.get(width, 900)}
        context = browser.new_context(viewport=size, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda one: requests.append(one.url))
        page.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: errors.append(str(one)))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert len(requests) == len(contexts)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_fits_every_width(
    opened: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    """Nothing but tables in their frames is wider than the window; INDOOR_SCREENSHOTS keeps it."""
    page = opened(pages[name], width, color_scheme=scheme)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    if folder := os.environ.get("INDOOR_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png", full_page=width < 3840)


def test_a_table_sorts_and_filters(opened: Any, pages: dict[str, Path]) -> None:
    """By the number, not by its text, both ways; what the words do not match is hidden."""
    page = opened(pages["run"])
    table = page.locator("table.sorts").first
    header = table.locator("thead th", has_text="median")
    place = header.evaluate("one => one.cellIndex")

    def values() -> list[float]:
        cells = table.locator(f"tbody tr > :nth-child({place + 1})").all_text_contents()
        return [float(cell.strip("~").replace(",", "")) for cell in cells]

    before = values()
    header.locator("button").click()
    assert values() == sorted(before)
    assert header.get_attribute("aria-sort") == "ascending"
    header.locator("button").click()
    assert values() == sorted(before, reverse=True)
    page.locator("input[type=search]").first.fill("int8 16")
    rows = table.locator("tbody tr:visible")
    assert 0 < rows.count() < len(before)
    assert all("int8" in text for text in rows.all_text_contents())


def test_a_row_opens_its_rounds_by_mouse_and_by_keys(opened: Any, pages: dict[str, Path]) -> None:
    """A click anywhere in the row, or Enter on its link."""
    page = opened(pages["run"])
    row = page.locator("tbody tr", has=page.locator('a[href^="#s0-"]')).first
    target = row.locator("a").get_attribute("href")
    details = page.locator(f'[id="{target[1:]}"]')
    assert details.get_attribute("open") is None
    row.locator("td").last.click()
    page.wait_for_function("id => document.getElementById(id).open", arg=target[1:])
    other = page.locator('tbody a[href^="#s0-"]').nth(1)
    other.focus()
    page.keyboard.press("Enter")
    name = other.get_attribute("href")[1:]
    page.wait_for_function("id => document.getElementById(id).open", arg=name)
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_a_narrow_windows_picture_scrolls_by_keys(opened: Any, pages: dict[str, Path]) -> None:
    """Its letters stay as large as may be read, and what is outside is reached without a mouse."""
    figure = opened(pages["run"], 360).locator("figure").first
    assert figure.evaluate("one => one.scrollWidth > one.clientWidth")
    figure.focus()
    figure.press("ArrowRight")
    figure.page.wait_for_function("() => document.activeElement.scrollLeft > 0")


@pytest.mark.parametrize("name", KINDS)
def test_a_sheet_of_paper_holds_the_page(opened: Any, pages: dict[str, Path], name: str) -> None:
    """A4 between its margins: no table is cut off, and no button is printed."""
    page = opened(pages[name], 718)
    page.emulate_media(media="print")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 718
    wide = """() => [...document.querySelectorAll(".scroll, figure")]
        .filter(one => one.scrollWidth > one.parentElement.clientWidth + 1).length"""
    assert page.evaluate(wide) == 0
    assert page.locator(".tools:visible").count() == 0


def test_a_sites_links_lead_to_its_pages(opened: Any, pages: dict[str, Path]) -> None:
    """The newest run's page opens from the list, and the history's."""
    page = opened(pages["site"])
    links = page.locator("tbody th a")
    hrefs = [links.nth(place).get_attribute("href") for place in range(links.count())]
    assert len(hrefs) == 2
    assert "history.html" in hrefs
    assert all((pages["site"].parent / href).is_file() for href in hrefs)


def test_without_javascript_everything_but_sorting_is_there(
    opened: Any, pages: dict[str, Path]
) -> None:
    """Tables, pictures, details; no button that does nothing."""
    page = opened(pages["run"], java_script_enabled=False)
    assert page.locator("table").count() > 3
    assert page.locator("button, input").count() == 0
    page.locator("summary").first.click()
    assert page.locator("details[open] dl").first.is_visible()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    opened: Any, pages: dict[str, Path], name: str, scheme: str
) -> None:
    """Headers, names, contrast: what axe-core calls serious or critical."""
    if not AXE.is_file():
        pytest.skip(f"needs {AXE}: npm install --no-save axe-core, or INDOOR_AXE=FILE")
    page = opened(pages[name], color_scheme=scheme, bypass_csp=True)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    serious = [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
