"""`indoor recommend`: which runtime, precision, batch, threads and processes to take."""

import argparse

from indoor.cli.output import Outcome, use_color, width
from indoor.recommend import Question, as_record, recommend, render_answers
from indoor.runs.results import load_results
from indoor.runs.storage import named_or_newest

STATUSES = {"decided": 0, "nothing": 1, "open": 3}


def run(parsed: argparse.Namespace) -> Outcome:
    """Answer for each of the files that were named, or for the newest result."""
    question = Question(
        objective=parsed.objective,
        max_latency_s=None if parsed.max_latency_ms is None else parsed.max_latency_ms / 1e3,
        max_drop=None if parsed.max_drop is None else parsed.max_drop / 100,
        basis=parsed.latency,
        max_batch=parsed.max_batch,
        max_threads=parsed.max_threads,
    )
    results = load_results(named_or_newest(parsed.files, parsed.results))
    answers = [recommend(result, question) for result in results]
    return Outcome(
        record=[as_record(answer) for answer in answers],
        text=render_answers(answers, width=parsed.width or width(), color=use_color()),
        status=max(STATUSES[answer.status] for answer in answers),
    )
