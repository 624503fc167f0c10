"""`indoor explain`: why one variant is faster than another, measured or from a saved file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from indoor import places
from indoor.cli.output import Outcome, tell, use_color, width
from indoor.errors import IndoorError
from indoor.explain.observations import Observations
from indoor.explain.plot import explanation_page_blocks
from indoor.explain.render import render_explanation
from indoor.explain.roofline import place_operators
from indoor.explain.verdict import explain
from indoor.files import check_new_file
from indoor.hints import command_line
from indoor.records import read_record, write_record
from indoor.report.page import check_new_page, write_page

if TYPE_CHECKING:
    from torch import Tensor

    from indoor.records import Preprocessing, Variant

BATCHES = (1, 32)
MINUTES = 20.0


def run(parsed: argparse.Namespace) -> Outcome:
    """Measure and explain, or explain what was measured and saved before."""
    saved = _saved(parsed.run)
    if parsed.html:
        check_new_page(parsed.html)
    if saved is None:
        observations, path = _measure(parsed)
        notes: tuple[str, ...] = (
            f"the rounds are in {path}; next: {command_line('explain', path)}",
        )
    else:
        _refuse_unheeded(parsed)
        observations, notes = read_record(saved, Observations), ()
    explanation = explain(observations)
    if parsed.html:
        title = f"indoor explain: {observations.run}"
        write_page(parsed.html, title, explanation_page_blocks(observations, explanation))
    if parsed.format == "json":
        record: dict[str, object] = {"observations": observations, "explanation": explanation}
        if parsed.layers:
            record["layers"] = [[place_operators(side) for side in c] for c in observations.cells]
        return Outcome(record=record, text="", notes=notes)
    text = render_explanation(
        observations,
        explanation,
        format=parsed.format,
        layers=parsed.layers,
        width=parsed.width or width(),
        color=use_color(),
    )
    return Outcome(record=None, text=text, notes=notes)


def _saved(named: str) -> Path | None:
    """Return the file of an earlier measurement that is meant; None where a run is."""
    path = Path(named)
    is_saved = named.endswith((".json", ".json.gz")) and not path.is_dir()
    return path if is_saved else None


def _refuse_unheeded(parsed: argparse.Namespace) -> None:
    """Raise an IndoorError where an option asks for what a saved file cannot give any more."""
    options = ("data", "pair", "batch", "threads", "minutes", "out")
    if given := [f"--{name}" for name in options if getattr(parsed, name) is not None]:
        raise IndoorError(
            f"{', '.join(given)} with {parsed.run}: that file was measured already; expected a run "
            "to measure, or the file alone; leave them out"
        )


def _measure(parsed: argparse.Namespace) -> tuple[Observations, Path]:
    """Measure what is asked for, and save it before anything is made of it."""
    from indoor.cli.chosen_run import checkpoint, data_root, opened_run
    from indoor.explain.experiments import observe
    from indoor.model import read_manifest

    named = checkpoint(parsed.run)
    root = data_root(parsed)
    opened = opened_run(named, root)
    for note in opened.notes:
        tell(note)
    pairs = _pairs(parsed.pair)
    _refuse_unpaired(pairs, opened.folder, root)
    threads = _threads(parsed.threads)
    batches = parsed.batch or BATCHES
    path = parsed.out or places.data_folder() / "explained" / f"{opened.folder.name}.json"
    check_new_file(path, option="--out")
    manifest = read_manifest(opened.folder / places.FLOAT32)
    observations = observe(
        opened.folder,
        pairs,
        batches,
        threads,
        _photographs(root, manifest.preprocessing, max(batches)),
        parsed.minutes or MINUTES,
        tell,
        lambda found: write_record(path, found),
    )
    return observations, path


def _pairs(named: list[tuple[str, str]] | None) -> tuple[tuple["Variant", "Variant"], ...]:
    """Return the pairs that were named; else the baseline's runtime, and the best of each."""
    from indoor.runtimes import baseline, find_variant, native_variants, plain_variants

    if named is not None:
        return tuple((find_variant(first), find_variant(second)) for first, second in named)
    native, first = native_variants(), baseline()
    second = next(v for v in plain_variants(native) if v.checkpoint != first.checkpoint)

    def best(plain: "Variant") -> "Variant":
        ranked = [v for v in native if v.precision == plain.precision and v.rank is not None]
        return min(ranked, key=lambda v: v.rank or 0, default=plain)

    return tuple(dict.fromkeys(((first, second), (best(first), best(second)))))


def _refuse_unpaired(
    pairs: tuple[tuple["Variant", "Variant"], ...], folder: Path, root: Path
) -> None:
    """Raise an IndoorError where a checkpoint is missing, or made from another float32."""
    from indoor.model import describe_pair
    from indoor.runtimes import baseline

    wanted = {variant.checkpoint for pair in pairs for variant in pair}
    for name in sorted(wanted - {baseline().checkpoint}):
        may_be_paired, line = describe_pair(folder, name, root=root)
        if not may_be_paired:
            raise IndoorError(line)


def _threads(asked: tuple[int, ...] | None) -> tuple[int, ...]:
    from indoor.machine import num_usable_cores

    num_cores = num_usable_cores()
    if asked and asked[-1] > num_cores:
        raise IndoorError(
            f"--threads {asked[-1]}: expected {num_cores} (this machine's cores) or fewer"
        )
    return asked or tuple(sorted({1, num_cores}))


def _photographs(root: Path, preprocessing: "Preprocessing", count: int) -> "Tensor":
    """Return photographs of the test split, float32 `(count, 3, H, W)`, of many classes.

    A split that is smaller is gone through again.
    """
    import torch

    from indoor.dataset import IndoorScenes
    from indoor.dataset.scenes import stratified_sample
    from indoor.transforms import inference_transform

    scenes = IndoorScenes(root, "test", inference_transform(preprocessing))
    chosen = stratified_sample(scenes.labels, min(count, len(scenes)), seed=0)
    return torch.stack([scenes[chosen[i % len(chosen)]][0] for i in range(count)])
