"""Reading runs: pytest-benchmark's JSON with our part in it, checked and as records."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import msgspec

from indoor.errors import IndoorError
from indoor.files import read_bytes
from indoor.records import SCHEMA_VERSION, Measurement
from indoor.runs.comparable import Subject, case_key, describe_mixture


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What pytest-benchmark keeps of a case's rounds: seconds a call, not a photograph."""

    num_rounds: int
    minimum_s: float
    q1_s: float
    median_s: float
    q3_s: float


@dataclass(frozen=True, kw_only=True)
class MeasuredCase:
    """One benchmark of a run; `fullname` is its node id in pytest."""

    fullname: str
    rounds: Rounds
    measurement: Measurement


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
    benchmarks = [entry for entry in data["benchmarks"] if isinstance(entry, Mapping)]
    ours = [entry for entry in benchmarks if _is_ours(entry)]
    if not ours:
        raise ForeignRunError(
            f"{source} holds {len(benchmarks)} benchmarks and none of this suite; expected "
            '`extra_info["indoor"]` in them; give a file that `pytest bench` saved'
        )
    cases = tuple(_case(entry, source) for entry in ours)
    counted = Counter((case.fullname, case_key(case.measurement)) for case in cases)
    ((name, _), times), *_ = counted.most_common(1)
    if times > 1:
        raise IndoorError(
            f"{source} holds {name} {times} times; expected each case once, as in one run; report "
            "the runs' own files one by one"
        )
    mixture = describe_mixture([case.measurement.run for case in cases])
    if mixture:
        raise IndoorError(
            f"{source} mixes {_short(mixture)}; expected one run; report the runs' own files one "
            "by one"
        )
    return RunResult(
        source=source,
        datetime=str(data.get("datetime") or ""),
        cases=cases,
        foreign=tuple(_fullname(entry) for entry in benchmarks if not _is_ours(entry)),
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


def _load(path: Path) -> RunResult:
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _no_json(path, "it is not UTF-8 text") from error
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror or error}; expected a file that "
            "`pytest bench` saved; see results/ for those there are"
        ) from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is empty" if not text.strip() else str(error)
        raise _no_json(path, reason) from error
    return replace(from_benchmark_json(data, str(path)), source=path.name)


def _no_json(path: Path, reason: str) -> IndoorError:
    return IndoorError(
        f"{path} is no JSON: {reason}; expected a file that `pytest bench` saved; "
        "measure again if it was cut off"
    )


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
    measurement = _measurement(ours, f"{where} breaks version {version} of the schema at")
    return MeasuredCase(
        fullname=fullname,
        rounds=_rounds(entry.get("stats"), where),
        measurement=measurement,
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
    remedy = "expected what this version of indoor writes; measure again"
    for member, value in _floats(ours):
        if not math.isfinite(value):
            raise IndoorError(f"{breaks} {member}: {value} is no finite number; {remedy}")
    try:
        return msgspec.convert(ours, type=Measurement)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        member = place.strip("`.") or "its top level"
        found = "" if ", got " in problem else _found(ours, place)
        raise IndoorError(f"{breaks} {member}: {problem}{found}; {remedy}") from error


def _floats(data: object, member: str = "") -> Iterator[tuple[str, float]]:
    """Yield every float below `data`, by the members that lead to it."""
    if isinstance(data, float):
        yield member, data
    elif isinstance(data, Mapping):
        for name, value in data.items():
            yield from _floats(value, f"{member}.{name}" if member else str(name))
    elif isinstance(data, Sequence) and not isinstance(data, str):
        for index, value in enumerate(data):
            yield from _floats(value, f"{member}[{index}]")


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


def _rounds(stats: object, where: str) -> Rounds:
    try:
        assert isinstance(stats, Mapping)
        rounds = Rounds(
            num_rounds=int(stats["rounds"]),
            minimum_s=float(stats["min"]),
            q1_s=float(stats["q1"]),
            median_s=float(stats["median"]),
            q3_s=float(stats["q3"]),
        )
        assert rounds.num_rounds > 0
        assert all(math.isfinite(figure) and figure >= 0 for figure in astuple(rounds))
    except (AssertionError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise IndoorError(
            f"{where} has no usable stats; expected pytest-benchmark's rounds, min, q1, median "
            "and q3, finite numbers, none negative; measure again"
        ) from error
    return rounds


def _short(text: str, length: int = 160) -> str:
    """Return `text` on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    return f"{line[: length // 2]} ... {line[-(length // 2) :]}"
