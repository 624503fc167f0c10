"""A network that is run once, and again from any layer on with that layer's output changed."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

Visit = Callable[[str, Tensor, Tensor], None]
"""(layer, its input, its output)"""


class Replay:
    """Computes a network with what every layer before the changed one gave taken from memory.

    Args:
        network: Called without gradients; it stays bound to this object.
        points: Layers by name: modules that no other one contains, called with one tensor.
    """

    def __init__(self, network: nn.Module, points: Mapping[str, nn.Module]) -> None:
        self._network = network
        self._kept: list[tuple[str, Tensor]] = []
        self._num_calls = 0
        self._start = 0
        self._instead: tuple[str, Callable[[Tensor], Tensor]] | None = None
        self._visit: Visit | None = None
        for name, point in points.items():
            call: Any = partial(self._call, name, point.forward)
            setattr(point, "forward", call)  # noqa: B010 - a module's own, and not its class's

    def record(self, images: Tensor, visit: Visit) -> Tensor:
        """Return the logits, and keep what each layer gives, which `visit` sees, too."""
        self._kept, self._visit = [], visit
        try:
            return self._run(images, start=0)
        finally:
            self._visit = None

    def outputs(self) -> dict[str, list[Tensor]]:
        """Return what each layer gave at the last `record`, in the order of the calls."""
        found: dict[str, list[Tensor]] = {}
        for name, output in self._kept:
            found.setdefault(name, []).append(output)
        return found

    def again(self, images: Tensor, layer: str, instead: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the logits for the images of `record`, with one layer computed by `instead`."""
        first = next(number for number, (name, _) in enumerate(self._kept) if name == layer)
        self._instead = (layer, instead)
        try:
            return self._run(images, start=first)
        finally:
            self._instead = None

    def _run(self, images: Tensor, start: int) -> Tensor:
        self._num_calls, self._start = 0, start
        logits = self._network(images)
        assert isinstance(logits, Tensor)
        return logits

    def _call(self, name: str, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        number = self._num_calls
        self._num_calls += 1
        if number < self._start:
            return self._kept[number][1]
        if self._instead is not None and self._instead[0] == name:
            return self._instead[1](x)
        output = forward(x)
        if self._visit is not None:
            self._kept.append((name, output))
            self._visit(name, x, output)
        return output
