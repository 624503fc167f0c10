"""torchvision without torch's compiler, which its import loads and which nothing here needs.

Whoever wants torchvision takes it from here: `from indoor.vision import torchvision`.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - the whole of it, before anything stands in for a part

__all__ = ["torchvision"]

_COMPILER = "torch._dynamo"
_HELPERS = f"{_COMPILER}.utils"


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    """Have who imports `is_compile_supported` meanwhile load the compiler once it is called.

    `torchvision.ops.roi_align` (0.29) imports that one function at its top, and with it all of
    torch._dynamo: as much CPU time as torch itself takes, in every process. Any other name, which
    another torchvision may want, is the compiler's own at once.
    """
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(_HELPERS)

    def step_aside() -> None:
        if sys.modules.get(_HELPERS) is stand_in:
            del sys.modules[_HELPERS]

    def real(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        step_aside()
        return getattr(importlib.import_module(_HELPERS), name)

    vars(stand_in).update(
        __getattr__=real,
        is_compile_supported=lambda device: real("is_compile_supported")(device),
    )
    sys.modules[_HELPERS] = stand_in
    try:
        yield
    finally:
        step_aside()


with _compiler_put_off():
    import torchvision
