"""The words of the command line; nothing here imports torch, so that `--help` is quick."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indoor import __version__
from indoor.cli.diagnose_arguments import add_diagnose
from indoor.cli.explain_arguments import add_explain
from indoor.cli.gate_arguments import add_gate
from indoor.cli.history_arguments import add_history
from indoor.cli.network_arguments import add_networks
from indoor.cli.parser import (
    Parser,
    add_html,
    address,
    command,
    group,
    hexadecimal,
    milliseconds,
    natural,
    points,
    positive,
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments, with the function to call as `command`.

    Raises:
        SystemExit: After `--help` or `--version` (status 0), or a mistake (status 2).
    """
    parsed = build_parser().parse_args(arguments)
    check = getattr(parsed, "check", None)
    if check is not None:
        check(parsed)
    return parsed


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `indoor` with all its commands."""
    parser = Parser(
        prog="indoor",
        description="What int8 really buys on your CPU. The benchmark itself is `pytest bench`; "
        "`pytest bench --help` lists its options under `indoor`.",
        epilog="example: indoor demo && indoor train && indoor quantize demo && "
        "indoor evaluate demo",
    )
    parser.add_argument("--version", action="version", version=f"indoor {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_data(commands)
    add_networks(commands)
    add_diagnose(commands)
    _add_report(commands)
    _add_recommend(commands)
    add_explain(commands)
    _add_results(commands)
    add_gate(commands)
    add_history(commands)
    _add_doctor(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = command(
        commands,
        "demo",
        "draw a small data set of indoor scenes in MIT Indoor-67's layout",
        "indoor demo --out data/demo --seed 0",
    )
    scenes = group(demo, "scenes")
    scenes.add_argument(
        "--train", type=positive, metavar="N", help="train photographs a class (default: 60)"
    )
    scenes.add_argument(
        "--test", type=positive, metavar="N", help="test photographs a class (default: 60)"
    )
    scenes.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="same seed, same scenes (default: 0)"
    )
    group(demo, "output").add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to (default: data/demo)"
    )


def _add_data(commands: Any) -> None:
    data = commands.add_parser(
        "data",
        help="get a data set, look at it, or write it as shards",
        description="Get a data set, look at it, or write it as shards.",
        epilog="example: indoor data download data/mit67 && indoor data verify data/mit67",
    )
    kinds = data.add_subparsers(metavar="WHAT", required=True)
    _add_download(kinds)
    verify = command(
        kinds,
        "verify",
        "check every list and photograph of a data set; exit 1 where something is wrong",
        "indoor data verify data/mit67",
        module="data",
    )
    verify.add_argument("root", type=Path, metavar="ROOT", help="the folder with Images/ and lists")
    shard = command(
        kinds,
        "shard",
        "write a data set as tar shards, which every command reads like the folder",
        "indoor data shard data/mit67 data/mit67-shards",
        module="data_shard",
    )
    shard.add_argument("root", type=Path, metavar="ROOT", help="the folder with Images/ and lists")
    shard.add_argument("out", type=Path, metavar="OUT", help="the folder for the shards")
    shards = group(shard, "shards")
    shards.add_argument(
        "--shard-mb",
        type=positive,
        default=256,
        metavar="MB",
        help="about the size of a shard (default: 256)",
    )
    shards.add_argument(
        "--seed",
        type=natural,
        default=0,
        metavar="N",
        help="decides the order of the train photographs in the shards (default: 0)",
    )
    shards.add_argument(
        "--skip-broken",
        action="store_true",
        help="leave out files that hold no whole photograph (default: all as they are)",
    )


def _add_download(kinds: Any) -> None:
    download = command(
        kinds,
        "download",
        "get MIT Indoor-67 (2.4 GB; for research use only), whole and verified; the same command "
        "goes on where it was interrupted",
        "indoor data download data/mit67",
        module="data_download",
    )
    download.add_argument(
        "root", type=Path, metavar="ROOT", help="the folder to make, new or empty"
    )
    source = group(download, "archive")
    place = source.add_mutually_exclusive_group()
    place.add_argument(
        "--url", type=address, metavar="URL", help="of a mirror (default: the publisher's)"
    )
    place.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="a tar, tar.gz or zip at hand, also of the 6,700 listed photographs alone (default: "
        "download it)",
    )
    known = source.add_mutually_exclusive_group()
    known.add_argument(
        "--sha1",
        type=hexadecimal(40),
        metavar="HASH",
        help="of the archive (default: the publisher's; a file at hand is taken as it is)",
    )
    known.add_argument(
        "--sha256", type=hexadecimal(64), metavar="HASH", help="the same (default: none)"
    )


def _add_report(commands: Any) -> None:
    report = command(
        commands,
        "report",
        "the tables of saved runs (default: of the newest)",
        "indoor report results/published/*.json.gz --format markdown",
        formats=("table", "markdown", "json", "csv"),
    )
    report.add_argument(
        "files",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="saved runs, or folders with them (default: the newest)",
    )
    runs = group(report, "runs")
    runs.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="where to look for the newest (default: results/)",
    )
    runs.add_argument(
        "--baseline", type=Path, metavar="FILE", help="compare with this run (default: none)"
    )
    output = group(report, "output")
    output.add_argument(
        "--summary",
        action=argparse.BooleanOptionalAction,
        help="the runs in short, by machine, and how far the machines' speedups lie apart "
        "(default: in tables of more than 20 runs)",
    )
    output.add_argument(
        "--plot", type=Path, metavar="PNG", help="also plot ms per photograph (default: no plot)"
    )
    add_html(output)
    output.add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )
    output.add_argument(
        "--unit",
        choices=("ms", "us"),
        help="milliseconds or microseconds in table and markdown (default: ms)",
    )
    output.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of one measurement instead"
    )


def _add_recommend(commands: Any) -> None:
    recommend = command(
        commands,
        "recommend",
        "which runtime, precision, batch, threads and processes a saved run speaks for; exit 1 "
        "where nothing holds the limits, 3 where the data do not decide it",
        "indoor recommend --max-latency-ms 50 --max-drop 0.5 --objective throughput",
    )
    recommend.add_argument(
        "files",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="saved runs, each of which has an answer of its own (default: the newest)",
    )
    group(recommend, "runs").add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="where to look for the newest (default: results/)",
    )
    question = group(recommend, "question")
    question.add_argument(
        "--objective",
        choices=("throughput", "latency", "memory", "size"),
        default="throughput",
        help="what shall be best (default: throughput)",
    )
    question.add_argument(
        "--max-latency-ms",
        type=milliseconds,
        metavar="MS",
        help="what a batch may take (default: no limit)",
    )
    question.add_argument(
        "--max-drop",
        type=points,
        metavar="POINTS",
        help="loss of top-1 against float32 that must be excluded (default: no limit)",
    )
    question.add_argument(
        "--latency",
        choices=("label", "forward", "p90", "p99"),
        default="label",
        help="label: the median from JPEG bytes to label; p90, p99: percentiles of it; forward: "
        "the median of the forward pass alone (default: label)",
    )
    question.add_argument(
        "--max-batch", type=positive, metavar="N", help="no larger batch (default: no limit)"
    )
    question.add_argument(
        "--max-threads",
        type=positive,
        metavar="N",
        help="no more threads, of all processes together (default: no limit)",
    )
    group(recommend, "output").add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )


def _add_results(commands: Any) -> None:
    results = commands.add_parser(
        "results",
        help="look after the saved runs",
        description="Look after the saved runs.",
        epilog="example: indoor results list",
    )
    actions = results.add_subparsers(metavar="WHAT", required=True)
    listing = _results_command(
        actions,
        "list",
        "one line a saved run: commit, CPU, cases, how it ended",
        "indoor results list --json",
    )
    group(listing, "output").add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )
    promote = _results_command(
        actions,
        "promote",
        "make a saved run the one that a bare --benchmark-compare takes",
        "indoor results promote 0007",
    )
    promote.add_argument("result", metavar="RESULT", help="its number, such as 0007, or its file")
    group(promote, "runs").add_argument(
        "--force", action="store_true", help="also one that failed cases or left some out"
    )
    prune = _results_command(
        actions,
        "prune",
        "remove the oldest saved runs, never the promoted one",
        "indoor results prune --keep 20 --dry-run",
    )
    runs = group(prune, "runs")
    runs.add_argument("--keep", type=positive, required=True, metavar="N", help="newest to keep")
    runs.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    runs.add_argument(
        "--partial-days",
        type=natural,
        default=7,
        metavar="N",
        help="also remove what interrupted runs left, if older than N days (default: 7)",
    )
    site = _results_command(
        actions,
        "site",
        "a folder of pages for GitHub Pages: all runs, their machines, the newest, the history",
        "indoor results site public",
    )
    site.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to write or bring up")
    group(site, "output").add_argument(
        "--pages",
        type=natural,
        default=20,
        metavar="N",
        help="pages of the newest N runs, beside the promoted ones; those that were made stay "
        "(default: 20)",
    )


def _results_command(
    actions: Any, name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    parser = command(actions, name, summary, example, module="results")
    group(parser, "runs").add_argument(
        "--results", type=Path, metavar="FOLDER", help="where they are (default: results/)"
    )
    parser.set_defaults(action=name)
    return parser


def _add_doctor(commands: Any) -> None:
    command(
        commands,
        "doctor",
        "what of this machine matters for figures one can trust; exit 1 where something hurts",
        "indoor doctor --json",
    )
