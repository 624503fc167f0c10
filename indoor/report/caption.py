"""What stands over a table, for a figure without its machine, code and weights is none."""

from indoor.records import (
    DataIdentity,
    Machine,
    Preprocessing,
    QuantizationConfig,
    RunIdentity,
    WeightSource,
)
from indoor.report.units import moment
from indoor.runs.comparable import NOT_RECORDED
from indoor.runs.results import RunResult
from indoor.runs.select import variants

DEMO = "demo"
"""The name of the drawn data set: its folder's."""

_SHORT_HASH = 12


def caption(result: RunResult) -> dict[str, str]:
    """Return what a figure is worth nothing without, by label, in the order to print it."""
    run = result.cases[0].measurement.run
    machine = run.machine
    allocators = sorted({case.measurement.allocator for case in result.cases})
    assumed = describe_assumed(run.weights)
    return {
        "run": ", ".join(filter(None, (result.source, moment(result.datetime), _resumed(result)))),
        "CPU": f"{describe_cpu(machine)}; {describe_isa(machine)}; {_state(result)}",
        "build": f"torch {machine.torch}, torchvision {machine.torchvision}, Python "
        f"{machine.python}, {machine.system}; allocator {' and '.join(allocators)}; "
        f"{_environment(run)}",
        "runtime": _runtimes(result) or "no network was run",
        "int8": _quantization(run),
        "code": f"{_commit(result)}, {run.arch}",
        "data": describe_data(run.data, run.preprocessing),
        "weights": describe_weights(run.weights),
        **({"assumed": assumed} if assumed else {}),
    }


def short_caption(result: RunResult) -> str:
    """Return the caption as one sentence, for the tables below a run's first."""
    run = result.cases[0].measurement.run
    engine = f", int8 engine {run.quantization.config.engine}" if run.quantization else ""
    assumed = describe_assumed(run.weights)
    return (
        f"{describe_cpu(run.machine)}, {describe_isa(run.machine)}; "
        f"torch {run.machine.torch}{engine}; {_commit(result)}; "
        f"{run.arch} on {run.data.name}; weights {_weights_name(run.weights)}"
        f"{f'; assumed: {assumed}' if assumed else ''}"
    )


def weights_warning(weights: WeightSource, data: DataIdentity) -> str | None:
    """Return in words what accuracies mean where no trained weights were to be had."""
    if weights.kind != "none":
        return None
    trained_on = (
        "on photographs, only on drawn scenes"
        if data.name == DEMO
        else f"on photographs other than those of {data.name}: its backbone began at random"
    )
    return (
        f"Weights: none were to be had. This network was never trained {trained_on}. So its "
        "accuracies only show that quantization did not collapse; they do not show how well "
        "a trained ResNet-50 keeps its accuracy. Sizes and times do not depend on it."
    )


def describe_quantization(config: QuantizationConfig) -> str:
    """Return in words what decided an int8 network; of flow and repairs what is not the default."""
    low, high = config.activation_range
    parts = {
        f"engine {config.engine}": True,
        f"activations {low}..{high}": True,
        f"{config.observer} observers": True,
        f"{config.weights} weights": True,
        f"flow {config.flow}": config.flow != "eager",
        "channels equalised": config.equalised,
        f"weights rounded by {config.rounding}": config.rounding != "nearest",
        f"{config.qat_epochs} epochs of quantization-aware training": config.qat_epochs > 0,
        f"in float32 {' '.join(config.float_layers)}": bool(config.float_layers),
        "biases corrected": config.bias_corrected,
    }
    return ", ".join(part for part, is_said in parts.items() if is_said)


def describe_cpu(machine: Machine) -> str:
    """Return the CPU's model and how many of its cores may be used, and of which kinds."""
    noun = "core" if machine.num_cores == 1 else "cores"
    told = [f"{count} {kind}" for kind, count in (machine.core_kinds or {}).items()]
    kinds = ", ".join(told)
    num_physical = machine.num_physical_cores
    if num_physical is not None and num_physical < machine.num_cores:
        kinds = f"hyper-threads of {num_physical}" + (f": {kinds}" if kinds else "")
    return f"{machine.cpu_model}, {machine.num_cores} {noun}" + (f" ({kinds})" if kinds else "")


def describe_isa(machine: Machine) -> str:
    """Return what decides int8's speed: the vector width, and which extensions there are."""
    names = set(machine.isa)
    extensions: list[tuple[str, bool | None]]
    if "neon" in names:
        extensions = [("i8mm", "i8mm" in names), ("dotprod", "dotprod" in names)]
        known = ["NEON"]
    else:
        extensions = [("VNNI", machine.vnni), ("AMX", machine.amx)]
        widths = (("avx512f", "AVX-512"), ("avx2", "AVX2"))
        known = [label for name, label in widths if name in names][:1]
    for label, present in (*extensions, ("bfloat16", machine.bfloat16)):
        if present is None:
            known.append(f"{label} unknown")
        else:
            known.append(label if present else f"no {label}")
    return ", ".join(known)


