"""The machine as a record, with the reason beside every field that cannot be read."""

import datetime
import importlib.metadata
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import psutil

import indoor
from indoor.machine.limits import (
    UnreadableError,
    read_cpu_quota,
    read_governor,
    read_memory_limit,
    read_num_throttled,
)
from indoor.machine.processor import native_bfloat16, read_processor
from indoor.machine.topology import read_topology
from indoor.ranks import read_ranks
from indoor.records import Machine

_Value = TypeVar("_Value")

_NO_FLAGS = "neither the system nor cpuinfo lists the CPU's flags"


def read_machine(*, system: str | None = None, root: Path = Path("/")) -> Machine:
    """Return the machine this process runs on. Nothing in it names the host or its user.

    Args:
        system: As `platform.system()` returns it, the default.
        root: Where the file system begins; tests hand in recorded folders.
    """
    system = platform.system() if system is None else system
    unreadable: dict[str, str] = {}

    def attempt(field: str, read: Callable[[], _Value]) -> _Value | None:
        try:
            return read()
        except UnreadableError as error:
            unreadable[field] = str(error)
            return None

    cpus = sorted(indoor.CPUS_AT_START)
    processor = read_processor(system, root)
    if processor.model is None:
        unreadable["cpu_model"] = "neither the system nor cpuinfo names the CPU"
    if processor.isa is None:
        unreadable |= dict.fromkeys(("isa", "amx", "bfloat16"), _NO_FLAGS)
    isa = processor.isa
    quota = attempt("cpu_quota", lambda: read_cpu_quota(root))
    cores = attempt("num_physical_cores", lambda: read_topology(system, root, cpus))
    if cores is None:
        unreadable["core_kinds"] = unreadable["num_physical_cores"]
    torch_version, engines, vnni = attempt("torch", _torch) or ("unknown", (), None)
    if "torch" in unreadable:
        unreadable["engines"] = unreadable["torch"]
    if vnni is None and isa is None:
        unreadable["vnni"] = f"this torch does not tell, and {_NO_FLAGS}"
    return Machine(
        cpu_model=processor.model or "unknown",
        num_cores=_num_cores(len(cpus), quota),
        isa=isa or (),
        vnni="avx512_vnni" in isa if vnni is None and isa is not None else vnni,
        amx=None if isa is None else {"amx_tile", "amx_int8"} <= set(isa),
        bfloat16=_computes_bfloat16(isa),
        governor=attempt("governor", lambda: read_governor(root, cpus)),
        load_1min=attempt("load_1min", _load),
        memory_bytes=attempt("memory_bytes", lambda: _memory_bytes(root)),
        system=_system(system),
        python=platform.python_version(),
        torch=torch_version,
        torchvision=attempt("torchvision", _torchvision) or "unknown",
        engines=engines,
        unreadable=unreadable,
        libc=attempt("libc", _libc),
        cpu_quota=quota if quota is not None and quota < len(cpus) else None,
        swap_used_bytes=_swap_used_bytes(),
        num_throttled=attempt("num_throttled", lambda: read_num_throttled(root, cpus)),
        num_physical_cores=cores.num_physical if cores else None,
        core_kinds=cores.kinds if cores else None,
    )


def num_usable_cores() -> int:
    """Return how many cores this process may keep busy: affinity and cgroup quota, 1 or more.

    The affinity is that of the process's start, which OpenMP has not narrowed yet. The processes
    that torchrun started on this machine share them evenly.
    """
    try:
        quota = read_cpu_quota(Path("/"))
    except UnreadableError:
        quota = None
    return max(1, _num_cores(len(indoor.CPUS_AT_START), quota) // read_ranks().local_size)


def usable_physical_cores() -> int:
    """Return how many threads have a core of their own: `num_usable_cores`, hyper-threads once.

    Raises:
        UnreadableError: The system does not tell which CPUs share a core.
    """
    cores = read_topology(platform.system(), Path("/"), indoor.CPUS_AT_START)
    return min(cores.num_physical, num_usable_cores())


def read_moment() -> tuple[str, float | None]:
    """Return the time, ISO 8601 in UTC, and the system's load; None where it does not tell it."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        return now, _load()
    except UnreadableError:
        return now, None


def computes_bfloat16() -> bool | None:
    """Return whether this machine and this torch compute bfloat16 rather than emulate it.

    None where nobody knows the CPU's instructions.
    """
    return _computes_bfloat16(read_processor(platform.system(), Path("/")).isa)


def _computes_bfloat16(isa: Iterable[str] | None) -> bool | None:
    if isa is None:
        return None
    try:
        import torch
    except (
        ModuleNotFoundError
    ):  # the light installation: what the CPU could do is known all the same
        return native_bfloat16(isa, os.environ)
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and native_bfloat16(isa, os.environ)


def _torch() -> tuple[str, tuple[str, ...], bool | None]:
    """Return torch's version, its quantized engines, and whether it sees AVX-512 VNNI."""
    try:
        import torch
    except ModuleNotFoundError as error:  # the light installation, or a torch that is damaged
        raise UnreadableError(f"torch cannot be imported: {error}") from error

    engines = tuple(sorted(set(torch.backends.quantized.supported_engines) - {"none"}))
    # The same question that engine x86 asks when it picks its kernels; private, so it may go.
    is_vnni_supported = getattr(torch.cpu, "_is_vnni_supported", None)
    vnni = None if is_vnni_supported is None else bool(is_vnni_supported())
    return str(torch.__version__), engines, vnni


def _torchvision() -> str:
    try:
        return importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError as error:
        raise UnreadableError("torchvision is not installed") from error


def _num_cores(num_cpus: int, quota: float | None) -> int:
    """Return whole cores: with a quota of 1.5 a second thread would be stopped half the time."""
    return num_cpus if quota is None else max(1, min(num_cpus, int(quota)))


def _load() -> float:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError as error:
        raise UnreadableError(f"the system tells no load: {error}") from error


def _memory_bytes(root: Path) -> int:
    """Return what the process may use: the machine's memory or, if lower, its cgroup's limit."""
    try:
        total = int(psutil.virtual_memory().total)
    except (OSError, LookupError) as error:  # a sandbox that hides /proc/meminfo, or shows none
        raise UnreadableError(f"the system does not tell its memory: {error}") from error
    try:
        limit = read_memory_limit(root)
    except UnreadableError:
        limit = None
    return total if limit is None else min(total, limit)


def free_memory_bytes() -> int:
    """Return what the process may still take without swapping; 0 where the system does not tell."""
    try:
        return min(int(psutil.virtual_memory().available), _memory_bytes(Path("/")))
    except (OSError, LookupError, UnreadableError):
        return 0


def _swap_used_bytes() -> int:
    with warnings.catch_warnings():
        # Some sandboxes count no pages moved, which psutil warns of and nobody asks for here.
        warnings.filterwarnings("ignore", message="'sin' and 'sout' swap memory stats")
        return int(psutil.swap_memory().used)


def _system(system: str) -> str:
    """Return system, kernel version and architecture; the version's suffix may name a company."""
    version = re.match(r"[\d.]*\d", platform.release())
    words = (system, version.group() if version else "", platform.machine())
    return " ".join(word for word in words if word)


def _libc() -> str:
    name, version = platform.libc_ver()
    if not name:
        raise UnreadableError("the interpreter does not say which C library it uses")
    return f"{name} {version}"
