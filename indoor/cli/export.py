"""`indoor export`: what a runtime loads, in a folder that can be deployed."""

import argparse
from dataclasses import dataclass

from indoor import places
from indoor.cli.chosen_run import checkpoint, opened_run
from indoor.cli.output import Outcome
from indoor.errors import IndoorError
from indoor.hints import command_line
from indoor.model import describe_pair
from indoor.pipeline.export import export_variant
from indoor.records import Precision, Variant
from indoor.runtimes import all_variants, baseline, find_variant
from indoor.runtimes.exported import Export


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Where it lies, and what its `export.json` says."""

    folder: str
    export: Export


def run(parsed: argparse.Namespace) -> Outcome:
    """Make the artefacts unless they are there, load each once, and copy them."""
    named = checkpoint(parsed.run)
    opened = opened_run(named, parsed.data)
    folder = opened.folder
    of_int8 = named.resolve().name == places.INT8
    variant = _chosen(parsed.variant, parsed.runtime, parsed.precision, of_int8=of_int8)
    if variant.checkpoint != baseline().checkpoint:
        may_be_paired, line = describe_pair(folder, variant.checkpoint)
        if not may_be_paired:
            raise IndoorError(line)
    default = places.data_folder() / "exports" / f"{folder.name}-{variant.name}"
    out = parsed.out or default
    notes = list(opened.notes)
    export = export_variant(variant, folder, out, parsed.batch, notes.append)
    lines = [f"{variant.name} of {folder.name} is in {out}:"]
    lines += [
        f"  {one.path}: {one.size_bytes / 1e6:,.1f} MB, "
        + ("any batch" if one.batch is None else f"batch {one.batch}")
        for one in export.packages
    ]
    if export.accuracy is not None:
        lines.append(f"top-1 {export.accuracy.value:.2%} on {export.accuracy.num_total:,} test")
    lines.append(f"next: {command_line('predict', 'PHOTO', artefact=out)}")
    return Outcome(
        record=Exported(folder=str(out), export=export), text="\n".join(lines), notes=tuple(notes)
    )


def _chosen(
    name: str | None, runtime: str | None, precision: Precision | None, *, of_int8: bool
) -> Variant:
    """Return the variant that the words mean: by its name, or by runtime and precision.

    Raises:
        IndoorError: There is none, or there are several.
    """
    if name is not None:
        if runtime is not None or precision is not None:
            raise IndoorError(
                f"--variant {name} says runtime and precision; expected it alone; leave the "
                "others out"
            )
        return find_variant(name)
    wanted: Precision = precision or ("int8" if of_int8 else "float32")
    known = all_variants().values()
    found = [v.name for v in known if v.runtime == runtime and v.precision == wanted]
    if not found:
        there = dict.fromkeys(f"{v.runtime} {v.precision}" for v in known)
        raise IndoorError(
            f"--runtime {runtime} --precision {wanted}: there is none; expected one of "
            f"{', '.join(there)}"
        )
    plain = [one for one in found if one in (wanted, f"{wanted}-{runtime}")]
    if len(found) > 1 and not plain:
        raise IndoorError(
            f"--runtime {runtime} --precision {wanted}: there are several; expected --variant "
            f"with one of {', '.join(found)}"
        )
    return find_variant((plain or found)[0])
