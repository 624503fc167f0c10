"""Where in a torch module a call is: the names and the weights of its layers, and hooks on them.

This is no runtime.
"""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

Weights = dict[str, tuple[tuple[int, ...], str]]
"""The shape and the type of the weights by their layer."""


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module by its name in the network, that of the network itself being empty."""
    within = "network"  # of what binds an int8 network to its engine
    paths = model.named_modules()
    return {path.removeprefix(f"{within}.") if path != within else "": m for path, m in paths}


def weights_of(model: nn.Module) -> Weights:
    """Return the weights of the layers that multiply by some."""
    found: Weights = {}
    for name, module in named_layers(model).items():
        weight: Any = getattr(module, "weight", None)
        weight = weight() if callable(weight) else weight  # a quantized layer's is packed
        if isinstance(weight, Tensor) and weight.dim() > 1:
            found[name] = (tuple(weight.shape), str(weight.dtype))
    return found


@contextmanager
def followed(
    model: nn.Module,
    names: Container[str],
    enter: Callable[[str], object],
    leave: Callable[[], object],
) -> Iterator[None]:
    """Have a call of these layers begin with `enter`, which is told the name, and end with `leave`.

    A call that fails within a layer does not leave it.
    """

    def begin(name: str, *_: object) -> None:
        enter(name)

    def end(*_: object) -> None:
        leave()

    handles: list[Any] = []
    for name, module in named_layers(model).items():
        if name in names:
            handles.append(module.register_forward_pre_hook(partial(begin, name)))
            handles.append(module.register_forward_hook(end))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
