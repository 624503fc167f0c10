"""The words of the command line; nothing here imports torch, so that `--help` is quick."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indoor import __version__
from indoor.cli.gate_arguments import add_gate
from indoor.cli.parser import Parser, command, natural, positive


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
        description="What int8 really buys on your CPU: prepare, quantize, evaluate, report.",
        epilog="example: indoor demo && indoor train && indoor quantize demo && indoor report",
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
    demo.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: data/demo)")
    demo.add_argument("--seed", type=natural, default=0, help="same seed, same scenes")
    demo.add_argument("--train", type=positive, metavar="N", help="train photographs a class")
    demo.add_argument("--test", type=positive, metavar="N", help="test photographs a class")


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="look at a data set", description="Look at a data set.")
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
    train.add_argument("--weights", type=Path, metavar="FILE", help="start from this checkpoint")
    train.add_argument("--no-download", action="store_true", help="do not fetch ImageNet weights")
    train.add_argument("--model", choices=("resnet18", "resnet50"), default="resnet50")
    train.add_argument(
        "--recipe",
        choices=("head", "full"),
        default="head",
        help="head: fc alone, on cached features; full: everything, with augmentation",
    )
    train.add_argument("--epochs", type=positive, help="default: the recipe's own")
    train.add_argument(
        "--size", type=positive, metavar="PIXELS", help="train at this resolution (full)"
    )
    train.add_argument("--resize", choices=("whole", "crop"), help="default: the weights' own")
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    train.add_argument("--name", help="the run's name (default: the data folder's)")


def _add_quantize(commands: Any) -> None:
    quantize = command(
        commands,
        "quantize",
        "calibrate and convert a float32 checkpoint to int8, and check the result",
        "indoor quantize mit67 --data data/mit67 --observer histogram",
    )
    _run_argument(quantize)
    _data_options(quantize)
    quantize.add_argument(
        "--engine", help="x86, fbgemm, onednn or qnnpack (default: the fastest exact one here)"
    )
    quantize.add_argument("--activations", choices=("0..127", "0..255"), help="activation range")
    quantize.add_argument("--observer", choices=("minmax", "moving-average", "histogram"))
    quantize.add_argument("--granularity", choices=("per-channel", "per-tensor"), help="of weights")
    quantize.add_argument("--num-calibration", type=positive, metavar="N", help="photographs")
    quantize.add_argument("--batch", type=positive, help="photographs a calibration batch")
    quantize.add_argument("--force", action="store_true", help="keep a model that collapsed")


def _add_evaluate(commands: Any) -> None:
    evaluate = command(
        commands,
        "evaluate",
        "accuracy of float32 and int8 on the same photographs, and their difference",
        "indoor evaluate mit67 --data data/mit67",
    )
    _run_argument(evaluate)
    _data_options(evaluate)
    evaluate.add_argument(
        "--split",
        choices=("val", "test"),
        default="test",
        help="test is for the final figures; choose by val",
    )
    _device_option(evaluate)


def _add_predict(commands: Any) -> None:
    predict = command(
        commands,
        "predict",
        "name the scene on photographs",
        "indoor predict --run mit67 --variant int8 photo.jpg",
    )
    predict.add_argument("photographs", type=Path, nargs="+", metavar="PHOTO")
    predict.add_argument("--run", required=True, metavar="RUN", help="as for indoor quantize")
    predict.add_argument(
        "--variant",
        default="float32",
        metavar="NAME",
        help="float32 (default), bfloat16, int8, or that of another runtime in indoor/runtimes",
    )
    _device_option(predict)
    predict.add_argument("--top", type=positive, default=3, metavar="K", help="classes to name")


def _add_report(commands: Any) -> None:
    report = command(
        commands,
        "report",
        "tables of benchmark results (default: the newest in results/)",
        "indoor report results/published/*.json.gz --format markdown",
        formats=("table", "markdown", "json", "csv"),
    )
    report.add_argument("files", type=Path, nargs="*", metavar="FILE")
    report.add_argument("--results", type=Path, metavar="FOLDER", help="where to look for files")
    report.add_argument("--baseline", type=Path, metavar="FILE", help="compare with this result")
    report.add_argument("--plot", type=Path, metavar="PNG", help="also plot ms per photograph")
    report.add_argument("--width", type=positive, help="columns (default: the terminal's)")
    report.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of one measurement instead"
    )


def _add_results(commands: Any) -> None:
    results = commands.add_parser(
        "results",
        help="look after the saved benchmark results",
        description="Look after the saved benchmark results.",
    )
    actions = results.add_subparsers(metavar="WHAT", required=True)
    listing = _results_command(
        actions,
        "list",
        "one line a saved result: commit, CPU, cases, how it ended",
        "indoor results list --json",
    )
    listing.add_argument("--width", type=positive, help="columns (default: the terminal's)")
    promote = _results_command(
        actions,
        "promote",
        "make a saved result the one that a bare --benchmark-compare takes",
        "indoor results promote 0007",
    )
    promote.add_argument("result", metavar="RESULT", help="its number, such as 0007, or its file")
    promote.add_argument(
        "--force", action="store_true", help="also one that failed cases or left some out"
    )
    prune = _results_command(
        actions,
        "prune",
        "remove the oldest results, never the promoted one",
        "indoor results prune --keep 20 --dry-run",
    )
    prune.add_argument("--keep", type=positive, required=True, metavar="N", help="newest to keep")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    prune.add_argument(
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
    parser.add_argument(
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
    parser.add_argument(
        "--data", type=Path, metavar="ROOT", help="the data set (default: the drawn one)"
    )
    parser.add_argument(
        "--seed",
        type=natural,
        help="of the split and all choices (default: 0; a trained run's split keeps its own)",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave undecodable photographs out, and count"
    )


def _device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="cpu (default), cuda, mps, or auto"
    )


def _run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="a run's name in data/runs, its folder, or its checkpoint"
    )
