"""The tables of accuracy: each variant on its own, and each against float32."""

from collections.abc import Mapping, Sequence

from indoor.records import Evaluation, PairedEvaluation
from indoor.report import units
from indoor.report.blocks import MANY, Block, Column, Grid, Heading, Items, Paragraph
from indoor.report.verdict import describe_accuracy
from indoor.runs.results import RunResult
from indoor.runs.select import evaluations, labels, pairs


def accuracy_blocks(result: RunResult) -> list[Block]:
    """Return a run's accuracies under a heading; nothing where nothing was evaluated."""
    found = tuple(evaluations(result).values())
    if not found:
        return []
    paired = tuple(pairs(result).values())
    return [Heading("Accuracy"), *accuracy_grids(found, paired, labels(result))]


def accuracy_grids(
    records: Sequence[Evaluation],
    paired: Sequence[PairedEvaluation],
    shown: Mapping[str, str] | None = None,
) -> list[Block]:
    """Return both tables, and of each pair in words whether a difference is shown.

    Args:
        records: Each variant on its own, one at least.
        paired: Each against the baseline.
        shown: What the first table calls a variant, where not by its name.
    """
    blocks: list[Block] = [
        _evaluations(records, shown or {}),
        Paragraph(
            f"On {records[0].num_photographs:,} {records[0].split} photographs; loss in nats. "
            "Mean class accuracy weighs classes alike, however many photographs each has.",
            "faint",
        ),
    ]
    if paired:
        blocks.append(_pairs(paired))
        words = [f"{p.candidate} against {p.baseline}: {describe_accuracy(p)}." for p in paired]
        blocks += [Items(tuple(words))] if len(words) >= MANY else map(Paragraph, words)
    return blocks


def _evaluations(records: Sequence[Evaluation], shown: Mapping[str, str]) -> Grid:
    return Grid(
        columns=(
            Column("variant", "left"),
            Column("top-1\n%"),
            Column("95%\ninterval"),
            Column("top-5\n%"),
            Column("95%\ninterval"),
            Column("mean class\n%"),
            Column("loss"),
        ),
        rows=tuple(
            (
                shown.get(record.variant, record.variant),
                units.percent(record.top1.value),
                units.percent_interval(record.top1.interval),
                units.percent(record.top5.value),
                units.percent_interval(record.top5.interval),
                units.percent(record.mean_class_accuracy),
                f"{record.loss:.3f}",
            )
            for record in records
        ),
    )


def _pairs(records: Sequence[PairedEvaluation]) -> Grid:
    return Grid(
        columns=(
            Column("pair", "left"),
            Column("same answer\n%"),
            Column("both\nright"),
            Column("only first\nright"),
            Column("only second\nright"),
            Column("both\nwrong"),
            Column("logit SQNR\ndB"),
        ),
        rows=tuple(
            (
                f"{record.baseline}, {record.candidate}",
                units.percent(record.agreement.value),
                f"{record.num_both_right:,}",
                f"{record.num_only_baseline_right:,}",
                f"{record.num_only_candidate_right:,}",
                f"{record.num_both_wrong:,}",
                f"{record.sqnr_db:.1f}",
            )
            for record in records
        ),
    )
