"""The arguments of `indoor gate`."""

import argparse
import functools
from pathlib import Path
from typing import Any

from indoor.cli.parser import add_html, command, group, minutes, natural, share


def add_gate(commands: Any) -> None:
    """Add `indoor gate`, whose work is done by `indoor.cli.gate.run`."""
    gate = command(
        commands,
        "gate",
        "measure two revisions side by side; exit 1 where the second is slower",
        "indoor gate --base origin/main --format markdown --out gate.json",
        formats=("table", "markdown", "json"),
    )
    sides = group(gate, "what is compared").add_argument
    measured = group(gate, "what is measured").add_argument
    told = group(gate, "output")
    output = told.add_argument
    not_tested = [
        sides(
            "--base",
            metavar="REV",
            help="the revision to compare with (default: the working tree, with two Pythons)",
        ),
        sides("--head", metavar="REV", help="the one to judge (default: the working tree)"),
        sides(
            "--base-python", type=Path, metavar="FILE", help="run base with this (default: our own)"
        ),
        sides(
            "--head-python", type=Path, metavar="FILE", help="run head with this (default: our own)"
        ),
        measured(
            "--config",
            type=Path,
            metavar="FILE",
            help="the settings (default: gate.toml in the suite's folder), as base has them",
        ),
        measured(
            "--head-rules",
            action="store_true",
            help="let head's settings and marks count instead of base's",
        ),
        measured(
            "--suite", metavar="PATH", help="the benchmarks (default: the settings', else bench)"
        ),
        measured(
            "--suite-argument",
            dest="suite_arguments",
            action="append",
            default=[],
            metavar="WORD",
            help="pass WORD on to pytest; write --suite-argument=--data; may be repeated "
            "(default: none)",
        ),
        output(
            "--out",
            type=Path,
            metavar="FILE",
            help="write everything, every pair too, as JSON (default: nowhere)",
        ),
        add_html(told),
        output(
            "--allow-inconclusive",
            action="store_true",
            help="exit 0 where the gate could not tell (default: exit 3)",
        ),
        output(
            "--accept-changed",
            action="store_true",
            help="somebody looked at the tests that head changed (default: exit 3 for them)",
        ),
        measured(
            "--minutes",
            type=minutes,
            metavar="M",
            help="judge by then (default: the settings', else 12)",
        ),
        measured(
            "--accept",
            type=share,
            metavar="SHARE",
            help="the widest tolerance that passes once the minutes are used (default: the "
            "settings', else 5%%)",
        ),
        measured(
            "--strict",
            action="store_true",
            help="accept the first tolerance alone, 3%% by default",
        ),
        measured(
            "--no-facts", action="store_true", help="time only; skip sizes, memory and accuracy"
        ),
    ]
    measured(
        "--self-test",
        action="store_true",
        help="test the gate itself: equal code must pass, a slowdown put in must be found "
        "(25 gates, about a minute each)",
    )
    measured(
        "--seed",
        type=natural,
        default=0,
        metavar="N",
        help="of the order of measuring (default: 0)",
    )
    output(
        "--show",
        type=Path,
        metavar="FILE",
        help="measure nothing: tell once more what --out wrote (default: measure)",
    )
    gate.set_defaults(check=functools.partial(_check, gate, not_tested))


_OF_TELLING = ("allow_inconclusive", "accept_changed", "html")
"""What decides how a gate is told, and its exit status, of one that is told once more, too."""


def _check(
    gate: argparse.ArgumentParser, not_tested: list[argparse.Action], parsed: argparse.Namespace
) -> None:
    """End with a mistake where the words do not make sense together.

    A self-test has trees, rules and a suite of its own, so it takes none of `not_tested`.
    """
    if parsed.show:
        words = [
            action.option_strings[0]
            for action in not_tested
            if getattr(parsed, action.dest) != action.default and action.dest not in _OF_TELLING
        ]
        if words or parsed.self_test:
            gate.error(
                f"{', '.join(words or ['--self-test'])}: --show measures nothing, it tells once "
                "more what --out wrote; expected --show FILE with --format, --html, "
                "--allow-inconclusive and --accept-changed at most; leave the rest out"
            )
        return
    if parsed.self_test:
        words = [
            action.option_strings[0]
            for action in not_tested
            if getattr(parsed, action.dest) != action.default
        ]
        if parsed.format == "markdown":
            words.append("--format markdown")
        if words:
            gate.error(
                f"{', '.join(words)}: a self-test measures trees of its own by rules of its own; "
                "expected at most --seed and --json beside --self-test; leave the rest out"
            )
        return
    if parsed.strict and parsed.accept is not None:
        gate.error(
            f"--accept {parsed.accept:g} beside --strict, which accepts the first tolerance alone; "
            "expected one of the two"
        )
    if not (parsed.base or parsed.base_python):
        gate.error("nothing to compare with: give --base REV, --base-python FILE or --self-test")
    if parsed.head and not parsed.base:
        gate.error(
            f"--head {parsed.head}: expected --base REV beside it; two environments alone "
            "run the working tree on both sides"
        )
