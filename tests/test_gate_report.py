"""Gate runs to one verdict, an exit status and words: what counts, and that nothing is cut off."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from gate_records import (
    BASE,
    DROP,
    FORWARD,
    HEAD,
    IMPROVED,
    MOVED,
    OPEN,
    PASSED,
    QUIET,
    SIZE,
    SLOWER,
    cell,
    gate,
    red_gate,
)
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from indoor.gate.decide.verdicts import combine, exit_status
from indoor.gate.records import CellReport, CheckReport, GatedVariant, GateReport, GateVerdict
from indoor.gate.report import describe_packages, render_gate
from indoor.gate.wording import shorten
from indoor.records import Interval, from_json, to_json
from indoor.report.units import (
    duration,
    slowdown,
    slowdown_interval,
    time_of_one,
)

GOLDEN = Path(__file__).parent / "golden"
GONE = f"{FORWARD}[bfloat16-1-2]"


def squeezed(text: str) -> str:
    """The text without white space, however it was wrapped."""
    return "".join(text.split())


# The verdict of a run


def test_a_run_passes_where_everything_passed() -> None:
    """Cells and checks that all passed are a PASS, and the sentence counts them."""
    verdict, reason = combine([PASSED], [SIZE], instrument=QUIET)
    assert verdict is GateVerdict.PASS
    assert reason == "1 cell without a slowdown above the tolerance, 1 check passed."


def test_something_better_is_improved() -> None:
    """One cell that got faster, nothing worse: IMPROVED, and the cell is named."""
    verdict, reason = combine([PASSED, IMPROVED], [], instrument=QUIET)
    assert verdict is GateVerdict.IMPROVED
    assert reason.startswith("Better: int8-8-2; 2 cells without")


def test_a_test_that_fails_on_head_fails_whatever_the_instrument_says() -> None:
    """No clock is needed for that; the slower cell beside it does not count, and is not named."""
    broken = replace(SLOWER, name=f"{FORWARD}[int8-8-2]", ratio=None, interval=None)
    moved = replace(QUIET, findings=("a copy of base took 2% more time.",))
    verdict, reason = combine([broken, SLOWER], [], instrument=moved)
    assert verdict is GateVerdict.FAIL
    assert reason.startswith("1 of 2 cells failed on head: int8-8-2; no clock is needed for that")
    assert "float32" not in reason
    assert combine([SLOWER], [], instrument=moved)[0] is GateVerdict.UNRELIABLE
    assert combine([broken], [], instrument=moved, partial=True)[0] is GateVerdict.UNRELIABLE


def test_a_slower_cell_fails_whatever_else_is_open() -> None:
    """FAIL comes before INCONCLUSIVE and IMPROVED, but a partial run blames nobody for time."""
    verdict, reason = combine([SLOWER, OPEN, IMPROVED], [], instrument=QUIET)
    assert verdict is GateVerdict.FAIL
    assert reason == "1 of 3 cells slower: float32-1-2."
    verdict, _ = combine([SLOWER, OPEN, IMPROVED], [], instrument=QUIET, partial=True)
    assert verdict is GateVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (combine([PASSED, OPEN], [], instrument=QUIET), "1 of 2 cells could not be judged: float"),
        (combine([PASSED], [], instrument=QUIET, partial=True), "The run is partial"),
        (combine([], [SIZE], instrument=QUIET), "No cell was timed"),
        (
            combine([PASSED], [replace(DROP, verdict=GateVerdict.INCONCLUSIVE)], instrument=QUIET),
            "1 of 1 check could not be judged: int8 top-1",
        ),
        (combine([replace(PASSED, ratio=None)], [], instrument=QUIET), "1 of 1 cell could not"),
    ],
    ids=["open cell", "partial", "no cells", "open check", "no ratio"],
)
def test_what_is_not_known_is_inconclusive(verdict: tuple[GateVerdict, str], reason: str) -> None:
    """Anything open, missing or interrupted is INCONCLUSIVE, and the sentence denies a pass."""
    assert verdict[0] is GateVerdict.INCONCLUSIVE
    assert verdict[1].startswith(reason)
    assert verdict[1].endswith("That is not a pass.")


def test_an_instrument_that_moved_blames_nobody() -> None:
    """With findings on the instrument a slower cell is no FAIL, and its name is not called."""
    verdict, reason = combine([SLOWER, PASSED], [SIZE], instrument=MOVED)
    assert verdict is GateVerdict.UNRELIABLE
    assert "blames neither side: A second copy of base was 3.1 to 4.4% slower" in reason
    assert reason.endswith("(and 1 more finding).")
    assert "float32-1-2" not in reason


def test_what_needs_no_clock_fails_in_spite_of_the_instrument() -> None:
    """A failed check or a vanished cell is FAIL though no timing of the run counts."""
    verdict, reason = combine([SLOWER], [SIZE, DROP], vanished=[GONE], instrument=MOVED)
    assert verdict is GateVerdict.FAIL
    assert reason.startswith(f"1 of 2 checks failed: int8 top-1; 1 cell vanished: {GONE}; no clock")
    assert "The timings do not count: A second copy" in reason


@pytest.mark.parametrize(
    ("allowed", "verdict"),
    [
        ((), GateVerdict.FAIL),
        ((GONE,), GateVerdict.PASS),
        ((f"{FORWARD}[bfloat16-*]",), GateVerdict.PASS),
        ((f"{FORWARD}[bfloat16-8-2]",), GateVerdict.FAIL),
    ],
)
def test_a_vanished_cell_fails_unless_it_is_allowed(
    allowed: tuple[str, ...], verdict: GateVerdict
) -> None:
    """A cell that head lacks is FAIL, and no reason for one where gate.toml allows it by name."""
    assert combine([PASSED], [], vanished=[GONE], allowed=allowed, instrument=QUIET)[0] is verdict


def test_many_names_are_counted_in_the_sentence() -> None:
    """The sentence names three cells and counts the rest; the table has them all."""
    cells = [cell(f"t.py::test_x[{number}]", GateVerdict.FAIL, 5) for number in range(5)]
    assert combine(cells, [], instrument=QUIET)[1] == "5 of 5 cells slower: 0, 1, 2 and 2 more."


_VERDICTS = st.sampled_from(GateVerdict)
_CELLS = st.builds(
    cell,
    st.sampled_from(["a", "b", "c", "d"]),
    _VERDICTS,
    ratio=st.none() | st.floats(allow_nan=True, allow_infinity=True),
)
_CHECKS = st.builds(
    CheckReport,
    name=st.just("size"),
    verdict=_VERDICTS,
    base=st.just(""),
    head=st.just(""),
    reason=st.just(""),
)
_GREEN = (GateVerdict.PASS, GateVerdict.IMPROVED)


@given(
    cells=st.lists(_CELLS, max_size=4),
    checks=st.lists(_CHECKS, max_size=3),
    vanished=st.lists(st.sampled_from(["a", "b"]), max_size=2),
    findings=st.sampled_from([(), MOVED.findings]),
    partial=st.booleans(),
    allow_inconclusive=st.booleans(),
)
def test_unknown_is_never_a_pass(
    cells: list,
    checks: list,
    vanished: list,
    findings: tuple,
    partial: bool,
    allow_inconclusive: bool,
) -> None:
    """A run is green only where every part of it is known, measured, and good."""
    run = gate(
        *cells,
        checks=tuple(checks),
        vanished=tuple(vanished),
        instrument=replace(QUIET, findings=findings),
        partial=partial,
    )
    is_known = cells and not partial and not findings and not vanished
    is_good = all(item.verdict in _GREEN for item in (*cells, *checks))
    is_measured = all(c.ratio is not None and abs(c.ratio) < float("inf") for c in cells)
    assert (run.verdict in _GREEN) == bool(is_known and is_good and is_measured)
    if any(check.verdict is GateVerdict.FAIL for check in checks) or vanished:
        assert run.verdict is GateVerdict.FAIL
    is_waved = (
        allow_inconclusive
        and run.verdict is GateVerdict.INCONCLUSIVE
        and not partial
        and any(cell.num_pairs for cell in cells)
    )
    status = exit_status(run, allow_inconclusive=allow_inconclusive)
    assert (status == 0) == (run.verdict in _GREEN or is_waved)


# The ladder of tolerances


def rung(verdict: GateVerdict, share: float | None, at_most: float, name: str = "a") -> CellReport:
    """A cell that cleared a rung of 3, 5, 10%, of which 5% is accepted."""
    return cell(
        f"t.py::test_x[{name}]", verdict, rung=share, accepted=0.05, slowdown_at_most=at_most
    )


@pytest.mark.parametrize(
    ("cells", "title", "status"),
    [
        ([rung(GateVerdict.PASS, 0.03, 0.026)], "PASS at 3% (at most +2.6%)", 0),
        ([rung(GateVerdict.PASS, 0.03, -0.004)], "PASS at 3% (at most -0.4%)", 0),
        (
            [rung(GateVerdict.PASS, 0.03, 0.01), rung(GateVerdict.PASS, 0.05, 0.041, "b")],
            "PASS at 5% (at most +4.1%)",
            0,
        ),
        (
            [rung(GateVerdict.IMPROVED, None, -0.02), rung(GateVerdict.PASS, 0.05, 0.041, "b")],
            "IMPROVED, the rest PASS at 5% (at most +4.1%)",
            0,
        ),
        ([rung(GateVerdict.IMPROVED, None, -0.02)], "IMPROVED", 0),
        (
            [rung(GateVerdict.PASS, 0.03, 0.02), rung(GateVerdict.INCONCLUSIVE, 0.1, 0.072, "b")],
            "INCONCLUSIVE, PASS only at 10% (at most +7.2%)",
            3,
        ),
        (
            [rung(GateVerdict.PASS, 0.05, 0.04), rung(GateVerdict.INCONCLUSIVE, None, 0.2, "b")],
            "INCONCLUSIVE",
            3,
        ),
        ([rung(GateVerdict.PASS, 0.05, 0.04), SLOWER], "FAIL", 1),
    ],
)
def test_the_first_line_names_the_rung_of_the_worst_cell(
    cells: list[CellReport], title: str, status: int
) -> None:
    """A run passes where its worst cell does, with the bound that holds for all of them."""
    run = gate(*cells)
    assert render_gate(run).splitlines()[0] == f"Gate: {title}"
    assert render_gate(run, format="markdown").startswith(f"## Gate: {title}\n")
    assert exit_status(run) == status


def test_the_table_names_each_cells_rung_and_what_is_accepted() -> None:
    """The verdict's column has the rung, that of limits the accepted one."""
    wider = rung(GateVerdict.PASS, 0.05, 0.041, "b")
    run = gate(rung(GateVerdict.PASS, 0.03, 0.01), wider)
    text = render_gate(run, width=120)
    assert re.search(r"^a +PASS at 3% .* 1%, 3%, 5% ", text, re.MULTILINE)
    assert re.search(r"^b +PASS at 5% ", text, re.MULTILINE)
    assert "once the minutes are used, below the wider one that is named" in " ".join(text.split())
    assert run.reason == (
        "2 cells without a slowdown above 5% (b: no tighter limit could be shown in the time)."
    )
    only = gate(rung(GateVerdict.INCONCLUSIVE, 0.1, 0.07))
    assert only.reason == (
        "1 of 1 cell cleared only 10%, more than is accepted: test_x[a]. That is not a pass."
    )


