"""A trained network made hard to quantize in two ways, and what repairs it.

Rescaled: the channels between some convolutions get ranges up to 256 times as wide, by powers of
two, so that float32 stays as it is. Shifted: some weights of 1 x 1 convolutions become too small
for int8, and their inputs constants, so that each output's mean shifts and nothing else; the batch
norms make up for it, so that float32 is about as good as before.

Example:
    python -m bench.studies.hard_models --checkpoint float32.safetensors --data ROOT
"""

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.studies import run
from indoor.dataset import load_batches, stratified_sample
from indoor.devices import use_threads
from indoor.diagnose.layers import layer_errors
from indoor.diagnose.records import LayerError
from indoor.evaluate.pairs import compare
from indoor.files import write_text
from indoor.machine import read_machine
from indoor.model import LoadedModel, fold, load_float, open_split
from indoor.model.network import batch_norms, gain_of
from indoor.quantize import default_config, quantize
from indoor.quantize.equalisation import Pair, pairs, scale_channels
from indoor.records import PairedEvaluation, QuantizationConfig, Split, to_builtins

OCTAVES = 8
ALMOST_HALF = 0.49
NUM_RESCALED = 5
NUM_DIAGNOSED = 8
SHARE_CONSTANT = 1 / 32


@dataclass(frozen=True)
class Row:
    """One quantization of a network beside the same network in float32."""

    network: str
    config: QuantizationConfig
    pair: PairedEvaluation


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the networks, quantize and repair them, print and record the figures."""
    parsed = _parse(arguments)
    loaded = load_float(parsed.checkpoint)
    with use_threads(parsed.threads):
        calibration, _ = photographs(loaded, parsed.data, "train", parsed.calibration)
        batches, labels = photographs(loaded, parsed.data, "test", parsed.photographs)
        networks = {
            "trained": loaded.model,
            "rescaled": rescale_channels(loaded.model, hard_pairs(loaded.model)),
            "shifted": shift_means(loaded.model, torch.cat(calibration)),
        }
        rows = compare_repairs(networks, calibration, batches, labels)
        images = torch.cat(calibration)[:NUM_DIAGNOSED]
        found = {
            name: blame(networks[name], rows, name, images) for name in ("rescaled", "shifted")
        }
    machine = read_machine()
    record = {
        "study": "hard_models",
        "arch": loaded.manifest.arch,
        "data": parsed.data.resolve().name,
        "num_photographs": len(labels),
        "num_calibration": sum(map(len, calibration)),
        "rescaled": hard_pairs(loaded.model),
        "blamed": {name: [*map(to_builtins, errors)] for name, errors in found.items()},
        "machine": to_builtins(machine),
        "rows": [to_builtins(row) for row in rows],
    }
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(  # noqa: T201 - a script's output
        f"{machine.cpu_model}, {len(labels)} test photographs of {record['data']}; "
        f"rescaled behind {', '.join(hard_pairs(loaded.model))}",
        *(_line(row) for row in rows),
        *(f"indoor diagnose of {name}: {_told(errors)}" for name, errors in found.items()),
        sep="\n",
    )
    return 0


def compare_repairs(
    networks: Mapping[str, nn.Module],
    calibration: Sequence[Tensor],
    batches: Sequence[Tensor],
    labels: Tensor,
) -> list[Row]:
    """Return each network's quantizations beside its own float32, without and with repairs.

    Args:
        networks: `trained`, `rescaled` and `shifted`, float32.
        calibration: Batches float32 `(B, 3, H, W)`.
        batches: What is judged on, batches float32 `(B, 3, H, W)`.
        labels: int64 `(B,)`.
    """
    default = default_config(num_calibration=sum(map(len, calibration)))
    plain = replace(default, observer="minmax", weights="per-tensor")
    asked = {
        "trained": (
            default,
            replace(default, equalised=True),
            replace(default, bias_corrected=True),
            replace(default, rounding="gptq", bias_corrected=True),
            plain,
        ),
        "rescaled": (
            plain,
            replace(plain, equalised=True),
            replace(default, equalised=True, rounding="gptq", bias_corrected=True),
        ),
        "shifted": (default, replace(default, bias_corrected=True)),
    }
    rows = []
    for name, model in networks.items():
        reference = logits_of(fold(model), batches)
        for config in asked[name]:
            int8 = quantize(model, config, calibration)
            logits = logits_of(int8, batches)
            pair = compare(reference, logits, labels, baseline="float32", candidate="int8")
            rows.append(Row(name, config, pair))
    return rows


def blame(
    model: nn.Module, rows: Sequence[Row], name: str, images: Tensor
) -> tuple[LayerError, ...]:
    """Return the layers that a diagnosis of a network's first quantization blames, worst first.

    As many as there are convolutions around the rescaled channels.
    """
    config = next(row.config for row in rows if row.network == name)
    int8 = quantize(model, config, [images])
    errors = layer_errors(model, int8, images, activation_range=config.activation_range)
    return tuple(sorted(errors, key=lambda error: -error.share)[: 2 * NUM_RESCALED])


def hard_pairs(model: nn.Module, num: int = NUM_RESCALED) -> tuple[str, ...]:
    """Return the first convolutions of some pairs, spread over the network's depth."""
    names = [pair.name for pair in pairs(model)]
    return tuple(names[len(names) * place // (num + 1)] for place in range(1, num + 1))


def rescale_channels(model: nn.Module, names: Sequence[str], *, seed: int = 0) -> nn.Module:
    """Return a copy with uneven channels between the named convolutions and the next ones.

    Args:
        model: A float32 network; it stays as it is.
        names: The first convolutions of some of its `pairs`.
        seed: Decides each channel's factor, 1 to 256.
    """
    result = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for pair in pairs(result):
        if pair.name in names:
            octaves = torch.randint(OCTAVES + 1, (pair.first.out_channels,), generator=generator)
            scale_channels(pair, 2.0**octaves)
    return result


def shift_means(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy whose weights' rounding errors shift the means of what they compute.

    Of what a 1 x 1 convolution reads, the channels that matter least become constants, with weights
    of just under half a step: int8 rounds them to 0 and loses the constant. The batch norm after it
    makes up for the constant, so that float32 is about as good as before. Each output is moved to
    the side on which the shift favours the first class.

    Args:
        model: A float32 network in eval mode with its batch norms; it stays as it is.
        images: What constants and means are taken from, float32 `(B, 3, H, W)`.
    """
    result = copy.deepcopy(model)
    after = batch_norms(result)
    slopes = _slopes(model, images, after)
    names = {module: name for name, module in result.named_modules()}
    hooks = []
    for pair in pairs(result):
        name = names[pair.second]
        if pair.norm is not None and pair.second.kernel_size == (1, 1) and name in after:
            move = partial(_move, pair, result.get_submodule(after[name]), slopes[name].sign())
            hooks.append(pair.second.register_forward_pre_hook(move))
    with torch.no_grad():
        result(images)
    for hook in hooks:
        hook.remove()
    return result


def _slopes(model: nn.Module, images: Tensor, after: Mapping[str, str]) -> dict[str, Tensor]:
    """Return how the first class's logit goes with the mean of each convolution's outputs."""
    copied: Any = copy.deepcopy(model)
    copied(images)[:, 0].mean().backward()
    return {name: copied.get_submodule(norm).bias.grad for name, norm in after.items()}


def _move(
    pair: Pair, norm: Any, side: Tensor, convolution: nn.Conv2d, inputs: tuple[Tensor]
) -> tuple[Tensor]:
    """Make some of a convolution's inputs constants that int8 loses, before it computes."""
    (x,) = inputs
    matters = x.transpose(0, 1).flatten(1).std(1) * convolution.weight.flatten(1).norm(dim=0)
    quiet = matters.argsort()[: max(1, int(SHARE_CONSTANT * len(matters)))]
    mean_before = _mean_output(convolution, x)
    gain = gain_of(norm)
    steps = (convolution.weight.flatten(1) * gain[:, None]).abs().amax(1) / 127.5
    lost = torch.where(gain == 0, 0, -ALMOST_HALF * steps * side / gain)
    convolution.weight[:, quiet] = lost.view(-1, 1, 1, 1)
    assert pair.norm is not None
    constant = 0.9 * x.max()
    pair.norm.weight[quiet], pair.norm.bias[quiet] = 0.0, constant
    changed = x.clone()
    changed[:, quiet] = constant
    norm.running_mean += _mean_output(convolution, changed) - mean_before
    return (changed,)


def _mean_output(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return each channel's mean output; that of the mean photograph, as it is linear."""
    return convolution._conv_forward(x.mean(0, keepdim=True), convolution.weight, None).mean(
        (0, 2, 3)
    )


def photographs(
    loaded: LoadedModel, root: Path, split: Split, num: int | None
) -> tuple[list[Tensor], Tensor]:
    """Return a split's photographs, or so many of them, in batches of 8, and their labels."""
    scenes = open_split(loaded.manifest, loaded.path, root, split)
    order = stratified_sample(scenes.labels, min(num or len(scenes), len(scenes)), 0)
    parts = list(load_batches(scenes, 8, indices=order))
    return [images for images, _ in parts], torch.cat([labels for _, labels in parts])


@torch.inference_mode()
def logits_of(network: nn.Module, batches: Sequence[Tensor]) -> Tensor:
    """Return the logits of all photographs, float32 `(N, C)`."""
    return torch.cat([network(batch) for batch in batches])


def _line(row: Row) -> str:
    config, pair = row.config, row.pair
    repairs = [
        *(["--equalise"] if config.equalised else []),
        *(["--rounding gptq"] if config.rounding == "gptq" else []),
        *(["--bias-correction"] if config.bias_corrected else []),
    ]
    right = pair.num_both_right + pair.num_only_baseline_right
    accuracy = right / pair.num_photographs
    return (
        f"{row.network:9} {config.observer:10} {config.weights:12} {' '.join(repairs) or '-':45} "
        f"float32 {accuracy:7.2%}  int8 {accuracy + pair.difference:7.2%}  "
        f"{pair.difference * 100:+7.2f} points ({pair.difference_interval.low * 100:+.2f} to "
        f"{pair.difference_interval.high * 100:+.2f})  agreement {pair.agreement.value:7.2%}  "
        f"{pair.sqnr_db:5.1f} dB"
    )


def _told(errors: Sequence[LayerError]) -> str:
    return ", ".join(f"{error.layer} ({' and '.join(error.causes) or '-'})" for error in errors)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.studies.hard_models", description=__doc__
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="float32, trained")
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--photographs", type=int, help="of the test split (default: all)")
    parser.add_argument("--calibration", type=int, default=64, help="of the train split")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
