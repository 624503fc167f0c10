"""Which saved run a run is compared with, and what the comparison finds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from indoor.records import Machine, RunIdentity
from indoor.runs.storage import SavedRun, machine_differences, mismatch


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The runs to compare with, none where there is none, and lines that say so.

    Times are compared with `runs`; with `elsewhere`, of other machines, only the ratios.
    """

    runs: tuple[SavedRun, ...]
    lines: tuple[str, ...]
    elsewhere: tuple[SavedRun, ...] = ()


def refuse_other_machines(
    candidates: Iterable[SavedRun], machine: Machine, *, allowed: bool, judges_times: bool
) -> None:
    """Refuse a run that was named and is of another machine.

    Args:
        candidates: The runs that were named.
        machine: This one.
        allowed: Whether ratios are to be compared nevertheless.
        judges_times: Whether the command asks to fail on times.

    Raises:
        pytest.UsageError: One line that lists the fields that differ.
    """
    for run in candidates:
        if run.identity is None:
            raise pytest.UsageError(
                f"--benchmark-compare: {run.name} holds nothing of this suite, so nobody knows of "
                "which machine it is; expected a run that `pytest bench` saved"
            )
        found = machine_differences(run.identity.machine, machine)
        if not found:
            continue
        listed = "; ".join(
            f"{field} {_short(there)} there, {_short(here)} here"
            for field, (there, here) in found.items()
        )
        if not allowed:
            raise pytest.UsageError(
                f"--benchmark-compare: {run.name} is of another machine: {listed}; expected a run "
                "of this one; --allow-other-machine compares the speedups alone"
            )
        if judges_times:
            raise pytest.UsageError(
                f"--benchmark-compare-fail: {run.name} is of another machine, whose times say "
                f"nothing about this one ({listed}); expected none with --allow-other-machine"
            )


def choose_baseline(
    candidates: Iterable[SavedRun],
    compare: bool | str,
    identity: RunIdentity,
    allocator: str,
) -> Choice:
    """Return what to compare with.

    A run that was named is taken, with a warning where it is of something else; of one of another
    machine only the ratios count (`refuse_other_machines` has asked whether it is allowed).
    Otherwise it is the newest promoted one, else the newest that holds all cases and failed
    nothing, of the same machine, network, data, weights and allocator, since any other says nothing
    about a change of the code.

    Args:
        candidates: From `find_runs`, the oldest first.
        compare: What the command line said.
        identity: This run's.
        allocator: This run's.
    """
    runs = tuple(candidates)
    if not runs:
        return Choice(
            runs=(),
            lines=("no earlier run to compare with; this one is saved as the first",),
        )
    if compare is not True:
        return _named_runs(runs, identity, allocator)
    lines: list[str] = []
    reasons: dict[str, int] = {}
    newest = runs[::-1]
    promoted = tuple(run for run in newest if run.promoted)
    for run in (*promoted, *(run for run in newest if not run.promoted)):
        reason = mismatch(run, identity, allocator)
        if reason is None and run.promoted:
            return Choice(runs=(run,), lines=(*lines, f"comparing with {run.name} (promoted)"))
        if run.promoted:
            lines.append(f"the promoted {run.name} is {reason} and is passed over")
        elif reason is None and not run.problems:
            return Choice(runs=(run,), lines=(*lines, f"comparing with {run.name}"))
        word = reason or ("narrowed" if "narrowed" in run.problems else "failed")
        reasons[word] = reasons.get(word, 0) + 1
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return Choice(
        runs=(),
        lines=(
            f"none of the {len(runs)} saved runs fits ({counted}); this one is saved, and "
            "becomes the baseline unless it is narrowed or fails",
        ),
    )


def _named_runs(runs: tuple[SavedRun, ...], identity: RunIdentity, allocator: str) -> Choice:
    lines: list[str] = []
    times: list[SavedRun] = []
    elsewhere: list[SavedRun] = []
    for run in runs:
        found = differences(run, identity, allocator)
        there = run.identity
        if there is None or machine_differences(there.machine, identity.machine):
            elsewhere.append(run)
            lines.append(
                f"comparing only the speedups with {run.name}, of another machine: "
                f"{'; '.join(found)}"
            )
            continue
        times.append(run)
        lines.append(f"comparing with {run.name}")
        if found:
            lines.append(
                f"WARNING: {run.name} was measured on something else, its times say nothing "
                f"about a change of the code: {'; '.join(found)}"
            )
    return Choice(runs=tuple(times), lines=tuple(lines), elsewhere=tuple(elsewhere))


def differences(run: SavedRun, identity: RunIdentity, allocator: str) -> list[str]:
    """Return the fields in which the run's machine and subject differ from this run's."""
    if run.identity is None:
        return ["it holds nothing of this suite"]
    there, here = run.identity.machine, identity.machine
    pairs = machine_differences(there, here) | {
        field: (getattr(there, field), getattr(here, field))
        for field in ("torch", "python", "system")
    }
    pairs |= {
        "model": (run.identity.arch, identity.arch),
        "data": (_named(run.identity.data), _named(identity.data)),
        "weights": (_named(run.identity.weights), _named(identity.weights)),
        "preprocessing": (run.identity.preprocessing, identity.preprocessing),
        "allocator": (run.allocator, allocator),
    }
    return [
        f"{field} {_short(one)} there, {_short(other)} here"
        for field, (one, other) in pairs.items()
        if one != other
    ]


def regressions(
    checks: Iterable[Any], current: Mapping[str, Any], baselines: Iterable[SavedRun]
) -> list[str]:
    """Return a line for each case that is worse than `--benchmark-compare-fail` allows.

    Args:
        checks: pytest-benchmark's parsed expressions.
        current: This run's benchmarks by node id; anything that has its statistics by name.
        baselines: The runs compared with.
    """
    return [
        f"{name}: {check.field} {bench[check.field]:.6g} s, {run.name} has "
        f"{run.benchmarks[name]['stats'][check.field]:.6g} s ({problem.split(' has failed ')[-1]})"
        for check in checks
        for run in baselines
        for name, bench in current.items()
        if name in run.benchmarks
        and _is_judged(bench)
        and (problem := check.fails(bench, run.benchmarks[name]["stats"]))
    ]


def unmatched(current: Iterable[str], run: SavedRun) -> list[str]:
    """Return lines that name the cases which only one of the two runs has."""
    here, there = set(current), set(run.benchmarks)
    return [
        f"{len(names)} {'case' if len(names) == 1 else 'cases'} {words}: {_listed(names)}"
        for names, words in (
            (sorted(there - here), f"only in {run.name} (not measured now, renamed or removed)"),
            (sorted(here - there), f"not in {run.name} (new or renamed)"),
        )
        if names
    ]


def _is_judged(bench: Any) -> bool:
    """Peak memory has one round, whose time is that of a whole process: no figure to fail on."""
    ours = bench["extra_info"].get("indoor", {})
    return bool(ours.get("case") != "peak-memory")


def _named(record: Any) -> str:
    """Return the name of data or weights, told apart by their content's hash."""
    return f"{record.name} ({(record.sha256 or 'random')[:12]})"


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(names: list[str]) -> str:
    shown = [name.rpartition("::")[-1] for name in names[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
