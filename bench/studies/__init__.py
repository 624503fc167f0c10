"""How often the gate is wrong, what a head or decoding costs: research to be run again."""

import sys
from collections.abc import Callable
from typing import NoReturn

from indoor.errors import IndoorError


def run(main: Callable[[], int]) -> NoReturn:
    """Run a study's command line; a user's mistake is one line and status 2."""
    try:
        raise SystemExit(main())
    except IndoorError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a script's output
        raise SystemExit(2) from None
