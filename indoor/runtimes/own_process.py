"""A process of its own for variants: its memory, threads, environment and crashes are its own."""

import gc
import os
import pkgutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

import indoor
import indoor.runtimes
from indoor.devices import device_peak_bytes, start_counting_memory, timed_on
from indoor.errors import IndoorError
from indoor.measure import peak_memory_bytes
from indoor.measure.pairs import Clock, RemoteCall, Subject, UnexpectedAnswerError
from indoor.measure.process import ChildLostError, ChildProcess, python_command
from indoor.measure.worker import Link, answer, die_with_parent, timed
from indoor.model import read_manifest
from indoor.records import CheckpointManifest, Ran, Variant, from_builtins, to_builtins
from indoor.runtimes.base import VariantError, all_variants
from indoor.runtimes.labels import hold
from indoor.runtimes.loading import Loaded, checkpoint_of, load_exported_here, load_here

ANSWER_S = 600.0
"""For one load, which may convert and compile, or one call; what takes longer hangs."""

NUM_PEAK_CALLS = 3
LOADS_S = 15.0
"""For the loads of a variant that are timed."""

LOST = (ChildLostError, UnexpectedAnswerError, VariantError)
"""What a measurement raises where a variant or its process is lost; see `lost_name`."""


class ProcessOptions(TypedDict, total=False):
    """How a process times: the dotted name of its clock, and whether Python collects garbage."""

    clock: str
    collects: bool


