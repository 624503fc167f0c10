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
_COMPILERS = f"{_COMPILER}.utils"


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    """Have who imports `is_compile_supported` meanwhile load the compiler once it is called.

    `torchvision.ops.roi_align` (0.29) imports that one function at its top, and with it all of
    torch._dynamo: as much CPU time as torch itself takes, in every process.
    """
    if _COMPILER in sys.modules:
        yield
        return

    def real(name: str) -> Any:
        if sys.modules.get(_COMPILERS) is stand_in:
            del sys.modules[_COMPILERS]
        return getattr(importlib.import_module(_COMPILERS), name)

    def attribute(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name != "is_compile_supported":  # another torchvision's wish is fulfilled at once
            return real(name)
        return lambda *arguments: real(name)(*arguments)

    stand_in = ModuleType(_COMPILERS)
    stand_in.__getattr__ = attribute  # type: ignore[method-assign]
    sys.modules[_COMPILERS] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_COMPILERS) is stand_in:
            del sys.modules[_COMPILERS]


with _compiler_put_off():
    import torchvision
