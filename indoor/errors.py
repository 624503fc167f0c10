"""The failures that a user can act on, and nothing else."""


class IndoorError(Exception):
    """Something outside the program is not as it must be.

    The message is one line: what, the value, what was expected, and the remedy. The command line
    prints it and exits with status 2; pytest turns it into a usage error (exit status 4).
    """


class CollapseError(IndoorError):
    """A quantized model that no longer does what its float32 original does.

    The message says what the calibration saw and what inference sees. `--force` keeps the model.
    """
