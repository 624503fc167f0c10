"""The engines of this torch build, and modules that keep to theirs."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.quantize.deprecations import known_deprecations_filtered
from indoor.records import Engine

ENGINES: tuple[Engine, ...] = get_args(Engine)


def supported_engines() -> tuple[Engine, ...]:
    """Return the engines that this torch build holds, in the order of `Engine`."""
    available = torch.backends.quantized.supported_engines
    return tuple(engine for engine in ENGINES if engine in available)


def vnni_supported() -> bool | None:
    """Return whether torch finds AVX-512 VNNI, which engine x86 picks its kernels by.

    It looks at avx512_vnni only, not at AVX-VNNI. None where this torch cannot tell.
    """
    asked = getattr(torch.cpu, "_is_vnni_supported", None)
    return None if asked is None else bool(asked())


@contextmanager
def using_engine(engine: Engine) -> Iterator[None]:
    """Make `engine` torch's quantized engine inside the block, then put the caller's back.

    The setting belongs to the process, not to the thread: two threads that use models of
    different engines at the same time must take turns.

    Raises:
        IndoorError: This torch build does not hold the engine.
    """
    before = torch.backends.quantized.engine
    if before == engine:
        yield
        return
    if engine not in supported_engines():
        raise IndoorError(
            f"engine {engine} is not in this torch build; expected one of "
            f"{', '.join(supported_engines())}; quantize on this machine with one of those"
        )
    torch.backends.quantized.engine = engine
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


class EngineBound(nn.Module):
    """An int8 network that gives the same logits whatever torch's global engine is.

    Convolutions and linear layers keep the kernels that they were packed for, but additions and
    poolings ask the global engine at every call (with qnnpack they round differently), and a
    deep copy packs all weights anew, for the engine that is set at that moment.

    Args:
        network: A converted network.
        engine: The engine that `network` was packed for.
    """

    engine: Engine

    def __init__(self, network: nn.Module, engine: Engine) -> None:
        super().__init__()
        self.network = network
        self.engine = engine

    def forward(self, photographs: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` for float32 photographs `(B, 3, H, W)`."""
        with using_engine(self.engine):
            logits = self.network(photographs)
        assert isinstance(logits, Tensor)
        return logits

    def __deepcopy__(self, memo: dict[int, Any]) -> "EngineBound":
        """Copy the network with its own engine set, since the copy packs the weights again."""
        with using_engine(self.engine), known_deprecations_filtered():
            copied = EngineBound(copy.deepcopy(self.network, memo), self.engine)
        memo[id(self)] = copied
        return copied.train(self.training)
