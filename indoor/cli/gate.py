"""`indoor gate`: whether head got worse than base, by pairs measured side by side."""

import argparse
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from indoor.cli.output import Outcome, use_color, width
from indoor.errors import IndoorError
from indoor.files import check_new_file
from indoor.gate.controller import run_gate
from indoor.gate.decide.verdicts import exit_status
from indoor.gate.page import gate_page_blocks, page_title
from indoor.gate.records import GateReport
from indoor.gate.report import render_gate
from indoor.gate.selftest import render_self_test, self_test
from indoor.gate.settings import CellOverride, GateConfig
from indoor.gate.sides.rules import choose_rules
from indoor.gate.sides.setup import GateJob
from indoor.gate.trial_suite import EXAMPLE_PLAN, SUITE
from indoor.records import read_record
from indoor.report.page import check_new_page, write_page

BROKEN = 3
"""As for INCONCLUSIVE; Python's own status of an uncaught exception is 1, as for FAIL."""


def run(parsed: argparse.Namespace) -> Outcome:
    """Run the gate, or test it on code whose truth is known."""
    try:
        if parsed.html is not None:
            check_new_page(parsed.html)
        if parsed.show is not None:
            return _shown(parsed)
        return _self_test(parsed) if parsed.self_test else _gate(parsed)
    except IndoorError:
        raise
    except Exception:  # noqa: BLE001 - a defect of the gate must not read as one of head's
        _say(f"defect in the gate itself, please report it:\n{traceback.format_exc()}")
        text = "INCONCLUSIVE: the gate itself broke (the traceback is above); it blames nobody.\n"
        return Outcome(record=None, text=text, status=BROKEN)


def _gate(parsed: argparse.Namespace) -> Outcome:
    ruling = choose_rules(
        Path.cwd(),
        path=parsed.config,
        suite=Path(parsed.suite) if parsed.suite else None,
        base=parsed.base,
        head=parsed.head,
        by_head=parsed.head_rules,
    )
    words = {
        "max_minutes": parsed.minutes,
        "accepted": parsed.accept,
        "strict": parsed.strict or None,
    }
    said = {name: word for name, word in words.items() if word is not None}
    # The command line's words beat the file's.
    config = replace(ruling.config, plan=replace(ruling.config.plan, **said))
    if parsed.accept is not None:
        if parsed.accept < config.plan.tolerance:
            raise IndoorError(
                f"--accept {parsed.accept:g} lies below the first tolerance, "
                f"{config.plan.tolerance:g}; expected that or more; --strict accepts it alone, and "
                "tolerance in gate.toml sets it"
            )
        # And what a mark or one of [[cells]] accepts, as --strict does.
        everywhere = CellOverride(glob="*", accepted=parsed.accept)
        config = replace(config, cells=(*config.cells, everywhere))
    if parsed.out is not None:
        check_new_file(parsed.out, option="--out")
    job = GateJob(
        start=Path.cwd(),
        base=parsed.base,
        head=parsed.head,
        base_python=parsed.base_python,
        head_python=parsed.head_python,
        config=config,
        rule_changes=ruling.changes,
        head_allows=ruling.head_allows,
        use_head_marks=parsed.head_rules,
        accept_changed=parsed.accept_changed,
        arguments=tuple(parsed.suite_arguments),
        seed=parsed.seed,
        out=parsed.out and parsed.out.absolute(),
        use_facts=not parsed.no_facts,
        say=_say,
    )
    return _told(run_gate(job), parsed)


def _shown(parsed: argparse.Namespace) -> Outcome:
    report = read_record(parsed.show, GateReport)
    if parsed.accept_changed:
        report = replace(report, changes_accepted=True)
    return _told(report, parsed)


def _told(report: GateReport, parsed: argparse.Namespace) -> Outcome:
    text = render_gate(report, format=parsed.format, width=width(), color=use_color())
    status = exit_status(report, allow_inconclusive=parsed.allow_inconclusive)
    try:
        if parsed.html is not None:
            write_page(parsed.html, page_title(report), gate_page_blocks(report))
    except IndoorError as error:
        # The verdict of what took minutes is told all the same, and a page that is missing is no
        # green run.
        return Outcome(record=None, text=text, status=status or BROKEN, notes=(str(error),))
    return Outcome(record=None, text=text, status=status)


def _self_test(parsed: argparse.Namespace) -> Outcome:
    def run_one(base: Path, head: Path) -> GateReport:
        config = GateConfig(plan=EXAMPLE_PLAN, suite=SUITE)
        return run_gate(GateJob(start=base, base_root=base, head_root=head, config=config))

    report = self_test(run_one, seed=parsed.seed, say=_say)
    return Outcome(
        record=report,
        text=render_self_test(report, width=width(), color=use_color()),
        status=report.exit_status,
    )


def _say(line: str) -> None:
    """Tell how far the gate is; standard output is the report's alone."""
    sys.stderr.write(f"indoor gate: {line}\n")
    sys.stderr.flush()
