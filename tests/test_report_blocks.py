"""Blocks to text and markdown: one layout for runs, gates, studies and machines."""

import pytest

from indoor.report.blocks import (
    Block,
    Column,
    Details,
    Facts,
    Grid,
    Heading,
    Items,
    Judged,
    Paragraph,
    Verdicts,
)
from indoor.report.markdown import as_markdown
from indoor.report.text import as_text

VERDICTS = Verdicts(
    noun="cell",
    columns=(Column("slow\ndown"), Column("limits")),
    rows=(
        Judged(name="a|b", verdict="PASS", tone="good", figures=("0.0%", "1%"), reason="the same"),
        Judged(name="c", verdict="FAIL", tone="bad", figures=("+4.9%", "1%"), reason="slower"),
    ),
)


def lines(*blocks: Block | Details, width: int = 40) -> list[str]:
    """The blocks' lines without colours."""
    return as_text(blocks, width=width, color=False).splitlines()


def test_words_are_parted_at_blanks_alone() -> None:
    """A hyphen stays with its number, and a word longer than a line goes on below, whole."""
    assert lines(Paragraph("from here on it is at most some -0.4 or less")) == [
        "from here on it is at most some -0.4 or",
        "less",
        "",
    ]
    assert lines(Paragraph(f"see {'x' * 50} now")) == ["see", "x" * 40, f"{'x' * 10} now", ""]


def test_a_wide_character_takes_two_columns() -> None:
    """East Asian letters are as wide as two, so that columns stay below each other."""
    grid = Grid(
        columns=(Column("class", "left"), Column("n")), rows=(("浴室", "1"), ("e\u0301", "2"))
    )
    assert lines(grid)[2:4] == ["浴室   1", "e\u0301      2"]
    assert max(map(len, lines(Paragraph("浴室" * 15)))) == 20


def test_nothing_steers_the_terminal() -> None:
    """Escape codes and bells in any text become blanks, so what is around them stays as it is."""
    grid = Grid(columns=(Column("a\tb", "left"),), rows=(("\033[2Jx",),))
    blocks = (
        Heading("\033]0;t\a"),
        Paragraph("a\rb"),
        Items(("\033c",)),
        Facts((("l", "\b"),)),
        grid,
    )
    assert all(line.isprintable() for line in lines(*blocks))
    assert lines(grid) == ["a b", "─────", " [2Jx", ""]


def test_a_long_heading_is_wrapped() -> None:
    """A heading is never wider than the page, and its rule neither."""
    heading = Heading("Time of head against base, which does not count in this run")
    assert lines(heading) == [
        "Time of head against base, which does",
        "not count in this run",
        "─" * 40,
    ]


def test_items_and_facts_are_indented() -> None:
    """What goes on in a second line stands below its text, not below its mark or label."""
    assert lines(Items(("one", "a second one that is longer than a line"))) == [
        *("- one", "- a second one that is longer than a", "  line", ""),
    ]
    assert lines(Facts((("CPU", "AMD"), ("system", "Linux on a machine of the cloud, x86")))) == [
        *("CPU     AMD", "system  Linux on a machine of the cloud,", "        x86", ""),
    ]


def test_the_widest_columns_give_way() -> None:
    """Where the key columns alone are too wide, the widest ones shrink and their cells wrap."""
    grid = Grid(
        columns=(Column("", "left"), Column("found", "left"), Column("remedy", "left")),
        rows=(("note", "short", "words " * 6 + "end"), ("x", "y", "z")),
        num_keys=3,
        rules=frozenset({0}),
    )
    assert lines(grid) == [
        "      found  remedy",
        "─" * 40,
        "note  short  words words words words",
        "             words words end",
        "─" * 40,
        "x     y      z",
        "",
    ]


def test_a_verdict_has_its_reason_below() -> None:
    """The figures stand in columns, and each row's reason at full width below it."""
    assert lines(VERDICTS) == [
        "                slow",
        "cell  verdict   down  limits",
        "────────────────────────────",
        "a|b   PASS      0.0%      1%",
        "  the same",
        "c     FAIL     +4.9%      1%",
        "  slower",
        "",
    ]


def test_a_verdict_has_its_own_colour() -> None:
    """Only the verdict's word is coloured, by what it means, and the columns stay in place."""
    text = as_text([VERDICTS], width=40, color=True)
    assert "a|b   \033[32mPASS   \033[0m" in text
    assert "c     \033[1;31mFAIL   \033[0m" in text


def test_markdown_of_verdicts_has_a_column_of_reasons() -> None:
    """In markdown the reason is the last column, and what is not good is bold."""
    assert as_markdown([VERDICTS]).splitlines() == [
        "| cell | verdict | slow down | limits | reason |",
        "| :--- | :--- | ---: | ---: | :--- |",
        "| a\\|b | PASS | 0.0% | 1% | the same |",
        "| c | **FAIL** | +4.9% | 1% | slower |",
    ]


@pytest.mark.parametrize("block", [Paragraph("words"), Items(("words",)), Heading("words")])
def test_details_are_folded_where_they_can_be(block: Block) -> None:
    """Markdown folds details; text shows them like anything else."""
    assert lines(Details((block,))) == lines(block)
    folded = as_markdown([Details((block,))])
    assert folded.startswith("<details>\n<summary>Details</summary>\n\n")
    assert folded.endswith(f"{as_markdown([block])}\n</details>\n")
