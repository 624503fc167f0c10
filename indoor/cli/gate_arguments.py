"""The arguments of `indoor gate`."""

import argparse
import functools
from pathlib import Path
from typing import Any

from indoor.cli.parser import command, minutes, natural

_NOT_TESTED = {
    "base": "--base",
    "head": "--head",
    "base_python": "--base-python",
    "head_python": "--head-python",
    "config": "--config",
    "suite": "--suite",
    "suite_arguments": "--suite-argument",
    "out": "--out",
    "allow_inconclusive": "--allow-inconclusive",
    "minutes": "--minutes",
    "no_facts": "--no-facts",
}
"""What a self-test decides by itself: it has trees, rules and a suite of its own."""


def add_gate(commands: Any) -> None:
    """Add `indoor gate`, whose work is done by `indoor.cli.gate.run`."""
    gate = command(
        commands,
        "gate",
        "measure two revisions side by side; exit 1 where the second is slower",
        "indoor gate --base origin/main --format markdown --out gate.json",
        formats=("table", "markdown", "json"),
    )
    gate.add_argument("--base", metavar="REV", help="the revision to compare with")
    gate.add_argument("--head", metavar="REV", help="the one to judge (default: the working tree)")
    gate.add_argument("--base-python", type=Path, metavar="FILE", help="run the base with this")
    gate.add_argument("--head-python", type=Path, metavar="FILE", help="run the head with this")
    gate.add_argument(
        "--config", type=Path, metavar="FILE", help="default: gate.toml in the suite's folder"
    )
    gate.add_argument(
        "--suite", metavar="PATH", help="the benchmarks (default: the settings', else bench)"
    )
    gate.add_argument(
        "--suite-argument",
        dest="suite_arguments",
        action="append",
        default=[],
        metavar="WORD",
        help="pass WORD on to pytest; write --suite-argument=--data; may be repeated",
    )
    gate.add_argument(
        "--out", type=Path, metavar="FILE", help="write everything, every pair too, as JSON"
    )
    gate.add_argument(
        "--allow-inconclusive",
        action="store_true",
        help="exit 0 where the gate could not tell (default: exit 3)",
    )
    gate.add_argument(
        "--self-test",
        action="store_true",
        help="test the gate itself: equal code must pass, a slowdown put in must be found",
    )
    gate.add_argument(
        "--minutes", type=minutes, metavar="M", help="judge by then (default: plan's)"
    )
    gate.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="of the order of measuring"
    )
    gate.add_argument(
        "--no-facts", action="store_true", help="time only; skip sizes, memory and accuracy"
    )
    gate.set_defaults(check=functools.partial(_check, gate))


def _check(gate: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """End with a mistake where the words do not make sense together."""
    if parsed.self_test:
        _check_self_test(gate, parsed)
        return
    if not (parsed.base or parsed.base_python):
        gate.error("nothing to compare with: give --base REV, --base-python FILE or --self-test")
    if parsed.head and not parsed.base:
        gate.error(
            f"--head {parsed.head}: expected --base REV beside it; two environments alone "
            "run the working tree on both sides"
        )


def _check_self_test(gate: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    words = [
        option
        for name, option in _NOT_TESTED.items()
        if getattr(parsed, name) != gate.get_default(name)
    ]
    if parsed.format == "markdown":
        words.append("--format markdown")
    if words:
        gate.error(
            f"{', '.join(words)}: a self-test measures trees of its own by rules of its own; "
            "expected at most --seed and --json beside --self-test; leave the rest out"
        )
