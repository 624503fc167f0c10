"""Makes whatever is missing of a run, and uses again what is there."""

import hashlib
import shutil
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from indoor import places
from indoor.dataset import identify, identify_with_and_without_test, read_split_lists
from indoor.demo import draw_demo
from indoor.devices import choose_device
from indoor.errors import IndoorError
from indoor.files import remembered_sha256, replace_file
from indoor.locks import locked
from indoor.machine import read_machine
from indoor.model import (
    FoundWeights,
    WeightsResult,
    find_weights,
    is_made_from,
    load_float,
    load_weights,
    recorded_split,
    verify,
)
from indoor.pipeline.adoption import read_own, write_adopted
from indoor.pipeline.evaluation import (
    EVALUATION_BATCH,
    checkpoint_hashes,
    evaluate_run,
    wanted_variants,
)
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize import default_config, is_exact, quantize_checkpoint
from indoor.records import (
    CheckpointManifest,
    DataIdentity,
    EvaluationReport,
    Machine,
    QuantizationConfig,
    QuantizationRecord,
    Recipe,
    read_record,
    to_json,
    write_record,
)
from indoor.report.caption import assumed_lines
from indoor.runtimes import all_variants, libraries_of, native_variants
from indoor.train import fine_tune, is_trained_for

PREPARATION = 3
"""Counted up whenever a change of the code makes earlier runs' checkpoints out of date."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run's folder with `float32.safetensors` and `int8.safetensors`, and what they are.

    `checkpoint_sha256` is by precision. `report` is None where accuracies were not asked for.
    `notes` says in words what was done, skipped, or is to be kept in mind.
    """

    root: Path
    run_folder: Path
    data: DataIdentity
    manifest: CheckpointManifest
    checkpoint_sha256: dict[str, str]
    quantization: QuantizationRecord
    report: EvaluationReport | None
    notes: tuple[str, ...]