# The exit status


@pytest.mark.parametrize(
    ("report", "status", "allowed"),
    [
        (gate(PASSED), 0, 0),
        (gate(IMPROVED), 0, 0),
        (gate(SLOWER), 1, 1),
        (gate(OPEN), 3, 0),
        (gate(), 3, 3),
        (gate(PASSED, instrument=MOVED), 3, 3),
        (gate(PASSED, partial=True), 3, 3),
        (gate(SLOWER, partial=True), 3, 3),
    ],
    ids=[
        "pass",
        "improved",
        "fail",
        "inconclusive",
        "nothing",
        "unreliable",
        "partial",
        "partial fail",
    ],
)
def test_the_exit_status_is_the_verdict(report: GateReport, status: int, allowed: int) -> None:
    """0, 0, 1, 3, 3; --allow-inconclusive waves through what could not be told, not what broke."""
    assert exit_status(report) == status
    assert exit_status(report, allow_inconclusive=True) == allowed


# Names


@pytest.mark.parametrize(
    ("names", "shared", "short"),
    [
        ([], "", []),
        (["b/t.py::test_x[1-2]"], "b/t.py::...", ["test_x[1-2]"]),
        (["b/t.py::test_x[1-2]", "b/t.py::test_x[1-8]"], "b/t.py::test_x[...]", ["1-2", "1-8"]),
        (["b/t.py::test_x[1]", "b/t.py::test_y[1]"], "b/t.py::...", ["test_x[1]", "test_y[1]"]),
        (["t.py::test_x", "t.py::test_x[1]"], "t.py::...", ["test_x", "test_x[1]"]),
        (["t.py::test_x[]", "t.py::test_x[a]"], "", ["t.py::test_x[]", "t.py::test_x[a]"]),
        (["a.py::test_x", "b.py::test_x"], "", ["a.py::test_x", "b.py::test_x"]),
        (["sort", "sorted"], "", ["sort", "sorted"]),
    ],
)
def test_names_are_shortened_where_pytest_joins_them(
    names: list[str], shared: str, short: list[str]
) -> None:
    """What all cells share is said once, and a name is never cut inside a word."""
    assert shorten(names) == (shared, dict(zip(names, short, strict=True)))