class Host:
    """A process that loads variants, computes when it is told to and answers; close it when done.

    It prints to a file of its own, so that nothing a library prints disturbs an answer.

    Args:
        name: What errors call it.
        run_folder: Holds the checkpoints.
        batch: Photographs a batch, for runtimes that need to know.
        threads: For its variants to compute on.
        environment: All of the process's variables; None for those of this one.
        clock: The dotted name of the function that times.
        collects: Whether Python collects garbage there.
        serve: The module whose `serve` the process is.

    Raises:
        IndoorError: It cannot be started; one line.
    """

    def __init__(
        self,
        name: str,
        run_folder: Path,
        *,
        batch: int,
        threads: int,
        environment: Mapping[str, str] | None = None,
        clock: str = "time.perf_counter",
        collects: bool = True,
        serve: str = "indoor.runtimes.own_process",
    ) -> None:
        self.name = name
        self._shown: Tensor | None = None
        self._about: dict[str, Any] = {
            "run_folder": str(run_folder.resolve()),
            "batch": batch,
            "threads": threads,
            "clock": clock,
            "collects": collects,
        }
        self._folder = tempfile.TemporaryDirectory(prefix="indoor-host-")
        known = dict(os.environ if environment is None else environment)
        folders = os.pathsep.join(indoor.runtimes.__path__[1:])  # absolute, unlike the variable
        try:
            self._process = ChildProcess(
                name,
                python_command(f"from {serve} import serve; serve()"),
                log=Path(self._folder.name) / "log.txt",
                folder=Path(indoor.__file__).parent.parent,
                environment=known | {"INDOOR_RUNTIMES": folders},
            )
        except OSError as error:
            raise IndoorError(
                f"{name}: cannot start a process: {error.strerror or error}; expected room for one"
            ) from error
        self.close = weakref.finalize(self, _end, self._process, self._folder)

    def __enter__(self) -> "Host":
        """Return it, to be closed at the block's end."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def load(
        self, variant: Variant, *, exported: bool = False, trust: bool = False
    ) -> dict[str, Any]:
        """Load a variant, or load it again; return the `seconds` it took and its `artefact`.

        Args:
            variant: Which.
            exported: Whether the run's folder is an exported one.
            trust: Whether one that others compiled may be executed.

        Raises:
            IndoorError: The variant cannot be loaded, or the process died.
        """
        about = {"variant": variant.name, "device": variant.device, **self._about}
        about |= {"exported": exported, "trust": trust}
        return self.ask("load", **about)

    def show(self, images: Tensor) -> None:
        """Have what is computed from now on be these photographs."""
        if images is self._shown:
            return
        self._shown = images
        path = Path(self._folder.name) / "images.pt"
        torch.save(images.cpu().clone(), path)
        self.ask("show", path=str(path))

    def run(self, variant: str) -> tuple[Tensor, float]:
        """Return the logits of the photographs, in the CPU's memory, and the call's seconds."""
        path = Path(self._folder.name) / "logits.pt"
        seconds = self.ask("run", variant=variant, path=str(path))["seconds"]
        return torch.load(path, weights_only=True), seconds

    def ran(self, variant: str) -> Ran:
        """Return what one more call really computes with."""
        return from_builtins(self.ask("ran", variant=variant), Ran, self.name)

    def subject(self, variant: str, max_warmup_s: float, **fields: Any) -> Subject:
        """Return the variant's calls on the photographs, as what takes turns with others.

        Args:
            variant: Which.
            max_warmup_s: What its warm-up may take.
            fields: `labels=True` for calls from the files of `hold` to their labels.
        """
        return RemoteCall(self._process, ANSWER_S + max_warmup_s, {"variant": variant, **fields})

    def hold(self, variant: str, paths: Sequence[Path], threads: int) -> list[str]:
        """Have it hold photographs' files in memory, to be decoded in so many threads.

        Returns:
            The labels that the variant gives them.
        """
        names = self.ask(
            "hold", variant=variant, paths=[str(path) for path in paths], threads=threads
        )["names"]
        return list(names)

    def begin(self, what: str, **fields: Any) -> Callable[[], dict[str, Any]]:
        """Send a message, and return what waits for its answer; both raise as `ask` does."""
        call = RemoteCall(self._process, ANSWER_S, fields)

        def hear() -> dict[str, Any]:
            try:
                return call.hear(what)
            except LOST as error:
                raise IndoorError(lost_line(error)) from error

        try:
            call.send(what)
        except LOST as error:
            raise IndoorError(lost_line(error)) from error
        return hear

    def ask(self, what: str, **fields: Any) -> dict[str, Any]:
        """Return the answer to a message.

        Raises:
            IndoorError: The process died, hangs or could not do it; one line.
        """
        return self.begin(what, **fields)()


@dataclass(frozen=True, eq=False)
class Hosted:
    """A network in a process of its own, called as one in this process is."""

    host: Host
    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits of photographs."""
        self.host.show(images)
        return self.host.run(self.name)[0].to(images.device)

    def ran(self, images: Tensor) -> Ran:
        """Return what one more call really computes with."""
        self.host.show(images)
        return self.host.ran(self.name)


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The peak after a few batches, the seconds from the file to the first logits, and what ran.

    On a CPU it is VmHWM, the process's own; on a GPU what the device's allocator held for it.
    """

    peak_memory_bytes: int | None
    seconds: float
    ran: Ran | None = None


def load_variant(
    variant: Variant, run_folder: Path, batch: int = 1, **options: Unpack[ProcessOptions]
) -> Loaded:
    """Load a variant from a run's folder, in a process of its own if it wants one; close it then.

    Args:
        variant: One of `all_variants`.
        run_folder: Holds the checkpoint that the variant is made from.
        batch: Photographs a batch, where the runtime needs to know.
        options: For the process of its own.

    Raises:
        IndoorError: The checkpoint is missing or cannot be used, or the process died.
    """
    if not variant.own_process:
        return load_here(variant, run_folder, batch)
    threads = torch.get_num_threads()
    host = Host(variant.name, run_folder, batch=batch, threads=threads, **options)
    checkpoint = checkpoint_of(variant, run_folder)
    return load_in(host, variant, batch, lambda: read_manifest(checkpoint))


def load_in(
    host: Host,
    variant: Variant,
    batch: int,
    manifest: Callable[[], CheckpointManifest],
    **how: bool,
) -> Loaded:
    """Load a variant in a process that is its own, and ends with it or if it cannot be loaded.

    Args:
        host: The process.
        variant: To load.
        batch: What the process was started for.
        manifest: Reads what the checkpoint says of itself, once the variant is loaded.
        how: As for `Host.load`.

    Raises:
        IndoorError: As `load_variant`.
    """
    try:
        told = host.load(variant, **how)
        known = manifest()
    except IndoorError:
        host.close()
        raise
    return Loaded(
        variant,
        known,
        Hosted(host, variant.name),
        Path(told["artefact"]),
        told["seconds"],
        batch,
        close=host.close,
        notes=tuple(told["notes"]),
    )


def measure_peak(variant: Variant, run_folder: Path, images: Tensor, threads: int) -> Peak:
    """Return the peak memory of a process that never held another variant.

    Args:
        variant: Which to load.
        run_folder: Holds the checkpoints.
        images: float32 `(B, 3, H, W)`.
        threads: To compute on.

    Raises:
        IndoorError: The process failed; one line.
    """
    if variant.static_batch:  # made in another process, or its compiler's memory would count
        load_variant(variant, run_folder, len(images)).close()
    with Host(variant.name, run_folder, batch=len(images), threads=threads) as host:
        host.show(images)
        loading_s = host.load(variant)["seconds"]
        seconds = [host.run(variant.name)[1] for _ in range(NUM_PEAK_CALLS)]
        # Before the next call prints.
        peak = host.ask("memory", variant=variant.name)["peak_memory_bytes"]
        ran = host.ran(variant.name)
    return Peak(peak_memory_bytes=peak, seconds=loading_s + seconds[0], ran=ran)


def time_loads(
    variant: Variant,
    run_folder: Path,
    num_loads: int,
    batch: int = 1,
    **options: Unpack[ProcessOptions],
) -> list[float]:
    """Return the seconds of loads from the file; one before them, which imports, is left out.

    Where a load compiles, they are as many as `LOADS_S` holds, and one at least.
    """
    if variant.own_process:
        threads = torch.get_num_threads()
        with Host(variant.name, run_folder, batch=batch, threads=threads, **options) as host:
            return _first_loads(lambda: float(host.load(variant)["seconds"]), num_loads)
    clock = pkgutil.resolve_name(options.get("clock", "time.perf_counter"))
    return _first_loads(
        lambda: load_here(variant, run_folder, batch, clock=clock).seconds, num_loads
    )


def _first_loads(load: Callable[[], float], num_loads: int) -> list[float]:
    load()
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < num_loads and (not seconds or time.perf_counter() - began < LOADS_S):
        seconds.append(load())
    return seconds


def lost_name(error: ChildLostError | UnexpectedAnswerError | VariantError) -> str:
    """Return the variant that is lost, or else the process, as the error tells it."""
    if isinstance(error, UnexpectedAnswerError):
        return str(error.message.get("variant", error.name))
    return error.name


def lost_line(error: ChildLostError | UnexpectedAnswerError | VariantError) -> str:
    """Return in one line why a variant or a process is lost."""
    if isinstance(error, UnexpectedAnswerError):
        return f"{lost_name(error)}: {error.message.get('message', error.message)}"
    return str(error)


def serve() -> None:
    """Be the process: do what each message asks until the other end is gone."""
    answer_all(Variants())


def answer_all(variants: "Variants") -> None:
    """Have them do what each message asks until the other end is gone."""
    die_with_parent()
    link = Link()
    while True:
        message = link.listen()
        try:
            told = variants.do(message)
        except VariantError as error:
            link.tell("failed", variant=error.name, message=error.reason)
        except Exception as error:  # noqa: BLE001 - a runtime's own, which its asker is told
            kind = "" if isinstance(error, IndoorError) else f"{type(error).__name__}: "
            link.tell("failed", message=" ".join(f"{kind}{error}".split()))
        else:
            link.tell(message["do"], **told)


class Variants:
    """What the process holds, and what it can do with it."""

    def __init__(self) -> None:
        self._loaded: dict[str, Loaded] = {}
        self._images = torch.empty(0)
        self._labelling: Callable[[], list[str]] = list
        self._clock: Clock = time.perf_counter
        self._timed: dict[tuple[str, bool], Callable[[int], float]] = {}

    def do(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a message asks and return the answer."""
        what = message["do"]
        labels = message.get("labels", False)
        if what == "turn" and (message["variant"], labels) in self._timed:
            return answer(message, self._timed[message["variant"], labels])
        if what not in ("warm_up", "turn"):  # it may change what is called
            self._timed.clear()
        if what == "show":
            self._images = torch.load(message["path"], weights_only=True)
            return {}
        if what == "load":
            return self._load(message)
        loaded = self._loaded[message["variant"]]
        if what == "memory":
            peak = device_peak_bytes(loaded.variant.device)
            return {"peak_memory_bytes": peak_memory_bytes() if peak is None else peak}
        images = self._images.to(loaded.variant.device)
        if what == "run":
            began = time.perf_counter()
            logits = loaded(images).cpu()
            seconds = time.perf_counter() - began
            torch.save(logits.clone(), message["path"])
            return {"seconds": seconds}
        if what == "ran":
            return to_builtins(loaded.network.ran(images))
        if what == "hold":
            self._labelling = hold(
                loaded, [Path(path) for path in message["paths"]], message["threads"]
            )
            return {"names": self._labelling()}
        if labels:
            once = timed(self._labelling, self._clock)
        else:
            once = timed_on(loaded.variant.device, partial(loaded, images), self._clock)
        if what == "repeat":
            return repeat(once, message["start"], message["for_s"])
        self._timed[message["variant"], labels] = lambda _iterations: once()
        return answer(message, self._timed[message["variant"], labels])

    def _load(self, message: dict[str, Any]) -> dict[str, Any]:
        torch.set_num_threads(message["threads"])
        self._clock = pkgutil.resolve_name(message["clock"])
        if not message["collects"]:
            gc.disable()
        variant = all_variants(message["device"])[message["variant"]]
        start_counting_memory(variant.device)
        self._loaded.pop(variant.name, None)  # only one of it is ever held
        folder, batch = Path(message["run_folder"]), message["batch"]
        if message["exported"]:
            loaded = load_exported_here(folder, batch, self._clock, trust=message["trust"])
        else:
            loaded = load_here(variant, folder, batch, self._clock)
        self._loaded[variant.name] = loaded
        artefact = str(loaded.artefact)
        return {"seconds": loaded.seconds, "artefact": artefact, "notes": loaded.notes}


def repeat(once: Callable[[], float], start: float, for_s: float) -> dict[str, Any]:
    """Call from a moment of `time.monotonic`, which all processes share, for so many seconds.

    Returns:
        Of each call its `seconds`, and how long after the start the last one `ended`.
    """
    time.sleep(max(0.0, start - time.monotonic()))
    seconds = [once()]
    while time.monotonic() < start + for_s:
        seconds.append(once())
    return {"seconds": seconds, "ended": time.monotonic() - start}


def _end(process: ChildProcess, folder: "tempfile.TemporaryDirectory[str]") -> None:
    process.kill()
    folder.cleanup()
