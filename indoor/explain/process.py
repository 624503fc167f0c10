"""What `indoor explain` measures with: a process of its own for each experiment."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from indoor.explain.operators import observe_operators
from indoor.explain.pages import Layout, Mode, choose
from indoor.measure.worker import answer, timed, warm_up
from indoor.model.network import layer_calls
from indoor.records import Executed, Precision, to_builtins
from indoor.runtimes.own_process import Variants, answer_all

NUM_PROFILED_CALLS = 5

Traffic = Sequence[tuple[int, int, int]]
"""Of each layer in its turn: the bytes of its input, its weights and its output."""


def serve() -> None:
    """Be the process: do what each message asks until the other end is gone."""
    answer_all(Experiments())


class Experiments(Variants):
    """What any process of its own can do, and the experiments that no user needs."""

    def __init__(self) -> None:
        super().__init__()
        self._move: Callable[[], object] = list

    def do(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a message asks and return the answer."""
        what = message["do"]
        if what == "copies":
            torch.set_num_threads(message["threads"])
            self._move = copies(message["traffic"])
            return {}
        if message.get("copies"):
            return answer(message, lambda _iterations: timed(self._move)())
        if what == "pages":
            return self._choose_pages(message)
        if what == "operators":
            loaded = self._loaded[message["variant"]]
            found = observe_operators(loaded.network, self._images, NUM_PROFILED_CALLS)
            return {"operators": [to_builtins(one) for one in found]}
        return super().do(message)

    def _choose_pages(self, message: dict[str, Any]) -> dict[str, Any]:
        """Move images, weights and whatever a call takes to memory as it is chosen.

        Of several layouts the fastest stays: each takes at least as long as no waiting would.
        """
        mode: Mode = message["mode"]
        loaded = self._loaded[message["variant"]]
        renew = getattr(loaded.network, "renew", None)
        images = self._images

        def fastest(layout: Layout | None) -> float:
            choose(mode, layout)
            self._images = images.clone()
            if renew is not None:
                renew()
            once = timed(lambda: loaded(self._images))
            return warm_up(once, min_calls=4, min_s=0.5, max_s=5.0).fastest_s

        found = [Layout(**layout) for layout in message["layouts"]]
        if not found:
            fastest(None)
            return {"renewed": renew is not None}
        seconds = {layout: fastest(layout) for layout in found}
        best = min(found, key=seconds.__getitem__)
        if best != found[-1]:
            fastest(best)
        return {"renewed": renew is not None}


def layer_traffic(
    arch: str, num_classes: int, size: int, batch: int, precision: Precision
) -> Traffic:
    """Return the bytes of each convolution's and linear layer's input, weights and output.

    Args:
        arch: One of `ARCHS`.
        num_classes: The number of logits.
        size: The photographs' height and width.
        batch: Photographs a call.
        precision: Of activations and weights.
    """
    length = getattr(torch, precision).itemsize
    return tuple(
        (read.numel() * length, weights.numel() * length, written.numel() * length)
        for _, read, weights, written in layer_calls(arch, num_classes, batch, size)
    )


def with_reorders(traffic: Traffic, executed: Sequence[Executed]) -> Traffic:
    """Return the layers' bytes with those of the reorders that a call executes between them.

    oneDNN's float32 convolutions take other layouts than eager mode's, so it rewrites inputs,
    outputs and, in every call, weights: for ResNet-50 and one photograph twice the layers' bytes.

    Args:
        traffic: Of the layers, in the order of the calls.
        executed: What a call executed, in its order; the layers are what multiplies.
    """
    found: list[tuple[int, int, int]] = []
    layers = iter(traffic)
    for one in executed:
        if one.multiply_adds:
            found += [layer for layer in (next(layers, None),) if layer]
        elif one.operator == "reorder" and one.num_bytes:
            found.append((one.num_bytes // 2, 0, one.num_bytes // 2))
    return (*found, *layers)


def copies(traffic: Traffic) -> Callable[[], object]:
    """Return a call that reads and writes as many bytes as the layers do, one after another.

    A layer's input is what the layer before wrote, and its weights are its own, so that what may
    still be in a cache is the same.
    """
    longest = max(max(read, written) for read, _, written in traffic) // 8 + 1
    buffers = [torch.zeros(longest, dtype=torch.int64) for _ in range(2)]
    weights = [torch.zeros(size // 8 + 1, dtype=torch.int64) for _, size, _ in traffic]

    def move() -> None:
        for number, (read, _, written) in enumerate(traffic):
            source, target = buffers[number % 2], buffers[1 - number % 2]
            source[: read // 8].sum()
            weights[number].sum()
            target[: written // 8].fill_(number)

    return move
