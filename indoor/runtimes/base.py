"""What can be run: the protocol of a runtime, and the registry of the variants."""

import functools
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast, get_args

from torch import Tensor

import indoor.runtimes
from indoor import hints
from indoor.errors import IndoorError
from indoor.records import Precision, Ran, Variant


class Runnable(Protocol):
    """A network that a runtime has loaded.

    It may have `renew()`, which moves its weights to memory that is taken at that moment; `indoor
    explain` can then keep them in the cache.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of normalised float32 photographs `(B, 3, H, W)`.

        Records no gradients. A cast that the precision needs happens inside, so that a timed call
        contains it. Images and logits are on the variant's device, which may still be computing
        when the call returns.
        """

    def ran(self, images: Tensor) -> Ran:
        """Return what one more call really computes with; it may write to standard output."""


class Runtime(Protocol):
    """What a file of this folder holds; a file without `VARIANTS` is no runtime.

    A variant with `own_process` is loaded in a process of its own (`own_process.py`), whose threads
    and crashes are nobody else's; a new one for each cell, so that `load` may fix batch and
    threads.
    """

    VARIANTS: tuple[Variant, ...]
    """Its variants, as they are on a CPU; `runtime` is the file's name."""

    DEVICES: tuple[str, ...]
    """The devices that it has variants for, such as `("cuda",)` for what a GPU alone can do. May be
    left out: then there are variants on each, and `why_not` says which of them it computes."""

    REQUIRES: Mapping[str, str]
    """The distributions that it needs beside the core's, with the versions that it was tried with,
    such as `{"onnxruntime": ">=1.20,<2"}`. May be left out. Nobody imports them to look: what is
    missing or of another version costs its variants alone, with what installs it."""

    EXTRA: str
    """The extra of this project that installs them; where `REQUIRES` is."""

    DATA_ONLY: bool
    """Whether loading an artefact executes nothing that is in it, whoever made it. May be left out:
    then an exported one is loaded only where this user compiled it here, or with --trust."""

    def why_not(self, variant: Variant) -> str | None:
        """Return why this machine cannot compute the variant natively; None where it can.

        Asked in processes that are to survive: it imports no library of the runtime's.
        """

    def prepare(self, variant: Variant, checkpoint: Path, batch: int) -> Path:
        """Return the file that is loaded and whose size counts, made unless it is there.

        Args:
            variant: One of its own, with the device.
            checkpoint: The file of the precision `variant.checkpoint`.
            batch: Photographs a batch, for a runtime that needs an artefact for each.

        Raises:
            IndoorError: It cannot be made.
        """

    def load(self, variant: Variant, artefact: Path, threads: int) -> Runnable:
        """Return the network, ready to be called.

        Args:
            variant: One of its own, with the device.
            artefact: What `prepare` returned.
            threads: To compute on. A runtime that uses torch's has nothing to do: they are set.

        Raises:
            IndoorError: The file is missing or cannot be used.
        """


_INSTEAD_OF_INT8 = "int8's engines are the CPU's (--device cpu); a GPU has bfloat16 and float16"


class VariantError(IndoorError):
    """A runtime failed in its own way; `name` is the variant's, `reason` one line."""

    def __init__(self, name: str, error: Exception) -> None:
        kind = "" if isinstance(error, IndoorError) else f"{type(error).__name__}: "
        self.name = name
        self.reason = " ".join(f"{kind}{error}".split())
        super().__init__(f"{name}: {self.reason}")


@dataclass(frozen=True)
class Registry:
    """The runtimes by the name of their file, and why a file that is there counts as none."""

    runtimes: dict[str, Runtime]
    unusable: dict[str, str]


def all_variants(device: str = "cpu") -> dict[str, Variant]:
    """Return every variant by its name, the baseline first, as it would be on that device."""
    found = [
        variant
        for runtime in _registry().runtimes.values()
        if device in getattr(runtime, "DEVICES", (device,))
        for variant in runtime.VARIANTS
    ]
    found.sort(key=lambda v: (v.order, v.name))
    return {v.name: replace(v, device=device) for v in found}


def native_variants(device: str = "cpu") -> tuple[Variant, ...]:
    """Return the variants that this machine computes natively on that device, the baseline first.

    An emulated bfloat16 is slower than float32 and would only mislead in a table.
    """
    return tuple(v for v in all_variants(device).values() if why_not(v) is None)


