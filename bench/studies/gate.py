"""How often the gate is wrong, and how often the usual rules are: the studies' command line.

Examples:
    python -m bench.studies.gate replay gate.json --gates 2000 --out gate-replay.json
    python -m bench.studies.gate false-alarms --runs 300 --out gate-false-alarms.json
    python -m bench.studies.gate record --units units.json --out traces -- --data ROOT
    python -m bench.studies.gate calibrate --out units.json -- --variant float32,int8 --batch 1,8
    python -m bench.studies.gate table results/studies/gate-replay-*.json.gz
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from bench.options import ROOT
from bench.studies.records import FalseAlarmStudy, Rates, ReplayStudy, Slowed
from indoor.errors import IndoorError
from indoor.files import read_bytes
from indoor.gate.records import CellTrace, GateReport
from indoor.gate.settings import PlanRules
from indoor.gate.worker import CONTROL
from indoor.records import from_json, read_record, write_record

SLOWDOWNS = (0.0, 0.02, 0.03, 0.05, 0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study that the command names.

    Returns:
        0, or pytest's exit status where a calibration fails.
    """
    parsed = _parse(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    return command(parsed)


def replay_files(
    files: Sequence[Path],
    plan: PlanRules,
    *,
    title: str,
    num_gates: int,
    seed: int,
    rival_launches: int,
    slower: Mapping[float, Sequence[Path]] | None = None,
    max_launches: int | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> ReplayStudy:
    """Replay gates of identical code from the traces in gate reports.

    Args:
        files: JSON of gates whose two sides were the same code, in the order of time. Best is a
            plan with a single late look, so that no cell stopped early.
        plan: The rules to try.
        title: What a table calls the study.
        num_gates: For each rule and slowdown.
        seed: Decides the draws.
        rival_launches: Launches whose rounds make one side for the usual rules.
        slower: By slowdown, JSON of gates whose head really was that much slower.
        max_launches: Those that the plan's minutes hold; None for as many as its looks ask for.
        say: Hears a line after each slowdown.

    Raises:
        IndoorError: A file is no gate report, they are of different CPUs, or there are too few
            launches.
    """
    from bench.studies.replay import describe_noise, join_runs, replay, replay_rivals

    reports = [read_record(path, GateReport) for path in files]
    machines = sorted({f"{report.cpu_model}, {report.num_cores} cores" for report in reports})
    if len(machines) > 1:
        raise IndoorError(
            f"the traces are of {len(machines)} machines ({'; '.join(machines)}), expected one; "
            "make a study of each"
        )
    traces = join_runs([_cell_traces(report) for report in reports])
    real = {
        share: join_runs([_cell_traces(read_record(path, GateReport)) for path in paths])
        for share, paths in (slower or {}).items()
    }
    rates: list[Rates] = []
    for slowdown in SLOWDOWNS:
        ours = replay(traces, plan, num_gates, seed, slowdown, real.get(slowdown), max_launches)
        rates += [ours, *replay_rivals(traces, num_gates, seed, slowdown, rival_launches)]
        say(f"+{slowdown:.0%}: {ours.runs.num_fail} of {num_gates:,} gates are red")
    return ReplayStudy(
        title=title,
        cpu_model=reports[0].cpu_model,
        num_cores=reports[0].num_cores,
        commit=reports[0].head.commit,
        sources=tuple(
            path.name for path in [*files, *chain.from_iterable((slower or {}).values())]
        ),
        really_slower=tuple(
            Slowed(slowdown=share, cell=cell.name, measured=cell.median)
            for share, traces in real.items()
            for cell in describe_noise(traces)
        ),
        plan=plan,
        seed=seed,
        num_gates=num_gates,
        rival_launches=rival_launches,
        max_launches=max_launches,
        cells=describe_noise(traces),
        rates=tuple(rates),
    )


def _cell_traces(report: GateReport) -> list[CellTrace]:
    """Return the traces but the frozen control's, which is no cell."""
    return [trace for trace in report.traces if trace.name != CONTROL]


def _replay(parsed: argparse.Namespace) -> int:
    plan = PlanRules(margin=parsed.margin, tolerance=parsed.tolerance, looks=tuple(parsed.looks))
    study = replay_files(
        parsed.files,
        plan,
        title=parsed.title,
        num_gates=parsed.gates,
        seed=parsed.seed,
        rival_launches=parsed.rival_launches,
        slower=_slower_files(parsed.slower),
        max_launches=parsed.launches,
        say=_say,
    )
    if parsed.out:
        write_record(parsed.out, study)
    return _print_tables([study])


def _slower_files(words: Sequence[str]) -> dict[float, list[Path]]:
    """Return the files by slowdown from words such as `0.05=traces-5.json`."""
    files: dict[float, list[Path]] = {}
    for word in words:
        share, _, path = word.partition("=")
        try:
            files.setdefault(float(share), []).append(Path(path))
        except ValueError:
            raise IndoorError(
                f"--slower {word}: expected SHARE=FILE, such as 0.05=t.json"
            ) from None
    unknown = sorted(set(files) - set(SLOWDOWNS))
    if unknown:
        raise IndoorError(f"--slower {unknown[0]:g}: expected one of {SLOWDOWNS}")
    return files


def _record(parsed: argparse.Namespace) -> int:
    from bench.studies.recording import record

    record(
        parsed.out,
        [word for word in parsed.words if word != "--"],
        num_launches=parsed.launches,
        slowdowns=parsed.slowdowns,
        units=parsed.units,
        plan=PlanRules(),
        seed=parsed.seed,
        say=_say,
    )
    return 0


def _false_alarms(parsed: argparse.Namespace) -> int:
    from bench.studies.false_alarms import SUITES, count_false_alarms

    if parsed.suite not in SUITES:
        raise IndoorError(f"--suite {parsed.suite}: expected one of {', '.join(SUITES)}")
    study = count_false_alarms(
        parsed.out,
        parsed.runs,
        title=parsed.suite,
        seed=parsed.seed,
        hog=parsed.hog,
        say=_say,
    )
    return _print_tables([study])


def _calibrate(parsed: argparse.Namespace) -> int:
    from bench.studies.calibrate import OUT, SECONDS, SHARE

    words = [word for word in parsed.words if word != "--"]
    command = [sys.executable, "-m", "pytest", "bench/test_latency.py", "--benchmark-disable"]
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        OUT: str(parsed.out.resolve()),
        SECONDS: str(parsed.seconds),
        SHARE: str(parsed.check),
    }
    done = subprocess.run(
        [*command, "-p", "bench.studies.calibrate", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode


def _table(parsed: argparse.Namespace) -> int:
    return _print_tables([_read_study(path) for path in parsed.files])


def _print_tables(studies: Sequence[ReplayStudy | FalseAlarmStudy]) -> int:
    from bench.studies.tables import render_studies

    sys.stdout.write(render_studies(studies))
    return 0


def _read_study(path: Path) -> ReplayStudy | FalseAlarmStudy:
    try:
        data = read_bytes(path)
    except OSError as error:
        raise IndoorError(f"{path} cannot be read: {error.strerror}; name a study's file") from None
    if b'"gate-replay"' in data:
        return from_json(data, ReplayStudy, str(path))
    return from_json(data, FalseAlarmStudy, str(path))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a script's progress


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.studies.gate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = PlanRules()

    replay = commands.add_parser("replay", help="draw gates from recorded traces")
    replay.add_argument("files", nargs="+", type=Path, help="JSON of gates of identical code")
    replay.add_argument("--gates", type=_positive, default=2000, help="a rule and slowdown")
    replay.add_argument("--out", type=Path, help="where to write the study as JSON")
    replay.add_argument("--title", default="replay", help="what the table calls it")
    replay.add_argument("--seed", type=int, default=0)
    replay.add_argument(
        "--launches", type=_positive, metavar="N", help="as many as the gate's minutes hold"
    )
    replay.add_argument("--rival-launches", type=_positive, default=1, help="a side's launches")
    replay.add_argument("--margin", type=float, default=plan.margin)
    replay.add_argument("--tolerance", type=float, default=plan.tolerance)
    replay.add_argument("--looks", type=_positive, nargs="+", default=plan.looks)
    replay.add_argument(
        "--slower", action="append", default=[], metavar="SHARE=FILE", help="really slower traces"
    )
    replay.set_defaults(command=_replay)

    record = commands.add_parser("record", help="traces of identical and of slower code")
    record.add_argument("--out", type=Path, required=True, help="a folder for the traces")
    record.add_argument("--launches", type=_positive, default=20)
    record.add_argument("--slowdowns", type=float, nargs="*", default=SLOWDOWNS[1:])
    record.add_argument("--units", type=Path, required=True, help="what calibrate wrote")
    record.add_argument("--seed", type=int, default=0)
    record.add_argument("words", nargs=argparse.REMAINDER, help="-- and options of the suite")
    record.set_defaults(command=_record)

    alarms = commands.add_parser("false-alarms", help="complete gates of identical code")
    alarms.add_argument("--runs", type=_positive, default=300, help="with those already in --out")
    alarms.add_argument("--out", type=Path, required=True, help="the study; it is gone on with")
    alarms.add_argument(
        "--suite", default="ordinary functions", help="that (default), or: short models"
    )
    alarms.add_argument("--seed", type=int, default=0, help="of the first gate")
    alarms.add_argument("--hog", action="store_true", help="keep a core busy at random moments")
    alarms.set_defaults(command=_false_alarms)

    calibrate = commands.add_parser("calibrate", help="units of extra work for gate_slowdown")
    calibrate.add_argument("--out", type=Path, required=True, help="the file of units")
    calibrate.add_argument("--seconds", type=float, default=20.0, help="a cell, twice")
    calibrate.add_argument("--check", type=float, default=0.05, help="the share to check")
    calibrate.add_argument("words", nargs=argparse.REMAINDER, help="-- and options of the suite")
    calibrate.set_defaults(command=_calibrate)

    table = commands.add_parser("table", help="print studies as markdown")
    table.add_argument("files", nargs="+", type=Path, help="what replay and false-alarms wrote")
    table.set_defaults(command=_table)
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}, expected 1 or more")
    return value


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except IndoorError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a script's output
        raise SystemExit(2) from None
