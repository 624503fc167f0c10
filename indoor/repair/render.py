"""A search in words and as a table, without torch."""

import math
from collections.abc import Iterator

from indoor.measure.pair_statistics import LEVEL
from indoor.measure.proportions import format_share
from indoor.records import QuantizationConfig
from indoor.repair.records import HeldOut, Part, Search, Tried, answer
from indoor.report import units
from indoor.report.blocks import Block, Column, Facts, Grid, Heading, Items, Paragraph

_PARTS: dict[Part, str] = {"val": "validation", "train": "other train"}
_Z = 1.96
"""Of a two-sided 95% interval."""


def search_blocks(search: Search) -> list[Block]:
    """Return what was tried as a table, and the answer in words, where there is a best."""
    limit = search.question.max_drop_points
    return [
        Heading(describe_answer(search), level=1),
        Facts(
            (
                ("bar", f"a loss of at most {limit:g} percentage points of top-1, absolute"),
                ("judged on", _describe_judges(search.held_out)),
            )
        ),
        _grid(search),
        Paragraph(
            "points: top-1 less float32's on the same photographs, in percentage points; at worst: "
            "the lower end of its 95% interval (Tango); x plain: how many times as fast as the "
            "plain candidate in turns side by side, = where it computes the same kernels.",
            "faint",
        ),
        *([Items(needed)] if (needed := tuple(_needed(search))) else []),
    ]


def describe_answer(search: Search) -> str:
    """Return in one sentence whether the best candidate holds the bar."""
    best = search.chosen
    assert best is not None
    assert best.judged is not None
    limit = search.question.max_drop_points
    found = answer(best.judged, limit)
    allowed = f"{limit:g} points are allowed"
    if found == "missed":
        return f"The bar is missed: the best candidate has {_loss(best)}, and {allowed}"
    how = "met and proven" if found == "proven" else "met, and not proven"
    worst = units.points(best.judged.difference_interval.low)
    return f"The bar is {how}: {_loss(best)}, at worst {worst} ({LEVEL:.0%}), and {allowed}"


def describe_tried(tried: Tried, max_drop_points: float) -> str:
    """Return one candidate in one line."""
    name = f"{tried.step} ({describe_change(tried)})" if describe_change(tried) else tried.step
    seconds = f"{tried.made_s + tried.judged_s:.0f} s"
    if tried.judged is None:
        return f"{name}: {tried.failed} ({seconds})"
    judged = tried.judged
    return (
        f"{name}: {units.points(judged.difference)} points against float32, at worst "
        f"{units.points(judged.difference_interval.low)}; agreement "
        f"{format_share(judged.agreement.value)}, SQNR {judged.sqnr_db:.1f} dB; "
        f"{answer(judged, max_drop_points)}{', the best so far' if tried.best else ''} ({seconds})"
    )


def describe_change(tried: Tried) -> str:
    """Return what a candidate's configuration holds beside the plain kernels."""
    config = tried.config
    parts = [
        config.observer,
        "equalised" if config.equalised else "",
        f"rounded by {config.rounding}" if config.rounding != "nearest" else "",
        f"QAT of {config.qat_epochs} epochs" if config.qat_epochs else "",
        f"float32: {', '.join(config.float_layers)}" if config.float_layers else "",
        "biases corrected" if config.bias_corrected else "",
    ]
    return ", ".join(filter(None, parts))


def options_of(config: QuantizationConfig) -> dict[str, object]:
    """Return the options of `indoor quantize` that make a configuration."""
    low, high = config.activation_range
    return {
        "flow": config.flow,
        "engine": config.engine,
        "activations": f"{low}..{high}",
        "observer": config.observer,
        "granularity": config.weights,
        "num_calibration": config.num_calibration,
        "batch": config.batch,
        "equalise": config.equalised,
        "rounding": config.rounding if config.rounding != "nearest" else None,
        "qat_epochs": config.qat_epochs or None,
        "float_layers": ",".join(config.float_layers) or None,
        "bias_correction": config.bias_corrected,
    }