# Figures


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.049, "+4.9%"),
        (0.938, "-6.2%"),
        (1.0004, "0.0%"),
        (0.9996, "0.0%"),
        (13.5, "+1,250.0%"),
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
    ],
)
def test_a_ratio_is_told_as_a_change(ratio: float | None, words: str) -> None:
    """A slowdown has a sign unless it rounds to zero; what is not known is a dash."""
    assert slowdown(ratio) == words


def test_an_interval_without_an_end_is_not_told() -> None:
    """An unbounded interval is a dash, not infinity."""
    assert slowdown_interval(Interval(low=0.996, high=1.012)) == "-0.4 to +1.2%"
    assert slowdown_interval(Interval(low=0, high=float("inf"))) == "-"
    assert slowdown_interval(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0593, "59.3 ms"),
        (1.5, "1.50 s"),
        (0.9996, "1.00 s"),
        (123.4, "123 s"),
        (2.345e-6, "2.35 µs"),
        (5e-10, "0.50 ns"),
        (0.0, "0.00 ns"),
        (None, "-"),
    ],
)
def test_a_short_time_has_the_unit_that_suits_it(seconds: float | None, words: str) -> None:
    """Three significant digits, in s, ms, µs or ns."""
    assert time_of_one(seconds) == words


def test_a_long_time_is_told_in_minutes() -> None:
    """Seconds below a minute, minutes and seconds above."""
    assert [duration(59.4), duration(59.6), duration(450.2)] == ["59 s", "1 min 0 s", "7 min 30 s"]


