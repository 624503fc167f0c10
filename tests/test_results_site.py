"""`indoor results site`: a folder of pages that is brought up to date, not made anew."""

import json
import shutil
from pathlib import Path

import pytest

from indoor.cli import main

GOLDEN = Path(__file__).parent / "golden" / "run-v2.json"
FOLDER = "Linux-CPython-3.11-64bit"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three runs of one machine."""
    folder = tmp_path / "results" / FOLDER
    folder.mkdir(parents=True)
    for number in range(1, 4):
        shutil.copy(GOLDEN, folder / f"000{number}_resnet50.json")
    return tmp_path / "results"


def site(results: Path, *words: str) -> tuple[Path, int]:
    """Make the site; return its folder, and how many pages were made."""
    folder = results.parent / "site"
    assert main(["results", "site", str(folder), "--results", str(results), *words]) == 0
    return folder, len(list(folder.rglob("*.html")))


def made(capsys: pytest.CaptureFixture[str]) -> int:
    """Return how many pages the last call made anew."""
    number: int = json.loads(capsys.readouterr().out)["made"]
    return number


def test_the_index_links_the_newest_runs(results: Path) -> None:
    """All runs are listed; the newest have a page, which every link reaches."""
    folder, num_pages = site(results, "--pages", "2")
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert num_pages == 3
    assert all(f"000{number}" in index for number in range(1, 4))
    links = [part.split('"')[0] for part in index.split('href="')[1:] if part[0] != "#"]
    assert len(links) == 2
    assert all((folder / link).is_file() for link in links)
    assert "Speedups of each machine" in index


def test_what_is_there_is_not_made_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed file is; a run that is gone, or cannot be read any more, takes its page along."""
    folder, _ = site(results, "--json")
    assert made(capsys) == 3
    site(results, "--json")
    assert made(capsys) == 0
    runs = sorted((results / FOLDER).glob("*.json"))
    shutil.copy(GOLDEN.with_name("run-v1.json"), runs[1])
    runs[0].unlink()
    with runs[2].open("a") as file:
        file.write("cut off")
    site(results, "--json")
    assert made(capsys) == 1
    assert [path.stem for path in (folder / "runs" / FOLDER).glob("*")] == ["0002_resnet50"]


def test_no_pages_are_asked_for(results: Path) -> None:
    """Then there is the list alone."""
    assert site(results, "--pages", "0")[1] == 1


def test_a_folder_that_is_a_file_is_one_line(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is lost, and status 2 says so."""
    (results.parent / "site").write_text("mine")
    words = ["results", "site", str(results.parent / "site"), "--results", str(results)]
    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (results.parent / "site").read_text() == "mine"
