"""The command line: parse, call, print."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from indoor.errors import FINDING, INTERRUPTED, MISTAKE, CollapseError, IndoorError

__all__ = ["main"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
"""What a disk answers to any step of any work: no mistake of ours, wherever it comes from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `indoor` command.

    Args:
        arguments: The words after `indoor`; None for those of this process.

    Returns:
        The exit status: 0, 1 for a finding (a data set with defects, a collapsed int8 model), 2 for
        a user's mistake, which is told in one line on standard error, 130 after Ctrl-C.
    """
    from indoor.cli.arguments import parse

    _open_closed_streams()
    try:
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as stop:  # argparse's way to end after --help and after a mistake
        return int(stop.code or 0)
    from indoor.cli.output import print_outcome, tell
    from indoor.files import path_failure

    outcome = None
    try:
        outcome = parsed.command(parsed)
        if outcome is None:  # a rank that has nothing to say
            return 0
        print_outcome(outcome, parsed.format)
        return int(outcome.status)
    except CollapseError as error:
        tell(error)
        return FINDING
    except IndoorError as error:
        tell(error)
        return MISTAKE
    except BrokenPipeError:  # `indoor report | head` closes our output: nobody reads on
        sys.stderr.close()
        return int(outcome.status) if outcome is not None else 0
    except OSError as error:
        if outcome is None and (line := path_failure(error)):
            tell(line)
            return MISTAKE
        if outcome is None and error.errno not in _FULL:
            raise
        if outcome is None:
            tell(
                f"{error.filename or 'a file'}: {error.strerror}; expected room for what is "
                "written; free some, or choose another place; the same command goes on from there"
            )
            return MISTAKE
        tell(f"the result cannot be printed: {error.strerror or error}; expected room for it")
        return int(outcome.status) or MISTAKE
    except KeyboardInterrupt:
        tell("interrupted; what was finished is kept, the same command goes on from there")
        return INTERRUPTED


def _open_closed_streams() -> None:
    """Let what is printed vanish where the caller closed a stream (`>&-`, some service managers).

    The null device also takes the stream's number, which the next file would get otherwise.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open until the end


if __name__ == "__main__":
    sys.exit(main())
