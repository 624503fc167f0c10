"""A pytest plugin, loaded by path, that writes down what the gate compares without a clock.

The gate copies this file out of head's tree and loads it (`-p`) into a pytest process of each tree.
Of a tree it knows `bench.options.SHARED` and the `Shared` that is kept there,
`bench.cases.variants` and `indoor.runtimes.own_process.measure_peak`, or what they were before.
The suite's own hooks prepare; this one then takes the place of the tests. The environment says what
to do: INDOOR_GATE_FACTS_OUT is an empty folder, INDOOR_GATE_FACTS_MODE `prepare`, `predictions` or
`memory` (peaks alone, once more), INDOOR_GATE_FACTS_BUDGET_S the seconds for predictions,
INDOOR_GATE_FACTS_VARIANTS those to predict with or to measure (separated by commas; without it
all).
"""

import hashlib
import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from indoor.errors import IndoorError

VERSION = 2
"""Counted up when what is written changes; `indoor/gate/facts/sheets.py` reads it."""

NUM_LOGITS = 32
BATCH = 8
PEAK_THREADS = 1
"""More threads bring scratch buffers whose number depends on the machine."""


@pytest.hookimpl
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Write the facts, and run no test.

    Raises:
        pytest.UsageError: The suite prepared nothing, or the mode is unknown.
    """
    if session.testsfailed:
        return None  # pytest's own loop says which module could not be collected
    from bench import options
    from bench.cases import variants

    # A base of before has the latter.
    key = getattr(options, "SHARED", None) or options.LAB  # type: ignore[attr-defined]
    lab = session.config.stash.get(key, None)
    if lab is None:
        raise pytest.UsageError(
            "no case of the suite was collected, so nothing was prepared; "
            "expected arguments that select one test of bench/ or more"
        )
    out = Path(os.environ["INDOOR_GATE_FACTS_OUT"])
    mode = os.environ["INDOOR_GATE_FACTS_MODE"]
    names = variants(lab.settings)
    wanted = os.environ.get("INDOOR_GATE_FACTS_VARIANTS", ",".join(names)).split(",")
    chosen = [name for name in names if name in wanted]
    if mode == "prepare":
        write_facts(lab, names, out)
    elif mode == "predictions":
        write_predictions(lab, chosen, out, float(os.environ["INDOOR_GATE_FACTS_BUDGET_S"]))
    elif mode == "memory":
        write_peaks(lab, chosen, out)
    else:
        raise pytest.UsageError(
            f"INDOOR_GATE_FACTS_MODE={mode}: expected prepare or predictions or memory"
        )
    return True


def write_facts(lab: Any, names: tuple[str, ...], out: Path) -> None:
    """Write `logits.npz`, then `facts.json`: where that lies, all is there."""
    order = lab.positions(min(NUM_LOGITS, len(lab.scenes())))
    inputs = lab.photographs(len(order))
    folder = lab.prepared.run_folder
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are then added in one order
    try:
        logits = {name: logits_of(run_of(lab, name), inputs) for name in names}
    finally:
        torch.set_num_threads(before)
    np.savez(out / "logits.npz", **logits)  # type: ignore[arg-type]
    facts = {
        "version": VERSION,
        "num_photographs": len(lab.scenes()),
        "photographs_sha256": sha256("\n".join(lab.scenes().samples[i].name for i in order)),
        "inputs_sha256": sha256(inputs.numpy().tobytes()),
        "variants": {name: facts_of(lab, name, inputs[:BATCH]) for name in names},
        "share": [
            "--data",
            str(lab.prepared.root),
            "--weights",
            str(folder / "float32.safetensors"),
        ],
    }
    (out / "facts.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


def facts_of(lab: Any, name: str, inputs: Tensor) -> dict[str, Any]:
    """Return what one variant is made of, and the memory that it takes; None: not to be had."""
    run = run_of(lab, name)
    network = getattr(run, "network", run)
    problems = []
    peak = None
    try:
        peak = peak_of(lab, name, inputs)
    except (RuntimeError, IndoorError, subprocess.TimeoutExpired) as error:
        problems.append(f"peak memory: {error}")
    try:
        computed = computed_by(lab, network, run.variant, inputs)
    except (RuntimeError, IndoorError) as error:
        computed = {"multiply_adds": None}
        problems.append(f"what ran: {error}")
    file = lab.prepared.run_folder / f"{run.variant.checkpoint}.safetensors"
    return {
        "size_bytes": size_of_tensors(getattr(run, "artefact", file)),
        **computed,
        "engine": getattr(getattr(network, "model", None), "engine", None),
        "peak_memory_bytes": peak,
        "problem": "; ".join(problems) or None,
        **{key: getattr(run.variant, key, None) for key in ("runtime", "precision", "device")},
    }


def computed_by(lab: Any, network: Any, variant: Any, inputs: Tensor) -> dict[str, Any]:
    """Return what one call really computes with, as far as this tree can tell."""
    tell = getattr(network, "ran", None)
    if tell is None:
        return {}
    ran = tell(inputs)
    kernels = Counter(getattr(ran, "kernels", {}))
    try:
        from indoor.measure.proof import examine
        from indoor.model import multiply_adds
    except ImportError:  # a base of before tells the precision of most, and names
        return {"ran": ran.precision, "kernels": dict(kernels)}
    manifest = lab.prepared.manifest
    size = manifest.preprocessing.size
    expected = multiply_adds(manifest.arch, len(manifest.classes), size) * len(inputs)
    proof = examine(variant.precision, ran, expected)
    for one in ran.executed:
        kernels[" ".join(filter(None, (one.operator, one.implementation, one.types)))] += 1
    return {
        "multiply_adds": {str(name or "unknown"): n for name, n in proof.multiply_adds.items()},
        "ran": proof.precision,
        "kernels": dict(sorted(kernels.items())),
    }


def peak_of(lab: Any, name: str, inputs: Tensor) -> int | None:
    """Return the most memory that a fresh process took with the variant alone."""
    folder = lab.prepared.run_folder
    try:
        from indoor.runtimes.own_process import measure_peak
    except ImportError:
        from bench.probe import measure_peak as measured_before

        return measured_before(folder, name, inputs, PEAK_THREADS).peak_memory_bytes
    return measure_peak(lab.variant(name), folder, inputs, PEAK_THREADS).peak_memory_bytes


def write_peaks(lab: Any, names: list[str], out: Path) -> None:
    """Write `memory.npz`: the peak memory of each variant that can be measured, in bytes."""
    inputs = lab.photographs(min(BATCH, len(lab.scenes())))
    peaks = {name: peak_of(lab, name, inputs) for name in names}
    known = {name: np.int64(peak) for name, peak in peaks.items() if peak is not None}
    np.savez(out / "memory.npz", **known)  # type: ignore[arg-type]


def write_predictions(lab: Any, names: list[str], out: Path, budget_s: float) -> None:
    """Write `predictions.npz`: classes by variant, until the time is over.

    Each batch is decoded once and shown to every variant, so all have seen the same photographs.
    """
    scenes = lab.scenes()
    order = lab.positions(len(scenes))
    classes: dict[str, list[np.ndarray]] = {name: [] for name in names}
    began = time.monotonic()
    num_seen = 0
    while num_seen < len(order) and time.monotonic() - began < budget_s:
        batch = order[num_seen : num_seen + BATCH]
        inputs = torch.stack([scenes[index][0] for index in batch])
        for name in names:
            classes[name].append(classes_of(call_of(run_of(lab, name))(inputs)))
        num_seen += len(batch)
    seen = [scenes.samples[index] for index in order[:num_seen]]
    arrays = {
        f"classes_{name}": np.concatenate([np.empty(0, np.int64), *parts])
        for name, parts in classes.items()
    }
    arrays["labels"] = np.array([sample.label for sample in seen], dtype=np.int64)
    arrays["photographs"] = np.array([sample.name for sample in seen], dtype=np.str_)
    arrays["num_photographs"] = np.array(len(order), dtype=np.int64)
    np.savez(out / "predictions.npz", **arrays)  # type: ignore[arg-type]


def run_of(lab: Any, name: str) -> Any:
    """Return the suite's loaded variant, which takes photographs and gives logits."""
    loaded = getattr(lab, "loaded", None)
    return lab.call(name, 1).func if loaded is None else loaded(name, BATCH)


