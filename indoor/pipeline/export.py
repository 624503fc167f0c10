"""From a run's variant to a folder that is deployed, whole or not at all."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path

from indoor.errors import IndoorError
from indoor.files import new_folder, remembered_sha256, sha256_of_file
from indoor.machine import read_machine
from indoor.model import read_manifest
from indoor.pipeline.evaluation import checkpoint_hashes
from indoor.records import DataIdentity, EvaluationReport, Rate, Variant, read_record, write_record
from indoor.runtimes import load_variant
from indoor.runtimes.artefact_manifest import ArtefactManifest, read_artefact, why_damaged
from indoor.runtimes.exported import (
    EXPORT,
    FORMAT,
    Export,
    Package,
    Port,
    read_export,
    requirements,
)
from indoor.runtimes.loading import checkpoint_of, size_of


def export_variant(
    variant: Variant,
    run_folder: Path,
    out: Path,
    batches: Sequence[int] | None,
    say: Callable[[str], None] = lambda _: None,
) -> Export:
    """Write what a variant of a run is loaded from, with what a deployer must know.

    Args:
        variant: One that this machine computes.
        run_folder: Holds its checkpoint.
        out: The folder to make; an earlier export there is replaced.
        batches: For which to write a package each; None: batch 1, or any where any goes.
        say: Hears what artefacts there are to say, such as why one was made again.

    Raises:
        IndoorError: The batches do not fit the runtime, the artefact cannot be made or loaded, or
            `out` cannot be written or holds something else.
    """
    if batches and not variant.static_batch:
        raise IndoorError(
            f"--batch {','.join(map(str, batches))}: {variant.name} takes any batch from one "
            "artefact; expected no --batch; leave it out"
        )
    _refuse_other_content(out)
    try:
        with new_folder(out, replaces=True) as made:
            export = _write(variant, run_folder, made, tuple(batches or (1,)), say)
    except OSError as error:
        raise IndoorError(
            f"cannot write {out}: {error.strerror or error}; expected a folder with write "
            "permission and free space; choose another with --out"
        ) from error
    return export


def _write(
    variant: Variant,
    run_folder: Path,
    made: Path,
    batches: tuple[int, ...],
    say: Callable[[str], None],
) -> Export:
    packages: list[Package] = []
    known: ArtefactManifest | None = None
    for batch in batches:
        with closing(load_variant(variant, run_folder, batch)) as loaded:  # it can be loaded
            for line in loaded.notes:
                say(line)
            # The process that loaded it keeps others from removing it meanwhile.
            package, known = _copied(variant, loaded.artefact, made, batch)
        packages.append(package)
    checkpoint = checkpoint_of(variant, run_folder)
    source = read_manifest(checkpoint)
    accuracy, accuracy_on = _accuracy(variant, run_folder)
    size = source.preprocessing.size
    needed = requirements(variant)
    export = Export(
        format=FORMAT,
        variant=variant.name,
        runtime=variant.runtime,
        precision=variant.precision,
        input=Port(
            name="images", dtype="float32", shape=("batch", 3, size, size), layout="NCHW, RGB"
        ),
        output=Port(
            name="logits",
            dtype="float32",
            shape=("batch", len(source.classes)),
            layout="as checkpoint.classes",
        ),
        packages=tuple(packages),
        requires=dict(needed),
        libraries={name: metadata.version(name) for name in needed}
        | (known.libraries if known else {}),
        cpu_model=known.cpu_model if known else read_machine().cpu_model,
        isa=known.isa if known else None,
        build_s=known.build_s if known else None,
        checkpoint_sha256=source.content_sha256 or remembered_sha256(checkpoint),
        checkpoint=source,
        accuracy=accuracy,
        accuracy_on=accuracy_on,
    )
    write_record(made / EXPORT, export)
    return export


def _copied(
    variant: Variant, artefact: Path, made: Path, batch: int
) -> tuple[Package, ArtefactManifest | None]:
    """Copy what was loaded for a batch; return what to call it, and what it says of itself."""
    fixed = batch if variant.static_batch else None
    size_bytes = size_of(artefact)
    if artefact.is_file():
        path = made / artefact.name
        shutil.copyfile(artefact, path)
        sha256 = sha256_of_file(path)
        return Package(path=path.name, batch=fixed, size_bytes=size_bytes, sha256=sha256), None
    path = made / ("model" if fixed is None else f"batch{fixed}")
    shutil.copytree(artefact, path)
    known = read_artefact(path)
    damage = "it has no manifest" if known is None else why_damaged(path, known)
    if known is None or known.content_sha256 is None or damage:
        raise IndoorError(
            f"{artefact} cannot be exported: {damage}; expected the artefact of "
            f"{variant.name} as it was made; remove the folder and export it again"
        )
    package = Package(
        path=path.name, batch=fixed, size_bytes=size_bytes, sha256=known.content_sha256
    )
    return package, known


def _accuracy(variant: Variant, run_folder: Path) -> tuple[Rate | None, DataIdentity | None]:
    """Return the variant's accuracy as it was measured last, if of these very checkpoints."""
    path = run_folder / "evaluation.json"
    if not path.is_file():
        return None, None
    try:
        report = read_record(path, EvaluationReport)
    except IndoorError:  # damaged, or an older format's: then it is not known
        return None, None
    found = [one for one in report.evaluations if one.variant == variant.name]
    if report.checkpoint_sha256 != checkpoint_hashes(run_folder) or not found:
        return None, None
    return found[0].top1, report.data


def _refuse_other_content(out: Path) -> None:
    """Raise an IndoorError where the folder holds what no export wrote: all in it is replaced."""
    if not out.exists():
        return
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if not out.is_dir() or (names and EXPORT not in names):
        raise IndoorError(
            f"{out} is there and no export; expected a new folder, an empty one or an earlier "
            "export; choose another with --out"
        )
    if not names:
        return
    try:
        known = {EXPORT, *(package.path for package in read_export(out).packages)}
    except IndoorError as error:
        raise IndoorError(f"{error}; or choose another folder with --out") from None
    if others := [name for name in names if name not in known]:
        raise IndoorError(
            f"{out} holds {others[0]}, which is not of the export there; expected a new folder, "
            "an empty one or an earlier export alone; move it away, or choose another with --out"
        )
