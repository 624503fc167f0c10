"""How often the gate is wrong, and how often the usual rules are: the studies' command line.

Examples:
    python -m bench.studies.gate replay gate.json --gates 2000 --out gate-replay.json.gz
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
from pathlib import Path

from bench.options import ROOT
from bench.studies import run
from bench.studies.gate_tables import render_studies
from bench.studies.noise import MEASURES, reduce_noise
from bench.studies.reading import read_reports
from bench.studies.records import FalseAlarmStudy, Rates, ReplayStudy, Slowed
from indoor.errors import IndoorError
from indoor.files import read_bytes
from indoor.gate.records import CellTrace, GateReport
from indoor.gate.settings import PlanRules
from indoor.records import from_json, write_record

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
    slowdowns: Sequence[float] = SLOWDOWNS,
    slower: Mapping[float, Sequence[Path]] | None = None,
    max_launches: int | None = None,
    measure: str = "none",
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
        slowdowns: Those that are put into one cell a gate, 0 among them.
        slower: By slowdown, JSON of gates whose head really was that much slower.
        max_launches: Those that the plan's minutes hold; None for as many as its looks ask for.
        measure: What is done to the launches against noise, one of `bench.studies.noise.MEASURES`.
        say: Hears a line after each slowdown.

    Raises:
        IndoorError: A file is no gate report, they are of different CPUs, or there are too few
            launches.
    """
    from bench.studies.replay import describe_noise, join_runs, replay
    from bench.studies.rivals import replay_rivals

    def traces_of(reports: Sequence[GateReport]) -> tuple[CellTrace, ...]:
        return reduce_noise(join_runs([report.traces for report in reports]), measure)

    reports = read_reports(files)
    machines = sorted({f"{report.cpu_model}, {report.num_cores} cores" for report in reports})
    if len(machines) > 1:
        raise IndoorError(
            f"the traces are of {len(machines)} machines ({'; '.join(machines)}), expected one; "
            "make a study of each"
        )
    traces = traces_of(reports)
    really_slower = {
        share: traces_of(read_reports(paths)) for share, paths in (slower or {}).items()
    }
    rates: list[Rates] = []
    for slowdown in slowdowns:
        real = really_slower.get(slowdown)
        ours = replay(traces, plan, num_gates, seed, slowdown, real, max_launches)
        rates += [ours, *replay_rivals(traces, num_gates, seed, slowdown, rival_launches)]
        say(f"+{slowdown:.0%}: {ours.runs.num_fail} of {num_gates:,} gates are red")
    return ReplayStudy(
        title=title,
        cpu_model=reports[0].cpu_model,
        num_cores=reports[0].num_cores,
        commit=reports[0].head.commit,
        sources=tuple(path.name for paths in (files, *(slower or {}).values()) for path in paths),
        really_slower=tuple(
            Slowed(slowdown=share, cell=cell.name, measured=cell.median)
            for share, real in really_slower.items()
            for cell in describe_noise(real)
        ),
        plan=plan,
        seed=seed,
        num_gates=num_gates,
        rival_launches=rival_launches,
        max_launches=max_launches,
        measure=measure,
        cells=describe_noise(traces),
        rates=tuple(rates),
    )


def _replay(parsed: argparse.Namespace) -> int:
    slower: dict[float, list[Path]] = {}
    for word in parsed.slower:
        share, _, path = word.partition("=")
        try:
            slower.setdefault(float(share), []).append(Path(path))
        except ValueError:
            raise IndoorError(
                f"--slower {word}: expected SHARE=FILE, such as 0.05=t.json"
            ) from None
    slowdowns = (0.0, *(share for share in parsed.slowdowns if share))
    if unknown := sorted(set(slower) - set(slowdowns)):
        raise IndoorError(f"--slower {unknown[0]:g}: expected one of {slowdowns}")
    study = replay_files(
        parsed.files,
        PlanRules(
            margin=parsed.margin,
            tolerance=parsed.tolerance,
            wider=tuple(parsed.wider),
            accepted=parsed.accepted,
            looks=tuple(parsed.looks),
        ),
        title=parsed.title,
        num_gates=parsed.gates,
        seed=parsed.seed,
        rival_launches=parsed.rival_launches,
        slowdowns=slowdowns,
        slower=slower,
        max_launches=parsed.launches,
        measure=parsed.measure,
        say=_say,
    )
    if parsed.out:
        write_record(parsed.out, study)
    return _print_tables([study])


