"""From a float32 checkpoint and a bar to the fastest int8 that holds it, in the time there is."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import indoor
from indoor.errors import IndoorError
from indoor.files import remove_leftovers
from indoor.locks import locked
from indoor.machine import read_machine
from indoor.model import LoadedModel, verify
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize import Source, open_source, validate_config
from indoor.records import CheckpointManifest, QuantizationConfig, read_record
from indoor.repair.ladder import computes_alike
from indoor.repair.photographs import (
    Judges,
    Place,
    ask_float32,
    held_out_places,
    hold_out,
    num_affordable,
    read_answers,
    scenes_of,
    write_answers,
)
from indoor.repair.records import Question, Search
from indoor.repair.session import FIRST_SHARE, Session
from indoor.repair.time_limit import TimeLimit

MAX_DROP_POINTS = 0.1
MINUTES = 10.0

FOLDER = "auto"
"""Beside the checkpoint: what was tried (`search.json`), and float32's answers."""

_MORE = 1.5
"""By so much more photographs must fit into the time before a search begins anew with them."""


def find_int8(
    checkpoint: LoadedModel | Path | str,
    root: Path | str,
    start: QuantizationConfig,
    *,
    out: Path | str,
    max_drop_points: float = MAX_DROP_POINTS,
    minutes: float = MINUTES,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    already_s: float = 0.0,
) -> Search:
    """Try candidates in the order of their cost, and keep the best of them in `out`.

    Each is judged on train photographs that no step tunes on. The best so far is written as soon
    as it is known, and beside it what was tried; a call that is killed or runs out of time loses
    the step that it was in, and the next call with the same question goes on after it.

    Args:
        checkpoint: A float32 checkpoint: its file, or what `load_float` made of it.
        root: The data set that it was trained on.
        start: How the plain candidate is made; the ladder changes its observer and its repairs.
        out: The file to write, usually `int8.safetensors` beside the float32 one.
        max_drop_points: The loss of top-1 that is allowed, in percentage points, absolute.
        minutes: How long; a step that would take longer is not begun.
        seed: Decides the validation split where the checkpoint does not say it.
        skip_broken: Leave photographs out that cannot be decoded.
        progress: Hears of each batch.
        say: Hears one line for each candidate.
        clock: Seconds; only differences count.
        already_s: Seconds of `minutes` that are over already.

    Returns:
        What was tried and which candidate is the best: that one is in `out`.

    Raises:
        IndoorError: The checkpoint, the data set or the configuration cannot be used, or another
            search of this run is going on.
        CollapseError: No candidate does what float32 does; nothing is written.
    """
    limit, out = TimeLimit(60 * minutes, clock, already_s), Path(out)
    validate_config(start)
    source = open_source(checkpoint, root, seed=seed, skip_broken=skip_broken)
    source = hold_out(source, start.num_calibration)
    machine = read_machine()
    question = Question(
        float32_sha256=source.made_from["float32"],
        data=source.data,
        start=start,
        max_drop_points=max_drop_points,
        cpu_model=machine.cpu_model,
        torch=machine.torch,
        indoor=indoor.__version__,
    )
    folder = out.parent / FOLDER
    busy = (
        f"another indoor quantize --auto works on {out.parent}; expected one at a time; wait until "
        "it has ended"
    )
    with locked(folder / ".lock", "another search of this run", wait_s=0, busy=busy):
        remove_leftovers(out.parent, out.name)
        remove_leftovers(folder)
        places = held_out_places(source, start.seed)
        there = _written(out)
        found = _go_on(folder, source, places, question, there, limit, say)
        if found is None:
            (folder / _SEARCH).unlink(missing_ok=True)  # its answers are about to be others
            judges = ask_float32(source, places, limit, progress)
            write_answers(folder / _ANSWERS, judges)
            found = judges, Search(format=1, question=question, held_out=judges.record)
        judges, search = found
        session = Session(
            path=folder / _SEARCH,
            out=out,
            source=source,
            judges=judges,
            search=search,
            limit=limit,
            progress=progress,
            say=say,
        )
        if not search.tried and there is not None and _may_be_judged(there, source, start):
            session.judge_what_was_there(there)
        return session.run()


_SEARCH = "search.json"
_ANSWERS = "float32-answers.safetensors"


def _go_on(
    folder: Path,
    source: Source,
    places: tuple[Place, ...],
    question: Question,
    there: CheckpointManifest | None,
    limit: TimeLimit,
    say: Callable[[str], None],
) -> tuple[Judges, Search] | None:
    """Return an earlier call's search that may go on; None where there is none."""
    if not (folder / _SEARCH).is_file():
        return None
    try:
        search = read_record(folder / _SEARCH, Search)
    except IndoorError as error:
        say(f"the search begins anew: {error}")
        return None
    if search.question != question:
        say(f"the search begins anew: {_difference(search.question, question)}")
        return None
    written = there.quantization.config if there and there.quantization else None
    search = _with_pending(search, written)
    chosen, held_out = search.chosen, search.held_out
    if chosen is not None and written != chosen.config:
        say("the search begins anew: its best int8 is not the one that lies there any more")
        return None
    if num_affordable(limit, held_out.seconds, len(places)) > _MORE * held_out.num_photographs:
        say("the search begins anew: there is time for more photographs to judge")
        return None
    plain = next((one for one in search.tried if one.step == "plain"), None)
    if plain is not None and plain.config.num_calibration < question.start.num_calibration:
        was_s = FIRST_SHARE * limit.seconds
        if was_s > _MORE * plain.made_s:
            say("the search begins anew: there is time for a longer calibration")
            return None
    answers = read_answers(folder / _ANSWERS, held_out)
    if answers is None:
        say("the search begins anew: what float32 answered is not there any more")
        return None
    logits, labels = answers
    scenes = scenes_of(source, places, held_out)
    return Judges(record=held_out, scenes=scenes, logits=logits, labels=labels), search


def _with_pending(search: Search, written: QuantizationConfig | None) -> Search:
    """Return a search whose last write was cut short after the int8, as if it had not been."""
    pending = search.pending
    if pending is None or pending.config != written:
        return replace(search, pending=None)
    tried = (*search.tried, pending)
    return replace(search, pending=None, tried=tried, best=len(tried) - 1)


def _difference(before: Question, now: Question) -> str:
    """Say what an earlier search was for and this one is not."""
    names = {
        "float32_sha256": "the float32 checkpoint",
        "data": "the photographs",
        "start": "the options",
        "max_drop_points": "--max-drop",
        "cpu_model": "the CPU",
        "torch": "torch",
        "indoor": "indoor",
    }
    changed = [
        name for field, name in names.items() if getattr(before, field) != getattr(now, field)
    ]
    return f"{', '.join(changed)} changed since"


def _written(out: Path) -> CheckpointManifest | None:
    """Return what the int8 that lies there says of itself; None where there is no whole one."""
    try:
        return verify(out) if out.is_file() else None
    except IndoorError:
        return None


def _may_be_judged(there: CheckpointManifest, source: Source, start: QuantizationConfig) -> bool:
    """Return whether an int8 was made of this float32 on photographs that do not judge."""
    record, origin = there.quantization, there.provenance
    if record is None or origin is None or record.forced:
        return False
    config = record.config
    return (
        origin.made_from == source.made_from
        and origin.data == source.data
        and (config.seed, config.qat_epochs) == (start.seed, 0)
        and config.num_calibration <= (source.num_tuned or 0)
        and computes_alike(replace(config, float_layers=start.float_layers), start)
    )
