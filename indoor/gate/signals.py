"""The signals that end a program, as Ctrl-C: so what it started is ended and removed, too."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Have SIGTERM and SIGHUP unwind like Ctrl-C, so that nothing is left behind."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {}
    try:
        for one in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(one) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                before[one] = signal.signal(one, interrupt)
    except ValueError:
        pass  # not the main thread: signals are its caller's matter
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
