"""What the processes of one job tell each other, by torch.distributed; alone, nothing is told."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from indoor.errors import IndoorError
from indoor.ranks import ALONE, Ranks, read_ranks

ANSWER_S = 1800.0
"""How long a rank waits for the others. A lost process is noticed at once, by its connections;
this is for one that hangs, or a network that swallows packets, and longer than the first rank
works alone (hashing, a head on cached features, a lock that another training holds)."""

_SEEN_S = 10.0
"""How long a file may take until another machine sees it: network file systems remember for some
seconds that a name was not there."""

_FROM_PEERS = ("gloo", "nccl", "processgroup", "connection closed by peer", "tcpstore")
"""What torch's plain RuntimeError says where another process is gone, which has no type of its
own with gloo."""

T = TypeVar("T")


@contextmanager
def joined(device: torch.device, answer_s: float = ANSWER_S) -> Iterator[Ranks]:
    """Belong to the job that torchrun started, with nccl on GPUs and gloo on CPUs.

    On GPUs each rank of a machine gets the one of its own number. Without torchrun the block runs
    `ALONE`, and nothing is set up.

    Args:
        device: Where this job computes, `cpu` or `cuda`.
        answer_s: How long a rank waits for the others' answers before it gives them up.

    Raises:
        IndoorError: The others do not come or are lost, or there are fewer GPUs than ranks.
    """
    ranks = read_ranks()
    if ranks is ALONE:
        yield ALONE
        return
    if device.type not in ("cpu", "cuda") or not dist.is_available():
        raise IndoorError(
            f"device {device.type} with torch {torch.__version__} cannot be shared by processes; "
            "expected cpu or cuda, and a torch with torch.distributed; take --device cpu, or leave "
            "torchrun out"
        )
    backend = "gloo"
    if device.type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        if ranks.local_rank >= torch.cuda.device_count():
            raise IndoorError(
                f"rank {ranks.rank} is number {ranks.local_rank} on its machine, which has "
                f"{torch.cuda.device_count()} GPUs; expected a GPU for each; start fewer with "
                "--nproc-per-node, or take --device cpu"
            )
        torch.cuda.set_device(ranks.local_rank)
    ranks = replace(ranks, backend="nccl" if device.type == "cuda" else "gloo")
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=answer_s))
    except (RuntimeError, ValueError) as error:
        raise IndoorError(
            f"rank {ranks.rank} of {ranks.size} did not find the others: {_first_line(error)}; "
            "expected as many processes as torchrun was told, and a network between them; start "
            "all of them again"
        ) from error
    try:
        yield ranks
    except RuntimeError as error:
        if not any(word in str(error).lower() for word in _FROM_PEERS):
            raise
        raise IndoorError(
            f"rank {ranks.rank} of {ranks.size} lost another rank ({_first_line(error)}); whatever "
            "was finished is kept; start the same command again, with as many ranks as there are, "
            "and it goes on from there"
        ) from error
    finally:
        dist.destroy_process_group()


def gather(ranks: Ranks, value: T) -> list[T]:
    """Return every rank's value, in their order. All ranks call it at the same place."""
    if ranks.backend is None:
        return [value]
    values: list[T] = [value] * ranks.size
    dist.all_gather_object(values, value)
    return values


def from_first(ranks: Ranks, work: Callable[[], T]) -> T:
    """Let the first rank work, and return its result on all.

    Raises:
        IndoorError: The first rank's, on all.
    """
    if ranks.backend is None:
        return work()
    outcome: list[tuple[T | None, str | None]] = [(None, None)]
    if ranks.is_first:
        try:
            outcome = [(work(), None)]
        except IndoorError as error:
            outcome = [(None, str(error))]
    dist.broadcast_object_list(outcome, src=0)
    result, failure = outcome[0]
    if failure is not None:
        raise IndoorError(failure)
    return result  # type: ignore[return-value] # None only where the work returns it


def after_first(ranks: Ranks, work: Callable[[], T], others: Callable[[], T] | None = None) -> T:
    """Let the first rank work, and then the others, who find what it left.

    Args:
        ranks: The job's.
        work: The first rank's.
        others: Theirs; None for the same.

    Raises:
        IndoorError: The first rank's, on all; then nobody else begins.
    """
    made: list[T] = []
    from_first(ranks, lambda: made.append(work()))
    return made[0] if ranks.is_first else (others or work)()


