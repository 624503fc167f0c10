"""`indoor doctor`: what of this machine decides whether its figures can be trusted."""

import argparse

from indoor.cli.output import Outcome, use_color, width
from indoor.machine import diagnose, read_machine
from indoor.measure import current_allocator
from indoor.report import render_machine


def run(parsed: argparse.Namespace) -> Outcome:  # noqa: ARG001 - every command takes the words
    """Read the machine; each warning comes with its remedy."""
    machine = read_machine()
    advice = diagnose(machine, allocator=current_allocator())
    return Outcome(
        record={"machine": machine, "advice": advice},
        text=render_machine(machine, advice, width=width(), color=use_color()),
        status=int(any(item.level == "warning" for item in advice)),
    )
