"""The machine's record from recorded texts, its diagnosis, and the code's identity."""

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import cpuinfo
import psutil
import pytest
import torch

import indoor
from indoor.machine import (
    code_identity,
    code_sha256,
    computes_bfloat16,
    diagnose,
    num_usable_cores,
    processor,
    read_environment,
    read_machine,
    reading,
)
from indoor.machine.diagnosis import AdviceKind
from indoor.machine.limits import (
    UnreadableError,
    read_cpu_quota,
    read_governor,
    read_memory_limit,
    read_num_throttled,
)
from indoor.machine.processor import (
    Processor,
    native_bfloat16,
    parse_proc_cpuinfo,
    parse_sysctl,
)
from indoor.measure import allocator_environment, current_allocator
from indoor.records import Machine, from_json, to_json

XEON_AMX = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse2 ssse3 fma avx f16c avx2 avx512f avx512dq avx512bw avx512vl avx_vnni \
avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8 arch_capabilities

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse2 ssse3 fma avx f16c avx2 avx512f avx512dq avx512bw avx512vl avx_vnni \
avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8 arch_capabilities
"""

ZEN_3 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu vme sse sse2 ht syscall nx ssse3 fma sse4_1 sse4_2 avx f16c bmi1 avx2 bmi2 vaes
"""

GRAVITON_3 = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp asimddp sha512 sve i8mm bf16 dgh rng
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1
"""

BIG_LITTLE = """\
processor\t: 0
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd03
processor\t: 4
Features\t: fp asimd asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd09
"""

M1 = """\
machdep.cpu.cores_per_package: 8
machdep.cpu.core_count: 8
machdep.cpu.brand_string: Apple M1
hw.optional.floatingpoint: 1
hw.optional.neon: 1
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 0
hw.optional.arm.FEAT_BF16: 0
hw.optional.arm.AdvSIMD: 1
"""

M2 = M1.replace("M1", "M2").replace("I8MM: 0", "I8MM: 1").replace("BF16: 0", "BF16: 1")

INTEL_MAC = """\
machdep.cpu.brand_string: Intel(R) Core(TM) i7-1068NG7 CPU @ 2.30GHz
machdep.cpu.leaf7_features: RDWRFSGS AVX2 BMI2 AVX512F AVX512VNNI
hw.optional.avx2_0: 1
hw.optional.avx512f: 1
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Write the files below `root`, which stands for `/`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def machine(**changes: object) -> Machine:
    """Return a machine that gives no reason for advice, but for the changes."""
    quiet = Machine(
        cpu_model="Xeon",
        num_cores=4,
        isa=("avx2", "avx512f", "avx512_vnni"),
        vnni=True,
        amx=None,
        bfloat16=None,
        governor="performance",
        load_1min=0.1,
        memory_bytes=2**34,
        system="Linux 6.1 x86_64",
        python="3.11.7",
        torch="2.14.1",
        torchvision="0.29.1",
        engines=("fbgemm", "onednn", "qnnpack", "x86"),
        unreadable={},
        libc="musl 1.2",
    )
    return dataclasses.replace(quiet, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "model", "isa"),
    [
        (
            XEON_AMX,
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            (
                "avx2",
                "avx512f",
                "avx512_vnni",
                "avx_vnni",
                "avx512_bf16",
                "amx_tile",
                "amx_int8",
                "amx_bf16",
            ),
        ),
        (ZEN_3, "AMD EPYC 7763 64-Core Processor", ("avx2",)),
        (GRAVITON_3, "ARM Neoverse-V1", ("neon", "dotprod", "i8mm", "bf16", "sve")),
        (BIG_LITTLE, "ARM implementer 0x41 part 0xd03", ("neon",)),
        ("processor : 0\nvendor_id : unknown\n", None, None),
        ("flags : sse sse2\n", None, ()),
    ],
    ids=["xeon", "zen3", "graviton3", "big.LITTLE", "empty", "old"],
)
def test_proc_cpuinfo_gives_model_and_the_extensions_that_matter(
    text: str, model: str | None, isa: tuple[str, ...] | None
) -> None:
    """x86 and ARM texts are read; of differing cores only what all can do counts."""
    found = parse_proc_cpuinfo(text)
    assert (found.model, found.isa) == (model, isa)


