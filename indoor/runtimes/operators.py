"""How long each operator of a loaded network takes, as its runtime tells it.

This is no runtime; each that can tell has a method `profile`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from torch import Tensor

from indoor.records import Executed
from indoor.runtimes.base import Runnable

NUM_WARMUP_CALLS = 2


@runtime_checkable
class Profiled(Protocol):
    """A network whose runtime tells how long each of its operators takes."""

    def profile(self, images: Tensor, num_calls: int) -> tuple[Executed, ...]:
        """Return what `operator_times` does."""


def operator_times(network: Runnable, images: Tensor, num_calls: int) -> tuple[Executed, ...]:
    """Return what each call executes, in order, with the seconds that each operation takes itself.

    The profile slows the calls, so that what counts are the operations' shares of the whole.

    Args:
        network: As `load_here` has loaded it.
        images: float32 `(B, 3, H, W)`.
        num_calls: To take the seconds' median of (OpenVINO tells their mean).

    Returns:
        All of them, also those that multiply nothing; none where the runtime does not tell.
    """
    return network.profile(images, num_calls) if isinstance(network, Profiled) else ()


def call_profiled(
    call: Callable[[], object],
    num_calls: int,
    telling: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Make the calls of a profile, of which `telling` wraps those that are warm."""
    for _ in range(NUM_WARMUP_CALLS):
        call()
    with telling():
        for _ in range(num_calls):
            call()
