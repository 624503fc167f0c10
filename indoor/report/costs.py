"""The table of what a photograph costs from its file on, and what a model costs to have."""

from indoor.records import Case, Measurement
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.headline import headline
from indoor.report.pivot import pivot
from indoor.runs.results import RunResult
from indoor.runs.select import cells, described, labels, size_bytes, variants

_BUILD = "Build: from the checkpoint to that file, where this run made it. "


def costs_blocks(result: RunResult, unit: units.TimeUnit = units.MS) -> list[Block]:
    """Return the tables that were measured; nothing where none of their cases was."""
    blocks: list[Block] = [Heading("Loading, memory and decoding")]
    built = any(case.measurement.build_s is not None for case in result.cases)
    if having := _having(result, unit):
        blocks.append(having)
        blocks.append(
            Paragraph(
                f"Load: from the file to a model that can run. {_BUILD if built else ''}Peak: the "
                "highest resident memory (VmHWM) of a fresh process that loaded this variant alone "
                "and ran it. MB are 10^6 bytes.",
                "faint",
            )
        )
    if (labelled := _pivoted(result, "label", unit)) is not None:
        blocks.append(labelled)
        blocks.append(
            Paragraph(
                f"{unit.name} per photograph from its JPEG bytes to its label, medians: decoding, "
                "transform and model in one.",
                "faint",
            )
        )
    elif adding := _adding_up(result, unit):
        blocks.append(adding)
        blocks.append(
            Paragraph(
                f"{unit.name} per photograph from file to answer, medians. Decoding and the model "
                "were timed apart and are added up here; run side by side they would share the "
                "cores.",
                "faint",
            )
        )
    if (together := _pivoted(result, "throughput", unit)) is not None:
        blocks.append(together)
        blocks.append(
            Paragraph(
                "Photographs a second of all processes together, each with threads of its own.",
                "faint",
            )
        )
    return blocks if len(blocks) > 1 else []


def _pivoted(result: RunResult, case: Case, unit: units.TimeUnit) -> Grid | None:
    """Return the times or the throughput of a kind of case, by variant and cell."""

    def figure(one: Measurement) -> str | None:
        if one.case == "throughput":
            per_s = one.photographs_per_s
            return None if per_s is None else units.digits(per_s)
        return None if one.latency is None else unit.text(one.latency.median_s)

    cases = [c.measurement for c in result.cases if c.measurement.case == case]
    return pivot(result, cases, figure)


def _having(result: RunResult, unit: units.TimeUnit) -> Grid | None:
    """Return what loading a variant takes, in time and in memory."""
    known = {(c.measurement.case, c.measurement.variant): c.measurement for c in result.cases}
    rows, builds = [], []
    names = labels(result)
    for name in described(result):
        load, peak = known.get(("load", name)), known.get(("peak-memory", name))
        if load is None and peak is None:
            continue
        batch = peak.batch if peak is not None else None
        build_s = load.build_s if load is not None else None
        builds.append(build_s)
        rows.append(
            (
                names[name],
                units.megabytes(size_bytes(result, name)),
                unit.text(load.latency.median_s if load and load.latency else None),
                units.NOTHING if build_s is None else units.digits(build_s),
                units.megabytes(peak.peak_memory_bytes if peak else None),
                units.NOTHING if batch is None else str(batch),
            )
        )
    if not rows:
        return None
    columns = [
        Column("variant", "left"),
        Column("size\nMB"),
        Column(f"load\n{unit.name}"),
        Column("build\ns"),
        Column("peak memory\nMB"),
        Column("at batch"),
    ]
    shown = [i for i, column in enumerate(columns) if any(builds) or column.header != "build\ns"]
    return Grid(
        columns=tuple(columns[i] for i in shown),
        rows=tuple(tuple(row[i] for i in shown) for row in rows),
    )


def _adding_up(result: RunResult, unit: units.TimeUnit) -> Grid | None:
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
                    unit.text(decode_s),
                    unit.text(known.latency.median_s),
                    unit.text(together_s),
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