def plain_variants(native: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the first of each precision of the baseline's runtime: what it is without effort."""
    first = {v.precision: v.name for v in reversed(native) if v.runtime == baseline().runtime}
    return tuple(v for v in native if v.name in first.values())


def find_variant(name: str, device: str = "cpu") -> Variant:
    """Return the variant of that name, which this machine computes natively on that device.

    Raises:
        IndoorError: There is none, or the machine does not; one line.
    """
    known = all_variants(device)
    if name not in known and (elsewhere := _devices_of(name)):
        raise IndoorError(
            f"variant {name}: it computes on {', '.join(elsewhere)} and not on {device}; expected "
            f"one of {', '.join(known)}, or --device {elsewhere[0]}"
        )
    if name not in known:
        others = "".join(f"; {file}: {why}" for file, why in unusable_runtimes().items())
        raise IndoorError(f"variant {name}: expected one of {', '.join(known)}{others}")
    if reason := why_not(known[name]):
        usable = ", ".join(v.name for v in native_variants(device))
        is_quantized = known[name].checkpoint != baseline().checkpoint
        remedy = f"; {_INSTEAD_OF_INT8}" if is_quantized and device != "cpu" else ""
        raise IndoorError(f"variant {name}: {reason}; expected one of {usable}{remedy}")
    return known[name]


def baseline() -> Variant:
    """Return the variant that the others are compared with."""
    return next(v for v in all_variants().values() if v.role == "baseline")


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    try:
        runtime = runtime_of(variant)
        requires, extra = getattr(runtime, "REQUIRES", {}), getattr(runtime, "EXTRA", None)
        return hints.lacking(requires, extra) or runtime.why_not(variant)
    except Exception as error:  # noqa: BLE001 - a stranger's code, which costs its own variant
        return VariantError(variant.name, error).reason


def unusable_runtimes() -> dict[str, str]:
    """Return why a file that lies among the runtimes counts as none, by its name."""
    return dict(_registry().unusable)


def _devices_of(name: str) -> tuple[str, ...]:
    """Return the devices that the runtime of a variant names; nothing where it names none."""
    for runtime in _registry().runtimes.values():
        if name in (variant.name for variant in runtime.VARIANTS):
            return tuple(getattr(runtime, "DEVICES", ()))
    return ()


def libraries_of(variant: Variant) -> str:
    """Return the versions of what its runtime needs beside the core's; empty: nothing."""
    names = getattr(runtime_of(variant), "REQUIRES", {})
    return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(names))


def runtime_of(variant: Variant) -> Runtime:
    """Return the runtime that runs the variant."""
    return _registry().runtimes[variant.runtime]


@functools.cache
def _registry() -> Registry:
    """Import every runtime of this folder and of those that INDOOR_RUNTIMES names.

    Raises:
        IndoorError: A folder is missing.
    """
    for folder in list(indoor.runtimes.__path__)[1:]:
        if not Path(folder).is_dir():
            raise IndoorError(
                f"INDOOR_RUNTIMES: there is no folder {folder}; expected folders of runtimes, "
                "parted by colons; correct the variable, or unset it"
            )
    registry = Registry({}, {})
    seen: dict[str, str] = {}
    for folder in indoor.runtimes.__path__:
        for name in (module.name for module in pkgutil.iter_modules([folder])):
            if name in seen:
                registry.unusable[f"{Path(folder).name}/{name}.py"] = (
                    f"{Path(seen[name]).name}/{name}.py comes before it; expected a name of its "
                    "own; rename it"
                )
                continue
            seen[name] = folder
            try:
                runtime = _imported(name)
                if getattr(runtime, "VARIANTS", ()):
                    _refuse_no_runtime(name, runtime, registry.runtimes)
                    registry.runtimes[name] = cast(Runtime, runtime)
            except Exception as error:  # noqa: BLE001 - a stranger's, and costs its own variants
                registry.unusable[f"{name}.py"] = VariantError(name, error).reason
    return registry


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"indoor.runtimes.{name}")
    except (Exception, SystemExit) as error:
        raise IndoorError(
            f"it cannot be imported: {str(error) or type(error).__name__}; expected a file that "
            "imports what may be missing only when it loads, and says so in why_not; repair or "
            "remove it"
        ) from error


def _refuse_no_runtime(name: str, runtime: ModuleType, others: Mapping[str, Runtime]) -> None:
    """Raise an IndoorError where a file is not whole, or has a variant that nobody can record."""
    if lacking := [one for one in ("why_not", "prepare", "load") if not hasattr(runtime, one)]:
        raise IndoorError(
            f"it has no {', '.join(lacking)}; expected the functions of the protocol in "
            "indoor/runtimes/base.py"
        )
    known = {v.name: other for other, there in others.items() for v in there.VARIANTS}
    for variant in runtime.VARIANTS:
        if variant.runtime != name:
            raise IndoorError(
                f"its variant {variant.name} is of the runtime {variant.runtime}; expected "
                f"runtime={name!r}"
            )
        if other := known.get(variant.name):
            raise IndoorError(
                f"its variant {variant.name} has the name of one of {other}.py; expected one of "
                "that name; rename it"
            )
        known[variant.name] = name
        if variant.precision not in get_args(Precision):
            raise IndoorError(
                f"its variant {variant.name} has the precision {variant.precision}; expected one "
                f"of {', '.join(get_args(Precision))}"
            )
