"""`--help` of every command, and the suite's options: grouped, and each says what it does."""

import argparse

import pytest
from _pytest.config import _prepareconfig
from documents import ROOT, all_commands

from indoor.cli.arguments import build_parser

OPTIONS = [
    pytest.param(action, id=f"{parser.prog} {(action.option_strings or [action.metavar])[0]}")
    for parser in all_commands()
    for action in parser._actions
    if "--help" not in action.option_strings
]


def suite_options() -> list[tuple[str, argparse.Action]]:
    """Return the suite's options, each with the title of its group."""
    config = _prepareconfig(["--rootdir", str(ROOT), str(ROOT / "bench")], [])
    try:
        return [
            (group.title or "", action)
            for group in config._parser.optparser._action_groups
            for action in group._group_actions
            if str(group.title).startswith("indoor")
        ]
    finally:
        config._ensure_unconfigure()


def check(action: argparse.Action) -> None:
    """Require a help text; and the default, where a value may be left out."""
    text = action.help or ""
    assert text
    takes_a_value = action.nargs != 0 and bool(action.option_strings)
    if takes_a_value and not action.required:
        assert "default" in text
    if takes_a_value and action.default not in (None, []):
        assert str(action.default).removesuffix(".0") in text


@pytest.mark.parametrize("action", OPTIONS)
def test_an_option_says_what_it_does_and_its_default(action: argparse.Action) -> None:
    """No option is bare, and what is taken where it is left out stands there."""
    check(action)


@pytest.mark.parametrize("parser", all_commands(), ids=lambda parser: parser.prog)
def test_options_stand_in_groups(parser: argparse.ArgumentParser) -> None:
    """Under "options" stands --help alone; what comes out comes last."""
    titles = [group.title for group in parser._action_groups if group._group_actions]
    assert titles[-1] == "output"
    assert len(titles) == len(set(titles))
    loose = next(group for group in parser._action_groups if group.title == "options")
    assert [action.option_strings for action in loose._group_actions] == [["-h", "--help"]]


def test_the_suites_options_stand_in_groups_and_say_what_they_do() -> None:
    """`pytest bench --help` lists ours in three groups, each with its default."""
    found = suite_options()
    assert len({title for title, _ in found}) == 3
    for _, action in found:
        check(action)


def test_the_same_option_has_the_same_words() -> None:
    """What is called alike in the commands and in the suite is told alike."""
    suite = {action.option_strings[0]: action.help for _, action in suite_options()}
    known: dict[str, set[str | None]] = {}
    for parser in all_commands():
        if parser.prog in {f"indoor {name}" for name in ("train", "quantize", "evaluate")}:
            for action in parser._actions:
                for name in set(action.option_strings) & {
                    "--data",
                    "--skip-broken",
                    "--no-download",
                }:
                    known.setdefault(name, {suite[name]}).add(action.help)
    assert {name: len(texts) for name, texts in known.items()} == dict.fromkeys(known, 1)
    assert len(known) == 3


def test_commands_come_in_the_order_of_the_work() -> None:
    """The first page names what comes first, and an example of the whole way."""
    text = build_parser().format_help()
    names = ["demo", "data", "train", "quantize", "evaluate", "export", "predict"]
    names += ["report", "explain", "results"]
    places = [text.index(f"\n    {name} ") for name in [*names, "gate", "doctor"]]
    assert places == sorted(places)