def call_of(run: Any) -> Any:
    """Return what takes any number of photographs, up to a batch, in the CPU's memory."""
    return getattr(run, "logits", run)


def logits_of(run: Any, inputs: Tensor) -> np.ndarray:
    """Return float32 `(N, C)`, computed batch by batch."""
    parts = [call_of(run)(batch).float().clone() for batch in inputs.split(BATCH)]
    array: np.ndarray = torch.cat(parts).numpy()
    return array


def classes_of(logits: Tensor) -> np.ndarray:
    """Return int64 `(N,)`; -1, which is no class, where a logit is not finite."""
    known = logits.isfinite().all(dim=1)
    array: np.ndarray = torch.where(known, logits.argmax(dim=1), -1).numpy()
    return array


def size_of_tensors(path: Path) -> int:
    """Return the bytes of a file or of a folder's files, for safetensors without the header.

    What an artefact says of itself counts no more than the header does, which names where the
    weights came from, for head base's file.
    """
    if path.is_dir():
        return sum(
            size_of_tensors(file)
            for file in path.rglob("*")
            if file.is_file() and file != path / "manifest.json"
        )
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return size
    with path.open("rb") as file:
        return size - 8 - int.from_bytes(file.read(8), "little")


def sha256(content: str | bytes) -> str:
    """Return 64 hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