@pytest.mark.parametrize(
    ("text", "model", "isa"),
    [
        (M1, "Apple M1", ("neon", "dotprod")),
        (M2, "Apple M2", ("neon", "dotprod", "i8mm", "bf16")),
        (
            INTEL_MAC,
            "Intel(R) Core(TM) i7-1068NG7 CPU @ 2.30GHz",
            ("avx2", "avx512f", "avx512_vnni"),
        ),
        ("", None, None),
    ],
    ids=["m1", "m2", "intel", "empty"],
)
def test_sysctl_gives_model_and_extensions(
    text: str, model: str | None, isa: tuple[str, ...] | None
) -> None:
    """MacOS's words are translated; a feature that is 0 is not there."""
    found = parse_sysctl(text)
    assert (found.model, found.isa) == (model, isa)


def test_a_linux_machine_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded root gives CPU, governor, quota and throttling, and leaves nothing unreadable."""
    cpus = "sys/devices/system/cpu"
    monkeypatch.setattr(indoor, "CPUS_AT_START", {0, 2, 3})
    root = write(
        tmp_path,
        {
            "proc/cpuinfo": XEON_AMX,
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/box/memory.max": "1073741824\n",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpus}/cpu1/cpufreq/scaling_governor": "ondemand\n",
            f"{cpus}/cpu2/cpufreq/scaling_governor": "performance\n",
            f"{cpus}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{cpus}/cpu2/thermal_throttle/core_throttle_count": "4\n",
            **{f"{cpus}/cpu{cpu}/topology/core_cpus_list": f"{cpu}\n" for cpu in (0, 2, 3)},
        },
    )
    monkeypatch.setattr(reading.platform, "libc_ver", lambda: ("glibc", "2.36"))
    found = read_machine(system="Linux", root=root)
    assert found.cpu_model == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert (found.amx, found.bfloat16) == (True, True)
    assert found.num_cores == 2
    assert found.cpu_quota == 2.5
    assert found.governor == "performance,powersave"
    assert found.num_throttled == 7
    assert found.memory_bytes == 1073741824
    assert found.libc == "glibc 2.36"
    assert found.unreadable == {}


def test_a_mac_is_read_with_a_reason_for_every_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields that macOS lacks are None, and `unreadable` says why; the rest is there."""
    monkeypatch.setattr(processor, "run_sysctl", lambda *_: M1)
    monkeypatch.setattr(reading.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(indoor, "CPUS_AT_START", frozenset(range(8)))
    found = read_machine(system="Darwin", root=tmp_path)
    assert (found.cpu_model, found.isa) == ("Apple M1", ("neon", "dotprod"))
    assert (found.amx, found.bfloat16, found.num_cores) == (False, False, 8)
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.unreadable == {
        "governor": "the kernel shows no cpufreq governor (a virtual machine?)",
        "cpu_quota": "the system shows no cgroups",
        "libc": "the interpreter does not say which C library it uses",
        "num_throttled": "the kernel counts no thermal throttling for this CPU",
    }
    for field in found.unreadable:
        assert getattr(found, field) is None


def test_cpuinfo_completes_what_the_system_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc/cpuinfo the model and flags are py-cpuinfo2's."""
    told = {"brand_raw": "VIA Nano", "flags": ["sse2", "avx2"]}
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: told)
    found = read_machine(system="Linux", root=tmp_path)
    assert (found.cpu_model, found.isa) == ("VIA Nano", ("avx2",))


def test_cpuinfo_does_not_overrule_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the model is missing, the flags stay the system's, even if none matters."""
    told = {"brand_raw": "VIA Nano", "flags": ["avx2"]}
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: told)
    write(tmp_path, {"proc/cpuinfo": "flags : sse2\n"})
    found = read_machine(system="Linux", root=tmp_path)
    assert (found.cpu_model, found.isa, found.bfloat16) == ("VIA Nano", (), False)


