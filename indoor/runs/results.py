"""Reading runs: pytest-benchmark's JSON with our part in it, checked and as records."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from indoor.errors import IndoorError
from indoor.records import SCHEMA_VERSION, Measurement, RunIdentity, to_builtins
from indoor.runs.comparable import CaseKey, Subject, case_key, describe_mixture
from indoor.runs.document import ONE_BY_ONE, read_document
from indoor.runs.figures import (
    Rounds,
    check_numbers,
    check_stats,
    contradiction,
    no_numbers,
    read_rounds,
)

_AS_WRITTEN = "expected what this version of indoor writes; measure again"


@dataclass(frozen=True, kw_only=True)
class MeasuredCase:
    """One benchmark of a run; `fullname` is its node id in pytest."""

    fullname: str
    rounds: Rounds
    measurement: Measurement
    seconds: tuple[float, ...] = ()
    """Its rounds in the order of time, seconds a call; none where the file does not hold them."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run of the suite: one machine, one network, one data set.

    Attributes:
        source: The file's name without its folder, since a table may be published.
        datetime: ISO 8601 as pytest-benchmark wrote it.
        cases: What it measured.
        foreign: Node ids of benchmarks in the file that are not this suite's.
        stats: pytest-benchmark's statistics of every benchmark by node id, without the rounds.
    """

    source: str
    datetime: str
    cases: tuple[MeasuredCase, ...]
    foreign: tuple[str, ...] = ()
    stats: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def num_foreign(self) -> int:
        """How many benchmarks of the file are not this suite's."""
        return len(self.foreign)

    @property
    def subject(self) -> Subject:
        """What the run is about."""
        # The full matrix holds a few cases with the other allocator; most are the run's own.
        allocators = Counter(case.measurement.allocator for case in self.cases)
        (allocator, _), *_ = allocators.most_common(1)
        return Subject(run=self.cases[0].measurement.run, allocator=allocator)


class ForeignRunError(IndoorError):
    """A file of pytest-benchmark's that holds nothing of this suite."""


class ChangedRunError(IndoorError):
    """A file whose content is not what was saved."""


def load_results(paths: Iterable[Path]) -> tuple[RunResult, ...]:
    """Read runs from files that `pytest bench` saved, or that `--benchmark-json` wrote.

    Args:
        paths: JSON files, packed by gzip or not.

    Returns:
        A run a file, in the order given.

    Raises:
        IndoorError: A file cannot be read, is no JSON, is not pytest-benchmark's, holds nothing
            of this suite, holds a version that is not known, a figure that is none (NaN, infinity,
            out of its range), or mixes machines or networks.
    """
    return tuple(_load(path) for path in paths)