def _grid(search: Search) -> Grid:
    return Grid(
        columns=(
            Column("step", "left"),
            Column("candidate", "left"),
            Column("points"),
            Column("at worst"),
            Column("bar", "left"),
            Column("same\nanswer %"),
            Column("SQNR\ndB"),
            Column("x plain"),
            Column("s"),
        ),
        rows=tuple(_row(search, place) for place in range(len(search.tried))),
        num_keys=2,
    )


def _row(search: Search, place: int) -> tuple[str, ...]:
    tried, limit = search.tried[place], search.question.max_drop_points
    step = f"{tried.step} *" if place == search.best else tried.step
    seconds = f"{tried.made_s + tried.judged_s:.0f}"
    if tried.judged is None:
        return (step, describe_change(tried), *["-"] * 2, "failed", *["-"] * 3, seconds)
    judged, speed = tried.judged, tried.against_plain
    return (
        step,
        describe_change(tried),
        units.points(judged.difference),
        units.points(judged.difference_interval.low),
        answer(judged, limit),
        units.percent(judged.agreement.value),
        f"{judged.sqnr_db:.1f}",
        "="
        if speed is None
        else f"{units.digits(speed.speedup)} ({units.ratio_interval(speed.interval)})",
        seconds,
    )


def _describe_judges(held_out: HeldOut) -> str:
    """Return which photographs judged, and what float32 knows of them."""
    num_train = held_out.num_photographs - held_out.num_val
    counts: dict[Part, int] = {"val": held_out.num_val, "train": num_train}
    told = " and ".join(
        f"{count} {'views of ' if part in held_out.views else ''}{_PARTS[part]} photographs"
        for part, count in counts.items()
        if count
    )
    known = " (float32 was trained on the photographs themselves)" if held_out.views else ""
    return (
        f"{told}{known} that no step tuned on, none of the test list; float32 has "
        f"{format_share(held_out.float32.value)} of them right; the steps tuned on "
        f"{held_out.num_tuned:,} others at most"
    )


def _needed(search: Search) -> Iterator[str]:
    """Say what was not tried, and what would meet or prove the bar."""
    best, limit = search.chosen, search.question.max_drop_points / 100
    assert best is not None
    assert best.judged is not None
    judged = best.judged
    found = answer(judged, search.question.max_drop_points)
    if best.config.qat_epochs:
        yield (
            f"QAT trained on the {search.held_out.num_tuned:,} photographs that did not judge; its "
            "command trains on the whole train split."
        )
    if search.ended == "out of time":
        yield (
            f"The time was over, with {len(search.tried)} tried; the same command goes on from "
            "there, with more --minutes if you like."
        )
    for tried in search.tried:
        if tried.failed:
            yield f"{tried.step} ({describe_change(tried)}) has no figures: {tried.failed}."
    if found == "missed":
        net = judged.num_only_baseline_right - judged.num_only_candidate_right
        allowed = math.floor(limit * judged.num_photographs + 1e-9)
        yield (
            f"Missed by {100 * (-judged.difference - limit):.2f} points: of "
            f"{judged.num_photographs:,} photographs {net} net are lost, and at most {allowed} may "
            f"be; --max-drop {100 * -judged.difference:.2f} would be met."
        )
    if found == "met":
        yield _to_prove(judged.num_only_baseline_right + judged.num_only_candidate_right, search)


def _to_prove(num_flipped: int, search: Search) -> str:
    """Say how many photographs could prove what is met."""
    best, limit = search.chosen, search.question.max_drop_points / 100
    assert best is not None
    assert best.judged is not None
    margin = limit + best.judged.difference
    if margin <= 0 or limit <= 0:
        return "No number of photographs proves it, since the estimate is the bar itself."
    share = num_flipped / best.judged.num_photographs
    # Tango's interval without a flip is z^2 / (n + z^2); with flips the normal one is close.
    num = max(_Z**2 * (1 - limit) / limit, _Z**2 * share / margin**2)
    return (
        f"To prove it at {LEVEL:.0%} takes some {num:,.0f} photographs, if {num_flipped} of "
        f"{best.judged.num_photographs:,} go on to be right in one network alone."
    )


def _loss(tried: Tried) -> str:
    assert tried.judged is not None
    points = 100 * tried.judged.difference
    if points == 0:
        return "no loss"
    return f"a {'loss' if points < 0 else 'gain'} of {abs(points):.2f} points"
