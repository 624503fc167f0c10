"""`indoor quantize --auto`: the fastest int8 that holds a bar, in the time there is."""

import argparse
import time
from pathlib import Path

from indoor import places
from indoor.cli.bar import Bar
from indoor.cli.output import Outcome, tell, use_color, width
from indoor.errors import FINDING
from indoor.hints import command_line, run_word
from indoor.model import LoadedModel, read_manifest
from indoor.records import QuantizationConfig
from indoor.repair.auto import MAX_DROP_POINTS, MINUTES, find_int8
from indoor.repair.records import answer
from indoor.repair.render import options_of, search_blocks
from indoor.report.caption import assumed_lines
from indoor.report.text import as_text


def run_auto(
    parsed: argparse.Namespace,
    loaded: LoadedModel,
    root: Path,
    start: QuantizationConfig,
    notes: tuple[str, ...],
) -> Outcome:
    """Search, and say what was found; status 1 where no candidate holds the bar.

    Args:
        parsed: The command's arguments.
        loaded: The run's float32.
        root: The data set.
        start: What the options make of the default configuration.
        notes: What is to be said of the run.
    """
    folder = loaded.path.parent
    out = folder / places.INT8
    search = find_int8(
        loaded,
        root,
        start,
        out=out,
        max_drop_points=MAX_DROP_POINTS if parsed.max_drop is None else parsed.max_drop,
        minutes=parsed.minutes or MINUTES,
        seed=parsed.seed or 0,
        skip_broken=parsed.skip_broken,
        progress=Bar(),
        say=tell,
        # Loading torch and the checkpoint is part of what the user waits for.
        already_s=time.monotonic() - parsed.began_s,
    )
    best = search.chosen
    assert best is not None
    assert best.judged is not None
    found = answer(best.judged, search.question.max_drop_points)
    how = {"data": root, "skip_broken": parsed.skip_broken}
    run = run_word(folder)
    again = command_line("quantize", run, **how, seed=parsed.seed, **options_of(best.config))
    following = command_line("evaluate", run, **how)
    said = assumed_lines(loaded.manifest.weights)
    # Lines of their own, since a command that is wrapped cannot be pasted.
    lines = (*said, f"the same again: {again}", f"checkpoint: {out}", f"next: {following}")
    text = as_text(search_blocks(search), width=width(), color=use_color())
    return Outcome(
        record={
            "answer": found,
            "search": search,
            "quantization": read_manifest(out).quantization,
        },
        text=text + "\n".join(lines),
        status=FINDING if found == "missed" else 0,
        notes=(*notes, *(said if parsed.format == "json" else ())),
    )
