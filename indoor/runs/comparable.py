"""Whether two runs may be compared: one table of what they may differ in, and what that costs."""

import hashlib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from indoor.records import Machine, Measurement, RunIdentity, to_json

Level = Literal["times", "ratios", "nothing"]
"""What may be compared: times; or only ratios that each run took for itself; or neither."""

LEVELS: tuple[Level, ...] = ("nothing", "ratios", "times")
"""The least first."""

NOT_RECORDED = "not recorded"
NOT_SET = "not set"

MEMORY_TOLERANCE = 0.05
"""Memory is what the kernel leaves over, which differs a little from boot to boot."""

Of = TypeVar("Of")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a run measured, and the allocator of most of its cases."""

    run: RunIdentity
    allocator: str | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What two runs differ in.

    Attributes:
        name: The record's member, or the environment's variable.
        label: The reader's word for it.
        there: The first run's value in words.
        here: The second run's.
        keeps: What may be compared in spite of it.
        other: Why the first is no baseline of the second unless it is named, such as `of another
            CPU`; None where what the difference does to times is a fair question.
    """

    name: str
    label: str
    there: str
    here: str
    keeps: Level
    other: str | None

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.name} {self.there} there, {self.here} here"


@dataclass(frozen=True, kw_only=True)
class Comparability:
    """What two runs differ in; nothing for a run and its repetition."""

    differences: tuple[Difference, ...]

    @property
    def level(self) -> Level:
        """What may be compared."""
        return min((one.keeps for one in self.differences), key=LEVELS.index, default="times")

    @property
    def other(self) -> str | None:
        """Why one is no baseline of the other unless it is named; None where it may be."""
        return next((one.other for one in self.differences if one.other), None)

    @property
    def decisive(self) -> tuple[Difference, ...]:
        """Those differences that leave no times to compare."""
        return tuple(one for one in self.differences if one.keeps != "times")

    def __str__(self) -> str:
        """Return all that differs in one line."""
        return "; ".join(map(str, self.differences))


@dataclass(frozen=True)
class _Field(Generic[Of]):
    """A row of the table: what runs may differ in, how to read it, and what a difference costs.

    `many` is its plural, for a file that mixes several. A value of None was not recorded, which is
    said and costs nothing, since nobody knows.
    """

    name: str
    label: str
    many: str
    keeps: Level
    other: str | None
    read: Callable[[Of], Any]
    same: Callable[[Any, Any], bool] = operator.eq


@dataclass(frozen=True)
class _Content:
    """Data or weights: the same where their content is, however they came here."""

    identity: str
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


def _data(subject: Subject) -> _Content:
    data = subject.run.data
    return _Content(data.sha256, f"{data.name} ({data.sha256[:12]})")


def _weights(subject: Subject) -> _Content:
    weights = subject.run.weights
    return _Content(weights.identity, f"{weights.name} ({(weights.sha256 or 'random')[:12]})")


def _near(there: int | None, here: int | None) -> bool:
    return not there or not here or abs(there - here) < MEMORY_TOLERANCE * here


def _input(subject: Subject) -> str:
    size = subject.run.preprocessing.size
    return f"{size} x {size}"


def _preprocessing(subject: Subject) -> tuple[object, ...]:
    known = subject.run.preprocessing
    return (known.resize, *known.mean, *known.std)


def _engine(subject: Subject) -> str:
    config = subject.run.quantization.config if subject.run.quantization else None
    return "none" if config is None else f"{config.engine} {config.activation_range}"


_CPU, _MACHINE, _INPUT = "of another CPU", "of another machine", "of another preprocessing"
_ENVIRONMENT, _ALLOCATOR = "with another environment", "with another allocator"

# fmt: off
_OF_MACHINE: tuple[_Field[Machine], ...] = (
    _Field("cpu_model", "CPU", "machines", "ratios", _CPU, lambda m: m.cpu_model),
    _Field("num_cores", "cores", "numbers of cores", "ratios", _MACHINE, lambda m: m.num_cores),
    _Field("num_physical_cores", "physical cores", "numbers of physical cores", "ratios", _MACHINE,
           lambda m: m.num_physical_cores),
    _Field("core_kinds", "kinds of cores", "kinds of cores", "ratios", _MACHINE,
           lambda m: m.core_kinds),
    _Field("isa", "instructions", "instruction sets", "ratios", _MACHINE, lambda m: m.isa),
    _Field("memory_bytes", "memory", "sizes of memory", "ratios", _MACHINE,
           lambda m: m.memory_bytes, _near),
    _Field("cpu_quota", "CPU quota", "CPU quotas", "ratios", _MACHINE,
           lambda m: m.cpu_quota or "none"),
)
"""The kernel, Python and torch are not the machine: what an upgrade does is a fair question."""

