"""One saved run to one answer: which runtime, precision, batch, threads and processes."""

from indoor.recommend.candidates import Basis, Objective, Question
from indoor.recommend.decision import Answer, recommend
from indoor.recommend.render import as_record, render_answers

__all__ = [
    "Answer",
    "Basis",
    "Objective",
    "Question",
    "as_record",
    "recommend",
    "render_answers",
]
