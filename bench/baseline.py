"""Which saved run a run is compared with, and what the comparison finds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.storage import SavedRun
from indoor.records import RunIdentity

__all__ = [
    "Choice",
    "choose_baseline",
    "differences",
    "regressions",
    "unmatched",
]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The runs to compare with, none where there is none, and lines that say so."""

    runs: tuple[SavedRun, ...]
    lines: tuple[str, ...]


def choose_baseline(
    candidates: Iterable[SavedRun],
    compare: bool | str,
    identity: RunIdentity,
    allocator: str,
) -> Choice:
    """Return what to compare with.

    A run that was named is taken, with a warning where it is of something else. Otherwise it is the
    newest that holds all cases, failed nothing, and is of the same CPU, network, data, weights and
    allocator, since any other says nothing about a change of the code.

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
        lines: list[str] = []
        for run in runs:
            lines.append(f"comparing with {run.name}")
            found = differences(run, identity, allocator)
            if found:
                lines.append(
                    f"WARNING: {run.name} was measured on something else, its times say nothing "
                    f"about a change of the code: {'; '.join(found)}"
                )
        return Choice(runs=runs, lines=tuple(lines))
    reasons: dict[str, int] = {}
    for run in reversed(runs):
        reason = _unfit(run, identity, allocator)
        if reason is None:
            return Choice(runs=(run,), lines=(f"comparing with {run.name}",))
        reasons[reason] = reasons.get(reason, 0) + 1
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return Choice(
        runs=(),
        lines=(
            f"none of the {len(runs)} saved runs fits ({counted}); this one is saved, and "
            "becomes the baseline unless it is narrowed or fails",
        ),
    )


def differences(run: SavedRun, identity: RunIdentity, allocator: str) -> list[str]:
    """Return the fields in which the run's machine and subject differ from this run's."""
    if run.identity is None:
        return ["it holds nothing of this suite"]
    pairs = {
        field: (getattr(run.identity.machine, field), getattr(identity.machine, field))
        for field in ("cpu_model", "num_cores", "isa", "memory_bytes", "torch", "python", "system")
    }
    # Memory is what the kernel leaves over, which differs a little from boot to boot.
    there, here = pairs["memory_bytes"]
    if there and here and abs(there - here) < 0.05 * here:
        del pairs["memory_bytes"]
    pairs |= {
        "model": (run.identity.arch, identity.arch),
        "data": (_named(run.identity.data), _named(identity.data)),
        "weights": (_named(run.identity.weights), _named(identity.weights)),
        "preprocessing": (run.identity.preprocessing, identity.preprocessing),
        "allocator": (run.allocator, allocator),
    }
    return [
        f"{field} {_short(there)} there, {_short(here)} here"
        for field, (there, here) in pairs.items()
        if there != here
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


def _unfit(run: SavedRun, identity: RunIdentity, allocator: str) -> str | None:
    """Return in a word why the run cannot be the baseline by default; None where it can."""
    there = run.identity
    if there is None:
        return "of another suite"
    if there.narrowed:
        return "narrowed"
    if there.not_a_baseline:
        return "failed"
    for reason, same in (
        ("of another CPU", there.machine.cpu_model == identity.machine.cpu_model),
        ("of another model", there.arch == identity.arch),
        ("of other data", there.data.sha256 == identity.data.sha256),
        ("of other weights", there.weights == identity.weights),
        ("of another preprocessing", there.preprocessing == identity.preprocessing),
        ("with another allocator", run.allocator == allocator),
    ):
        if not same:
            return reason
    return None


def _named(record: Any) -> str:
    """Return the name of data or weights, told apart by their content's hash."""
    return f"{record.name} ({(record.sha256 or 'random')[:12]})"


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(names: list[str]) -> str:
    shown = [name.rpartition("::")[-1] for name in names[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