def describe_data(data: DataIdentity, preprocessing: Preprocessing) -> str:
    """Return which photographs there are, and how they become a network's input."""
    size = preprocessing.size
    how = "the whole photograph" if preprocessing.resize == "whole" else "a centred square"
    drawn = " (drawn, no photographs)" if data.name == DEMO else ""
    skipped = f", {data.num_skipped:,} left out as broken" if data.num_skipped else ""
    return (
        f"{data.name}{drawn}: {data.num_classes} classes, {data.num_test:,} test photographs"
        f"{skipped}; {how} at {size} x {size}"
    )


def describe_weights(weights: WeightSource) -> str:
    """Return where the weights came from, with the hash of their file."""
    name = _weights_name(weights)
    return f"{name}, sha256 {weights.sha256[:_SHORT_HASH]}" if weights.sha256 else name


def describe_assumed(weights: WeightSource) -> str:
    """Return what the file of weights does not say and what was taken instead; empty if nothing."""
    return f"{weights.name} {'; '.join(weights.assumed)}" if weights.assumed else ""


def assumed_lines(weights: WeightSource) -> tuple[str, ...]:
    """Return the line that a command has for it; none where nothing was taken."""
    assumed = describe_assumed(weights)
    return (f"assumed: {assumed}",) if assumed else ()


def _resumed(result: RunResult) -> str:
    resumed = {
        (one.batch, one.threads, one.allocator)
        for one in (case.measurement for case in result.cases)
        if one.resumed
    }
    noun = "cell" if len(resumed) == 1 else "cells"
    return f"{len(resumed)} {noun} of an interrupted run" if resumed else ""


def _runtimes(result: RunResult) -> str:
    """Return which runtime ran which variants where, with precisions that no name tells."""
    groups: dict[str, list[str]] = {}
    for name in variants(result):
        one = next(c.measurement for c in result.cases if c.measurement.variant == name)
        place = f"{one.runtime or NOT_RECORDED}{f' on {one.device}' if one.device else ''}"
        told = one.precision is None or one.precision == name.partition("-")[0]
        groups.setdefault(place, []).append(name if told else f"{name} ({one.precision})")
    return "; ".join(f"{place}: {', '.join(names)}" for place, names in groups.items())


def _environment(run: RunIdentity) -> str:
    if run.environment is None and run.timer is None:
        return f"environment and timer {NOT_RECORDED}"
    values = ", ".join(f"{name} {value}" for name, value in (run.environment or {}).items())
    known = values or ("no variable set" if run.environment == {} else NOT_RECORDED)
    return f"environment: {known}; timer {run.timer or NOT_RECORDED}"


def _state(result: RunResult) -> str:
    """Return the clock's governor, and the loads at which the cases were measured."""
    machine = result.cases[0].measurement.run.machine
    loads = [
        load
        for one in (case.measurement for case in result.cases)
        if (load := one.run.machine.load_1min if one.load_1min is None else one.load_1min)
        is not None
    ]
    governor = machine.governor
    parts = [f"governor {governor}" if governor else "governor not readable"]
    if not loads:
        parts.append("load not readable")
    elif max(loads) - min(loads) < 0.05:
        parts.append(f"load {loads[0]:.1f}")
    else:
        parts.append(f"load {min(loads):.1f} to {max(loads):.1f}")
    return ", ".join(parts)


def _quantization(run: RunIdentity) -> str:
    record = run.quantization
    if record is None:
        return "not measured"
    forced = "; KEPT BY FORCE though its check failed" if record.forced else ""
    return (
        f"{describe_quantization(record.config)}, calibrated on {record.num_calibrated} "
        f"photographs{forced}"
    )


def _commit(result: RunResult) -> str:
    run = result.cases[0].measurement.run
    if run.commit is None:
        return f"commit unknown: {run.commit_unknown}" if run.commit_unknown else "no commit"
    changed = " (uncommitted changes)" if run.dirty else ""
    return f"commit {run.commit[:_SHORT_HASH]}{changed}"


def _weights_name(weights: WeightSource) -> str:
    kind = {
        "file": "a file",
        "imagenet-cache": "ImageNet, from torch's cache",
        "imagenet-download": "ImageNet, downloaded",
    }.get(weights.kind)
    return f"{weights.name} ({kind})" if kind else "none (the backbone began at random)"
