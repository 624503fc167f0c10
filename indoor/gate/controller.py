"""A gate run from two trees to one report: which cells there are, facts first, then launches."""

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from indoor.errors import IndoorError
from indoor.gate.facts.preparation import prepare_sides
from indoor.gate.launches import measure_cells
from indoor.gate.limits import rules_for
from indoor.gate.naming import doubt_changing_ids, mention_marks, other_files
from indoor.gate.records import ChangedTest, CheckReport, GateReport, GateVerdict
from indoor.gate.settings import selects, unmatched_globs
from indoor.gate.sides.setup import GateJob, Sides, open_sides
from indoor.gate.sides.suite_code import changed_tests
from indoor.gate.tally import Tally
from indoor.gate.wording import listed, matches
from indoor.gate.worker import LaunchRules, collect_cells
from indoor.locks import machine_lock
from indoor.measure.process import ChildLostError
from indoor.records import write_record


def run_gate(job: GateJob) -> GateReport:
    """Compare head with base.

    Args:
        job: What to compare, and by which rules.

    Returns:
        The report; where the run was interrupted or a worker was lost, what was measured by then,
        marked partial.

    Raises:
        IndoorError: The job cannot be done as it was asked for; one line.
    """
    tally = Tally(job)
    with signals_as_interrupts():
        try:
            with machine_lock(job.lock_wait_s, job.say), open_sides(job) as sides:
                tally.sides = sides
                for note in sides.notes:
                    tally.note(note)
                _compare(job, sides, tally)
        except KeyboardInterrupt as interrupt:
            tally.break_off(f"interrupted ({str(interrupt) or 'Ctrl-C'})")
        except ChildLostError as lost:
            tally.break_off(f"a worker was lost: {lost}")
        except OSError as error:  # a full disk, too many processes: nobody's code got worse
            tally.break_off(f"this machine cannot go on: {error}")
    report = tally.report()
    if job.out is not None:
        try:
            write_record(job.out, report)
        except IndoorError as error:
            tally.break_off(str(error))
            return tally.report()
    return report


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Have SIGTERM and SIGHUP unwind like Ctrl-C, so that nothing is left behind."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {}
    try:
        for one in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(one) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                before[one] = signal.signal(one, interrupt)
    except ValueError:
        pass  # not the main thread: signals are its caller's matter
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _compare(job: GateJob, sides: Sides, tally: Tally) -> None:
    """Collect, prepare, compare what needs no clock, then measure."""
    began = time.monotonic()
    rules = LaunchRules(
        plan=job.config.plan,
        start_s=job.config.start_s,
        hang_s=job.config.hang_s,
        logs=sides.scratch,
        check_imports=sides.check_imports,
    )
    if not _survey(sides, rules, tally):
        return
    job.say(f"head {sides.head.label}, base {sides.base.label}, cells: {len(tally.rules)}")
    preparation = prepare_sides(sides, tally.collected, rules, job.say)
    tally.checks.extend(preparation.checks)
    tally.variants = preparation.variants
    tally.budget = preparation.budget
    tally.prepare_s = time.monotonic() - began
    failed = [c.name for c in preparation.checks if c.verdict is GateVerdict.FAIL]
    if failed:
        tally.note(f"nothing was timed: {', '.join(failed)} failed without a clock")
    elif not preparation.arms:
        tally.break_off(preparation.reason)
    elif tally.rules:
        measure_cells(job, preparation.arms, rules, tally)


def _survey(sides: Sides, rules: LaunchRules, tally: Tally) -> bool:
    """Find the cells that both sides have; return False where a side has no suite to speak of."""
    config = sides.job.config
    lost: dict[str, ChildLostError] = {}
    for name in ("base", "head"):
        try:
            sides.prepare(name)
            tally.collected[name] = collect_cells(sides.arm(name), rules)
        except ChildLostError as error:
            if error.cut_off:
                raise
            lost[name] = error
    remedies = {name: sides.remedy(name, error.reason) for name, error in lost.items()}
    if len(lost) == 2:
        raise IndoorError(
            f"neither side's suite {config.suite} can be collected (head {lost['head'].reason})"
            f"; expected a suite that pytest collects{remedies['head'] or '; run pytest on it'}"
        )
    if "base" in lost:
        tally.doubt = (
            f"base's suite cannot be collected ({lost['base'].reason}), so there is nothing to "
            f"compare with{remedies['base'] or '; name another --base'}"
        )
        return False
    for remark in sides.remarks:
        tally.note(remark)
    found = {name: collected.cells for name, collected in tally.collected.items()}
    base = {name: mark for name, mark in found["base"].items() if selects(config, name)}
    if not base:
        raise IndoorError(
            f"no test of base uses benchmark and fits select ({', '.join(config.select)}); "
            "expected one or more; correct gate.toml"
            if config.select
            else f"no test of base's suite {config.suite} uses benchmark; expected one or more; "
            f"see `pytest {config.suite} --collect-only -q` (options of its ini file count, too)"
            f"{other_files(sides.base.root / config.suite)}"
        )
    if "head" in lost:
        tally.checks.append(
            CheckReport(
                name="collection",
                verdict=GateVerdict.FAIL,
                base=f"{len(base)} cells",
                head="none",
                reason=f"head's suite cannot be collected: {lost['head'].reason}{remedies['head']}",
            )
        )
        return False
    head = {name: mark for name, mark in found["head"].items() if selects(config, name)}
    for glob in unmatched_globs(config, [*found["base"], *found["head"]]):
        tally.note(f"{glob} in gate.toml matches no cell")
    tally.vanished = tuple(name for name in base if name not in head)
    changed: list[ChangedTest] = []
    for name in tally.vanished:
        if any(matches(name, glob) for glob in config.allow_vanished):
            tally.note(f"{name} vanished, which allow_vanished allows")
        elif any(matches(name, glob) for glob in sides.job.head_allows):
            changed.append(ChangedTest(name=name, what="it vanished, which head's settings allow"))
    tally.new = tuple(name for name in head if name not in base)
    doubt_changing_ids(sides, rules, tally)
    mention_marks(config, tally)
    both = [name for name in base if name in head]
    marks = head if sides.job.use_head_marks else base
    tally.rules = {name: rules_for(config, name, marks[name]) for name in both}
    if other := [name for name in both if base[name] != head[name] and marks is base]:
        tally.rule_changes += (
            f"head's gate marks say otherwise for {listed(other)}; they are judged by base's, and "
            "by head's with --head-rules",
        )
    tally.changed = (*changed, *_changed_tests(sides, tally, both))
    return True


def _changed_tests(sides: Sides, tally: Tally, cells: Iterable[str]) -> Iterator[ChangedTest]:
    """Yield what head measures by other code than base does."""
    if sides.base.root == sides.head.root:
        return
    code = {
        side: {name: collected.code[name] for name in cells}
        for side, collected in tally.collected.items()
    }
    suite = sides.job.config.suite
    found = changed_tests(sides.base.root, sides.head.root, suite, code["base"], code["head"])
    for name, what in found.items():
        yield ChangedTest(name=name, what=what)
    if (facts := sides.changed_facts()) is not None:
        yield ChangedTest(name="what needs no clock", what=facts)