def test_a_cpu_that_nobody_knows_has_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any source the fields are None with reasons, and the model is `unknown`."""
    monkeypatch.setattr(cpuinfo, "get_cpu_info", dict)
    monkeypatch.delattr(torch.cpu, "_is_vnni_supported", raising=False)
    monkeypatch.setattr(os, "getloadavg", raise_os_error)
    found = read_machine(system="Linux", root=tmp_path)
    assert (found.cpu_model, found.isa) == ("unknown", ())
    assert (found.vnni, found.amx, found.bfloat16, found.load_1min) == (None, None, None, None)
    assert {"cpu_model", "isa", "vnni", "amx", "bfloat16", "load_1min"} <= set(found.unreadable)
    assert all(found.unreadable.values())


def raise_os_error() -> tuple[float, float, float]:
    """Fail as a system without that call does."""
    raise OSError("not here")


@pytest.mark.parametrize(("text", "vnni"), [(XEON_AMX, True), (ZEN_3, False)])
def test_flags_stand_in_for_torchs_private_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, vnni: bool
) -> None:
    """A torch without `_is_vnni_supported` leaves the answer to the CPU's flags."""
    monkeypatch.delattr(torch.cpu, "_is_vnni_supported", raising=False)
    found = read_machine(system="Linux", root=write(tmp_path, {"proc/cpuinfo": text}))
    assert found.vnni is vnni
    assert "vnni" not in found.unreadable


@pytest.mark.parametrize("vnni", [True, False])
def test_vnni_is_what_torch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vnni: bool
) -> None:
    """Torch's own answer decides, since engine x86 picks its kernels by it."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    assert read_machine(system="Linux", root=write(tmp_path, {"proc/cpuinfo": ZEN_3})).vnni is vnni


def test_this_machine_is_read_without_its_name() -> None:
    """The record of the real machine survives JSON and does not name host or user."""
    found = read_machine()
    text = to_json(found).decode()
    assert from_json(text, Machine, "machine") == found
    assert found.num_cores == num_usable_cores() >= 1
    assert found.torch == str(torch.__version__)
    assert "none" not in found.engines
    assert socket.gethostname() not in text
    for field in dataclasses.fields(Machine):
        if field.name != "cpu_quota" and getattr(found, field.name) is None:
            assert found.unreadable[field.name]


@pytest.mark.parametrize(
    ("release", "expected"),
    [("6.1.0-18-somecompany", "Linux 6.1.0 x86_64"), ("custom", "Linux x86_64")],
)
def test_the_kernels_suffix_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, expected: str
) -> None:
    """What a builder appended to the kernel's version may name him."""
    monkeypatch.setattr(reading.platform, "release", lambda: release)
    monkeypatch.setattr(reading.platform, "machine", lambda: "x86_64")
    root = write(tmp_path, {"proc/cpuinfo": ZEN_3})
    assert read_machine(system="Linux", root=root).system == expected


def test_sysctl_is_asked_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS's command is run for the two trees; where it is missing nothing is known."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(stdout=M2, returncode=1)

    monkeypatch.setattr(processor.shutil, "which", lambda *_, **__: "/usr/sbin/sysctl")
    monkeypatch.setattr(processor.subprocess, "run", run)
    assert processor.read_processor("Darwin", Path("/")).model == "Apple M2"
    assert asked == [["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"]]
    monkeypatch.setattr(processor.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(cpuinfo, "get_cpu_info", dict)
    assert processor.read_processor("Darwin", Path("/")).model is None


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.procs": ""}, None),
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/pod/box/cpu.max": "300000 100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/of-the-host\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4.0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/unified/cgroup.procs": "",
            },
            None,
        ),
    ],
    ids=["v2", "v2-max", "v2-none", "v2-parent", "v1", "v1-container", "v1-none"],
)
def test_the_narrowest_cpu_quota_counts(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    """Cgroups of both versions, nested ones and those of a container are understood."""
    assert read_cpu_quota(write(tmp_path, files)) == quota


def test_without_cgroups_the_quota_is_unreadable(tmp_path: Path) -> None:
    """That is a reason, not "no limit"."""
    with pytest.raises(UnreadableError, match="shows no cgroups"):
        read_cpu_quota(tmp_path)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4096\n"}, 4096),
        (
            {
                "proc/self/cgroup": "4:memory:/box\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "8192\n",
            },
            8192,
        ),
    ],
    ids=["v2-max", "v2", "v1"],
)
def test_the_narrowest_memory_limit_counts(
    tmp_path: Path, files: dict[str, str], limit: int | None
) -> None:
    """As with the quota, in both versions."""
    assert read_memory_limit(write(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("num_cpus", "quota", "num_cores"),
    [(4, None, 4), (4, 1.5, 1), (4, 0.5, 1), (4, 2.0, 2), (2, 8.0, 2)],
)
def test_usable_cores_are_whole_and_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, num_cpus: int, quota: float | None, num_cores: int
) -> None:
    """A quota of half a core still gives one thread; a generous one adds none."""
    cpus = set(range(num_cpus))
    monkeypatch.setattr(indoor, "CPUS_AT_START", cpus)
    monkeypatch.setattr(reading, "read_cpu_quota", lambda _: quota)
    assert num_usable_cores() == num_cores


