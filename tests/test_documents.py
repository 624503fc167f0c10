"""Whatever README and docs tell people to type, to open or to look at is true."""

import argparse
import re

import pytest
from documents import (
    PAGES,
    ROOT,
    Command,
    all_commands,
    commands,
    commands_in_code,
    is_mention,
    read,
    simple_commands,
)

COMMANDS = [command for page in PAGES for command in commands(page)]
SOURCES = [path for folder in ("indoor", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]
MESSAGES = [command for path in SOURCES for command in commands_in_code(path)]
LINKING = [*PAGES, "DECISIONS.md"]

MAX_README_LINES = 150


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_of_the_documents_is_what_its_parser_reads(command: Command) -> None:
    """Each line that somebody may paste is read by the program that would get it."""
    words = simple_commands(command.text)[0]
    if words[0] == "indoor" and is_mention(words[1:]):
        return
    read(command.text)


@pytest.mark.parametrize("command", MESSAGES, ids=str)
def test_a_command_in_a_message_is_one(command: Command) -> None:
    """What a message tells people to type is known, and so are the options that it names."""
    words = simple_commands(command.text)[0]
    if words[0] == "indoor" and is_mention(words[1:]):
        return
    read(command.text)


def test_the_documents_hold_commands_of_every_kind() -> None:
    """The search finds indented lines, lines within sentences, and all programs."""
    programs = {simple_commands(command.text)[0][0] for command in COMMANDS}
    assert {"indoor", "pytest", "make", "python", "pytest-benchmark", "pip"} <= programs
    assert len(COMMANDS) > 60
    assert len(MESSAGES) > 20


@pytest.mark.parametrize(
    "line",
    [
        "indoor predict --checkpoint RUN photo.jpg",
        "indoor train --data",
        "indoor report --format yaml",
        "indoor gate --head v1",
        "indoor results prune",
        "indor report",
        "pytest bench --batches 1",
        "pytest bench --threads none",
        "pytest bench --benchmark-max-time=2",
        "make benchmark",
        'make bench ARGS="--batch eight"',
        "python -m bench.studies.gate replay",
        "python -m bench.studies.head --weights FILE",
        "pytest-benchmark --storage results list-all",
        "indoor doctor && indoor demo --seed -1",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    """The reading is no formality: a misspelt command, option or value is refused."""
    with pytest.raises(AssertionError):
        read(line)


@pytest.mark.parametrize("parser", all_commands(), ids=lambda parser: parser.prog)
def test_a_command_has_an_example_that_parses(parser: argparse.ArgumentParser) -> None:
    """`--help` ends with an example of this very command."""
    label, _, example = str(parser.epilog).partition(": ")
    assert label == "example"
    assert example.startswith(parser.prog)
    read(example)


@pytest.mark.parametrize("page", LINKING)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a document names a file or folder that is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    """A source file or document that is named in backticks with its folder is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|toml|yml|txt))`", text)
    places = (ROOT, ROOT / "indoor", (ROOT / page).parent)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_the_readme_is_two_pages() -> None:
    """A newcomer reads it in five minutes."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_README_LINES


def test_the_readme_leads_to_every_page() -> None:
    """No document is there that nobody finds."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if page != "README.md" and f"]({page})" not in text] == []


def test_the_readmes_table_is_the_published_run() -> None:
    """The table, its caption and its sentence are what `indoor report` says of the file."""
    from indoor.report import render
    from indoor.runs.results import load_results

    published = (
        ROOT / "results" / "published" / "scene15-resnet50-epyc-avx512-vnni-runtimes.json.gz"
    )
    printed = render(load_results([published]), format="markdown").splitlines()
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    table = [
        line for line in readme if line.startswith(("| float32", "| bfloat16", "| int8", "|   "))
    ]
    assert len(table) == 15
    assert [line for line in table if line not in printed] == []
    sentence = next(line for line in readme if line.startswith("**int8 pays"))
    assert sentence in printed
