"""float32 the quick way, and the network itself wherever the difference could change an answer."""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

MIN_DB = 90.0
"""Two ways to compute one network in float32 may differ by rounding alone, which is 125 to 131 dB
below ResNet-50's logits in every runtime that was measured. Nothing else is that close: bfloat16
lies at 44 dB, and the loosest float32 variant declares 60."""

Run = Callable[[Tensor], Tensor]
"""From float32 `(B, 3, H, W)` to logits float32 `(B, C)`."""


class OtherLogitsError(Exception):
    """The quick way is no float32 of this network; the message says on what."""


class Exact:
    """Logits whose answers are those of `slow`, most of them computed by `quick`.

    An answer is the largest logit, and which five are the largest. Where noise of `MIN_DB` could
    change one, the batch is computed by `slow`, in the same batch, so to the same bits. Whether the
    noise is no more than that is tried on every `every`th batch, beginning with the first.

    Args:
        quick: A quick float32 of the same network.
        slow: The network itself.
        every: 1 or more.
        numbers: The batches' numbers among those of all processes that share a data set; None
            where this one has all of them.
    """

    def __init__(
        self, quick: Run, slow: Run, every: int, numbers: Iterator[int] | None = None
    ) -> None:
        self._quick = quick
        self._slow = slow
        self._every = every
        self._numbers = numbers or itertools.count()
        self.own: list[bool] = []
        """Of each photograph, whether its logits are those of `slow`."""
        self.sqnr_db: float | None = None
        """Of the photograph where both were farthest apart."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)`.

        Raises:
            OtherLogitsError: The quick ones are farther than `MIN_DB` from the slow ones.
        """
        logits = self._quick(images)
        is_tried = next(self._numbers) % self._every == 0
        is_own = is_tried or bool(undecided(logits).any())
        if is_own:
            quick, logits = logits, self._slow(images)
            self._compare(quick, logits)
        self.own += [is_own] * len(images)
        return logits

    def _compare(self, quick: Tensor, slow: Tensor) -> None:
        noise, signal = (slow - quick).norm(dim=1), slow.norm(dim=1)
        # As `sqnr_db`, but of each photograph, since a label is a photograph's.
        ratio = float((noise / signal.clamp_min(torch.finfo(torch.float32).tiny)).max())
        value = -20 * math.log10(max(ratio, 1e-12))
        if not value >= MIN_DB:  # also where it is not a number
            raise OtherLogitsError(
                f"a photograph's logits are {value:.1f} dB apart, expected {MIN_DB:.0f} or more"
            )
        self.sqnr_db = value if self.sqnr_db is None else min(value, self.sqnr_db)


def undecided(logits: Tensor) -> Tensor:
    """Return of which photographs noise of `MIN_DB` could change the answer; bool `(B,)`.

    Noise of the norm `n` moves the difference of two logits by at most `sqrt(2) n`. NaN is
    undecided.
    """
    noise = logits.norm(dim=1) * 10 ** (-MIN_DB / 20)
    largest = logits.topk(min(6, logits.shape[1]), dim=1).values
    gaps = -largest.diff(dim=1)[:, [i for i in (0, 4) if i < largest.shape[1] - 1]]
    decided: Tensor = (gaps > 2**0.5 * noise[:, None]).all(dim=1)
    return ~decided
