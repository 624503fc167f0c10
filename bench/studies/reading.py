"""Gates' reports as the studies read them: whole, each once, and with rounds that are times."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from indoor.errors import IndoorError
from indoor.gate.records import GATE_SCHEMA_VERSION, CellTrace, GateReport
from indoor.records import read_record, to_json
from indoor.runs.figures import MOST


def read_reports(paths: Sequence[Path]) -> list[GateReport]:
    """Read what `indoor gate --out` wrote, a report a file.

    Raises:
        IndoorError: A file is no such report, or of a newer version; a cell or a launch is in it
            twice; a round is no time; or two files hold the same gate, whose launches would count
            twice. One line that names the file and the cell.
    """
    reports = [_read(path) for path in paths]
    known: dict[bytes, Path] = {}
    for path, report in zip(paths, reports, strict=True):
        gate = to_json((report.cpu_model, report.began_at, report.seed, report.traces))
        if gate in known:
            raise IndoorError(
                f"{path} holds the same gate as {known[gate]}; expected each gate once, since its "
                "launches would count twice; leave one out"
            )
        known[gate] = path
    return reports


def _read(path: Path) -> GateReport:
    report = read_record(path, GateReport)
    if not 1 <= report.schema_version <= GATE_SCHEMA_VERSION:
        raise IndoorError(
            f"{path} has schema version {report.schema_version}; expected "
            f"{GATE_SCHEMA_VERSION}; run the gate again with this version of indoor"
        )
    names = Counter(trace.name for trace in report.traces)
    for trace in report.traces:
        problem = "is there twice" if names[trace.name] > 1 else _problem(trace)
        if problem:
            raise IndoorError(
                f"{path}, {trace.name} {problem}; expected one gate's rounds as `indoor gate "
                "--out` writes them; give the gates' own files one by one, or run it again"
            )
    return report


def _problem(trace: CellTrace) -> str | None:
    """Return what is wrong with a cell's launches."""
    numbers = Counter(launch.launch for launch in trace.launches)
    for launch in trace.launches:
        where = f"has in launch {launch.launch}"
        if numbers[launch.launch] > 1:
            return f"has launch {launch.launch} twice"
        if len({len(seconds) for seconds in launch.seconds.values()}) > 1:
            lengths = ", ".join(f"{arm} {len(s)}" for arm, s in launch.seconds.items())
            return f"{where} rounds that are no pairs ({lengths})"
        for arm, seconds in launch.seconds.items():
            for index, value in enumerate(seconds):
                if not 0 < value < MOST:
                    return f"{where} no time (seconds.{arm}[{index}] is {value:g})"
    return None
