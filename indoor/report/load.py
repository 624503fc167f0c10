"""Reading runs: pytest-benchmark's JSON with our part in it, checked and as records."""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import jsonschema
from jsonschema.protocols import Validator

from indoor.errors import IndoorError
from indoor.files import read_bytes
from indoor.records import SCHEMA_VERSION, Measurement, from_builtins


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

    `source` is the file's name without its folder, since a table may be published; `datetime` is
    ISO 8601 as pytest-benchmark wrote it.
    `num_foreign` counts benchmarks of the file that are not this suite's.
    """

    source: str
    datetime: str
    cases: tuple[MeasuredCase, ...]
    num_foreign: int = 0


def load_results(paths: Iterable[Path]) -> tuple[RunResult, ...]:
    """Read runs from files that `pytest bench` saved, or that `--benchmark-json` wrote.

    Args:
        paths: JSON files, packed by gzip or not.

    Returns:
        A run a file, in the order given.

    Raises:
        IndoorError: A file cannot be read, is no JSON, is not pytest-benchmark's, holds nothing
            of this suite, holds another version of it, or mixes machines or networks.
    """
    return tuple(_load(path) for path in paths)


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
    benchmarks = [entry for entry in data["benchmarks"] if isinstance(entry, Mapping)]
    ours = [entry for entry in benchmarks if "indoor" in (entry.get("extra_info") or {})]
    if not ours:
        raise IndoorError(
            f"{source} holds {len(benchmarks)} benchmarks and none of this suite; expected "
            '`extra_info["indoor"]` in them; give a file that `pytest bench` saved'
        )
    cases = tuple(_case(entry, source) for entry in ours)
    _refuse_a_mixture(cases, source)
    return RunResult(
        source=source,
        datetime=str(data.get("datetime") or ""),
        cases=cases,
        num_foreign=len(data["benchmarks"]) - len(ours),
    )


@functools.cache
def measurement_schema() -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of `extra_info["indoor"]`, this version's."""
    name = f"measurement-v{SCHEMA_VERSION}.schema.json"
    text = resources.files("indoor.report").joinpath(name).read_text(encoding="utf-8")
    schema = json.loads(text)
    assert isinstance(schema, dict)
    return schema


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


def _case(entry: Mapping[str, object], source: str) -> MeasuredCase:
    fullname = str(entry.get("fullname") or entry.get("name") or "a benchmark without a name")
    extra = entry["extra_info"]
    assert isinstance(extra, Mapping)
    ours = extra["indoor"]
    where = f"{source}, {fullname}"
    _check_version(ours, where)
    problem = jsonschema.exceptions.best_match(_validator().iter_errors(ours))
    if problem is not None:
        member = ".".join(str(step) for step in problem.absolute_path) or "its top level"
        raise IndoorError(
            f"{where} breaks version {SCHEMA_VERSION} of the schema at {member}: "
            f"{_short(problem.message)}; expected what this version of indoor writes; measure again"
        )
    measurement = from_builtins(ours, Measurement, where)
    return MeasuredCase(
        fullname=fullname,
        rounds=_rounds(entry.get("stats"), where),
        measurement=measurement,
    )


def _check_version(ours: object, where: str) -> None:
    version = ours.get("schema_version") if isinstance(ours, Mapping) else None
    if version == SCHEMA_VERSION and not isinstance(version, bool):
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        remedy = "a newer indoor wrote it: install that version"
    else:
        remedy = "measure again with this version of indoor"
    raise IndoorError(
        f"{where} has schema version {_short(repr(version))}; expected {SCHEMA_VERSION}; {remedy}"
    )


def _rounds(stats: object, where: str) -> Rounds:
    try:
        assert isinstance(stats, Mapping)
        return Rounds(
            num_rounds=int(stats["rounds"]),
            minimum_s=float(stats["min"]),
            q1_s=float(stats["q1"]),
            median_s=float(stats["median"]),
            q3_s=float(stats["q3"]),
        )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise IndoorError(
            f"{where} has no usable stats; expected pytest-benchmark's rounds, min, q1, median "
            "and q3; measure again"
        ) from error


def _refuse_a_mixture(cases: tuple[MeasuredCase, ...], source: str) -> None:
    """A table has one caption, so all of its figures must be of what the caption says."""
    runs = [case.measurement.run for case in cases]
    found: dict[str, set[str]] = {
        "machines": {run.machine.cpu_model for run in runs},
        "torch builds": {run.machine.torch for run in runs},
        "architectures": {run.arch for run in runs},
        "data sets": {run.data.sha256 for run in runs},
        "sets of checkpoints": {str(sorted(run.checkpoint_sha256.items())) for run in runs},
    }
    for what, values in found.items():
        if len(values) > 1:
            raise IndoorError(
                f"{source} mixes {len(values)} {what} ({_short(', '.join(sorted(values)))}); "
                "expected one run; report the runs' own files one by one"
            )


@functools.cache
def _validator() -> Validator:
    """Return a validator that takes tuples for arrays, as a run has them before it is saved."""
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "array", lambda _, value: isinstance(value, list | tuple)
    )
    tolerant: type[Validator] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, type_checker=checker
    )
    return tolerant(measurement_schema())


def _short(text: str, length: int = 160) -> str:
    """Return `text` on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    return f"{line[: length // 2]} ... {line[-(length // 2) :]}"
