"""Which saved run a run is compared with, and what is worse than it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from indoor.errors import IndoorError
from indoor.records import Machine, Measurement, from_builtins
from indoor.runs.comparable import (
    CaseKey,
    Comparability,
    Subject,
    case_key,
    comparable,
    comparable_machines,
)
from indoor.runs.saved import SavedRun, read_runs

FIRST = "0001"
"""The number that the first run of an empty storage gets."""

_SAME_SECONDS = ("model", "input")
"""What leaves times that were at least taken on one machine by one clock."""

NUMBERED = "[0-9][0-9][0-9][0-9]_"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The runs to compare with, none where there is none, and lines that say so.

    Times are compared with `runs`; with `elsewhere`, of other machines or environments, only the
    ratios.
    """

    runs: tuple[SavedRun, ...]
    lines: tuple[str, ...]
    elsewhere: tuple[SavedRun, ...] = ()


def find_runs(storage: Any, compare: bool | str) -> tuple[SavedRun, ...]:
    """Return the saved runs that may be meant, by name; why one cannot be is in its `fault`.

    Args:
        storage: pytest-benchmark's, or whatever has a `path` and a `query` of files by name.
        compare: True for all, else a number, a file, or a pattern of them.

    Raises:
        IndoorError: The storage holds runs, but none that `compare` names, or the named one or the
            file that names the promoted ones cannot be read or trusted.
    """
    everything = _read_all(storage, NUMBERED)
    if compare is True:
        return everything
    try:
        found = _read_all(storage, str(compare))
    except ValueError as error:
        raise IndoorError(f"--benchmark-compare={compare}: {error}") from error
    for run in found:
        if run.fault in ("changed", "unreadable"):
            raise IndoorError(f"--benchmark-compare: {run.reason}")
    if found or (not everything and str(compare) == FIRST):
        return found
    known = ", ".join(run.name.split("_")[0] for run in everything[-8:])
    raise IndoorError(
        f"--benchmark-compare={compare}: there is no such run in {storage}; expected "
        f"{f'one of {known}' if known else 'none yet, since none was saved'}"
    )


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
        IndoorError: One line that lists the fields that differ.
    """
    for run in candidates:
        if run.identity is None:
            raise IndoorError(
                f"--benchmark-compare: {run.name} holds nothing of this suite, so nobody knows of "
                "which machine it is; expected a run that `pytest bench` saved"
            )
        found = comparable_machines(run.identity.machine, machine)
        if not found.decisive:  # what one of them did not record says nothing
            continue
        differs = "; ".join(map(str, found.decisive))
        if not allowed:
            raise IndoorError(
                f"--benchmark-compare: {run.name} is of another machine: {differs}; expected a run "
                "of this one; --allow-other-machine compares the speedups alone"
            )
        if judges_times:
            raise IndoorError(
                f"--benchmark-compare-fail: {run.name} is of another machine, whose times say "
                f"nothing about this one ({differs}); expected none with --allow-other-machine"
            )


def choose_baseline(
    candidates: Iterable[SavedRun],
    compare: bool | str,
    here: Subject,
    *,
    judges_times: bool = False,
) -> Choice:
    """Return what to compare with.

    A run that was named is taken, with a warning where it is of something else; where only ratios
    may be compared, only they are (`refuse_other_machines` has asked whether it is allowed), and
    where another clock leaves not even them, nothing is. Otherwise it is the newest promoted one,
    else the newest that holds all cases and failed nothing, which `comparable` finds to be of the
    same machine and subject, since any other says nothing about a change of the code.

    Args:
        candidates: From `find_runs`, the oldest first.
        compare: What the command line said.
        here: What this run is about.
        judges_times: Whether the command asks to fail on times.

    Raises:
        IndoorError: Times are to be judged against a named run whose times say nothing here.
    """
    runs = tuple(candidates)
    if not runs:
        return Choice(
            runs=(),
            lines=("no earlier run to compare with; this one is saved as the first",),
        )
    if compare is not True:
        return _named_runs(runs, here, judges_times=judges_times)
    lines: list[str] = []
    reasons: Counter[str] = Counter()
    newest = runs[::-1]
    promoted = tuple(run for run in newest if run.promoted)
    for run in (*promoted, *(run for run in newest if not run.promoted)):
        found = None if run.subject is None else comparable(run.subject, here)
        reason = run.fault if found is None else found.other
        if found is not None and reason is None and (run.promoted or not run.problems):
            mark = " (promoted)" if run.promoted else ""
            lines += [f"comparing with {run.name}{mark}", *_notes(run, found)]
            return Choice(runs=(run,), lines=tuple(lines))
        if run.promoted:
            lines.append(f"the promoted {run.name} is {reason} and is passed over")
        reasons[reason or ("narrowed" if "narrowed" in run.problems else "failed")] += 1
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return Choice(
        runs=(),
        lines=(
            f"none of the {len(runs)} saved runs fits ({counted}); this one is saved, and "
            "becomes the baseline unless it is narrowed or fails",
        ),
    )


def match_cases(current: Mapping[str, Any], run: SavedRun) -> dict[str, Mapping[str, Any]]:
    """Return the statistics of the run's cases that are also this run's, by this run's names.

    Cases are matched by what they measure, so that a renamed test has still to be as fast.

    Args:
        current: This run's benchmarks by node id; anything that has its `extra_info` by name.
        run: An earlier run that holds something of this suite.
    """
    assert run.result is not None
    known = _keys(run)
    return {
        name: run.result.stats[known[key]]
        for name, bench in current.items()
        if (key := _key(name, bench)) in known
    }


def regressions(
    checks: Iterable[Any], current: Mapping[str, Any], baselines: Iterable[SavedRun]
) -> list[str]:
    """Return a line for each case that is worse than `--benchmark-compare-fail` allows.

    Args:
        checks: pytest-benchmark's parsed expressions.
        current: This run's benchmarks by node id; anything that has its statistics by name, too.
        baselines: The runs compared with.
    """
    return [
        f"{name}: {check.field} {bench[check.field]:.6g} s, {run.name} has "
        f"{there[check.field]:.6g} s ({problem.split(' has failed ')[-1]})"
        for check in checks
        for run in baselines
        for name, there in match_cases(current, run).items()
        if _is_judged(bench := current[name]) and (problem := check.fails(bench, there))
    ]


def unmatched(current: Mapping[str, Any], run: SavedRun) -> list[str]:
    """Return lines that name the cases which only one of the two runs has."""
    keys = {_key(name, bench): name for name, bench in current.items()}
    known = _keys(run)
    return [
        f"{len(names)} {'case' if len(names) == 1 else 'cases'} {words}: {_listed(names)}"
        for names, words in (
            (
                sorted(name for key, name in known.items() if key not in keys),
                f"only in {run.name} (not measured now, renamed or removed)",
            ),
            (
                sorted(name for key, name in keys.items() if key not in known),
                f"not in {run.name} (new or renamed)",
            ),
        )
        if names
    ]


def _read_all(storage: Any, pattern: str) -> tuple[SavedRun, ...]:
    return tuple(read_runs(storage.query(pattern)))


def _named_runs(runs: tuple[SavedRun, ...], here: Subject, *, judges_times: bool) -> Choice:
    lines: list[str] = []
    times: list[SavedRun] = []
    elsewhere: list[SavedRun] = []
    for run in runs:
        if run.subject is None:
            lines.append(f"comparing nothing with {run.name}: it holds nothing of this suite")
            continue
        found = comparable(run.subject, here)
        if found.level != "times" and judges_times:
            raise IndoorError(
                f"--benchmark-compare-fail: {run.name} is {found.other}, so its times say nothing "
                f"about this run ({found}); expected a run that was measured on the same"
            )
        if found.level == "ratios":
            elsewhere.append(run)
            lines.append(f"comparing only the speedups with {run.name}, {found.other}: {found}")
            continue
        if any(one.name not in _SAME_SECONDS for one in found.decisive):
            lines.append(f"comparing nothing with {run.name}, {found.other}: {found}")
            continue
        times.append(run)
        lines += [f"comparing with {run.name}", *_notes(run, found)]
    return Choice(runs=tuple(times), lines=tuple(lines), elsewhere=tuple(elsewhere))


def _notes(run: SavedRun, found: Comparability) -> list[str]:
    """Return what has to be known beside a comparison with the run."""
    if found.other:
        return [
            f"WARNING: {run.name} was measured on something else, its times say nothing "
            f"about a change of the code: {found}"
        ]
    return [f"what differs besides the code: {found}"] if found.differences else []


def _keys(run: SavedRun) -> dict[CaseKey | str, str]:
    """Return the names of a run's benchmarks by what they measure; others' by their names."""
    assert run.result is not None
    known: dict[CaseKey | str, str] = {name: name for name in run.result.foreign}
    return known | {case_key(case.measurement): case.fullname for case in run.result.cases}


def _key(name: str, bench: Any) -> CaseKey | str:
    ours = bench["extra_info"].get("indoor")
    return name if ours is None else case_key(from_builtins(ours, Measurement, name))


def _is_judged(bench: Any) -> bool:
    """Peak memory has one round, whose time is that of a whole process: no figure to fail on."""
    ours = bench["extra_info"].get("indoor", {})
    return bool(ours.get("case") != "peak-memory")


def _listed(names: list[str]) -> str:
    shown = [name.rpartition("::")[-1] for name in names[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