@pytest.mark.parametrize(
    "error", [KeyError(b"MemTotal:"), FileNotFoundError(2, "gone"), PermissionError(13, "hidden")]
)
def test_memory_that_the_system_hides_is_unreadable(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A sandbox may show an empty /proc/meminfo, none, or one that nobody may read."""

    def hidden() -> None:
        raise error

    monkeypatch.setattr(psutil, "virtual_memory", hidden)
    found = read_machine()
    assert found.memory_bytes is None
    assert "does not tell its memory" in found.unreadable["memory_bytes"]


def test_usable_cores_without_cgroups_are_the_affinitys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without cgroups sets no quota."""

    def no_cgroups(_: Path) -> float | None:
        raise UnreadableError("none")

    monkeypatch.setattr(indoor, "CPUS_AT_START", {5, 6, 7})
    monkeypatch.setattr(reading, "read_cpu_quota", no_cgroups)
    assert num_usable_cores() == 3


BIND_AND_COUNT = """
import indoor
from indoor.machine import num_usable_cores, read_machine
import torch
print(num_usable_cores(), read_machine().num_cores, len(os.sched_getaffinity(0)))
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two CPUs that a thread can be bound to",
)
def test_openmps_binding_takes_no_core_away() -> None:
    """OMP_PROC_BIND binds the thread that loads torch; the process may still use all its cores."""
    bound = os.environ | {"OMP_PROC_BIND": "close"}
    command = [sys.executable, "-c", f"import os{BIND_AND_COUNT}"]
    done = subprocess.run(command, env=bound, capture_output=True, text=True, check=True)
    usable, recorded, left = map(int, done.stdout.split())
    assert usable == recorded == num_usable_cores()
    if left > 1:
        pytest.skip("this torch's OpenMP does not bind the thread that loads it")


def test_the_environment_is_what_changes_kernels_memory_or_clocks() -> None:
    """Such variables are recorded, others and empty ones are not."""
    recorded = {
        "ATEN_CPU_CAPABILITY": "avx2",
        "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1",
        "KMP_AFFINITY": "compact",
        "MALLOC_ARENA_MAX": "1",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OMP_PROC_BIND": "close",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "PYTHONMALLOC": "malloc",
    }
    others = {"PATH": "/bin", "HOME": "/root", "OMP_NUM_THREADS": "", "TORCH_HOME": "/cache"}
    assert read_environment(others | recorded) == recorded


def test_a_preloaded_library_is_named_without_its_folder() -> None:
    """Which allocator replaced the system's is told, where it lies is not."""
    preload = {"LD_PRELOAD": "/home/me/lib/libjemalloc.so.2:/opt/libx.so"}
    assert read_environment(preload) == {"LD_PRELOAD": "libjemalloc.so.2:libx.so"}


def test_the_retaining_allocator_is_told_once() -> None:
    """Its thresholds are the measurement's `allocator`; other thresholds are told here."""
    assert read_environment(allocator_environment("retain", {})) == {}
    assert read_environment({"MALLOC_TRIM_THRESHOLD_": "1"}) == {"MALLOC_TRIM_THRESHOLD_": "1"}


def test_priority_and_pythons_options_are_environment_too() -> None:
    """A process of low priority with -X dev says both; its sibling's variables are as before."""
    code = "from indoor.machine import read_environment; print(sorted(read_environment().items()))"
    lower = f"import os; os.nice(1); before = os.nice(0)\n{code}"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", lower], capture_output=True, text=True, check=True
    )
    assert "('nice', " in done.stdout
    assert "('python -X dev', 'True')" in done.stdout


@pytest.mark.parametrize(
    ("isa", "environ", "native"),
    [
        (("avx512_bf16",), {}, True),
        (("amx_bf16",), {}, True),
        (("bf16",), {}, True),
        (("avx512f", "avx512_vnni"), {}, False),
        (("avx2",), {}, False),
        (("avx512_bf16",), {"ONEDNN_MAX_CPU_ISA": "avx2"}, False),
        (("avx512_bf16",), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, True),
    ],
)
def test_bfloat16_is_native_where_the_instructions_are(
    isa: tuple[str, ...], environ: dict[str, str], native: bool
) -> None:
    """AVX512_BF16, AMX-BF16 or ARM's BF16 count unless they are capped; AVX-512 alone emulates."""
    assert native_bfloat16(isa, environ) is native