_OF_RUN: tuple[_Field[Subject], ...] = (
    _Field("device", "device", "devices", "ratios", "on another device", lambda s: s.run.device),
    _Field("environment", "environment", "environments", "ratios", _ENVIRONMENT,
           lambda s: s.run.environment),
    _Field("timer", "timer", "timers", "nothing", "with another timer", lambda s: s.run.timer),
    _Field("torch", "torch", "torch builds", "times", None, lambda s: s.run.machine.torch),
    _Field("python", "Python", "Pythons", "times", None, lambda s: s.run.machine.python),
    _Field("system", "system", "systems", "times", None, lambda s: s.run.machine.system),
    _Field("model", "network", "architectures", "nothing", "of another model",
           lambda s: s.run.arch),
    _Field("input", "input", "sizes of input", "nothing", _INPUT, _input),
    _Field("preprocessing", "preprocessing", "preprocessings", "times", _INPUT, _preprocessing),
    _Field("engine", "engine", "quantizations", "times", None, _engine),
    _Field("data", "data", "data sets", "times", "of other data", _data),
    _Field("weights", "weights", "weights", "times", "of other weights", _weights),
    _Field("checkpoints", "checkpoints", "sets of checkpoints", "times", None,
           lambda s: s.run.checkpoint_sha256),
    _Field("allocator", "allocator", "allocators", "times", _ALLOCATOR, lambda s: s.allocator),
)
"""The commit is not here: what it did to times is the question."""
# fmt: on

_OF_PLACE = tuple(one for one in _OF_RUN if one.name in ("device", "environment"))


def comparable(there: Subject, here: Subject) -> Comparability:
    """Return what two runs differ in, and with it what of them may be compared.

    Args:
        there: The earlier run, as a rule.
        here: The run in question.
    """
    return Comparability(
        differences=(
            *comparable_machines(there.run.machine, here.run.machine).differences,
            *_differences(_OF_RUN, there, here),
        )
    )


def comparable_machines(there: Machine, here: Machine) -> Comparability:
    """Return what two machines differ in, before anything else of a run is known."""
    return Comparability(differences=tuple(_differences(_OF_MACHINE, there, here)))


def comparable_places(there: Subject, here: Subject) -> Comparability:
    """Return what differs where two runs were measured: machine, device or environment."""
    machines = comparable_machines(there.run.machine, here.run.machine)
    return Comparability(differences=(*machines.differences, *_differences(_OF_PLACE, there, here)))


def subject_key(subject: Subject) -> str:
    """Return a text that is equal for subjects in which `comparable` finds no difference at all."""
    of_machine = [one.read(subject.run.machine) for one in _OF_MACHINE]
    return to_json((of_machine, [one.read(subject) for one in _OF_RUN])).decode()


def place_key(subject: Subject) -> str:
    """Return the same for `comparable_places`."""
    of_machine = [one.read(subject.run.machine) for one in _OF_MACHINE]
    return to_json((of_machine, [one.read(subject) for one in _OF_PLACE])).decode()


def describe_mixture(runs: Sequence[RunIdentity]) -> str | None:
    """Return in words what the runs differ in, such as `2 machines (A, B)`; None for one run.

    A table has one caption, so all of its figures must be of what the caption says.
    """
    machines = [run.machine for run in runs]
    subjects = [Subject(run=run) for run in runs]
    return _mixture(_OF_MACHINE, machines) or _mixture(_OF_RUN, subjects)


def unfinished_key(subject: Subject, *settings: object) -> str:
    """Return the name of the folder for the unfinished cells of runs that are just like this one.

    Args:
        subject: The run's, all of which has to be equal.
        settings: What else decides a cell's rounds: the code's hash, the time for a cell.
    """
    of_machine = [f.read(subject.run.machine) for f in _OF_MACHINE if f.same is operator.eq]
    of_run = [f.read(subject) for f in _OF_RUN]
    return hashlib.sha256(to_json((of_machine, of_run, settings))).hexdigest()[:32]


CaseKey = tuple[str, str, str, str, int, int, str, int, str]
"""Case, variant, runtime, device, batch, threads, allocator, processes, and the precision of a
limit, which is of no variant: what a case is, whatever the name of its test."""


def case_key(one: Measurement) -> CaseKey:
    """Return what a case measures, by which the cases of two runs are matched."""
    return (
        one.case,
        one.variant or "",
        one.runtime or "",
        one.device or "cpu",  # version 1 knew no other
        one.batch or 0,
        one.threads or 0,
        one.allocator,
        one.num_processes or 0,
        (one.precision or "") if one.variant is None else "",
    )


def _differences(fields: Iterable[_Field[Of]], there: Of, here: Of) -> Iterator[Difference]:
    for one in fields:
        values = one.read(there), one.read(here)
        if one.same(*values):
            continue
        known = None not in values
        keeps, other = (one.keeps, one.other) if known else ("times", None)
        pairs = {(one.name, one.label): values}
        if known and isinstance(values[0], dict):  # by its members, so that a line stays short
            names = sorted({*values[0], *values[1]})
            prefix = "" if one.name == "environment" else f"{one.label} "
            pairs = {
                (prefix + name, prefix + name): tuple(v.get(name, NOT_SET) for v in values)
                for name in names
            }
        for (name, label), (before, now) in pairs.items():
            if before != now:
                yield Difference(
                    name=name,
                    label=label,
                    there=_text(before),
                    here=_text(now),
                    keeps=keeps,
                    other=other,
                )


def _mixture(fields: Iterable[_Field[Of]], several: Sequence[Of]) -> str | None:
    for one in fields:
        values = [one.read(run) for run in several]
        if not all(one.same(value, values[0]) for value in values):
            found = sorted({_text(value) for value in values})
            return f"{len(found)} {one.many} ({', '.join(found)})"
    return None


def _text(value: object) -> str:
    if value is None:
        return NOT_RECORDED
    if isinstance(value, dict):
        text = ", ".join(f"{name} {_text(known)}" for name, known in sorted(value.items()))
        return text or NOT_SET
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    text = str(value)
    if re.fullmatch("[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= 80 else f"{text[:77]}..."
