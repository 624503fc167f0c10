"""Where a process's large blocks lie: as the system has it, kept, or all on a few cached pages.

It is how `indoor explain` switches page faults and memory traffic off without changing what is
computed: `pages.c` is an allocator that a process loads before the C library's own.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from indoor.errors import IndoorError

SOURCE = Path(__file__).with_suffix(".c")

LEAST_BYTES = 1 << 16
"""Of a large block; smaller ones stay in the cache by themselves."""

TENSOR_LIBRARIES = {
    "libc10.so": LEAST_BYTES,
    "libopenvino_intel_cpu_plugin": 1 << 19,
    "onnxruntime": 1 << 19,
}
"""Within the paths of the libraries whose large blocks are tensors, and from how many bytes on they
are. torch's other ones take memory for what they must read again, such as a kernel's description;
these two take both, of which the descriptions are smaller."""

PRELOAD = "LD_PRELOAD"

Mode = Literal["system", "kept", "shared"]

_MODES: tuple[Mode, ...] = ("system", "kept", "shared")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How shared blocks lie: each of `parts` equal parts on its own `unit_bytes` of memory.

    Threads that write the same lines wait for each other, and which thread writes which part of a
    block is the library's affair: the fastest of several layouts comes nearest to no waiting.
    """

    unit_bytes: int
    parts: int


def layouts(threads: int) -> tuple[Layout, ...]:
    """Return those to try: together they stay within a core's second cache (512 KiB or more)."""
    found = [Layout(unit_bytes=size << 10, parts=threads) for size in (64, 128)]
    return (*found, Layout(unit_bytes=128 << 10, parts=1))[: 2 if threads == 1 else 3]


def build_pages(folder: Path) -> Path:
    """Compile the allocator with the system's C compiler.

    Args:
        folder: Gets the library.

    Returns:
        The library, for `preloading`.

    Raises:
        IndoorError: This is no Linux with glibc, or there is no compiler; one line.
    """
    words = shlex.split(os.environ.get("CC", "cc"))
    if sys.platform != "linux":
        raise IndoorError(
            f"page faults and memory traffic cannot be switched off on {sys.platform}; expected "
            "Linux with glibc; measure there"
        )
    if not words or shutil.which(words[0]) is None:
        raise IndoorError(
            f"page faults and memory traffic cannot be switched off: there is no {words[:1]} to "
            "compile pages.c with; expected a C compiler; install gcc, or name another one in CC"
        )
    library = folder / "pages.so"
    command = [*words, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == 0:  # does it load, and compute as before?
        here = [sys.executable, "-c", "import json; print(json.dumps([1] * 100000)[-2:])"]
        done = subprocess.run(  # noqa: S603
            here, capture_output=True, text=True, check=False, env=preloading(library)
        )
    if done.returncode:
        last = " ".join((done.stderr.strip() or "it said nothing").splitlines()[-1:])
        raise IndoorError(
            f"page faults and memory traffic cannot be switched off: {words[0]} and pages.c: "
            f"{last}; expected Linux with glibc and a C compiler"
        )
    return library


def preloading(library: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a process that loads the allocator first."""
    others = environment.get(PRELOAD)
    return {**environment, PRELOAD: f"{library}:{others}" if others else str(library)}


def choose(mode: Mode, layout: Layout | None = None) -> None:
    """Choose where this process takes large blocks from now on.

    Args:
        mode: `system`; `kept`, which gives no block back, so that no page is mapped anew; or
            `shared`, which besides lets all of them lie on the same few pages of memory, so that
            what is computed from them is rubbish.
        layout: Of shared blocks.

    Raises:
        IndoorError: This process did not load the allocator, or the system refuses.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "indoor_pages", None)
    if function is None:
        raise IndoorError(f"this process has no allocator of indoor's; expected it in {PRELOAD}")
    size, parts = (0, 1) if layout is None else (layout.unit_bytes, layout.parts)
    sizes = (ctypes.c_size_t, ctypes.c_size_t)
    function.argtypes = (ctypes.c_int, *sizes, ctypes.c_int, ctypes.c_char_p)
    libraries = ",".join(f"{name}={least}" for name, least in TENSOR_LIBRARIES.items()).encode()
    if function(_MODES.index(mode), LEAST_BYTES, size, parts, libraries):
        raise IndoorError(f"memory cannot be laid out as {mode}: {os.strerror(ctypes.get_errno())}")
