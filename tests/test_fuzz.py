"""Mutated files of every kind: each is read or refused in one line, never anything else.

INDOOR_FUZZ_S is the CPU time in seconds of all readers together; `make faults` gives it more.
"""

import os
import resource
import struct
import time
from pathlib import Path

import pytest
from fuzzing import MOST_BYTES, READERS, Reader, make_folder, try_reader
from hostile import GIB
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]

SECONDS = float(os.environ.get("INDOOR_FUZZ_S", "24"))

INTERESTING = [
    *(struct.pack("<B", n) for n in (0, 1, 0x7F, 0x80, 0xFF)),
    *(struct.pack(f"{order}H", n) for order in "<>" for n in (0, 0x7FFF, 0xFFFF)),
    *(struct.pack(f"{order}L", n) for order in "<>" for n in (0, 2**28, 2**31 - 1, 2**32 - 1)),
    *(struct.pack(f"{order}Q", n) for order in "<>" for n in (2**33, 2**63 - 1, 2**64 - 1)),
    *(b"-1", b"1e999", b"NaN", b"null", b"[", b"{", b'"', b"\\u0000", b"99999999999999999999"),
    *(b"\n", b"\r", b"\0", b"..", b"/", b"\xff\xd8", b"\xff\xda", b"\xff\xd9", b"\x1f\x8b"),
]
"""What sits where lengths, counts, numbers and marks do."""


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return a file with a few things done to it."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 8))):
        # Headers are where the decisions are made, so half of all changes are there.
        most = max(0, min(len(data), 96) if draw(st.booleans()) else len(data))
        at = draw(st.integers(0, most))
        how = draw(st.integers(0, 6))
        if how == 0 and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == 1:
            put = draw(st.sampled_from(INTERESTING))
            data[at : at + len(put)] = put
        elif how == 2:
            data[at:at] = draw(st.sampled_from(INTERESTING)) * draw(st.sampled_from((1, 1, 4, 300)))
        elif how == 3:
            del data[at:]
        elif how == 4:
            del data[at : at + draw(st.integers(1, 64))]
        elif how == 5:
            size = draw(st.integers(1, 4096))
            data[at:at] = data[at : at + size] * draw(st.sampled_from((1, 1, 8)))
        elif how == 6:
            other = draw(st.sampled_from(seeds))
            start = draw(st.integers(0, len(other)))
            data[at:] = other[start:]
    return bytes(data[:MOST_BYTES])


def fuzz(reader: Reader, seconds: float, folder: Path) -> tuple[int, int]:
    """Fuzz for so much CPU time; return how many files were tried, and how many were read."""
    seeds, counts = reader.seeds(), [0, 0]
    for whole in seeds:
        try_reader(reader, whole, folder)
    ends_at, turn = time.process_time() + seconds, 0
    while time.process_time() < ends_at:

        @seed(turn)
        @settings(
            max_examples=50,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(mutated(seeds))
        def one(data: bytes) -> None:
            counts[0] += 1
            counts[1] += try_reader(reader, data, folder)

        one()
        turn += 1
    return counts[0], counts[1]


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 1 GiB; whatever else comes out of a reader fails here, with the shortest file."""
    monkeypatch.setenv("INDOOR_CACHE", str(tmp_path / "cache"))
    before = _peak_bytes()
    num_tried, num_read = fuzz(READERS[name], SECONDS / len(READERS), make_folder(tmp_path))
    assert num_tried > 0
    assert _peak_bytes() - before <= GIB
    print(f"{name}: {num_tried:,} files, {num_read:,} of them read")  # noqa: T201


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
