"""A container's CPU quota: read wherever it stands, and kept by all that counts threads."""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import indoor
from bench.cases import allocator_cell, cells, decode_threads
from bench.options import Settings
from indoor.cli import parser
from indoor.dataset import batches, soundness
from indoor.devices import use_threads
from indoor.machine import num_usable_cores, reading
from indoor.machine.limits import UnreadableError, read_cpu_quota, read_memory_limit

V2 = "sys/fs/cgroup"
SELF = "proc/self/cgroup"


def write(root: Path, files: dict[str, str]) -> Path:
    """Write the files below `root`, which stands for `/`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v1(path: str, quota: str, period: str = "100000") -> dict[str, str]:
    """Files of version 1."""
    folder = f"sys/fs/cgroup/{path}"
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


QUOTAS: dict[str, tuple[dict[str, str], float | None]] = {
    "half a core-control": ({SELF: "0::/", f"{V2}/cpu.max": "50000 100000"}, 0.5),
    "docker --cpus 1.5-control": ({SELF: "0::/", f"{V2}/cpu.max": "150000 100000"}, 1.5),
    "another period-control": ({SELF: "0::/", f"{V2}/cpu.max": "50000 20000"}, 2.5),
    "the outer limit is narrower-control": (
        {
            SELF: "0::/a.slice/b.slice/c.scope",
            f"{V2}/a.slice/cpu.max": "100000 100000",
            f"{V2}/a.slice/b.slice/cpu.max": "max 100000",
            f"{V2}/a.slice/b.slice/c.scope/cpu.max": "300000 100000",
        },
        1.0,
    ),
    "the inner limit is narrower-control": (
        {
            SELF: "0::/a/b",
            f"{V2}/a/cpu.max": "400000 100000",
            f"{V2}/a/b/cpu.max": "50000 100000",
        },
        0.5,
    ),
    "a container that is told the host's path-control": (
        {SELF: "0::/kubepods/pod1/box", f"{V2}/cpu.max": "200000 100000"}, 2.0),
    "a path above the own root-control": (
        {SELF: "0::/../../box", f"{V2}/cpu.max": "200000 100000"}, 2.0),
    "version 1 nested-control": (
        {SELF: "3:cpu,cpuacct:/a/b"} | v1("cpu,cpuacct/a", "150000") | v1("cpu,cpuacct/a/b", "-1"),
        1.5,
    ),
    "version 1 beside an empty version 2-control": (
        {SELF: "3:cpu:/a\n0::/a", f"{V2}/unified/a/cgroup.procs": ""} | v1("cpu/a", "50000"), 0.5),
    "no limit-control": ({SELF: "0::/", f"{V2}/cpu.max": "max 100000"}, None),
    "an empty file-control": ({SELF: "0::/", f"{V2}/cpu.max": ""}, None),
    "a word alone-control": ({SELF: "0::/", f"{V2}/cpu.max": "max"}, None),
    "what is no number": ({SELF: "0::/", f"{V2}/cpu.max": "lots 100000"}, None),
    "a line that is none": ({SELF: "nonsense\n0::/", f"{V2}/cpu.max": "50000 100000"}, 0.5),
    "nothing at all": ({SELF: ""}, None),
}  # fmt: skip


@pytest.mark.parametrize(("files", "quota"), QUOTAS.values(), ids=QUOTAS)
def test_a_quota_is_read_wherever_it_stands(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    """Fractions, nested groups, both versions, and lines that nobody understands."""
    assert read_cpu_quota(write(tmp_path, files)) == quota


def test_a_memory_limit_that_is_no_number_is_none(tmp_path: Path) -> None:
    """As with the quota."""
    files = {SELF: "0::/", f"{V2}/memory.max": "lots"}
    assert read_memory_limit(write(tmp_path, files)) is None


@pytest.fixture
def eight_threads() -> Iterator[None]:
    """Torch computes on eight threads, as it would on a host of eight CPUs."""
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[(0.5, 1), (1.5, 1), (2.0, 2), (3.99, 3), (None, 8)], ids=str)
def quota(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A host of eight CPUs with a quota; returns the threads that it lets run at once."""
    allowed, num_threads = request.param

    def told(_: Path) -> float | None:
        return allowed  # type: ignore[no-any-return]

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(indoor, "CPUS_AT_START", frozenset(range(8)))
    monkeypatch.setattr(reading, "read_cpu_quota", told)
    assert num_usable_cores() == num_threads
    return int(num_threads)


def test_decoding_keeps_the_quota(quota: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, `verify`'s decoding and the files' hashes; a control."""
    asked: list[int] = []

    def map_ordered(_function: Any, _items: Any, num_threads: int) -> Iterator[Any]:
        asked.append(num_threads)
        return iter(())

    monkeypatch.setattr(batches, "map_ordered", map_ordered)
    monkeypatch.setattr(soundness, "map_ordered", map_ordered)
    photographs: Any = []
    assert list(batches.load_batches(photographs, 1)) == []
    soundness.find_broken([])
    assert list(soundness.hash_files([])) == []
    assert asked == [quota] * 3


def test_the_suites_cells_keep_the_quota(quota: int) -> None:
    """The matrix, decoding and the allocator's cell; a control."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Settings))
    settings = Settings(**{**values, "full": False, "device": "cpu"})
    assert max(cell.threads for cell in cells(settings)) == quota
    assert max(decode_threads(settings)) == quota
    assert allocator_cell(settings).threads == quota


@pytest.mark.usefixtures("eight_threads")
def test_computing_keeps_the_quota(quota: int) -> None:
    """Torch counts the host's CPUs; what it had is put back."""
    with use_threads(None):
        assert torch.get_num_threads() == quota
    assert torch.get_num_threads() == 8


@pytest.mark.usefixtures("eight_threads", "quota")
def test_a_number_of_threads_that_was_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the caller, or by the variable that torch obeys."""
    with use_threads(5):
        assert torch.get_num_threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with use_threads(None):
        assert torch.get_num_threads() == 8


@pytest.mark.usefixtures("eight_threads")
def test_every_command_that_computes_keeps_the_quota(
    quota: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the one place where commands are called."""
    module = SimpleNamespace(run=lambda _: torch.get_num_threads())
    monkeypatch.setattr(parser.importlib, "import_module", lambda _: module)
    assert parser._lazily("indoor train", "train", is_shared=True)(argparse.Namespace()) == quota


def test_without_cgroups_torch_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing says how much a process may use."""

    def unreadable(_: Path) -> float | None:
        raise UnreadableError("none")

    monkeypatch.setattr(indoor, "CPUS_AT_START", frozenset(range(64)))
    monkeypatch.setattr(reading, "read_cpu_quota", unreadable)
    before = torch.get_num_threads()
    with use_threads(None):
        assert torch.get_num_threads() == before
