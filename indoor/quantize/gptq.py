"""GPTQ: weights onto a grid one after the other, each error made up for by those still free."""

import torch
from torch import Tensor

from indoor.errors import IndoorError

LARGEST_CODE = 127
_BLOCK = 128

_DAMPING = (0.01, 0.1, 1.0, 10.0)
"""Shares of the mean power; the first that float32 can factorise with."""


def rounded(weight: Tensor, steps: Tensor, gram: Tensor) -> Tensor:
    """Return weights on the grid of their steps whose errors cancel in the layer's output.

    The inputs with most power come first, as there is most to make up for. What is as large as the
    largest code stays as it is, since the step was taken from it (Frantar et al., arXiv 2210.17323;
    for convolutions arXiv 2208.11580).

    Args:
        weight: float32 `(out, in / groups, ...)`.
        steps: The scale of each output channel's codes, float32 `(out,)`.
        gram: Of each group's inputs with each other over what the layer saw, `(groups, d, d)`.

    Raises:
        IndoorError: `gram` is not finite.
    """
    order = gram.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True)
    upper = _inverse_root(gram[:, order][:, :, order])
    scaled = weight.flatten(1) / steps[:, None]
    left = scaled.view(len(gram), -1, len(order))[:, :, order]
    chosen: Tensor = left.clone()
    for low in range(0, len(order), _BLOCK):
        block = slice(low, min(low + _BLOCK, len(order)))
        errors = torch.zeros_like(left[:, :, block])
        for place in range(low, block.stop):
            now, was = left[:, :, place], chosen[:, :, place]
            ends = was.abs() >= LARGEST_CODE
            code = torch.where(ends, was.round(), now.round().clamp(-LARGEST_CODE, LARGEST_CODE))
            error = (now - code) / upper[:, place, place, None]
            rest = slice(place, block.stop)
            left[:, :, rest] -= error[..., None] * upper[:, None, place, rest]
            errors[:, :, place - low] = error
            chosen[:, :, place] = torch.where(ends, was, code)
        left[:, :, block.stop :] -= errors @ upper[:, block, block.stop :]
    codes = chosen[:, :, order.argsort()].flatten(0, 1)
    return (codes * steps[:, None]).view_as(weight)


def _inverse_root(gram: Tensor) -> Tensor:
    """Return the upper triangular U with U^T U the inverse of a gram matrix that is damped."""
    power = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    ridge = torch.eye(gram.shape[-1]) * power[:, None, None]
    for damping in _DAMPING:
        root, failed = torch.linalg.cholesky_ex(gram + damping * ridge)
        if failed.any():
            continue
        upper: Tensor
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(root), upper=True)
        if not failed.any():
            return upper
    raise IndoorError(
        "a layer's inputs are no finite numbers; expected finite ones to choose the rounding from; "
        "leave out --rounding gptq"
    )