def prepare(
    root: Path | str | None = None,
    weights: Path | str | None = None,
    *,
    home: Path | str | None = None,
    arch: str | None = None,
    recipe: Recipe = "head",
    seed: int = 0,
    skip_broken: bool = False,
    allow_download: bool = True,
    config: QuantizationConfig | None = None,
    keeps_int8: bool = False,
    evaluates: bool = True,
    device: str = "cpu",
    variants: Collection[str] | None = None,
    static_batch: int = EVALUATION_BATCH,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Make whatever is missing of a run: drawn data, a fine-tuned head, int8, accuracies.

    What an earlier call made from the same photographs, weights and settings is used again.

    Args:
        root: A data set in MIT Indoor-67's layout; None for the drawn one.
        weights: A checkpoint, or a run's name or folder; None for the first source that answers.
        home: The folder that holds `demo/`, `runs/` and `features/`; None for that of the
            commands (`places.data_folder`).
        arch: One of `model.ARCHS`; None for what the weights' file holds, without one for
            `resnet50`.
        recipe: How to fine-tune where the weights' classes are not the data's.
        seed: Decides the drawn photographs' split, the new head and the order of training.
        skip_broken: Leave photographs out that cannot be decoded, and count them.
        allow_download: Whether ImageNet weights may be fetched.
        config: How to quantize; None for this CPU's default.
        keeps_int8: Take the int8 that lies in the run's folder, whatever its settings, as
            `indoor quantize` left it there; `config` then decides nothing.
        evaluates: Whether the accuracies are wanted; on a large test split they take minutes.
        device: Where the accuracies are computed, such as `cpu`.
        variants: Whose accuracies are wanted, beside the baseline's, and `static_batch`: as for
            `evaluate_run`.
        static_batch: See `variants`.
        progress: Hears of each step's progress.
        say: Hears one line for each step: what was made, skipped or found.

    Returns:
        The run's folder and records.

    Raises:
        IndoorError: The data set, the weights, the device or the int8 that is to be kept cannot be
            used, or int8 collapsed (`CollapseError`).
        ValueError: An architecture or recipe that does not exist.
    """
    home = places.data_folder() if home is None else Path(home)
    checkpoint = None if weights is None else places.find_checkpoint(str(weights), home)
    job = _Job(
        home=home,
        recipe=recipe,
        seed=seed,
        skip_broken=skip_broken,
        keeps_int8=keeps_int8,
        device=choose_device(device).type,
        machine=read_machine(),
        progress=progress,
        say=say,
    )
    config = config or default_config(seed=seed)
    root = job.drawn() if root is None else Path(root)
    data, trained_on = identify_with_and_without_test(root, seed=seed, skip_broken=skip_broken)
    if data.num_skipped:
        job.note(f"left out {data.num_skipped} photographs that cannot be decoded (--skip-broken)")
    found = find_weights(checkpoint, arch, allow_download=allow_download, progress=progress)
    for line in found.notes:
        job.note(line)
    weights_found: WeightsResult | None = None
    if found.arch is None:  # it is what the file holds, and part of the run's name
        weights_found = load_weights(found, read_split_lists(root).classes)
        found = replace(found, arch=weights_found.arch)
    run_folder = places.runs_folder(home) / job.run_name(trained_on, found)
    with job.locked(run_folder):
        manifest = job.float_checkpoint(root, found, run_folder, weights_found)
        quantization = job.int8_checkpoint(root, trained_on, manifest, run_folder, config)
        hashes = checkpoint_hashes(run_folder)
        report = None
        if evaluates:
            how = variants, static_batch
            report = job.evaluation(root, run_folder, data, hashes, *how)
    return Prepared(
        root=root,
        run_folder=run_folder,
        data=data,
        manifest=manifest,
        checkpoint_sha256=hashes,
        quantization=quantization,
        report=report,
        notes=tuple(job.notes),
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The settings of one preparation, and its steps; each step reuses what is there."""

    home: Path
    recipe: Recipe
    seed: int
    skip_broken: bool
    keeps_int8: bool
    device: str
    machine: Machine
    progress: Progress
    say: Callable[[str], None]
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a line for the caller, and say it now."""
        self.notes.append(line)
        self.say(line)

    def locked(self, path: Path) -> AbstractContextManager[None]:
        """Return a lock that keeps two processes from making the same folder at once."""
        holder = f"another process that prepares {path.name}"
        return locked(path.parent / f".{path.name}.lock", holder, say=self.say)

    def drawn(self) -> Path:
        """Return the drawn data set's folder, drawing it where there is none."""
        root = places.demo_folder(self.home)
        with self.locked(root):
            if not root.is_dir():
                draw_demo(root, progress=self.progress)
                self.note("drew indoor scenes (no data set was named): no photographs")
        return root

    def run_name(self, trained_on: DataIdentity, weights: FoundWeights) -> str:
        """Return a folder name that changes with all that decides the float32 checkpoint."""
        key = (PREPARATION, trained_on, weights.source.identity, self.recipe, self.seed)
        digest = hashlib.sha256(to_json(key)).hexdigest()
        return f"{trained_on.name}-{weights.arch}-{digest[:8]}"

    def float_checkpoint(
        self, root: Path, found: FoundWeights, run_folder: Path, weights: WeightsResult | None
    ) -> CheckpointManifest:
        """Fine-tune, or take the weights as they are where they know the data's classes.

        They are loaded if they are not yet, and if they are needed.
        """
        path = run_folder / places.FLOAT32
        if path.is_file():
            return read_own(path)
        classes = read_split_lists(root).classes
        weights = weights or load_weights(found, classes)
        for line in weights.notes[len(found.notes) :]:
            self.note(line)
        if known := is_trained_for(weights, classes):
            self.note(f"training skipped: {weights.source.name} knows these {len(classes)} classes")
        for line in assumed_lines(weights.source):
            self.note(line)
        if known:
            return write_adopted(path, weights)
        result = fine_tune(
            root,
            weights,
            arch=weights.arch,
            recipe=self.recipe,
            out=run_folder,
            features=places.features_folder(self.home),
            seed=self.seed,
            skip_broken=self.skip_broken,
            run=run_folder.name,
            progress=self.progress,
            say=self.say,
        )
        best = result.curves.best
        self.note(
            f"fine-tuned ({self.recipe}, {len(result.curves.epochs)} epochs): validation accuracy "
            f"{best.val_accuracy:.1%} at epoch {best.epoch}"
        )
        if result.curves.note:
            self.note(result.curves.note)
        return result.manifest

    def int8_checkpoint(
        self,
        root: Path,
        trained_on: DataIdentity,
        float32: CheckpointManifest,
        run_folder: Path,
        config: QuantizationConfig,
    ) -> QuantizationRecord:
        """Quantize, unless int8 of this float32, these photographs and settings is there."""
        out = run_folder / places.INT8
        split = recorded_split(float32)
        if split not in (None, (trained_on.seed, trained_on.val_fraction)):
            # Weights of ours that were trained with another seed keep what that one kept out.
            trained_on = identify(
                root,
                seed=split[0],
                val_fraction=split[1],
                test=False,
                skip_broken=self.skip_broken,
            )
        if (there := self.int8_there(out, trained_on, float32, config)) is not None:
            return there
        record = quantize_checkpoint(
            load_float(run_folder / places.FLOAT32),
            root,
            config,
            out=out,
            seed=self.seed,
            skip_broken=self.skip_broken,
            progress=self.progress,
        )
        low, high = config.activation_range
        self.note(
            f"quantized to int8 (engine {config.engine}, activations {low}..{high}) on "
            f"{record.num_calibrated} train photographs"
        )
        return record

    def int8_there(
        self,
        path: Path,
        trained_on: DataIdentity,
        float32: CheckpointManifest,
        config: QuantizationConfig,
    ) -> QuantizationRecord | None:
        """Return the record of the int8 that lies there, if it is the one that is wanted.

        Raises:
            IndoorError: It was asked for, whatever its settings, and cannot be taken.
        """
        if not path.is_file() and not self.keeps_int8:
            return None
        try:
            there = verify(path)
        except IndoorError as error:
            if self.keeps_int8:
                raise
            self.note(f"quantizing again: {error}")
            return None
        record, origin = there.quantization, there.provenance
        is_ours = is_made_from(there, float32, path.with_name(places.FLOAT32))
        if record is None or origin is None or not is_ours:
            reason = "is not of this float32"
        elif origin.data is None or origin.data.sha256 != trained_on.sha256:
            reason = "was calibrated on other photographs"
        elif record.forced:
            reason = "failed its check (quantize --force)"
        elif not self.keeps_int8 and (record.config, origin.data) != (config, trained_on):
            reason = "has other settings"
        elif record.exact != is_exact(record.config.engine, record.config.activation_range):
            reason = "was made where int8 adds up otherwise than on this CPU"
        else:
            return record
        if self.keeps_int8:
            raise IndoorError(
                f"{path} {reason}; expected one that indoor quantize made of this run and data, or "
                "no --keep-int8, which makes one"
            )
        if is_ours:
            self.keep_int8(path)
        return None

    def keep_int8(self, path: Path) -> None:
        """Copy an int8 that is about to be replaced: a search or a training may have made it."""
        sha256 = remembered_sha256(path)
        kept = path.with_stem(f"{path.stem}-{sha256[:12]}")
        if not kept.is_file() or remembered_sha256(kept) != sha256:
            with replace_file(kept) as temporary:
                shutil.copyfile(path, temporary)
        self.note(
            f"kept the int8 that lay there, another than is asked for, as {kept}; indoor evaluate, "
            f"export, quantize --auto and pytest bench --keep-int8 take it once it is copied over "
            f"{path.name}"
        )

    def evaluation(
        self,
        root: Path,
        run_folder: Path,
        data: DataIdentity,
        hashes: dict[str, str],
        variants: Collection[str] | None,
        static_batch: int,
    ) -> EvaluationReport:
        """Evaluate on the test split, once for each pair of checkpoints and kind of machine.

        What an earlier call evaluated of other variants is kept, and not evaluated again.
        """
        path = run_folder / f"evaluation{'' if self.device == 'cpu' else f'-{self.device}'}.json"
        asked = [v for v in wanted_variants(variants, self.device) if v.checkpoint in hashes]
        known = self.known_evaluation(path, data, hashes)
        done = {e.variant for e in known.evaluations} if known else set()
        missing = [v.name for v in asked if v.name not in done]
        if known and not missing:
            return known
        report = evaluate_run(
            root,
            run_folder,
            self.machine,
            skip_broken=self.skip_broken,
            device=self.device,
            variants=missing,
            static_batch=static_batch,
            progress=self.progress,
            say=self.note,
        )
        fresh = [e for e in report.evaluations if e.variant in missing]
        if known:
            report = _joined(known, report)
        write_record(path, report)
        self.note(
            f"evaluated on {data.num_test} test photographs: "
            + ", ".join(f"{e.variant} {e.top1.value:.2%}" for e in fresh)
        )
        for reason in report.left_out.values():
            self.note(f"not evaluated: {reason}")
        return report

    def known_evaluation(
        self, path: Path, data: DataIdentity, hashes: dict[str, str]
    ) -> EvaluationReport | None:
        """Return what was evaluated of just this on such a machine, with the libraries of now."""
        if not path.is_file():
            return None
        try:
            known = read_record(path, EvaluationReport)
        except IndoorError as error:
            self.note(f"evaluating again: {error}")
            return None
        here = (data.sha256, data.num_test, hashes, self.machine.cpu_model, self.machine.torch)
        there = (
            *(known.data.sha256, known.data.num_test, known.checkpoint_sha256),
            *(known.cpu_model, known.torch_version),
        )
        if there != here:  # the seed of the validation photographs, its own, moves no test figure
            return None
        now = {v.name: libraries_of(v) for v in native_variants(self.device)}
        kept = {e.variant for e in known.evaluations}
        kept = {name for name in kept if known.libraries.get(name, "") == now.get(name)}
        return replace(
            known,
            evaluations=tuple(e for e in known.evaluations if e.variant in kept),
            pairs=tuple(p for p in known.pairs if p.candidate in kept),
            libraries={name: text for name, text in known.libraries.items() if name in kept},
            left_out={},
        )


def _joined(known: EvaluationReport, report: EvaluationReport) -> EvaluationReport:
    """Return the newer report with what only the older one knows, in the tables' order."""
    order = list(all_variants(report.device or "cpu"))
    new = {e.variant for e in report.evaluations}
    evaluations = [*report.evaluations, *(e for e in known.evaluations if e.variant not in new)]
    pairs = [*report.pairs, *(p for p in known.pairs if p.candidate not in new)]
    return replace(
        report,
        evaluations=tuple(sorted(evaluations, key=lambda e: order.index(e.variant))),
        pairs=tuple(sorted(pairs, key=lambda p: order.index(p.candidate))),
        libraries=known.libraries | report.libraries,
    )
