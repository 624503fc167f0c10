"""The CPU's name and the instructions that matter here, from what the system says of it."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ISA = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "neon",
    "dotprod",
    "i8mm",
    "bf16",
    "sve",
)
"""The extensions that decide what int8 and bfloat16 cost, in the order they are recorded."""

_LINUX_NAMES = {"asimd": "neon", "asimddp": "dotprod"}
"""Linux's words for ARM's extensions, where they are not ours."""

_SYSCTL_NAMES = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.neon": "neon",
    "hw.optional.AdvSIMD": "neon",
    "hw.optional.arm.AdvSIMD": "neon",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}

_ARM_PARTS = {
    ("0x41", "0xd08"): "ARM Cortex-A72",
    ("0x41", "0xd0b"): "ARM Cortex-A76",
    ("0x41", "0xd0c"): "ARM Neoverse-N1",
    ("0x41", "0xd40"): "ARM Neoverse-V1",
    ("0x41", "0xd49"): "ARM Neoverse-N2",
    ("0x41", "0xd4f"): "ARM Neoverse-V2",
}
"""Names by implementer and part, which is all that Linux says on ARM servers."""


_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}

_CAPS_WITHOUT_BFLOAT16 = (
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"),
)
"""Values of oneDNN's `ONEDNN_MAX_CPU_ISA` below the first with bfloat16 arithmetic."""

_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}

_CAPS_WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
"""Those below which oneDNN does without VNNI."""


@dataclass(frozen=True, kw_only=True)
class Processor:
    """The CPU's model and its extensions out of `ISA`; None where the text does not say."""

    model: str | None
    isa: tuple[str, ...] | None


def read_processor(system: str, root: Path) -> Processor:
    """Return what `/proc/cpuinfo` (Linux) or `sysctl` (macOS) says, completed by cpuinfo2.

    Args:
        system: As `platform.system()` returns it.
        root: Where the file system begins; another folder in tests.
    """
    found = Processor(model=None, isa=None)
    if system == "Darwin":
        found = parse_sysctl(run_sysctl("machdep.cpu", "hw.optional"))
    else:
        path = root / "proc/cpuinfo"
        if path.is_file():
            found = parse_proc_cpuinfo(path.read_text(errors="replace"))
    if found.model is not None and found.isa is not None:
        return found
    fallback = _ask_cpuinfo()
    return Processor(
        model=fallback.model if found.model is None else found.model,
        isa=fallback.isa if found.isa is None else found.isa,
    )


def native_bfloat16(isa: Iterable[str], environ: Mapping[str, str]) -> bool:
    """Return whether bfloat16 is computed natively rather than emulated.

    oneDNN accepts bfloat16 on every AVX-512 machine and emulates it there, so what torch calls
    supported is no answer; the instructions are, unless the environment keeps oneDNN off them.
    """
    return onednn_cap(environ) not in _CAPS_WITHOUT_BFLOAT16 and not _BFLOAT16.isdisjoint(isa)


def native_vnni(isa: Iterable[str], environ: Mapping[str, str]) -> bool:
    """Return whether an x86 CPU has VNNI or AMX for int8, and the environment lets oneDNN use it.

    AVX-VNNI counts, which torch's own engines do not ask for.
    """
    return onednn_cap(environ) not in _CAPS_WITHOUT_VNNI and not _VNNI.isdisjoint(isa)


def onednn_cap(environ: Mapping[str, str]) -> str:
    """Return the instructions that the environment keeps oneDNN to; empty: all that there are."""
    return (environ.get("ONEDNN_MAX_CPU_ISA") or environ.get("DNNL_MAX_CPU_ISA") or "").upper()


def parse_proc_cpuinfo(text: str) -> Processor:
    """Return the CPU of a `/proc/cpuinfo` of x86 or ARM.

    Where cores differ, as in big.LITTLE, only what all of them can do counts.
    """
    model = None
    flags: set[str] | None = None
    arm: dict[str, str] = {}
    for key, value in _fields(text):
        if key == "model name" and model is None:
            model = value
        elif key in ("flags", "Features"):
            flags = set(value.split()) if flags is None else flags & set(value.split())
        elif key in ("CPU implementer", "CPU part"):
            arm.setdefault(key, value)
    if model is None and len(arm) == 2:
        implementer, part = arm["CPU implementer"], arm["CPU part"]
        model = _ARM_PARTS.get((implementer, part), f"ARM implementer {implementer} part {part}")
    return Processor(model=model, isa=None if flags is None else _isa(flags))


def parse_sysctl(text: str) -> Processor:
    """Return the CPU of the output of `sysctl machdep.cpu hw.optional` on macOS."""
    model = None
    found: set[str] = set()
    num_known = 0
    for key, value in _fields(text):
        if key == "machdep.cpu.brand_string":
            model = value
        elif key == "machdep.cpu.leaf7_features":
            num_known += 1
            if "AVX512VNNI" in value.split():
                found.add("avx512_vnni")
        elif key in _SYSCTL_NAMES:
            num_known += 1
            if value == "1":
                found.add(_SYSCTL_NAMES[key])
    return Processor(model=model, isa=_isa(found) if num_known else None)


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        key, found, value = line.partition(":")
        if found:
            yield key.strip(), value.strip()


def _isa(flags: Iterable[str]) -> tuple[str, ...]:
    names = {_LINUX_NAMES.get(flag, flag) for flag in flags}
    return tuple(name for name in ISA if name in names)


def run_sysctl(*names: str) -> str:
    """Return what macOS says of these, a member a line; nothing where there is no such command."""
    command = shutil.which("sysctl", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if command is None:
        return ""
    # A name this Mac lacks only makes the exit status 1.
    done = subprocess.run(  # noqa: S603 - the command and its words are ours
        [command, *names],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return done.stdout


def _ask_cpuinfo() -> Processor:
    # It starts processes of its own, so only those pay for it whose system says too little.
    from cpuinfo import get_cpu_info

    told = get_cpu_info()
    model, flags = told.get("brand_raw"), told.get("flags")
    return Processor(model=model or None, isa=_isa(flags) if flags else None)
