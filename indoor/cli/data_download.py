"""`indoor data download`: MIT Indoor-67, whole and verified, into a folder."""

import argparse

from indoor.cli.bar import Bar
from indoor.cli.output import Outcome, tell
from indoor.dataset import obtain
from indoor.hints import command_line


def run(parsed: argparse.Namespace) -> Outcome:
    """Download or unpack it, and say what lies there now."""
    got = obtain(
        parsed.root,
        url=parsed.url,
        archive=parsed.archive,
        sha1=parsed.sha1,
        sha256=parsed.sha256,
        say=tell,
        progress=Bar(),
    )
    how = "is there already" if not got.is_new else f"verified by its archive's {got.verified}"
    if got.is_new and not got.verified:
        how = "taken from a file that nothing was compared with"
    return Outcome(
        record=got,
        text="\n".join(
            [
                *(f"note: {note}" for note in got.notes),
                f"{got.name} in {parsed.root}, {how}: {got.num_photographs:,} photographs, of "
                f"which its lists name {got.num_train:,} for train and {got.num_test:,} for test",
                f"next: {command_line('data', 'verify', parsed.root)}",
            ]
        ),
    )
