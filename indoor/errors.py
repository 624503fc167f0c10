"""The failures that a user can act on, the statuses that commands end with, and nothing else."""

FINDING = 1
"""A command did what it was asked, and found something: defects, a collapsed int8 model."""

MISTAKE = 2
"""A user's mistake, or a world that is not as it must be; one line on standard error says which."""

INTERRUPTED = 130
"""Ctrl-C."""


class IndoorError(Exception):
    """Something outside the program is not as it must be.

    The message is one line: what, the value, what was expected, and the remedy. The command line
    prints it and exits with status 2; pytest turns it into a usage error (exit status 4).
    """


class CollapseError(IndoorError):
    """A quantized model that no longer does what its float32 original does.

    The message says what the calibration saw and what inference sees. `--force` keeps the model.
    """
