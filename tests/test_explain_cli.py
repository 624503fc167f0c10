"""`indoor explain`: a saved file shown again, and a run measured by the experiments' function."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from synthetic_machines import SyntheticMachine, Work, observations
from test_cli_light import run
from test_report_page import Read

from indoor.cli import main
from indoor.explain.observations import Observations
from indoor.explain.plot import draw_shares
from indoor.explain.terms import TERMS
from indoor.explain.verdict import explain
from indoor.records import read_record, write_record

FLOAT = Work(multiply_adds=1e9, num_bytes=20e6, pass_bytes=10e6, num_calls=20, faults=900)
INT8 = replace(FLOAT, precision="int8", num_bytes=5e6, pass_bytes=1e6, faults=0)


def measured() -> Observations:
    """Return two cells of one pair, at batch 1 and 8."""
    machine = SyntheticMachine()
    return observations(
        *(
            (
                machine.observe(FLOAT, name="float32", batch=batch),
                machine.observe(INT8, name="int8", batch=batch),
            )
            for batch in (1, 8)
        )
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file of observations."""
    path = tmp_path / "explained.json"
    write_record(path, measured())
    return path


def test_a_saved_file_is_shown_as_a_table(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU, overview, the terms of each cell with the verdict, and the batches."""
    assert main(["explain", str(saved), "--width", "120"]) == 0
    printed = capsys.readouterr().out
    assert "Xeon(R) Platinum 8481C" in printed
    assert "indoor explain scene15 --batch 32" in printed
    assert "int8 against float32, batch 8, 1 thread" in printed
    assert "int8, 1 thread: batch 8 against 1" in printed
    assert "The largest part is arithmetic" in printed
    assert "False here" in printed
    assert re.search(r"float32 / int8 +8 +1 +\d\.\d\dx +arithmetic", printed)


def test_a_saved_file_is_shown_as_a_page(saved: Path, tmp_path: Path) -> None:
    """The terms as a picture, then what the terminal shows, and the layers to be unfolded."""
    page = tmp_path / "page.html"
    assert main(["explain", str(saved), "--html", str(page)]) == 0
    read = Read(page.read_text(encoding="utf-8"))
    assert read.tags.count("figure") == read.tags.count("details") == 1
    assert read.tags.index("figure") < read.tags.index("table") < read.tags.index("details")
    assert any(row[0] == "float32 / int8" and row[1] == "8" for row in read.tables[0])
    assert any("The largest part is arithmetic" in text for text in read.texts)


def test_a_bar_ends_where_its_terms_add_up() -> None:
    """To the logarithm of the speedup: what makes it faster on the right, less what is left."""
    cells = explain(measured()).cells
    axes = draw_shares(cells).axes[0]
    for place, one in enumerate(cells):
        widths = [bar.get_width() for bar in axes.patches if round(bar.get_y() + 0.35) == place]
        assert len(widths) == len(TERMS)
        assert sum(widths) == pytest.approx(one.decomposition.log_ratio)


def test_a_saved_file_is_shown_as_markdown(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables as GitHub reads them."""
    assert main(["explain", str(saved), "--format", "markdown"]) == 0
    assert re.search(r"\| arithmetic \| 20\.\d \| 5\.\d+ \|", capsys.readouterr().out)


def test_layers_are_shown_where_they_are_asked_for(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each side's operators with their place under the roofline, at the end."""
    assert main(["explain", str(saved), "--width", "120"]) == 0
    assert "roofline" not in capsys.readouterr().out
    assert main(["explain", str(saved), "--layers", "--width", "120"]) == 0
    _, layers = capsys.readouterr().out.split("Layers under the roofline")
    assert layers.count("bound by") == 4
    assert "int8, batch 8, 1 thread" in layers
    assert main(["explain", str(saved), "--layers", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [[len(side) for side in cell] for cell in printed["layers"]] == [[3, 3], [3, 3]]


def test_a_saved_file_is_shown_as_json(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the rounds and with what was made of them; the shares add up."""
    assert main(["explain", str(saved), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["observations"]["cells"][0][0]["as_is_s"]) == 15
    cell, _ = printed["explanation"]["cells"]
    assert cell["verdict"]["claim"] == "false"
    shares = [part["share"]["value"] for part in cell["decomposition"]["parts"]]
    assert sum(shares) == pytest.approx(1)


def test_a_saved_file_is_shown_without_torch(saved: Path, tmp_path: Path) -> None:
    """A light installation explains what another one measured."""
    done = run(tmp_path, "explain", saved)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The largest part is arithmetic" in done.stdout


@pytest.mark.parametrize(
    ("words", "content", "said"),
    [
        (["--minutes", "3"], None, "--minutes with .*measured already.*leave them out"),
        ([], "{}", "holds no Observations"),
        ([], "not JSON", "holds no Observations"),
    ],
)
def test_a_saved_file_that_cannot_be_shown_is_told_in_one_line(
    saved: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    content: str | None,
    said: str,
) -> None:
    """Exit 2 and one line, whatever is wrong."""
    if content is not None:
        saved.write_text(content)
    assert main(["explain", str(saved), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("indoor: ")
    assert re.search(said, line)


@pytest.mark.parametrize("words", ["float32", "float32,float32", "float32,", "a,b,c"])
def test_a_pair_is_of_two_variants(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is a mistake of the command line."""
    assert main(["explain", "RUN", "--pair", words]) == 2
    assert "does not name two variants" in capsys.readouterr().err


@pytest.fixture
def calls(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the experiments were asked for, which are answered from `measured`."""
    asked: list[dict[str, Any]] = []

    def observe(
        run_folder: Path,
        pairs: Sequence[tuple[Any, Any]],
        batches: Sequence[int],
        threads: Sequence[int],
        images: Any,
        minutes: float,
        say: Callable[[str], None],  # noqa: ARG001
        save: Callable[[Observations], object],
    ) -> Observations:
        asked.append(
            {
                "run": run_folder,
                "pairs": [(first.name, second.name) for first, second in pairs],
                "batches": batches,
                "threads": threads,
                "shape": tuple(images.shape),
                "minutes": minutes,
            }
        )
        save(measured())
        return measured()

    module = ModuleType("indoor.explain.experiments")
    vars(module)["observe"] = observe
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("INDOOR_HOME", str(home))
    return asked


def test_a_run_is_measured_as_asked_and_saved(
    calls: list[dict[str, Any]],
    home: Path,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Pair, batches, threads and minutes reach the experiments; the file holds what they saw."""
    out = tmp_path / "deep" / "tiny.json.gz"
    words = ["--pair", "float32-folded,int8", "--batch", "16,2", "--threads", "1"]
    words += ["--minutes", "0.5", "--data", str(photographs), "--out", str(out)]
    assert main(["explain", "tiny", *words]) == 0
    assert calls == [
        {
            "run": home / "runs" / "tiny",
            "pairs": [("float32-folded", "int8")],
            "batches": (2, 16),
            "threads": (1,),
            "shape": (16, 3, 64, 64),
            "minutes": 0.5,
        }
    ]
    printed = capsys.readouterr()
    assert f"next: indoor explain {out}" in printed.err
    assert read_record(out, Observations) == measured()
    assert main(["explain", str(out)]) == 0
    assert capsys.readouterr().out == printed.out


def test_by_default_eager_and_the_best_are_measured(
    calls: list[dict[str, Any]], home: Path, photographs: Path
) -> None:
    """The baseline with its runtime's int8, then the best of each precision, at batch 1 and 32."""
    assert main(["explain", "tiny", "--data", str(photographs)]) == 0
    (asked,) = calls
    assert asked["pairs"][0] == ("float32", "int8")
    assert len(asked["pairs"]) == len(set(asked["pairs"]))
    assert (asked["batches"], asked["threads"][0], asked["shape"][0]) == ((1, 32), 1, 32)
    saved = home / "explained" / "tiny.json"
    assert read_record(saved, Observations) == measured()
    saved.unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threads", "4096"], "--threads 4096: expected .* or fewer"),
        (["--pair", "float32,int9"], "variant int9: expected one of float32"),
        (["--out", "/"], "--out /: it is a folder; expected a file's name; add one"),
    ],
)
def test_what_cannot_be_measured_is_told_before_it_begins(
    calls: list[dict[str, Any]],
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    """Exit 2 and one line; no experiment was started."""
    assert main(["explain", "tiny", "--data", str(photographs), *words]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert calls == []