def test_bfloat16_is_unknown_where_the_instructions_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the CPU's flags nobody says yes or no."""
    monkeypatch.setattr(reading, "read_processor", lambda *_: Processor(model=None, isa=None))
    assert computes_bfloat16() is None


def test_a_torch_without_onednn_computes_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions are of no use to a torch that was built without oneDNN."""
    found = Processor(model="CPU", isa=("avx512_bf16",))
    monkeypatch.setattr(reading, "read_processor", lambda *_: found)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert computes_bfloat16() is False


@pytest.mark.parametrize("read", [read_governor, read_num_throttled])
def test_a_kernel_that_shows_nothing_gives_a_reason(
    tmp_path: Path, read: Callable[[Path, tuple[int, ...]], object]
) -> None:
    """Governor and throttling of a virtual machine are unreadable, not fine."""
    with pytest.raises(UnreadableError, match="the kernel"):
        read(tmp_path, (0, 1))


def test_a_quiet_machine_gets_no_advice() -> None:
    """Nothing is said where there is nothing to do."""
    assert diagnose(machine(), allocator="default") == ()


ADVICE: list[tuple[dict[str, object], str, str, str]] = [
    ({"load_1min": 1.01}, "load", "warning", "load 1.01 on 4 usable cores"),
    ({"governor": "powersave"}, "governor", "warning", "CPU governor powersave"),
    ({"num_throttled": 3}, "throttling", "warning", "heat 3 times"),
    ({"swap_used_bytes": 2**30}, "swap", "warning", "1024 MiB are swapped out"),
    ({"cpu_quota": 2.5}, "quota", "warning", "allows 2.5 cores' worth"),
    ({"engines": ()}, "engines", "warning", "has no quantized engine"),
    ({"num_cores": 1}, "cores", "note", "one usable core"),
    ({"num_physical_cores": 2}, "hyper-threads", "note", "4 usable CPUs are hyper-threads of 2"),
    (
        {"system": "Linux 6.1", "core_kinds": {"performance": 2, "efficiency": 2}},
        "core kinds",
        "warning",
        "cores of 2 kinds (2 performance, 2 efficiency)",
    ),
    ({"vnni": False}, "vnni", "note", "no AVX-512 VNNI"),
    ({"bfloat16": False}, "bfloat16", "note", "no native bfloat16"),
    ({"bfloat16": True}, "bfloat16", "note", "native bfloat16: part of int8's gain"),
    ({"libc": "glibc 2.36"}, "allocator", "note", "page faults"),
    ({"unreadable": {"governor": "a cloud"}}, "unreadable", "note", "not readable: a cloud"),
    ({"unreadable": {"load_1min": "none"}}, "unreadable", "note", "the load is not readable"),
    ({"unreadable": {"cpu_model": "none"}}, "unreadable", "warning", "the CPU's model is not"),
]


@pytest.mark.parametrize(("changes", "kind", "level", "what"), ADVICE)
def test_each_finding_has_its_advice(
    changes: dict[str, object], kind: str, level: str, what: str
) -> None:
    """One change of a quiet machine gives one advice, with figures and a remedy."""
    (advice,) = diagnose(machine(**changes), allocator="default")
    assert (advice.kind, advice.level) == (kind, level)
    assert what in advice.what
    assert advice.remedy


def test_every_kind_of_advice_is_tested() -> None:
    """The closed set and the table above name the same kinds, but for what runtimes say.

    That is no property of the machine; tests/test_runtimes_failing.py has it.
    """
    assert {kind for _, kind, _, _ in ADVICE} == set(get_args(AdviceKind)) - {"runtime"}


@pytest.mark.parametrize(
    "changes",
    [
        {"load_1min": 1.0},
        {"governor": None},
        {"num_throttled": 0},
        {"swap_used_bytes": 2**20},
        {"vnni": None},
        {"vnni": False, "engines": ("onednn", "qnnpack")},
        {"libc": None},
        {"unreadable": {"libc": "unknown"}},
    ],
)
def test_what_does_no_harm_gets_no_advice(changes: dict[str, object]) -> None:
    """Values at their limit, unknown ones, and VNNI's absence on ARM are no findings."""
    assert diagnose(machine(**changes), allocator="default") == ()


