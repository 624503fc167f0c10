"""The words of the command line; nothing here imports torch, so that `--help` is quick."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indoor import __version__
from indoor.cli.gate_arguments import add_gate
from indoor.cli.parser import Parser, command, group, natural, positive


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
    _add_train(commands)
    _add_quantize(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_report(commands)
    _add_results(commands)
    add_gate(commands)
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
        help="look at a data set",
        description="Look at a data set.",
        epilog="example: indoor data verify data/mit67",
    )
    kinds = data.add_subparsers(metavar="WHAT", required=True)
    verify = command(
        kinds,
        "verify",
        "check every list and photograph of a data set; exit 1 where something is wrong",
        "indoor data verify data/mit67",
        module="data",
    )
    verify.add_argument("root", type=Path, metavar="ROOT", help="the folder with Images/ and lists")


def _add_train(commands: Any) -> None:
    train = command(
        commands,
        "train",
        "fine-tune; the best epoch by validation goes to data/runs/NAME/float32.safetensors",
        "indoor train --data data/mit67 --recipe head --name mit67",
    )
    _data_options(train)
    weights = group(train, "weights")
    weights.add_argument(
        "--weights",
        metavar="FILE",
        help="start from this file of weights, or from a run (default: ImageNet's, or none)",
    )
    weights.add_argument("--no-download", action="store_true", help="do not fetch ImageNet weights")
    weights.add_argument(
        "--model",
        choices=("resnet18", "resnet50"),
        help="the network (default: what the file of weights holds, else resnet50)",
    )
    training = group(train, "training")
    training.add_argument(
        "--recipe",
        choices=("head", "full"),
        default="head",
        help="head (default): fc alone, on cached features; full: everything, with augmentation",
    )
    training.add_argument("--epochs", type=positive, metavar="N", help="default: 20")
    training.add_argument(
        "--size",
        type=positive,
        metavar="PIXELS",
        help="train at this resolution, with the recipe full (default: the weights' own)",
    )
    training.add_argument(
        "--resize",
        choices=("whole", "crop"),
        help="the whole photograph, or its middle (default: the weights' own)",
    )
    training.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="what to train on (default: auto, the first of cuda, mps and cpu that is there)",
    )
    group(train, "output").add_argument(
        "--name", metavar="NAME", help="the run's name (default: the data folder's)"
    )


def _add_quantize(commands: Any) -> None:
    quantize = command(
        commands,
        "quantize",
        "calibrate and convert a float32 checkpoint to int8, and check the result",
        "indoor quantize mit67 --data data/mit67 --observer histogram",
    )
    _run_argument(quantize)
    _data_options(quantize)
    add = group(quantize, "quantization").add_argument
    add(
        "--engine",
        metavar="NAME",
        help="x86, fbgemm, onednn or qnnpack (default: the fastest exact one here)",
    )
    add(
        "--activations",
        choices=("0..127", "0..255"),
        help="activation range (default: the widest that is exact here)",
    )
    add(
        "--observer",
        choices=("minmax", "moving-average", "histogram"),
        help="of activations (default: histogram)",
    )
    add(
        "--granularity",
        choices=("per-channel", "per-tensor"),
        help="of weights (default: per-channel)",
    )
    add(
        "--num-calibration",
        type=positive,
        metavar="N",
        help="train photographs to calibrate on (default: 256)",
    )
    add("--batch", type=positive, metavar="N", help="photographs a batch of them (default: 16)")
    group(quantize, "output").add_argument(
        "--force", action="store_true", help="keep a model that collapsed"
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = command(
        commands,
        "evaluate",
        "accuracy of float32 and int8 on the same photographs, and their difference",
        "indoor evaluate mit67 --data data/mit67",
    )
    _run_argument(evaluate)
    _data_options(evaluate)
    group(evaluate, "data").add_argument(
        "--split",
        choices=("val", "test"),
        default="test",
        help="test (default) is for the final figures; choose by val",
    )
    _device_option(evaluate)


def _add_predict(commands: Any) -> None:
    predict = command(
        commands,
        "predict",
        "name the scene on photographs",
        "indoor predict --run mit67 --variant int8 photo.jpg",
    )
    predict.add_argument(
        "photographs", type=Path, nargs="+", metavar="PHOTO", help="the photographs' files"
    )
    network = group(predict, "network")
    network.add_argument("--run", required=True, metavar="RUN", help=RUN_HELP)
    network.add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        help="the data set whose classes they are, where a file of weights names none "
        "(default: they are numbered)",
    )
    network.add_argument(
        "--variant",
        metavar="NAME",
        help="float32 (default), bfloat16, int8, or that of another runtime in indoor/runtimes",
    )
    _device_option(predict)
    group(predict, "output").add_argument(
        "--top", type=positive, default=3, metavar="K", help="classes to name (default: 3)"
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
        "files", type=Path, nargs="*", metavar="FILE", help="saved runs (default: the newest)"
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
        "--plot", type=Path, metavar="PNG", help="also plot ms per photograph (default: no plot)"
    )
    output.add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )
    output.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of one measurement instead"
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


def _data_options(parser: argparse.ArgumentParser) -> None:
    data = group(parser, "data")
    data.add_argument(
        "--data", type=Path, metavar="ROOT", help="the data set (default: the drawn one)"
    )
    data.add_argument(
        "--seed",
        type=natural,
        metavar="N",
        help="of the split and all choices (default: 0; a trained run's split keeps its own)",
    )
    data.add_argument(
        "--skip-broken", action="store_true", help="leave undecodable photographs out, and count"
    )


def _device_option(parser: argparse.ArgumentParser) -> None:
    group(parser, "network").add_argument(
        "--device", default="cpu", metavar="NAME", help="cpu (default), cuda, mps, or auto"
    )


RUN_HELP = "a run's name in data/runs, its folder, or any file of weights"


def _run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
