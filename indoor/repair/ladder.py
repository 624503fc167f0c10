"""Which candidate comes next, and which of two is better: the rules, without torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from indoor.records import Observer, PairedSpeedup, QuantizationConfig
from indoor.repair.records import Answer, Step, Tried, answer

OBSERVERS: tuple[Observer, ...] = ("histogram", "mse", "percentile", "minmax", "moving-average")
"""What is tried beside the plain candidate's own, the likeliest to help first."""

FLOAT_LAYERS = (1, 2, 4, 8, 16)
"""How many layers stay in float32, one after the other until the bar is met; then the counts
between the last two. The first is the network's last one, whose output is not rounded then."""

QAT_EPOCHS = (1, 3)

FASTER = 1.1
"""From this speedup on, shown at 95%, speed decides; less is not worth noise in every answer."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is to be tried; `num_float_layers` of it are yet to be named by a diagnosis."""

    step: Step
    config: QuantizationConfig
    num_float_layers: int = 0


def next_candidate(
    start: QuantizationConfig, tried: Sequence[Tried], max_drop_points: float
) -> Candidate | None:
    """Return what is to be tried after these; None where the ladder is at its end.

    The steps that change no kernel (bias correction, rounding, observers, equalisation) are all
    taken, each on what came nearest to float32 before (`_base`), and so is the last layer in
    float32, which is next to nothing of a network's work. The others cost time in every call or
    minutes of training, so they are for where no candidate with the plain kernels holds the bar.

    Args:
        start: What the plain candidate is made with.
        tried: What was, in its order.
        max_drop_points: The bar.
    """
    plain = _plain(start, tried)
    if plain is None:
        return Candidate(step="plain", config=start)
    answers = _answers(tried, max_drop_points)
    steps = {one.step for one in tried}
    base = _base(tried, plain.config)
    if "bias correction" not in steps:
        return Candidate(step="bias correction", config=replace(base, bias_corrected=True))
    if "rounding" not in steps:
        return Candidate(step="rounding", config=replace(base, rounding="gptq"))
    last_layer = Candidate(step="float layers", config=base, num_float_layers=1)
    if "float layers" not in steps:
        return last_layer
    observed = {one.config.observer for one in tried if one.step == "observer"}
    for observer in OBSERVERS:
        if observer not in observed | {plain.config.observer}:
            return Candidate(step="observer", config=replace(base, observer=observer))
    if "equalisation" not in steps:
        return Candidate(step="equalisation", config=replace(base, equalised=True))
    with_float = (one.config for one in tried if one.step == "float layers")
    if all(replace(config, float_layers=()) != base for config in with_float):
        return last_layer
    holding = [tried[place].config for place in answers if answers[place] != "missed"]
    if any(
        computes_alike(config, plain.config) or len(config.float_layers) == 1 for config in holding
    ):
        return None
    if count := _next_count(tried, answers):
        return Candidate(step="float layers", config=base, num_float_layers=count)
    for epochs in QAT_EPOCHS:
        if not any(one.config.qat_epochs == epochs for one in tried if one.step == "QAT"):
            if any(config.qat_epochs for config in holding):
                return None
            trained = replace(base, rounding="nearest", qat_epochs=epochs)
            return Candidate(step="QAT", config=trained)
    return None


def computes_alike(one: QuantizationConfig, other: QuantizationConfig) -> bool:
    """Return whether both networks call the same kernels, so that neither can be the faster."""
    return _kernels(one) == _kernels(other)


def is_better(
    challenger: Tried, holder: Tried, max_drop_points: float, speed: PairedSpeedup | None = None
) -> bool:
    """Return whether a candidate takes the place of the best so far.

    One that holds the bar beats one that does not. Of two that do, one that is shown to be `FASTER`
    wins, else the higher SQNR. Of two that do not, the smaller loss wins where it lies outside the
    other's interval, else the higher SQNR: a photograph more or less tells nothing, and noise in
    all logits does.

    Args:
        challenger: Judged.
        holder: Judged on the same photographs.
        max_drop_points: The bar.
        speed: holder / challenger; None where they compute alike.
    """
    new, old = challenger.judged, holder.judged
    assert new is not None
    assert old is not None
    holds, held = (answer(one, max_drop_points) != "missed" for one in (new, old))
    if holds != held:
        return holds
    interval = old.difference_interval
    if not holds and not interval.low <= new.difference <= interval.high:
        return new.difference > old.difference
    if holds and speed is not None:
        if speed.interval.low > FASTER:
            return True
        if speed.interval.high < 1 / FASTER:
            return False
    return new.sqnr_db > old.sqnr_db


def _plain(start: QuantizationConfig, tried: Iterable[Tried]) -> Tried | None:
    found = [one for one in tried if one.step == "plain" or one.config == start]
    return found[-1] if found else None


def _answers(tried: Sequence[Tried], max_drop_points: float) -> dict[int, Answer]:
    """Return how each that was judged holds the bar, by its place."""
    return {
        place: answer(one.judged, max_drop_points)
        for place, one in enumerate(tried)
        if one.judged is not None
    }


def _base(tried: Sequence[Tried], plain: QuantizationConfig) -> QuantizationConfig:
    """Return what the next step builds on, of those with plain kernels.

    It has the highest SQNR among those that agree with float32 as often as the one that agrees most
    often: no less often than the low end of its 95% interval. It is calibrated as the plain one,
    whatever an int8 that lay there was calibrated on.
    """
    known = [
        (one.judged, one.config)
        for one in tried
        if one.judged is not None
        and one.config.qat_epochs == 0
        and computes_alike(one.config, plain)
    ]
    if not known:
        return plain
    most = max((judged.agreement for judged, _ in known), key=lambda rate: rate.value)
    alike = [one for one in known if one[0].agreement.value >= most.interval.low]
    _, best = max(alike, key=lambda one: one[0].sqnr_db)
    return replace(best, num_calibration=plain.num_calibration, batch=plain.batch)


def _next_count(tried: Sequence[Tried], answers: dict[int, Answer]) -> int:
    """Return how many layers to leave in float32 next; 0: that step is done.

    The counts double until one meets the bar; then the gap below it is halved.
    """
    met: list[int] = []
    missed = [0]
    for place, one in enumerate(tried):
        if one.step == "float layers":
            holds = answers.get(place, "missed") != "missed"
            (met if holds else missed).append(len(one.config.float_layers))
            if one.failed:
                return 0
    if not met:
        return next((count for count in FLOAT_LAYERS if count > max(missed)), 0)
    fewest = min(met)
    most = max(count for count in missed if count < fewest)
    return (most + fewest) // 2 if fewest - most > 1 else 0


def _kernels(config: QuantizationConfig) -> tuple[object, ...]:
    layers = frozenset(config.float_layers)
    return config.engine, config.activation_range, config.weights, layers
