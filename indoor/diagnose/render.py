"""Diagnoses as tables, for a terminal or as markdown."""

from typing import Literal

from indoor.diagnose.records import Diagnosis, Finding, LayerError
from indoor.records import InputStatistics
from indoor.report import units
from indoor.report.blocks import Block, Column, Facts, Grid, Heading, Items, Paragraph
from indoor.report.caption import describe_quantization
from indoor.report.markdown import as_markdown
from indoor.report.text import as_text

TableFormat = Literal["table", "markdown"]

LAYERS = Heading("Layers")
"""Below it stand the layers, in a page also as a picture."""

NUM_SHOWN = 20
"""Layers in the table, the worst first, unless all are asked for."""

_NUM_NAMED = 6


def render_diagnosis(
    found: Diagnosis,
    *,
    format: TableFormat = "table",  # noqa: A002 - the option of every command that prints
    every_layer: bool = False,
    width: int = 80,
    color: bool = False,
) -> str:
    """Return the causes, then the layers, as text or as GitHub's markdown."""
    blocks = diagnosis_blocks(found, every_layer=every_layer)
    if format == "markdown":
        return as_markdown(blocks)
    return as_text(blocks, width=width, color=color)


def diagnosis_blocks(found: Diagnosis, *, every_layer: bool = False) -> list[Block]:
    """Return the caption, the causes with their remedies, and a row a layer, the worst first."""
    blocks: list[Block] = [
        Heading(f"Where int8 loses: {found.arch} on {found.data}", level=1),
        Facts(_caption(found)),
        *([Items(found.notes)] if found.notes else []),
        Heading("Causes"),
    ]
    if found.findings:
        blocks.append(_causes(found.findings))
    else:
        blocks.append(
            Paragraph(
                "No layer stands out by a cause: what is lost is spread over "
                f"{len(found.layers)} layers, of which {found.worst_first[0].layer} has the most, "
                f"{found.worst_first[0].share:.0%}."
            )
        )
    shown = found.worst_first[: len(found.layers) if every_layer else NUM_SHOWN]
    blocks += [LAYERS, _layers(shown), Paragraph(_words(found, shown), "faint")]
    return blocks


def _caption(found: Diagnosis) -> tuple[tuple[str, str], ...]:
    vnni = "unknown" if found.vnni is None else "yes" if found.vnni else "no"
    calibration = found.calibration_input
    seen = f"; calibration saw {_values(calibration)}" if calibration else ""
    return (
        (
            "logits",
            f"SQNR {found.logit_sqnr_db:.1f} dB; the same answer on "
            f"{found.agreement.num_hits} of {found.agreement.num_total} photographs",
        ),
        ("photographs", f"{_values(found.input)}, of the split {found.split}{seen}"),
        ("int8", describe_quantization(found.config)),
        ("CPU", f"{found.cpu_model}, VNNI {vnni}; torch {found.torch_version}"),
    )


def _values(seen: InputStatistics) -> str:
    return (
        f"{seen.num_photographs:,} of values {seen.minimum:.2f}..{seen.maximum:.2f} "
        f"(mean {seen.mean:.2f}, std {seen.std:.2f})"
    )


def _causes(findings: tuple[Finding, ...]) -> Grid:
    return Grid(
        columns=(
            Column("cause", "left"),
            Column("layers", "left"),
            Column("shown by", "left"),
            Column("remedy", "left"),
        ),
        rows=tuple((one.cause, _named(one.layers), one.figures, one.remedy) for one in findings),
        num_keys=4,
        rules=frozenset(range(len(findings) - 1)),
    )


def _named(layers: tuple[str, ...]) -> str:
    more = len(layers) - _NUM_NAMED
    return "\n".join((*layers[:_NUM_NAMED], *([f"and {more} more"] if more > 0 else [])))


def _layers(layers: tuple[LayerError, ...]) -> Grid:
    return Grid(
        columns=(
            Column("layer", "left"),
            Column("of the\nerror\n%"),
            Column("alone:\nlogits\ndB"),
            Column("weights\nalone:\nlogits\ndB"),
            Column("weights\ndB"),
            Column("rounding\ndB"),
            Column("in int8\ndB"),
            Column("cosine"),
            Column("clipped\n%"),
            Column("dead\n%"),
            Column("shift\nof means"),
            Column("cause", "left"),
        ),
        rows=tuple(_row(one) for one in layers),
    )


def _row(one: LayerError) -> tuple[str, ...]:
    return (
        one.layer,
        units.percent(one.share),
        _db(one.isolated_logit_sqnr_db),
        _db(one.isolated_weight_logit_sqnr_db),
        _db(one.weight_sqnr_db),
        _db(one.activation_sqnr_db),
        _db(one.accumulated_sqnr_db),
        f"{one.cosine:.4f}",
        units.percent(one.saturated),
        f"{100 * one.dead:.0f}",
        f"{one.mean_shift:.3f}",
        ", ".join(one.causes) or units.NOTHING,
    )


def _db(value: float | None) -> str:
    return units.NOTHING if value is None else f"{value:.1f}"


def _words(found: Diagnosis, shown: tuple[LayerError, ...]) -> str:
    left = len(found.layers) - len(shown)
    rest = 1 - sum(one.share for one in shown)
    hidden = f"{left} more layers have {rest:.1%} of the error (--layers shows them). "
    return (
        (hidden if left else "")
        + "Share of the error: of the noise in the logits, a layer at a time, the others in "
        "float32. Weights and rounding: the layer's own output, on float32's inputs. In int8: its "
        "output after all layers before it. Clipped: values beyond its range; dead: the part of "
        "its range that no value reaches."
    )
