"""What a run measures, as a record, as a key for its unfinished cells, and as a file's name."""

import datetime

from bench.options import ROOT, Settings
from bench.partial import partial_key
from indoor.machine import code_identity, code_sha256, read_environment, read_machine
from indoor.pipeline import Prepared
from indoor.records import RunIdentity
from indoor.runtimes import native_variants


def identify_run(settings: Settings, prepared: Prepared, timer: str) -> RunIdentity:
    """Return the code, data, weights and machine of a run that begins now."""
    commit, dirty = code_identity(ROOT)
    return RunIdentity(
        commit=commit,
        dirty=dirty,
        arch=settings.arch,
        preprocessing=prepared.manifest.preprocessing,
        data=prepared.data,
        weights=prepared.manifest.weights,
        checkpoint_sha256=prepared.checkpoint_sha256,
        quantization=prepared.quantization,
        machine=read_machine(),
        narrowed=False,
        variants=native_variants(),
        timer=timer,
        environment=read_environment(),
    )


def configuration_key(settings: Settings, identity: RunIdentity, min_rounds: str) -> str:
    """Return a hash of all that a cell's rounds depend on; the cell itself is not in it."""
    machine = identity.machine
    return partial_key(
        identity.arch,
        identity.preprocessing,
        identity.data,
        identity.checkpoint_sha256,
        (machine.cpu_model, machine.num_cores, machine.isa, machine.torch),
        code_sha256([ROOT / "indoor", ROOT / "bench"]),
        settings.cell_s,
        min_rounds,
    )


def name_run(arch: str, remark: str | None) -> str:
    """Return what follows the number in the name of a run's file."""
    commit, dirty = code_identity(ROOT)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d_%H%M%S")
    parts = [arch, (commit or "unversioned")[:12], now]
    if dirty:
        parts.append("uncommitted-changes")
    return "_".join([*parts, *([remark] if remark else [])])
