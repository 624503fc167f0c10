"""The processes of one job, as torchrun starts them: which one this is, and what falls to it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from indoor.errors import IndoorError

_SAID = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process, and torch's `env://` reads."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of its job, in torch.distributed's words.

    `rank` is 0 to `size - 1`; `local_rank` and `local_size` count those on this machine alone.
    `backend` is None for a process by itself; a job may have one process, too.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    backend: Literal["gloo", "nccl"] | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one that locks, writes and speaks for all."""
        return self.rank == 0


ALONE = Ranks()
"""A process by itself."""


def read_ranks(environment: Mapping[str, str] | None = None) -> Ranks:
    """Return what torchrun said of this process, without a backend; `ALONE` where it said nothing.

    Args:
        environment: The variables; None for those of this process.

    Raises:
        IndoorError: They contradict each other or are no numbers.
    """
    told = os.environ if environment is None else environment
    if any(name not in told for name in _SAID):
        return ALONE
    defaults = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    values: dict[str, int] = {}
    for name in ("RANK", "WORLD_SIZE", *defaults):
        text = told.get(name, defaults.get(name, ""))
        if not (text.isascii() and text.isdigit()):
            raise IndoorError(
                f"{name} is {text!r}, expected a whole number as torchrun sets it; start this with "
                "torchrun, or take RANK and WORLD_SIZE out of the environment"
            )
        values[name] = int(text)
    ranks = Ranks(
        rank=values["RANK"],
        size=values["WORLD_SIZE"],
        local_rank=values["LOCAL_RANK"],
        local_size=values["LOCAL_WORLD_SIZE"],
    )
    if not (ranks.rank < ranks.size and ranks.local_rank < ranks.local_size <= ranks.size):
        raise IndoorError(
            f"RANK {ranks.rank} of WORLD_SIZE {ranks.size} and LOCAL_RANK {ranks.local_rank} of "
            f"LOCAL_WORLD_SIZE {ranks.local_size} contradict each other; expected ranks below "
            "their number; start this with torchrun"
        )
    return ranks


def share_of_batches(ranks: Ranks, num_photographs: int, batch: int) -> list[int]:
    """Return which photographs fall to this rank where whole batches are dealt out in turn.

    Together the ranks have each photograph once. The batches' boundaries are those of one process,
    so what is computed of a photograph is the same to the last bit.
    """
    return [
        index
        for start in range(ranks.rank * batch, num_photographs, ranks.size * batch)
        for index in range(start, min(start + batch, num_photographs))
    ]


def share_of_step(ranks: Ranks, batch: int) -> range:
    """Return which places of each step's batch are this rank's: as many for all, or one more.

    Raises:
        IndoorError: A rank would get none.
    """
    if batch < ranks.size:
        raise IndoorError(
            f"{ranks.size} ranks share steps of {batch} photographs, expected one photograph or "
            f"more for each; start {batch} ranks or fewer"
        )
    return range(ranks.rank * batch // ranks.size, (ranks.rank + 1) * batch // ranks.size)
