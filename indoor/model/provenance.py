"""What a checkpoint was made from: recorded, and asked before it is used with something else."""

import os
from pathlib import Path
from typing import Any

import torch

from indoor.dataset import IndoorScenes
from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.hints import command_line, run_word
from indoor.machine import read_environment
from indoor.model.file_kinds import identify_kind
from indoor.model.sources import WeightsResult
from indoor.model.tensors import FORMAT, read_manifest, read_metadata
from indoor.records import CheckpointManifest, DataIdentity, Provenance, Split
from indoor.transforms import inference_transform


def record_provenance(
    made_from: dict[str, str], data: DataIdentity | None, *, device: str = "cpu", **recorded: Any
) -> Provenance:
    """Return the provenance of something that this process makes.

    Args:
        made_from: SHA-256 by role.
        data: The photographs; None where nobody recorded them.
        device: What it is computed on.
        **recorded: Further fields of `Provenance`.
    """
    return Provenance(
        made_from=made_from,
        data=data,
        device=device,
        torch=str(torch.__version__),
        # Variables alone: a training that goes on at another priority ends at the same bytes.
        environment=read_environment(os.environ),
        **recorded,
    )


def describe_pair(
    run_folder: Path, name: str = "int8", *, root: Path | None = None
) -> tuple[bool, str]:
    """Tell whether a run's checkpoint of that name was made from the float32 beside it.

    Args:
        run_folder: Holds both.
        name: The other checkpoint's, without its ending.
        root: The data set to make it again with, where it is known.

    Returns:
        Whether they may be compared, and one line where something is missing, wrong or unknown.

    Raises:
        IndoorError: A checkpoint is damaged, or there is no float32.
    """
    source, other = run_folder / "float32.safetensors", run_folder / f"{name}.safetensors"
    again = command_line("quantize", run_word(run_folder), data=root or "ROOT")
    if not other.exists():
        return False, f"{run_folder} has no {other.name} yet; make it with {again}"
    float32, made = read_manifest(source), read_manifest(other)
    remedy = f"make it again with {again}"
    if made.classes != float32.classes:
        found = f"knows other classes ({len(made.classes)}) than float32.safetensors,"
    elif (known := is_made_from(made, float32, source)) is None:
        return True, (
            f"{run_folder.name}: from which float32 {name}.safetensors was made is not recorded "
            f"(format {made.format}); to know, {remedy}"
        )
    elif not known:
        found = "was made from another float32.safetensors than"
    else:
        return True, ""
    return False, (
        f"{run_folder.name}: {name}.safetensors {found} the one beside it, so no figure compares "
        f"them; {remedy}"
    )


def is_made_from(
    made: CheckpointManifest,
    float32: CheckpointManifest,
    source: Path,
    adopted_from: Path | None = None,
) -> bool | None:
    """Tell whether a checkpoint was made from the float32 of that manifest and file.

    Or, where it is given, from the file that became that float32: it has a hash of its own.

    None: not recorded. An earlier indoor, which recorded nothing, cannot have read a float32 of a
    later format.
    """
    if made.provenance is None:
        return None if made.format == float32.format else False
    recorded = made.provenance.made_from.get("float32")
    if recorded == (float32.content_sha256 or remembered_sha256(source)):
        return True
    if recorded is None or adopted_from is None:
        return False
    ours = read_metadata(adopted_from) if identify_kind(adopted_from) == "safetensors" else None
    own = ours.content_sha256 if ours is not None else None
    return recorded in (own, remembered_sha256(adopted_from))


def recorded_split(made: CheckpointManifest | WeightsResult) -> tuple[int, float] | None:
    """Return the seed and the share that chose a training's validation photographs.

    None: not recorded, as in format 1.
    """
    data = made.provenance.data if made.provenance else None
    if data is None or data.seed is None or data.val_fraction is None:
        return None
    return data.seed, data.val_fraction


def refuse_other_seed(name: str, seed: int | None, recorded: int) -> None:
    """Raise an IndoorError where a seed is asked for that would choose another validation split."""
    if seed not in (None, recorded):
        raise IndoorError(
            f"--seed {seed}: {name} was trained with seed {recorded}, and on most of what seed "
            f"{seed} would keep out as validation; leave --seed out"
        )


def unknown_split(manifest: CheckpointManifest, path: Path, seed: int) -> str:
    """Return the line that says what it means where `recorded_split` is None."""
    older = f" (format {manifest.format})" if manifest.format < FORMAT else ""
    return (
        f"{path}: which photographs its training kept out is not recorded{older}; those of seed "
        f"{seed} count as validation, and were trained on if its seed was another; name that one "
        "with --seed"
    )


def open_split(
    manifest: CheckpointManifest, path: Path, root: Path, split: Split, **how: Any
) -> IndoorScenes:
    """Return photographs as a checkpoint's network wants them, with its classes as labels.

    Args:
        manifest: What the checkpoint says of itself.
        path: Its file, for the message.
        root: The data set that it was trained on.
        split: Which photographs.
        **how: Further arguments of `IndoorScenes`.

    Raises:
        IndoorError: The data set has other classes, or cannot be used.
    """
    scenes = IndoorScenes(root, split, inference_transform(manifest.preprocessing), **how)
    if scenes.classes != manifest.classes:
        raise IndoorError(
            f"{path} names other classes ({len(manifest.classes)}) than {root} "
            f"({len(scenes.classes)}): {_first(manifest.classes)} and {_first(scenes.classes)}; "
            f"expected its {len(manifest.classes)} classes in the same order; give the data set "
            "that it was trained on"
        )
    return scenes


def _first(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
