"""`indoor data shard`: a data set as tar shards."""

import argparse

from indoor.cli.bar import Bar
from indoor.cli.output import Outcome
from indoor.dataset import write_shards
from indoor.hints import command_line


def run(parsed: argparse.Namespace) -> Outcome:
    """Write the shards, and say what to do with them."""
    manifest = write_shards(
        parsed.root,
        parsed.out,
        shard_bytes=parsed.shard_mb * 1_000_000,
        seed=parsed.seed,
        skip_broken=parsed.skip_broken,
        progress=Bar(),
    )
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    lines = [
        f"{len(manifest.train):,} train and {len(manifest.test):,} test photographs in "
        f"{len(manifest.shards):,} shards of together {num_bytes / 1e6:,.1f} MB: {parsed.out}",
        f"next: {command_line('train', data=parsed.out)}",
    ]
    record = {
        "folder": str(parsed.out),
        "num_train": len(manifest.train),
        "num_test": len(manifest.test),
        "num_bytes": num_bytes,
        "shards": [
            {"file": one.file, "num_bytes": one.num_bytes, "sha256": one.sha256}
            for one in manifest.shards
        ],
    }
    return Outcome(record=record, text="\n".join(lines))
