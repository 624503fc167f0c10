"""The operators of a call as they are stored: what a runtime tells, in the records of this room."""

from torch import Tensor

from indoor.explain.observations import OperatorTime
from indoor.records import Executed
from indoor.runtimes.base import Runnable
from indoor.runtimes.operators import operator_times


def observe_operators(
    network: Runnable, images: Tensor, num_calls: int
) -> tuple[OperatorTime, ...]:
    """Return every operator of a call with its seconds; arguments as in `operator_times`."""
    return tuple(map(_observed, operator_times(network, images, num_calls)))


def _observed(one: Executed) -> OperatorTime:
    kernel = "" if one.implementation is None else f" {one.implementation}"
    return OperatorTime(
        operator=f"{one.operator}{kernel}",
        layer=one.layer,
        multiply_adds=one.multiply_adds,
        bytes=one.num_bytes or 0,
        seconds=one.seconds or 0.0,
    )