def test_packages_that_differ_are_listed() -> None:
    """A version that changed, one that only base has, one that only head has, and nothing else."""
    assert describe_packages(BASE.packages, HEAD.packages) == (
        "regress 1.0 only in head, torch 2.14.1 -> 2.15.0, triton 3.8.0 only in base"
    )
    assert describe_packages(BASE.packages, BASE.packages) == "the same 3 on both sides"
    assert describe_packages({}, {}) == "not recorded"


@pytest.mark.parametrize(
    ("base", "head", "known"),
    [({}, HEAD.packages, "head"), (BASE.packages, {}, "base")],
    ids=["base-did-not-start", "head-did-not-start"],
)
def test_a_side_that_never_started_has_no_packages_to_differ(
    base: dict[str, str], head: dict[str, str], known: str
) -> None:
    """Nothing is told to be only on one side where the other side's packages are not known."""
    unknown = "base" if known == "head" else "head"
    assert describe_packages(base, head) == f"those of {unknown} are not known"


# The text


def test_a_gate_of_version_1_stays_readable() -> None:
    """The golden file of schema version 1 is read as the run that it was written from."""
    data = (GOLDEN / "gate-v1.json").read_bytes()
    assert from_json(data, GateReport, "gate-v1.json") == red_gate()


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_are_laid_out_as_they_were_approved(width: int) -> None:
    """The golden run's tables are, line for line, those that a person looked at."""
    expected = (GOLDEN / f"gate-v1-{width}.txt").read_text(encoding="utf-8")
    assert render_gate(red_gate(), width=width) == expected


