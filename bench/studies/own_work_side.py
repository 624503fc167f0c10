"""One side of `own_work`: does what it is told with the `indoor` of the folder it was started in.

It is run by path, also in an older tree: it calls what both revisions have, and nothing newer.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import indoor
from indoor.dataset import IndoorScenes, stratified_sample
from indoor.evaluate import evaluate
from indoor.measure.worker import Link, die_with_parent
from indoor.model import hash_tensors, load_float, read_tensors
from indoor.pipeline import evaluate_run, evaluation
from indoor.quantize import default_config, quantize_checkpoint
from indoor.runtimes import all_variants
from indoor.runtimes.loading import load_here
from indoor.train.features import read_features

Answer = dict[str, Any]


def serve() -> None:
    """Answer messages until the other end is gone."""
    die_with_parent()
    tasks: dict[str, Callable[..., Answer]] = {
        "begin": begin,
        "evaluate": evaluate_photographs,
        "features": extract,
        "calibrate": calibrate,
        "load": load,
    }
    link = Link()
    while True:
        message = link.listen()
        task = message.pop("do")
        link.tell(task, **tasks[task](**message))


def begin(threads: int) -> Answer:
    """Set the threads; tell which `indoor` this is."""
    torch.set_num_threads(threads)
    return {"package": indoor.__file__}


def evaluate_photographs(root: str, run: str, out: str) -> Answer:
    """Evaluate float32 as `indoor evaluate` does; write its logits."""
    seen: list[torch.Tensor] = []

    def watched(logits: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        seen.append(logits)
        return evaluate(logits, *arguments, **named)

    evaluation.evaluate = watched  # type: ignore[attr-defined]
    began = time.perf_counter()
    report = evaluate_run(root, run, variants=("float32",))
    seconds = time.perf_counter() - began
    torch.save(seen[0], out)
    (figures,) = report.evaluations
    return {
        "seconds": seconds,
        "num_hits": figures.top1.num_hits,
        "num_top5_hits": figures.top5.num_hits,
        "num_photographs": figures.num_photographs,
        "notes": list(report.notes),
    }


def extract(root: str, run: str, num_photographs: int, out: str) -> Answer:
    """Read the features of train photographs into an empty cache, as `indoor train` does."""
    loaded = load_float(Path(run) / "float32.safetensors")
    scenes = IndoorScenes(Path(root), "train")
    count = min(num_photographs, len(scenes))
    chosen = sorted(stratified_sample(scenes.labels, count, 0))
    scenes.samples = tuple(scenes.samples[index] for index in chosen)
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        features = read_features(
            loaded.model, scenes, loaded.manifest.preprocessing, Path(cache) / "features"
        )
        seconds = time.perf_counter() - began
    with torch.inference_mode():
        answers = loaded.model.get_submodule("fc")(features.values).argmax(1)
    torch.save(features.values, out)
    return {"seconds": seconds, "num_photographs": count, "answers": answers.tolist()}


def calibrate(root: str, run: str, num_photographs: int) -> Answer:
    """Quantize and check, as `indoor quantize` does; tell the hash of the int8 tensors."""
    config = default_config(num_calibration=num_photographs)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.safetensors"
        began = time.perf_counter()
        record = quantize_checkpoint(
            Path(run) / "float32.safetensors", root, config, out=out, force=True
        )
        seconds = time.perf_counter() - began
        tensors, _ = read_tensors(out)
    assert record.check is not None
    return {
        "seconds": seconds,
        "num_photographs": record.num_calibrated,
        "tensors_sha256": hash_tensors(tensors),
        "num_agreeing": record.check.agreement.num_hits,
        "sqnr_db": record.check.sqnr_db,
    }


def load(run: str, num_loads: int) -> Answer:
    """Load both checkpoints in turn, as the suite's case `load` does."""
    seconds: dict[str, list[float]] = {"float32": [], "int8": []}
    for _ in range(num_loads):
        for name, taken in seconds.items():
            taken.append(load_here(all_variants()[name], Path(run)).seconds)
    return {"seconds": seconds}


if __name__ == "__main__":
    serve()
