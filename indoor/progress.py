"""How long work tells its caller how far it is, without printing anything."""

from typing import Protocol


class Progress(Protocol):
    """Hears of one piece of work at a time; the command line draws a bar from it."""

    def start(self, description: str, total: int) -> None:
        """Begin work of `total` steps, such as photographs or epochs."""
        ...

    def advance(self, count: int = 1) -> None:
        """Count further steps as done."""
        ...

    def finish(self) -> None:
        """End the work that `start` began."""
        ...


class _NoProgress:
    def start(self, description: str, total: int) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        pass

    def finish(self) -> None:
        pass


NO_PROGRESS: Progress = _NoProgress()
"""For callers that want no word."""
