"""The table of what a photograph costs from its file on, and what a model costs to have."""

from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.headline import headline
from indoor.report.select import cells, described, size_bytes, variants
from indoor.runs.results import RunResult


def costs_blocks(result: RunResult) -> list[Block]:
    """Return the tables that were measured; nothing where none of their cases was."""
    blocks: list[Block] = [Heading("Loading, memory and decoding")]
    if having := _having(result):
        blocks.append(having)
        blocks.append(
            Paragraph(
                "Load: from the file to a model that can run. Peak: the highest resident memory "
                "(VmHWM) of a fresh process that loaded this variant alone and ran it. MB are "
                "10^6 bytes.",
                "faint",
            )
        )
    if adding := _adding_up(result):
        blocks.append(adding)
        blocks.append(
            Paragraph(
                "ms per photograph from file to answer, medians. Decoding and the model were "
                "timed apart and are added up here; run side by side they would share the cores.",
                "faint",
            )
        )
    return blocks if len(blocks) > 1 else []


def _having(result: RunResult) -> Grid | None:
    """Return what loading a variant takes, in time and in memory."""
    known = {(c.measurement.case, c.measurement.variant): c.measurement for c in result.cases}
    rows = []
    for name in described(result):
        load, peak = known.get(("load", name)), known.get(("peak-memory", name))
        if load is None and peak is None:
            continue
        batch = peak.batch if peak is not None else None
        rows.append(
            (
                name,
                units.megabytes(size_bytes(result, name)),
                units.milliseconds(load.latency.median_s if load and load.latency else None),
                units.megabytes(peak.peak_memory_bytes if peak else None),
                units.NOTHING if batch is None else str(batch),
            )
        )
    if not rows:
        return None
    return Grid(
        columns=(
            Column("variant", "left"),
            Column("size\nMB"),
            Column("load\nms"),
            Column("peak memory\nMB"),
            Column("at batch"),
        ),
        rows=tuple(rows),
    )


def _adding_up(result: RunResult) -> Grid | None:
    """Return decoding beside the model at each thread count that both were timed at."""
    found = headline(result)
    if found.allocator is None:
        return None
    batch = 8 if 8 in found.batches else found.batches[0]
    rows: list[tuple[str, ...]] = []
    rules = set()
    decodes = [c.measurement for c in result.cases if c.measurement.case == "decode"]
    for decode in sorted(decodes, key=lambda one: one.threads or 0):
        if decode.latency is None or decode.threads is None:
            continue
        timed = cells(result, found.allocator, decode.threads)
        decode_s = decode.latency.median_s
        label = str(decode.threads)
        for name in variants(result):
            known = timed.get((name, batch))
            if known is None or known.latency is None:
                continue
            together_s = decode_s + known.latency.median_s
            rows.append(
                (
                    label,
                    name,
                    units.milliseconds(decode_s),
                    units.milliseconds(known.latency.median_s),
                    units.milliseconds(together_s),
                    f"{decode_s / together_s:.0%}",
                )
            )
            label = ""
        rules.add(len(rows) - 1)
    if not rows:
        return None
    return Grid(
        columns=(
            Column("threads"),
            Column("variant", "left"),
            Column("decode and\ntransform"),
            Column(f"model at\nbatch {batch}"),
            Column("together"),
            Column("of it\ndecoding"),
        ),
        rows=tuple(rows),
        num_keys=2,
        rules=frozenset(rules),
    )