def test_a_retaining_allocator_needs_no_advice() -> None:
    """As an environment with its thresholds is read."""
    glibc = machine(libc="glibc 2.36")
    retains = current_allocator(allocator_environment("retain", {}))
    assert diagnose(glibc, allocator=retains) == ()


def test_avx_vnni_is_told_apart() -> None:
    """A CPU with AVX-VNNI alone hears why torch does not use it."""
    (advice,) = diagnose(machine(vnni=False, isa=("avx2", "avx_vnni")), allocator="default")
    assert "AVX-VNNI, which torch's engines do not ask for" in advice.what


def test_warnings_come_first() -> None:
    """Notes follow them, each group in its order."""
    found = diagnose(
        machine(vnni=False, governor="powersave", num_cores=1, load_1min=9.0), allocator="default"
    )
    assert [advice.kind for advice in found] == ["load", "governor", "cores", "vnni"]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit of one file, untouched by the user's own settings."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet")
    write(folder, {"code.py": "x = 1\n", ".gitignore": "ignored\n"})
    git(folder, "add", ".")
    git(
        folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "first"
    )
    return folder


def git(folder: Path, *words: str) -> str:
    """Run git in the folder and return what it prints."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_clean_repository_gives_its_commit(repo: Path) -> None:
    """Ignored files do not make it dirty."""
    write(repo, {"ignored": "x"})
    assert code_identity(repo) == (git(repo, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_changed_or_new_file_makes_it_dirty(repo: Path, name: str) -> None:
    """A module that git does not know yet is a difference, too."""
    write(repo, {name: "x = 2\n"})
    commit, dirty = code_identity(repo)
    assert commit == git(repo, "rev-parse", "HEAD")
    assert dirty is True


def test_a_folder_within_a_repository_has_no_commit_of_its_own(repo: Path) -> None:
    """An installed package does not get the commit of the project around its environment."""
    inner = repo / "lib" / "site-packages"
    inner.mkdir(parents=True)
    assert code_identity(inner) == (None, None)


def test_outside_a_repository_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in a missing folder, before the first commit, or without git."""
    assert code_identity(tmp_path) == (None, None)
    assert code_identity(tmp_path / "missing") == (None, None)
    git(tmp_path, "init", "--quiet")
    assert code_identity(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_identity(tmp_path) == (None, None)


def test_a_hooks_environment_does_not_mislead(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR, which git sets for its hooks, does not lend its commit to another folder."""
    monkeypatch.setenv("GIT_DIR", str(repo / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert code_identity(tmp_path) == (None, None)


def test_a_git_that_hangs_gives_no_commit(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit passes like any other failure to answer."""

    def hang(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr("indoor.machine.code.subprocess.run", hang)
    assert code_identity(repo) == (None, None)


def test_the_codes_hash_follows_content_and_not_place(tmp_path: Path) -> None:
    """Copies elsewhere and other kinds of files keep it; content, names and packages change it."""
    first = write(tmp_path / "a/pkg", {"x.py": "1", "inner/y.py": "2", "s.json": "{}"})
    second = write(tmp_path / "b/pkg", {"x.py": "1", "inner/y.py": "2", "s.json": "{}"})
    other = write(tmp_path / "a/bench", {"z.py": "3"})
    same = code_sha256([first])
    assert len(same) == 64
    assert code_sha256([second]) == same
    write(second, {"notes.txt": "x", "__pycache__/x.pyc": "x"})
    assert code_sha256([second]) == same
    assert code_sha256([first, other]) == code_sha256([other, first]) != same
    write(second, {"s.json": "[]"})
    assert code_sha256([second]) != same
    moved = write(tmp_path / "c/pkg", {"x.py": "1", "y.py": "2", "s.json": "{}"})
    assert code_sha256([moved]) != same


def test_the_codes_hash_keeps_files_apart(tmp_path: Path) -> None:
    """What one file ends with is not what the next begins with."""
    first = write(tmp_path / "a/pkg", {"x.py": "12", "y.py": "3"})
    second = write(tmp_path / "b/pkg", {"x.py": "1", "y.py": "23"})
    assert code_sha256([first]) != code_sha256([second])


def test_a_folder_without_sources_has_no_hash(tmp_path: Path) -> None:
    """A wrong folder is a ValueError and not the hash of nothing."""
    with pytest.raises(ValueError, match="holds no source file"):
        code_sha256([tmp_path])
