"""The words of the command line; nothing here imports torch, so that `--help` is quick."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from indoor import __version__

__all__ = ["parse"]

MISTAKE = 2


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISTAKE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments, with the function to call as `command`.

    Raises:
        SystemExit: After `--help` or `--version` (status 0), or a mistake (status 2).
    """
    parser = _Parser(
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
    _add_doctor(commands)
    return parser.parse_args(arguments)


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands,
        "demo",
        "draw a small data set of indoor scenes in MIT Indoor-67's layout",
        "indoor demo --out data/demo --seed 0",
    )
    demo.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: data/demo)")
    demo.add_argument("--seed", type=_natural, default=0, help="same seed, same scenes")
    demo.add_argument("--train", type=_positive, metavar="N", help="train photographs a class")
    demo.add_argument("--test", type=_positive, metavar="N", help="test photographs a class")


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="look at a data set", description="Look at a data set.")
    kinds = data.add_subparsers(metavar="WHAT", required=True)
    verify = _command(
        kinds,
        "verify",
        "check every list and photograph of a data set; exit 1 where something is wrong",
        "indoor data verify data/mit67",
        module="verify",
    )
    verify.add_argument("root", type=Path, metavar="ROOT", help="the folder with Images/ and lists")


def _add_train(commands: Any) -> None:
    train = _command(
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
    train.add_argument("--epochs", type=_positive, help="default: the recipe's own")
    train.add_argument(
        "--size", type=_positive, metavar="PIXELS", help="train at this resolution (full)"
    )
    train.add_argument("--resize", choices=("whole", "crop"), help="default: the weights' own")
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    train.add_argument("--name", help="the run's name (default: the data folder's)")


def _add_quantize(commands: Any) -> None:
    quantize = _command(
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
    quantize.add_argument("--num-calibration", type=_positive, metavar="N", help="photographs")
    quantize.add_argument("--batch", type=_positive, help="photographs a calibration batch")
    quantize.add_argument("--force", action="store_true", help="keep a model that collapsed")


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(
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


def _add_predict(commands: Any) -> None:
    predict = _command(
        commands,
        "predict",
        "name the scene on photographs",
        "indoor predict --run mit67 --variant int8 photo.jpg",
    )
    predict.add_argument("photographs", type=Path, nargs="+", metavar="PHOTO")
    predict.add_argument("--run", required=True, metavar="RUN", help="as for indoor quantize")
    predict.add_argument("--variant", choices=("float32", "bfloat16", "int8"), default="float32")
    predict.add_argument("--top", type=_positive, default=3, metavar="K", help="classes to name")


def _add_report(commands: Any) -> None:
    report = _command(
        commands,
        "report",
        "tables of benchmark results (default: the newest in results/)",
        "indoor report results/published/*.json --format markdown",
        formats=("table", "markdown", "json", "csv"),
    )
    report.add_argument("files", type=Path, nargs="*", metavar="FILE")
    report.add_argument("--results", type=Path, metavar="FOLDER", help="where to look for files")
    report.add_argument("--baseline", type=Path, metavar="FILE", help="compare with this result")
    report.add_argument("--plot", type=Path, metavar="PNG", help="also plot ms per photograph")
    report.add_argument("--width", type=_positive, help="columns (default: the terminal's)")


def _add_doctor(commands: Any) -> None:
    _command(
        commands,
        "doctor",
        "what of this machine matters for figures one can trust; exit 1 where something hurts",
        "indoor doctor --json",
    )


def _command(
    commands: Any,
    name: str,
    summary: str,
    example: str,
    *,
    module: str | None = None,
    formats: tuple[str, ...] = ("text", "json"),
) -> argparse.ArgumentParser:
    """Add a command whose work is done by `indoor.cli.MODULE.run`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    parser.add_argument("--format", choices=formats, default=formats[0])
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="--format json"
    )
    parser.set_defaults(command=_lazily(module or name))
    return parser


def _lazily(module: str) -> Callable[[argparse.Namespace], Any]:
    """Return a function that imports the command's module only when it is called."""

    def command(parsed: argparse.Namespace) -> Any:
        return importlib.import_module(f"indoor.cli.{module}").run(parsed)

    return command


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="ROOT", help="the data set (default: the drawn one)"
    )
    parser.add_argument("--seed", type=_natural, default=0, help="of the split and all choices")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave undecodable photographs out, and count"
    )


def _run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="a run's name in data/runs, its folder, or its checkpoint"
    )


def _positive(text: str) -> int:
    value = _whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _natural(text: str) -> int:
    value = _whole_number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
