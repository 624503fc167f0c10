"""The two pipes that INDOOR_LINK names, and the process's end with its parent's."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
from typing import Any

LINK = "INDOOR_LINK"
"""The variable with the two descriptors, read from and written to, such as `5,8`."""

PR_SET_PDEATHSIG = 1


class Link:
    """Speaks with the controller (`measure.process.ChildProcess`); without it the process ends."""

    def __init__(self) -> None:
        self._in, self._out = (int(number) for number in os.environ[LINK].split(","))
        for descriptor in (self._in, self._out):
            os.set_inheritable(descriptor, False)
        self._lines = os.fdopen(self._in, "rb")
        self._last: tuple[bytes, dict[str, Any]] = (b"", {})

    def tell(self, event: str, **fields: Any) -> None:
        """Send one message."""
        data = (json.dumps({"event": event, **fields}) + "\n").encode()
        while data:  # however small the pipe is
            data = data[os.write(self._out, data) :]

    def listen(self) -> dict[str, Any]:
        """Return the next message; ends the process where the controller is gone."""
        line = self._lines.readline()
        if not line:
            os._exit(70)
        if line != self._last[0]:  # turns are all alike, and between two of them caches go cold
            self._last = line, json.loads(line)
        return dict(self._last[1])


def die_with_parent() -> None:
    """Have Linux kill this process when the controller is killed, whatever is computed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