def _record(parsed: argparse.Namespace) -> int:
    from bench.studies.recording import record

    record(
        parsed.out,
        parsed.words,
        num_launches=parsed.launches,
        slowdowns=parsed.slowdowns,
        units=parsed.units,
        plan=PlanRules(),
        seed=parsed.seed,
        say=_say,
    )
    return 0


def _false_alarms(parsed: argparse.Namespace) -> int:
    from bench.studies.complete import count_false_alarms

    study = count_false_alarms(
        parsed.out,
        parsed.runs,
        title=parsed.suite,
        words=parsed.words,
        seed=parsed.seed,
        hog=parsed.hog,
        minutes=parsed.minutes,
        say=_say,
    )
    return _print_tables([study])


def _calibrate(parsed: argparse.Namespace) -> int:
    from bench.studies.recording import OUT, SECONDS, SHARE

    command = [sys.executable, "-m", "pytest", "bench/test_latency.py", "--benchmark-disable"]
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        OUT: str(parsed.out.resolve()),
        SECONDS: str(parsed.seconds),
        SHARE: str(parsed.check),
    }
    done = subprocess.run(
        [*command, "-p", "bench.studies.recording", *parsed.words],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode


def _table(parsed: argparse.Namespace) -> int:
    return _print_tables([_read_study(path) for path in parsed.files])


def _print_tables(studies: Sequence[ReplayStudy | FalseAlarmStudy]) -> int:
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
    replay.set_defaults(command=_replay)
    add = replay.add_argument
    add("files", nargs="+", type=Path, help="JSON of gates of identical code")
    add("--gates", type=_positive, default=2000, help="a rule and slowdown")
    add("--out", type=Path, help="where to write the study as JSON")
    add("--title", default="replay", help="what the table calls it")
    add("--seed", type=int, default=0)
    add("--launches", type=_positive, metavar="N", help="as many as the gate's minutes hold")
    add("--rival-launches", type=_positive, default=1, help="a side's launches")
    add("--margin", type=float, default=plan.margin)
    add("--tolerance", type=float, default=plan.tolerance)
    add("--measure", choices=MEASURES, default="none", help="what is done against noise")
    add("--wider", type=float, nargs="*", default=plan.wider, help="the ladder's other rungs")
    add("--accepted", type=float, default=plan.accepted, help="the widest rung that passes")
    add("--looks", type=_positive, nargs="+", default=plan.looks)
    add("--slowdowns", type=float, nargs="*", default=SLOWDOWNS[1:], help="put into one cell")
    add("--slower", action="append", default=[], metavar="SHARE=FILE", help="really slower traces")

    record = commands.add_parser("record", help="traces of identical and of slower code")
    record.set_defaults(command=_record)
    add = record.add_argument
    add("--out", type=Path, required=True, help="a folder for the traces")
    add("--launches", type=_positive, default=20)
    add("--slowdowns", type=float, nargs="*", default=SLOWDOWNS[1:])
    add("--units", type=Path, required=True, help="what calibrate wrote")
    add("--seed", type=int, default=0)
    add("words", nargs=argparse.REMAINDER, help="-- and options of the suite")

    alarms = commands.add_parser("false-alarms", help="complete gates of identical code")
    alarms.set_defaults(command=_false_alarms)
    add = alarms.add_argument
    add("--runs", type=_positive, default=300, help="with those already in --out")
    add("--out", type=Path, required=True, help="the study; it is gone on with")
    add("--suite", default="ordinary functions", help="or: short models, ResNet-50")
    add("--seed", type=int, default=0, help="of the first gate")
    add("--hog", action="store_true", help="keep a core busy at random moments")
    add("--minutes", type=float, help="a gate's, where not those of the suite's own plan")
    add("words", nargs=argparse.REMAINDER, help="-- and options of the suite")

    calibrate = commands.add_parser("calibrate", help="units of extra work for gate_slowdown")
    calibrate.set_defaults(command=_calibrate)
    add = calibrate.add_argument
    add("--out", type=Path, required=True, help="the file of units")
    add("--seconds", type=float, default=20.0, help="a cell, twice")
    add("--check", type=float, default=0.05, help="the share to check")
    add("words", nargs=argparse.REMAINDER, help="-- and options of the suite")

    table = commands.add_parser("table", help="print studies as markdown")
    table.set_defaults(command=_table)
    table.add_argument("files", nargs="+", type=Path, help="what replay and false-alarms wrote")
    parsed = parser.parse_args(arguments)
    if "words" in parsed:
        parsed.words = [word for word in parsed.words if word != "--"]
    return parsed


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}, expected 1 or more")
    return value


if __name__ == "__main__":
    run(main)
