"""What there is to distrust about a machine's figures, each with what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from indoor.records import Allocator, Machine

AdviceKind = Literal[
    "engines",
    "load",
    "governor",
    "throttling",
    "swap",
    "quota",
    "cores",
    "hyper-threads",
    "core kinds",
    "vnni",
    "bfloat16",
    "allocator",
    "unreadable",
    "runtime",
]
AdviceLevel = Literal["warning", "note"]

_BUSY_SHARE = 0.25
"""The load per core from which another program's turns show in the timings."""

_SWAP_BYTES = 64 * 2**20
"""What idle programs leave in the swap does not disturb."""

_UNREADABLE: dict[str, tuple[AdviceLevel, str, str]] = {
    "cpu_model": (
        "warning",
        "the CPU's model",
        "write it beside every figure yourself: a figure without its CPU is no figure",
    ),
    "load_1min": ("note", "the load", "see to it yourself that nothing else runs"),
    "governor": (
        "note",
        "the CPU governor",
        "trust speedups of interleaved pairs, not times across runs",
    ),
    "num_physical_cores": (
        "note",
        "which CPUs share a core",
        "compare --threads 1 with all: two hyper-threads of one core would count as two here",
    ),
    "engines": (
        "note",
        "which int8 engines there are",
        "install the project whole to measure networks; the gate and the tables need no torch",
    ),
}
"""The fields whose absence a reader should know of."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One finding. A warning makes timings unsound, a note says how to read them."""

    kind: AdviceKind
    level: AdviceLevel
    what: str
    remedy: str


def diagnose(machine: Machine, *, allocator: Allocator) -> tuple[Advice, ...]:
    """Return what matters for trust in figures from `machine`, warnings first.

    Args:
        machine: As `read_machine` returns it.
        allocator: That of the process that measures.
    """
    found = [*_disturbances(machine), *_limits(machine)]
    found += _kernels(machine)
    found += _memory(machine, allocator)
    found += _gaps(machine)
    return tuple(sorted(found, key=lambda advice: advice.level != "warning"))


def _disturbances(machine: Machine) -> Iterator[Advice]:
    load, cores = machine.load_1min, machine.num_cores
    if load is not None and load > _BUSY_SHARE * cores:
        yield Advice(
            kind="load",
            level="warning",
            what=f"load {load:.2f} on {cores} usable cores: other programs take turns with the "
            "measurement",
            remedy="stop them, or wait until the load is below "
            f"{_BUSY_SHARE * cores:.2f} (uptime shows it)",
        )
    if machine.governor is not None and machine.governor != "performance":
        yield Advice(
            kind="governor",
            level="warning",
            what=f"CPU governor {machine.governor}: the clock follows the load",
            remedy="sudo cpupower frequency-set --governor performance",
        )
    if machine.num_throttled:
        yield Advice(
            kind="throttling",
            level="warning",
            what=f"the CPU slowed down because of heat {machine.num_throttled} times since the "
            "machine started",
            remedy="cool it, or measure in shorter runs with pauses, and see whether the count "
            "rises meanwhile",
        )
    if machine.swap_used_bytes is not None and machine.swap_used_bytes > _SWAP_BYTES:
        yield Advice(
            kind="swap",
            level="warning",
            what=f"{machine.swap_used_bytes / 2**20:.0f} MiB are swapped out: reading them back "
            "costs more than a forward pass",
            remedy="free memory, then: sudo swapoff -a && sudo swapon -a",
        )


def _limits(machine: Machine) -> Iterator[Advice]:
    if machine.cpu_quota is not None:
        yield Advice(
            kind="quota",
            level="warning",
            what=f"a cgroup allows {machine.cpu_quota:g} cores' worth of CPU time, below the CPUs "
            "it shows: the kernel stops the process when that is used up",
            remedy="lift the limit (docker run --cpus, Kubernetes limits.cpu), or measure with "
            f"at most {machine.num_cores} threads",
        )
    if machine.num_cores == 1:
        yield Advice(
            kind="cores",
            level="note",
            what="one usable core: every other program interrupts the measurement, and the matrix "
            "has no threads to compare",
            remedy="measure with two cores or more, or read the paired speedups only",
        )
    num_physical, kinds = machine.num_physical_cores, machine.core_kinds or {}
    if num_physical is not None and num_physical < machine.num_cores:
        noun = "core" if num_physical == 1 else "cores"
        yield Advice(
            kind="hyper-threads",
            level="note",
            what=f"{machine.num_cores} usable CPUs are hyper-threads of {num_physical} {noun}: two "
            "of one core share its units, so threads beyond the cores gain little and vary more",
            remedy="compare with: pytest bench --threads physical",
        )
    if len(kinds) > 1:
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        binds = machine.system.startswith("Linux")
        yield Advice(
            kind="core kinds",
            level="warning" if binds else "note",
            what=f"cores of {len(kinds)} kinds ({counted}): a turn takes as long as the core that "
            "the system gave it, and with all of them the slowest decides",
            remedy="keep to one kind: taskset -c CPUS pytest bench (lscpu --extended tells which)"
            if binds
            else "trust speedups of interleaved pairs, not times: this system keeps no process to "
            "one kind",
        )


def _kernels(machine: Machine) -> Iterator[Advice]:
    if not machine.engines and "engines" not in machine.unreadable:
        yield Advice(
            kind="engines",
            level="warning",
            what=f"torch {machine.torch} has no quantized engine: int8 cannot run",
            remedy="install an official build of torch (pytorch.org)",
        )
    if machine.vnni is False and "x86" in machine.engines:
        seen = " (it has AVX-VNNI, which torch's engines do not ask for)"
        yield Advice(
            kind="vnni",
            level="note",
            what="no AVX-512 VNNI: int8 kernels fall back to AVX2 or plain AVX-512, which "
            "overflow with activations above 127" + (seen if "avx_vnni" in machine.isa else ""),
            remedy="keep the default engine and range, which are exact here; do not carry these "
            "speedups over to a machine with VNNI, where int8 gains more",
        )
    if machine.bfloat16 is False:
        yield Advice(
            kind="bfloat16",
            level="note",
            what="no native bfloat16: it would be emulated, so the suite leaves it out",
            remedy="say so beside the table; on CPUs with AVX-512 BF16 or AMX it gives much of "
            "the speed without calibration",
        )
    elif machine.bfloat16:
        yield Advice(
            kind="bfloat16",
            level="note",
            what="native bfloat16: part of int8's gain over float32 needs no quantization here",
            remedy="read int8 against the bfloat16 row of the table as well",
        )


def _memory(machine: Machine, allocator: Allocator) -> Iterator[Advice]:
    if allocator == "default" and (machine.libc or "").startswith("glibc"):
        yield Advice(
            kind="allocator",
            level="note",
            what="glibc returns large activations to the kernel, and float32 at batch 16 and "
            "above pays for page faults that int8 mostly escapes",
            remedy="compare with: pytest bench --allocator retain",
        )


def _gaps(machine: Machine) -> Iterator[Advice]:
    for field, (level, name, remedy) in _UNREADABLE.items():
        if field in machine.unreadable:
            yield Advice(
                kind="unreadable",
                level=level,
                what=f"{name} is not readable: {machine.unreadable[field]}",
                remedy=remedy,
            )
