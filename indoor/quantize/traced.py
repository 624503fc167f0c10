"""What the flows that trace a network share: which node of a graph is which module's output."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import QuantStub
from torch.fx import Graph, Node

# What the eager network rounds the output of, so that a checkpoint holds its scale.
_ROUNDED = (QuantStub, nn.Conv2d, nn.Linear, nn.Hardswish, FloatFunctional)

_RELUS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


def named_copy(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose sums, products and concatenations a graph names.

    A `FloatFunctional` is never called, only its methods are, so that a trace does not know it.
    """
    copied = copy.deepcopy(model).eval()
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if isinstance(child, FloatFunctional):
                setattr(parent, name, _Functional().eval())
    return copied


class _Functional(nn.Module):
    """Does in a call of its own what a `FloatFunctional` does."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, function: Callable[..., Tensor], *terms: Any) -> Tensor:
        return function(*terms)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self(torch.add, x, y)
        return result

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self.relu(self(torch.add, x, y))
        return result

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self(torch.mul, x, y)
        return result

    def cat(self, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
        result: Tensor = self(torch.cat, tensors, dim)
        return result


def owner_of(node: Node) -> str:
    """Return the path of the innermost module that a node was traced in; empty: of none."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path: str = stack[-1][0] if stack else ""
    return path.partition("@")[0]  # a module's second call is `path@1`


def output_nodes(graph: Graph, model: nn.Module) -> dict[str, Node]:
    """Return the nodes whose values the eager network rounds to int8.

    Args:
        graph: Traced from `named_copy(model)`; it may hold observers.
        model: The float32 network.

    Returns:
        By the module's path its output: a convolution's after the ReLU that alone reads it, which
        the eager flow fuses with it.
    """
    kinds = {path: type(module) for path, module in model.named_modules()}
    rounded = {path for path, kind in kinds.items() if issubclass(kind, _ROUNDED)}
    found: dict[str, Node] = {}
    for node in graph.nodes:
        owner = owner_of(node)
        parent = owner.rpartition(".")[0]
        if node.op == "placeholder":
            found |= {path: node for path in rounded if kinds[path] is QuantStub}
        elif is_observer(node):
            continue
        elif owner in rounded:
            found[owner] = node
        elif parent in rounded:  # the ReLU of a sum
            found[parent] = node
    return {path: _rectified(node) for path, node in found.items()}


def observers_of(node: Node) -> Iterator[Node]:
    """Yield the observers that read a node."""
    return filter(is_observer, node.users)


def is_observer(node: Node) -> bool:
    """Return whether a node is a call of an observer, as both flows name them."""
    return node.op == "call_module" and str(node.target).startswith("activation_post_process")


def _rectified(node: Node) -> Node:
    users = [user for user in node.users if not is_observer(user)]
    return users[0] if len(users) == 1 and users[0].target in _RELUS else node