def test_the_markdown_is_as_it_was_approved() -> None:
    """The golden run's markdown is, line for line, what a person looked at."""
    expected = (GOLDEN / "gate-v1.md").read_text(encoding="utf-8")
    assert render_gate(red_gate(), format="markdown") == expected


@pytest.mark.parametrize("width", [1, 40, 57, 79, 80, 120, 200])
def test_nothing_is_cut_off(width: int) -> None:
    """At any width no line is longer than it, and every name, figure and reason is there whole."""
    long = cell(
        "tests/test_lists.py::test_sort[" + "reversed-" * 12 + "end]", GateVerdict.PASS, 250
    )
    report = replace(red_gate(), cells=(*red_gate().cells, long))
    text = render_gate(report, width=width)
    assert max(map(len, text.splitlines())) <= max(width, 40)
    for item in (*report.cells, *report.checks):
        assert squeezed(item.reason) in squeezed(text)
        assert squeezed(item.name) in squeezed(text)
    assert squeezed("+249.2 to +250.8%") in squeezed(text)
    assert squeezed(DROP.head) in squeezed(text)


def test_colours_change_nothing_but_the_colours() -> None:
    """Without its escape codes the coloured text is the plain one, which has none."""
    plain = render_gate(red_gate())
    coloured = render_gate(red_gate(), color=True)
    assert "\033" not in plain
    assert "\033[1;31mGate: FAIL\033[0m" in coloured
    stripped = re.sub(r"\033\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_what_steers_a_terminal_is_taken_out() -> None:
    """Escape codes and line ends in a reason or a name do not reach the terminal."""
    hostile = cell("t.py::test_x", GateVerdict.PASS, reason="first\r\nsecond\033[2J\x07 third")
    text = render_gate(gate(hostile))
    assert "  first second [2J third\n" in text
    assert "\033" not in text


def test_an_unreliable_run_gives_no_advice_about_cells() -> None:
    """With findings the text says that the times do not count, and what to do about the machine."""
    text = render_gate(gate(SLOWER, PASSED, instrument=MOVED))
    assert text.startswith("Gate: INSTRUMENT UNRELIABLE\n")
    assert "Time of head against base, which does not count in this run\n" in text
    assert "git bisect" not in text
    assert "- Do what the findings on the instrument say, then run the gate again." in text


def test_a_partial_run_says_so_in_its_headline() -> None:
    """A partial run is marked in the first line, and is to be run again."""
    text = render_gate(gate(PASSED, partial=True))
    assert text.startswith("Gate: INCONCLUSIVE (partial)\n")
    assert "- Run the gate again" in text


def test_a_green_run_has_nothing_to_do() -> None:
    """Where nothing is wrong there is no list of what to do next."""
    assert "What to do next" not in render_gate(gate(PASSED, checks=(SIZE,)))


def test_what_was_not_measured_is_said() -> None:
    """A run without A/A, control or idle shares says so, and a cell without pairs has dashes."""
    bare = replace(QUIET, again=(), control=None, max_idle_share=None)
    nothing = cell(
        "t.py::test_x",
        GateVerdict.INCONCLUSIVE,
        ratio=None,
        interval=None,
        base_s=None,
        num_pairs=0,
    )
    text = render_gate(gate(nothing, instrument=bare))
    assert len(re.findall(r"^(A/A|control|idle) +not measured$", text, re.MULTILINE)) == 3
    assert re.search(r"^test_x  INCONCLUSIVE +- +- +1%, 3% +0 in 6 +-$", text, re.MULTILINE)


def test_an_unknown_format_is_refused() -> None:
    """A format that there is not is the caller's mistake."""
    with pytest.raises(ValueError, match="format 'html', expected table, markdown or json"):
        render_gate(red_gate(), format="html")  # type: ignore[arg-type]


def test_json_is_the_whole_record() -> None:
    """The JSON, traces included, reads back as the run."""
    report = red_gate()
    text = render_gate(report, format="json")
    assert text.endswith("}\n")
    assert from_json(text, GateReport, "memory") == report


# The markdown


def test_the_markdown_opens_with_the_verdict_and_folds_the_details() -> None:
    """The verdict is the first heading; sides, instrument and notes are folded at the end."""
    text = render_gate(red_gate(), format="markdown")
    assert text.startswith("## Gate: FAIL\n\n**1 of 4 cells slower: float32-1-2;")
    shown, folded = text.split("<details>\n<summary>Details</summary>\n\n")
    assert folded.endswith("\n\n</details>\n")
    assert "### What to do next" in shown
    assert [line for line in folded.splitlines() if line.startswith("#")] == [
        "### What was compared",
        "### The instrument",
        "### Notes",
    ]


def test_findings_are_not_folded() -> None:
    """What speaks against the instrument is shown with the verdict."""
    shown, _ = render_gate(gate(PASSED, instrument=MOVED), format="markdown").split("<details>")
    assert "### The instrument\n\n- A second copy of base" in shown


def test_markdown_of_any_name_keeps_its_columns() -> None:
    """Pipes, brackets, stars, tags and dollars in a name are text, in their own column."""
    name = "test_x[a|b-*c*-<b>-`d`-$e$-&lt;-~f~]"
    report = gate(cell(f"t.py::{name}", GateVerdict.PASS), checks=(SIZE,))
    tokens = MarkdownIt("commonmark").enable("table").parse(render_gate(report, format="markdown"))
    inlines = [
        tokens[i + 1] for i, token in enumerate(tokens) if token.type in ("th_open", "td_open")
    ]
    texts = ["".join(child.content for child in token.children or ()) for token in inlines]
    assert texts[:8] == [
        *("cell", "verdict", "slowdown", "95% interval", "limits"),
        *("pairs in launches", "base time", "reason"),
    ]
    assert texts[8:10] == [name, "PASS"]
    assert len(texts) == 2 * 8 + 2 * 5


def test_what_runs_the_variants_is_said() -> None:
    """Runtime, precision and device stand with what was compared, where the suite tells them."""
    eager = GatedVariant(name="int8", runtime="eager", precision="int8", device="cpu")
    told = replace(gate(PASSED), variants=(eager, GatedVariant(name="other")))
    for output_format in ("table", "markdown"):
        shown = " ".join(render_gate(told, format=output_format, width=120).split())
        assert "int8: eager, int8, cpu; other: not told" in shown
        assert "variants" not in render_gate(gate(PASSED), format=output_format)
    assert from_json(to_json(told), GateReport, "gate.json") == told
