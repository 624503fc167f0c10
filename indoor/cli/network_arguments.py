"""The arguments of the commands that make a network and try it: train to predict."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, get_args

from indoor.cli.parser import (
    add_html,
    command,
    group,
    minutes,
    natural,
    numbers,
    points,
    positive,
)
from indoor.records import Arch


def add_networks(commands: Any) -> None:
    """Add `indoor train`, `quantize`, `evaluate`, `export` and `predict`, as the work goes."""
    _add_train(commands)
    _add_quantize(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_predict(commands)


def _add_train(commands: Any) -> None:
    train = command(
        commands,
        "train",
        "fine-tune; the best epoch by validation goes to data/runs/NAME/float32.safetensors",
        "indoor train --data data/mit67 --recipe head --name mit67",
        is_shared=True,
    )
    data_options(train)
    weights = group(train, "weights")
    weights.add_argument(
        "--weights",
        metavar="FILE",
        help="start from this file of weights, or from a run (default: ImageNet's, or none)",
    )
    weights.add_argument("--no-download", action="store_true", help="do not fetch ImageNet weights")
    weights.add_argument(
        "--model",
        choices=get_args(Arch),
        metavar="ARCH",
        help="the network (default: what the file of weights holds, else resnet50): "
        f"{', '.join(get_args(Arch))}",
    )
    training = group(train, "training")
    training.add_argument(
        "--recipe",
        choices=("head", "full"),
        default="head",
        help="head (default): the last layer alone, on cached features; full: everything, with "
        "augmentation",
    )
    training.add_argument(
        "--shards-at-once",
        type=positive,
        metavar="N",
        help="full, from a folder of shards: how many are read at the same time, so that an epoch "
        "reads each shard once (default: any order, as from a folder)",
    )
    training.add_argument("--epochs", type=positive, metavar="N", help="default: 20")
    training.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="photographs a step, of all processes together, at the same learning rate (default: "
        "16 for head, 32 for full)",
    )
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
        "--freeze-batch-norm",
        action="store_true",
        help="let batch norms keep the weights' statistics, with the recipe full, as processes on "
        "CPUs do among each other",
    )
    training.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="what to train on (default: auto, the first of cuda, mps and cpu that is there)",
    )
    group(train, "output").add_argument(
        "--name",
        metavar="NAME",
        help="the run's name (default: the data folder's); another finished training is not "
        "replaced",
    )


def _add_quantize(commands: Any) -> None:
    quantize = command(
        commands,
        "quantize",
        "calibrate and convert a float32 checkpoint to int8, and check the result",
        "indoor quantize mit67 --data data/mit67 --observer histogram",
    )
    _run_argument(quantize)
    data_options(quantize)
    add = group(quantize, "quantization").add_argument
    add(
        "--flow",
        choices=("eager", "fx", "pt2e"),
        help="what chooses the scales: torch.ao's eager (default) or FX mode, or torchao's PT2E",
    )
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
        choices=("minmax", "moving-average", "histogram", "percentile", "mse"),
        help="of activations (default: mse)",
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
        help="train photographs to calibrate on (default: 128)",
    )
    add("--batch", type=positive, metavar="N", help="photographs a batch of them (default: 16)")
    repair = group(quantize, "repair").add_argument
    repair(
        "--equalise",
        action="store_true",
        default=None,
        help="level the ranges of channels across layers first; float32 stays what it was",
    )
    repair(
        "--rounding",
        choices=("nearest", "gptq"),
        help="of weights; gptq: so that their errors cancel in each layer's output, some minutes "
        "(default: nearest)",
    )
    repair(
        "--qat-epochs",
        type=natural,
        metavar="N",
        help="train so many epochs with quantization in the network (default: 0, none)",
    )
    repair(
        "--float-layers",
        type=lambda text: tuple(filter(None, text.split(","))),
        metavar="NAMES",
        help="layers that stay float32, such as conv1,fc (default: none)",
    )
    repair(
        "--bias-correction",
        action="store_true",
        default=None,
        help="take off each layer's bias what rounding shifted its mean by",
    )
    group(quantize, "output").add_argument(
        "--force", action="store_true", help="keep a model that collapsed"
    )
    search = group(quantize, "search").add_argument
    search(
        "--auto",
        action="store_true",
        help="try observers, bias correction, equalisation, float32 layers and QAT, judge each on "
        "train photographs that none tuned on, and keep the fastest that holds --max-drop; goes "
        "on where it stopped; exit 1 where none holds it",
    )
    search(
        "--max-drop",
        type=points,
        metavar="POINTS",
        help="with --auto: loss of top-1 against float32 that is allowed, in percentage points, "
        "absolute (default: 0.1)",
    )
    search(
        "--minutes",
        type=minutes,
        metavar="N",
        help="with --auto: no step is begun that would take longer (default: 10)",
    )
    quantize.set_defaults(check=partial(_refuse_unsearched, quantize))


def _refuse_unsearched(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """End with a mistake where an option is given that the search would not heed, or needs."""
    if not parsed.auto:
        given = {"--max-drop": parsed.max_drop, "--minutes": parsed.minutes}
        for option in [name for name, value in given.items() if value is not None]:
            parser.error(f"{option} is for --auto")
        return
    chosen = {
        "--observer": parsed.observer,
        "--equalise": parsed.equalise,
        "--rounding": parsed.rounding,
        "--qat-epochs": parsed.qat_epochs,
        "--float-layers": parsed.float_layers,
        "--bias-correction": parsed.bias_correction,
    }
    for option in [name for name, value in chosen.items() if value is not None]:
        parser.error(f"{option} is what --auto chooses; leave one of them out")
    if parsed.force:
        parser.error("--force keeps a model that collapsed, and --auto never does; leave it out")


def _add_evaluate(commands: Any) -> None:
    evaluate = command(
        commands,
        "evaluate",
        "accuracy of float32 and int8 on the same photographs, and their difference",
        "indoor evaluate mit67 --data data/mit67",
        is_shared=True,
    )
    _run_argument(evaluate)
    data_options(evaluate)
    group(evaluate, "data").add_argument(
        "--split",
        choices=("val", "test"),
        default="test",
        help="test (default) is for the final figures; choose by val",
    )
    group(evaluate, "network").add_argument(
        "--variant",
        type=lambda text: tuple(filter(None, text.split(","))),
        metavar="NAMES",
        help="such as float32,int8, from indoor/runtimes (default: the eager ones)",
    )
    _device_option(evaluate)
    output = group(evaluate, "output")
    add_html(output)
    output.add_argument(
        "--photographs",
        action="store_true",
        help="put small copies of the photographs on which variants differ into the page; their "
        "licence must allow it (default: their names alone)",
    )


def _add_export(commands: Any) -> None:
    export = command(
        commands,
        "export",
        "write what a runtime loads into a folder to be deployed, with what one must know of it",
        "indoor export mit67 --runtime onnxruntime --precision int8 --out deployed",
    )
    _run_argument(export)
    group(export, "data").add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        help="the data set whose classes they are, where a file of weights names none "
        "(default: they are numbered)",
    )
    add = group(export, "network").add_argument
    add("--runtime", metavar="NAME", help="such as onnxruntime (default: --variant's)")
    add(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        help="default: int8 where RUN is a run's int8 file, else float32",
    )
    add("--variant", metavar="NAME", help="such as int8-onnxruntime (default: by both)")
    add(
        "--batch",
        type=numbers,
        metavar="SIZES",
        help="such as 1,8: a package each, for a runtime that takes no other batch (default: 1)",
    )
    group(export, "output").add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: data/exports/RUN-VARIANT"
    )
    export.set_defaults(check=partial(_need_a_runtime, export))


def _need_a_runtime(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    if parsed.runtime is None and parsed.variant is None:
        parser.error("expected --runtime NAME or --variant NAME")


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
    which = network.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", metavar="RUN", help=f"{RUN_HELP} (default: --artefact's)")
    which.add_argument(
        "--artefact",
        type=Path,
        metavar="FOLDER",
        help="what indoor export wrote, without a run (default: --run)",
    )
    network.add_argument(
        "--trust",
        action="store_true",
        help="with --artefact: load machine code that was not compiled by you on this machine, "
        "which executes it",
    )
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
    predict.set_defaults(check=partial(_refuse_unheeded, predict))


def _refuse_unheeded(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """End with a mistake where an option is given that nobody would heed."""
    if parsed.artefact is None:
        if parsed.trust:
            parser.error("--trust is for --artefact; a run's packages are compiled here")
        return
    given = {"--variant": parsed.variant, "--data": parsed.data}
    for option in [name for name, value in given.items() if value is not None]:
        parser.error(f"{option} is for --run; an artefact is of one variant and knows its classes")
    if parsed.device != "cpu":
        parser.error(f"--device {parsed.device} is for --run; an artefact runs on the CPU")


def data_options(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, `--seed` and `--skip-broken`."""
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