def seal(data: Mapping[str, object]) -> dict[str, str]:
    """Return what a file's member `indoor` holds: a hash over everything else in the file.

    Args:
        data: The file's JSON; a seal that is in it already plays no part.
    """
    others = {name: value for name, value in data.items() if name != "indoor"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"))
    return {"content_sha256": hashlib.sha256(text.encode()).hexdigest()}


def from_benchmark_json(data: object, source: str) -> RunResult:
    """Take a run out of what pytest-benchmark's JSON holds.

    Args:
        data: The decoded JSON: an object with `benchmarks`, `datetime` and so on.
        source: What to call it in tables and errors, such as the file's name.

    Returns:
        The run, its cases in the order of the file.

    Raises:
        IndoorError: As for `load_results`.
    """
    if isinstance(data, list) and any(isinstance(one, Mapping) for one in data):
        raise IndoorError(
            f"{source} holds a list of {len(data)} documents; expected one run; {ONE_BY_ONE}"
        )
    if not isinstance(data, Mapping) or not isinstance(data.get("benchmarks"), list):
        raise IndoorError(
            f"{source} holds no benchmarks; expected JSON that pytest-benchmark wrote; "
            "give a file that `pytest bench` saved under results/"
        )
    sealed = data.get("indoor")
    if sealed is not None and sealed != seal(data):
        raise ChangedRunError(
            f"{source} was changed or damaged after it was saved: its content has not the hash "
            "in `indoor.content_sha256`; expected the file as `pytest bench` wrote it; take a "
            "copy, or measure again"
        )
    benchmarks = data["benchmarks"]
    for index, entry in enumerate(benchmarks):
        if not isinstance(entry, Mapping):
            raise IndoorError(
                f"{source}: benchmarks[{index}] is no benchmark but a {type(entry).__name__}; "
                f"expected one run's; {ONE_BY_ONE}"
            )
    ours = [entry for entry in benchmarks if _is_ours(entry)]
    if not ours:
        raise ForeignRunError(
            f"{source} holds {len(benchmarks)} benchmarks and none of this suite; expected "
            '`extra_info["indoor"]` in them; give a file that `pytest bench` saved'
        )
    check_numbers(data, source)
    cases = tuple(_case(entry, source) for entry in ours)
    for entry in benchmarks:
        if not _is_ours(entry):
            check_stats(entry.get("stats"), f"{source}, {_fullname(entry)}")
    foreign = tuple(_fullname(entry) for entry in benchmarks if not _is_ours(entry))
    _refuse_several(cases, foreign, source)
    return RunResult(
        source=source,
        datetime=str(data.get("datetime") or ""),
        cases=cases,
        foreign=foreign,
        stats={_fullname(entry): _stats(entry) for entry in benchmarks},
    )


def measurement_schema() -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of `extra_info["indoor"]`, from the records."""
    schema = msgspec.json.encode(msgspec.json.schema(Measurement))  # a default may be a tuple
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:indoor:measurement:v{SCHEMA_VERSION}",
        **msgspec.json.decode(schema),
    }


def _refuse_several(cases: Sequence[MeasuredCase], foreign: Sequence[str], source: str) -> None:
    """Refuse more than one run's cases: a table has one caption, and each case one row."""
    names: dict[CaseKey | str, list[str]] = {name: [] for name in foreign}
    for name in foreign:
        names[name].append(name)
    for case in cases:
        names.setdefault(case_key(case.measurement), []).append(case.fullname)
    most = max(names.values(), key=len)
    if len(most) > 1:
        others = [name for name in dict.fromkeys(most) if name != most[0]]
        again = f", also as {', '.join(others)}" if others else ""
        raise IndoorError(
            f"{source} holds {most[0]} {len(most)} times{_short(again)}; expected each case once, "
            f"as in one run; {ONE_BY_ONE}"
        )
    mixture = describe_mixture([case.measurement.run for case in cases])
    if mixture:
        raise IndoorError(f"{source} mixes {_short(mixture)}; expected one run; {ONE_BY_ONE}")
    first = cases[0]
    for case in cases:
        if case.measurement.run != first.measurement.run:
            member, there, here = _difference(first.measurement.run, case.measurement.run)
            raise IndoorError(
                f"{source}, {case.fullname} is of another run than {first.fullname}: run.{member} "
                f"is {_short(here)} and not {_short(there)}; expected one run; {ONE_BY_ONE}"
            )


def _difference(there: RunIdentity, here: RunIdentity) -> tuple[str, str, str]:
    """Return the first member in which two runs differ, and its two values."""
    one, other = dict(_leaves(to_builtins(there))), dict(_leaves(to_builtins(here)))
    member = next(name for name in (*one, *other) if one.get(name) != other.get(name))
    return member, str(one.get(member)), str(other.get(member))


def _leaves(data: object, member: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _leaves(value, f"{member}.{name}" if member else str(name))
    else:
        yield member, data


def _load(path: Path) -> RunResult:
    data = read_document(path)
    try:
        return replace(from_benchmark_json(data, str(path)), source=path.name)
    except RecursionError as error:
        raise IndoorError(
            f"{path} is nested too deeply; expected JSON that pytest-benchmark wrote; "
            "give a file that `pytest bench` saved"
        ) from error


def _is_ours(entry: Mapping[str, object]) -> bool:
    extra = entry.get("extra_info")
    return isinstance(extra, Mapping) and "indoor" in extra


def _fullname(entry: Mapping[str, object]) -> str:
    return str(entry.get("fullname") or entry.get("name") or "a benchmark without a name")


def _stats(entry: Mapping[str, object]) -> dict[str, object]:
    stats = entry.get("stats")
    return {k: v for k, v in stats.items() if k != "data"} if isinstance(stats, Mapping) else {}


def _case(entry: Mapping[str, object], source: str) -> MeasuredCase:
    fullname = _fullname(entry)
    extra = entry["extra_info"]
    assert isinstance(extra, Mapping)
    ours = extra["indoor"]
    where = f"{source}, {fullname}"
    version = _version(ours, where)
    breaks = f"{where} breaks version {version} of the schema at"
    measurement = _measurement(ours, breaks)
    rounds = read_rounds(entry.get("stats"), where)
    others = {name: value for name, value in entry.items() if name != "stats"}
    others["extra_info"] = {name: value for name, value in extra.items() if name != "indoor"}
    for member, problem in no_numbers(others):
        raise IndoorError(f"{where}: {member}: {problem}; {_AS_WRITTEN}")
    disagrees = contradiction(measurement, rounds)
    if disagrees is not None:
        raise IndoorError(f"{breaks} {disagrees}; {_AS_WRITTEN}")
    stats = entry["stats"]
    assert isinstance(stats, Mapping)
    return MeasuredCase(
        fullname=fullname,
        rounds=rounds,
        measurement=measurement,
        seconds=tuple(stats.get("data") or ()),
    )


def _version(ours: object, where: str) -> int:
    version = ours.get("schema_version") if isinstance(ours, Mapping) else None
    remedy = "measure again with this version of indoor"
    if isinstance(version, int) and not isinstance(version, bool):
        if 1 <= version <= SCHEMA_VERSION:
            return version
        if version > SCHEMA_VERSION:
            remedy = "a newer indoor wrote it: install that version"
    raise IndoorError(
        f"{where} has schema version {_short(repr(version))}; expected 1 to {SCHEMA_VERSION}; "
        f"{remedy}"
    )


def _measurement(ours: object, breaks: str) -> Measurement:
    """Return the record, once all of its figures are numbers and within their limits."""
    for member, problem in no_numbers(ours):
        raise IndoorError(f"{breaks} {member}: {problem}; {_AS_WRITTEN}")
    try:
        return msgspec.convert(ours, type=Measurement)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        member = place.strip("`.") or "its top level"
        found = "" if ", got " in problem else _found(ours, place)
        raise IndoorError(f"{breaks} {member}: {problem}{found}; {_AS_WRITTEN}") from error


def _found(data: object, place: str) -> str:
    """Return the value at msgspec's place, such as `.run.data.sha256`.

    Nothing where the place is one of many (`[...]`), or where an object or list stands.
    """
    for name, index in re.findall(r"\.(\w+)|\[(.+?)\]", place):
        if name and isinstance(data, Mapping):
            data = data.get(name)
        elif index.isdecimal() and isinstance(data, Sequence):
            data = data[int(index)]
        else:
            return ""
    return "" if isinstance(data, Mapping | list | tuple) else f", got {_short(repr(data))}"


def _short(text: str, length: int = 160) -> str:
    """Return `text` on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    return f"{line[: length // 2]} ... {line[-(length // 2) :]}"
