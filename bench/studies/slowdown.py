"""A pytest plugin that really makes the forward pass slower, to see whether the gate finds it.

It is one file, loaded by path from outside the tree under test (a copy in a folder on PYTHONPATH
and `-p gate_slowdown`), so the tree knows nothing of it. INDOOR_GATE_SLOWDOWN is the share to add,
such as 0.05; INDOOR_GATE_SLOWDOWN_UNITS names the file that `bench.studies.gate calibrate`
wrote on this machine. What is added is a number of matrix products and not a time: what disturbs
the forward pass disturbs them alike.
"""

import functools
import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

SIZE = 128
"""Rows and columns of the two matrices; their product takes far below 1 ms."""

SLOWDOWN = "INDOOR_GATE_SLOWDOWN"
UNITS = "INDOOR_GATE_SLOWDOWN_UNITS"


def pytest_sessionstart() -> None:
    """Wrap the suite's `Shared.call`, once the suite is imported and before it is collected.

    Raises:
        pytest.UsageError: A variable is missing or wrong; one line.
    """
    text = os.environ.get(SLOWDOWN, "")
    if not text:
        return
    source = os.environ.get(UNITS, "")
    try:
        slowdown = float(text)
        units = json.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(
            f"{SLOWDOWN}={text!r}, {UNITS}={source!r}: {error}; expected a number and the file "
            "that `python -m bench.studies.gate calibrate --out FILE` wrote"
        ) from error
    from bench.measuring import (
        Shared,  # the tree's own; it must not be loaded before pytest's conftest
    )

    slow_suite(Shared, slowdown, units)


def slow_suite(shared: Any, slowdown: float, units: Mapping[str, Mapping[str, float]]) -> None:
    """Have every function that `shared.call` returns do extra work.

    Args:
        shared: A class with the method `call(variant, batch)`; it is changed for good.
        slowdown: The share to add to the seconds of a call.
        units: By `cell_key`: `forward_s`, the seconds of a call, and `unit_s`, those of one unit of
            extra work.
    """
    plain = shared.call
    extra = ExtraWork()

    @functools.wraps(plain)
    def call(self: Any, variant: str, batch: int) -> Callable[[], Tensor]:
        return extra.added_to(plain(self, variant, batch), variant, batch, slowdown, units)

    shared.call = call


def cell_key(variant: str, batch: int, threads: int) -> str:
    """Return a cell's name in the file of units."""
    return f"{variant}-batch{batch}-threads{threads}"


class ExtraWork:
    """Multiplies two fixed float32 matrices; one product is a unit."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._left, self._right = torch.rand(2, SIZE, SIZE, generator=generator)
        self._product = torch.empty(SIZE, SIZE)
        self._random = random.Random(0)

    def do(self, num_units: float) -> None:
        """Do so many units; a fraction is one unit more in that share of the calls, by chance."""
        whole = int(num_units)
        for _ in range(whole + (self._random.random() < num_units - whole)):
            torch.mm(self._left, self._right, out=self._product)

    def added_to(
        self,
        forward: Callable[[], Tensor],
        variant: str,
        batch: int,
        slowdown: float,
        units: Mapping[str, Mapping[str, float]],
    ) -> Callable[[], Tensor]:
        """Return a function that computes the same and takes longer by the share `slowdown`.

        The threads are those that are set when it is called.

        Raises:
            LookupError: When called: the cell has no units.
        """

        def slower() -> Tensor:
            logits = forward()
            key = cell_key(variant, batch, torch.get_num_threads())
            if key not in units:
                raise LookupError(
                    f"no units for {key}, expected one of {', '.join(units)}; calibrate this cell"
                )
            self.do(slowdown * units[key]["forward_s"] / units[key]["unit_s"])
            return logits

        return slower
