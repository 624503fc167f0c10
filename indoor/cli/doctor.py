"""`indoor doctor`: what of this machine decides whether its figures can be trusted."""

import argparse
from collections.abc import Iterator

from indoor.cli.output import Outcome, use_color, width
from indoor.machine import Advice, diagnose, read_machine
from indoor.measure import current_allocator
from indoor.report import render_machine


def run(parsed: argparse.Namespace) -> Outcome:  # noqa: ARG001 - every command takes the words
    """Read the machine; each warning comes with its remedy."""
    machine = read_machine()
    advice = diagnose(machine, allocator=current_allocator())
    if "torch" not in machine.unreadable:  # a light installation runs no network
        advice += tuple(_runtimes())
    return Outcome(
        record={"machine": machine, "advice": advice},
        text=render_machine(machine, advice, width=width(), color=use_color()),
        status=int(any(item.level == "warning" for item in advice)),
    )


def _runtimes() -> Iterator[Advice]:
    """Yield what the suite would leave out here, the variants of one reason in one note."""
    from indoor.runtimes import all_variants, unusable_runtimes, why_not

    left_out: dict[str, list[str]] = {}
    for variant in all_variants().values():
        if reason := why_not(variant):
            left_out.setdefault(reason, []).append(variant.name)
    for file, reason in unusable_runtimes().items():
        left_out.setdefault(reason, []).append(file)
    for reason, names in left_out.items():
        what, _, remedy = reason.rpartition("; ")
        yield Advice(
            kind="runtime",
            level="note",
            what=f"{', '.join(names)}: {what or reason}",
            remedy=remedy if what else "none: it is left out",
        )