def together(ranks: Ranks, work: Callable[[], T]) -> T:
    """Work on every rank, and fail on all where one fails.

    `work` must not talk to the others: a rank that failed would not answer them.

    Raises:
        IndoorError: The line of the lowest rank that failed, on all.
    """
    if ranks.backend is None:
        return work()
    made: list[T] = []
    failure = None
    try:
        made.append(work())
    except IndoorError as error:
        failure = str(error)
    failures = gather(ranks, failure)
    failed = [rank for rank, line in enumerate(failures) if line is not None]
    if failed:
        line = str(failures[failed[0]])
        of_all = len(failed) == ranks.size and len(set(failures)) == 1
        raise IndoorError(line if of_all else f"rank {failed[0]} of {ranks.size}: {line}")
    return made[0]


def collect(ranks: Ranks, indices: Sequence[int], *columns: Tensor) -> tuple[Tensor, ...]:
    """Return the rows that the ranks have, of all of them and in the order of their indices.

    Args:
        ranks: The job's.
        indices: Whose rows this rank has: of 0 to N-1 each falls to one rank.
        columns: `(len(indices), ...)` each, on the CPU; of a rank without rows any empty tensor.

    Returns:
        The columns, `(N, ...)` each, to the same bits on every rank.
    """
    if ranks.backend is None:
        return columns
    parts = [part for part in gather(ranks, (list(indices), columns)) if part[0]]
    order = torch.tensor([index for found, _ in parts for index in found]).argsort()
    return tuple(
        torch.cat([found[column] for _, found in parts])[order] for column in range(len(columns))
    )


@contextmanager
def held_by_first(ranks: Ranks, context: AbstractContextManager[object]) -> Iterator[None]:
    """Hold a lock, say, on the first rank for the whole job; the others wait until it has it.

    Raises:
        IndoorError: That of entering it, on all.
    """
    with ExitStack() as stack:

        def enter() -> None:
            stack.enter_context(context)

        from_first(ranks, enter)
        yield


def require_same(ranks: Ranks, what: str, value: object) -> None:
    """Find out that the ranks do not work on the same.

    Raises:
        IndoorError: Some rank's value is another than the first one's.
    """
    values = gather(ranks, value)
    other = next((rank for rank, found in enumerate(values) if found != values[0]), None)
    if other is not None:
        raise IndoorError(
            f"rank {other} of {ranks.size} has other {what} than rank 0; expected the same data "
            "set, weights, options and program on every machine"
        )


def require_shared(ranks: Ranks, folder: Path) -> None:
    """Find out that a rank does not see the folder that the first one writes to.

    Raises:
        IndoorError: Some rank does not see it.
    """
    if ranks.backend is None:
        return
    path = folder / from_first(ranks, lambda: f".ranks-{secrets.token_hex(8)}")
    from_first(ranks, path.touch)
    began = time.monotonic()
    while not (is_there := path.exists()) and time.monotonic() - began < _SEEN_S:
        time.sleep(0.1)
    blind = [rank for rank, sees in enumerate(gather(ranks, is_there)) if not sees]
    if ranks.is_first:
        path.unlink(missing_ok=True)
    if blind:
        raise IndoorError(
            f"rank {blind[0]} of {ranks.size} does not see what rank 0 writes into {folder}; "
            "expected one folder that all of them share; set INDOOR_HOME to one on a file system "
            "that every machine has"
        )


def has_last_word() -> bool:
    """Return whether no other rank of this job has told yet why the job ends.

    The first to ask is told so, and no other. Where nobody answers each may speak for itself.
    """
    told = os.environ.get
    try:
        store = TCPStore(
            told("MASTER_ADDR", ""),
            int(told("MASTER_PORT", "0")),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=5),
        )
        attempt = told("TORCHELASTIC_RESTART_COUNT", "0")
        return store.add(f"indoor/ended/{told('TORCHELASTIC_RUN_ID', '')}/{attempt}", 1) == 1
    except (RuntimeError, ValueError):
        return True


def _first_line(error: Exception) -> str:
    """Return what torch says first, without the stack that it adds in C++."""
    return str(error).strip().partition("\n")[0].strip().rstrip(".")
