"""A search that goes on: a candidate is made, judged, kept where it is the best, and recorded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from indoor.dataset import load_batches
from indoor.diagnose.layers import layer_errors
from indoor.errors import CollapseError, IndoorError
from indoor.evaluate import compare, predict
from indoor.model import head_of
from indoor.progress import Progress
from indoor.quantize import (
    Made,
    Roundings,
    Source,
    WatchedBatches,
    check_logits,
    count_quantized_modules,
    load_int8,
    make_int8,
    quantize,
    write_int8,
)
from indoor.records import (
    CheckpointManifest,
    InputStatistics,
    PairedEvaluation,
    QuantizationConfig,
    write_record,
)
from indoor.repair.float_layers import rank_layers
from indoor.repair.ladder import Candidate, computes_alike, is_better, next_candidate
from indoor.repair.photographs import BATCH, Judges
from indoor.repair.records import Search, Step, Tried
from indoor.repair.render import describe_tried
from indoor.repair.speed import BUDGET_S, Speed, measure_speed
from indoor.repair.time_limit import LimitedProgress, OutOfTime, TimeLimit

NUM_DIAGNOSED = 8
"""Photographs that a diagnosis looks at, of those that calibrated."""

FIRST_SHARE = 0.4
"""Of the time that is left the first calibration may take; the network is converted after it."""

_COSTS: dict[Step, float] = {
    "observer": 1.2,
    "bias correction": 2.5,
    "rounding": 2.5,
    "equalisation": 1.3,
    "float layers": 1.3,
    "QAT": 1.3,
}
"""What making a candidate takes at most, in the longest that was made before without choosing how
weights are rounded, which is done once."""

_OBSERVED = 3.0
"""A photograph's calibration in its forward pass by float32's quick form, at most."""

_TRAINING_STEP = 6.0
"""A photograph's step of a training in its forward pass by float32's quick form."""


@dataclass(eq=False, kw_only=True)
class Session:
    """A search with all it needs; `search` is what stands in its file, `path`."""

    path: Path
    out: Path
    source: Source
    judges: Judges
    search: Search
    limit: TimeLimit
    progress: Progress
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        """Remember what the calls before this one took."""
        self._before_s = self.search.seconds
        self._ranked: tuple[str, ...] | None = None
        self._roundings: Roundings = {}
        if self.search.ended == "out of time":
            self.search = replace(self.search, ended=None)

    def run(self) -> Search:
        """Try candidates until the ladder or the time is at its end.

        Raises:
            CollapseError: No candidate does what float32 does.
        """
        question = self.search.question
        while self.search.ended is None:
            candidate = next_candidate(question.start, self.search.tried, question.max_drop_points)
            has_best = self.search.best is not None
            if candidate is None:
                self._keep(ended="finished")
            elif has_best and self.estimate_s(candidate) > self.limit.left_s:
                self._keep(ended="out of time")
            else:
                try:
                    self._attempt(candidate)
                except OutOfTime:
                    self._keep(ended="out of time")
        if self.search.best is None:
            raise CollapseError(
                f"no int8 of {self.source.manifest.arch} does what float32 does: "
                f"{self.search.tried[0].failed}; expected one that does; look at what "
                "calibration sees, or keep such a model with indoor quantize --force"
            )
        return self.search

    def judge_what_was_there(self, there: CheckpointManifest) -> None:
        """Take the int8 that lies there as the first candidate, which costs no calibration."""
        assert there.quantization is not None
        began = self.limit.elapsed_s
        judged, _, _ = self._judge(load_int8(self.out).model)
        tried = Tried(
            step="as it was",
            config=there.quantization.config,
            made_s=0.0,
            judged_s=self.limit.elapsed_s - began,
            judged=judged,
            best=True,
        )
        self._add(tried)

    def estimate_s(self, candidate: Candidate) -> float:
        """Return the seconds that a candidate will take at most, from those of earlier ones."""
        seconds = self.judges.record.seconds
        made = [one for one in self.search.tried if one.made_s > 0 and one.failed is None]
        judged_s = max((one.judged_s for one in self.search.tried), default=0.0)
        if not made:
            return judged_s + _OBSERVED * seconds * candidate.config.num_calibration
        made_s = max(one.made_s for one in made if one.step != "rounding" or one is made[0])
        estimate = judged_s + _COSTS[candidate.step] * made_s
        if candidate.step == "float layers":
            estimate += 2 * BUDGET_S
            if self._ranked is None and candidate.num_float_layers > 1:
                num_layers = count_quantized_modules(load_int8(self.out).model)
                estimate += seconds * NUM_DIAGNOSED * num_layers
        if candidate.step == "QAT":
            num = (self.source.num_tuned or 0) * candidate.config.qat_epochs
            estimate += _TRAINING_STEP * seconds * num
        return estimate

    def _attempt(self, candidate: Candidate) -> None:
        """Make and judge a candidate, and record it; what is the best so far is written first."""
        began = self.limit.elapsed_s
        config, is_first = candidate.config, candidate.step == "plain"
        try:
            if candidate.num_float_layers:
                names = self._worst_layers(config, candidate.num_float_layers)
                config = replace(config, float_layers=names)
            made = self._make(config, may_be_cut=is_first)
        except IndoorError as error:
            if is_first:
                raise
            made_s = self.limit.elapsed_s - began
            self._add(Tried(step=candidate.step, config=config, made_s=made_s, failed=str(error)))
            return
        made_s = self.limit.elapsed_s - began
        began = self.limit.elapsed_s
        judged, logits, inputs = self._judge(made.model, is_limited=not is_first)
        tried = Tried(
            step=candidate.step,
            config=made.config,
            made_s=made_s,
            judged_s=self.limit.elapsed_s - began,
            judged=judged,
        )
        checked = check_logits(self.judges.logits, logits, made.seen, inputs)
        if checked.findings:
            failed = f"it collapsed: {'; '.join(checked.findings)}"
            self._add(replace(tried, judged=None, failed=failed))
            return
        speed = self._speed(made)
        if speed is not None:
            tried = replace(tried, against_plain=speed.against_plain, plain_s=speed.plain_s)
        holder = self.search.chosen
        max_drop = self.search.question.max_drop_points
        against_holder = speed.against_holder if speed else None
        if holder is None or is_better(tried, holder, max_drop, against_holder):
            tried = replace(tried, best=True)
            self._keep(pending=tried)
            write_int8(self.out, self.source, made, checked)
        self._add(tried)

    def _make(self, config: QuantizationConfig, *, may_be_cut: bool = False) -> Made:
        """Return an int8 network; one that may be cut is calibrated on what there is time for."""
        limited: Callable[[Iterator[Tensor]], Iterator[Tensor]] = self.limit.checked
        if may_be_cut:
            limited = partial(self.limit.some, share=FIRST_SHARE)
        made = make_int8(
            self.source,
            config,
            limited=limited,
            roundings=self._roundings,
            progress=self.progress,
        )
        num_asked = len(self.source.tuned(config.num_calibration, config.seed))
        if made.seen.num_photographs < num_asked:
            # Photographs are taken in one order, so that a shorter calibration is one by itself.
            self.say(
                f"calibrated on {made.seen.num_photographs} of {num_asked} photographs, since the "
                "time is short"
            )
            config = replace(config, num_calibration=made.seen.num_photographs)
            made = replace(made, config=config)
        return made

    def _judge(
        self, model: nn.Module, *, is_limited: bool = False
    ) -> tuple[PairedEvaluation, Tensor, InputStatistics]:
        """Return a network beside float32, its logits, and what it was fed."""
        judges = self.judges
        watched = WatchedBatches(images for images, _ in load_batches(judges.scenes, BATCH))
        batches = zip(watched, torch.split(judges.labels, BATCH), strict=True)
        logits, _ = predict(
            model,
            self.limit.checked(batches) if is_limited else batches,
            self.progress,
            description="judging int8 on train photographs kept out",
            num_photographs=len(judges.labels),
        )
        paired = compare(judges.logits, logits, judges.labels, baseline="float32", candidate="int8")
        return paired, logits, watched.statistics

    def _speed(self, made: Made) -> Speed | None:
        """Measure a network that computes other kernels than the plain one; None: it does not."""
        plain = self._plain_config()
        holder = self.search.chosen
        if holder is None or computes_alike(made.config, plain):
            return None
        images, _ = next(load_batches(self.judges.scenes, BATCH))
        best = load_int8(self.out).model
        if computes_alike(holder.config, plain):
            return measure_speed(best, None, made.model, images)
        # Kernels are what is timed, so that any scales will do.
        quick = replace(plain, observer="minmax")
        return measure_speed(quantize(self.source.model, quick, [images]), best, made.model, images)

    def _plain_config(self) -> QuantizationConfig:
        return next(
            (one.config for one in self.search.tried if one.step == "plain"),
            self.search.question.start,
        )

    def _worst_layers(self, config: QuantizationConfig, count: int) -> tuple[str, ...]:
        """Return the last layer, and those that a diagnosis of such a network blames most."""
        last, _ = head_of(self.source.model)
        if count == 1:
            return (last,)
        if self._ranked is None:
            chosen = self.search.chosen
            if chosen is not None and chosen.config == config:
                model = load_int8(self.out).model
            else:
                model = self._make(config).model
            tuned = self.source.tuned(NUM_DIAGNOSED, config.seed)
            batches = load_batches(self.source.train, BATCH, indices=tuned)
            errors = layer_errors(
                self.source.model,
                model,
                torch.cat([images for images, _ in batches]),
                activation_range=config.activation_range,
                equalised=config.equalised,
                progress=LimitedProgress(self.progress, self.limit),
            )
            self._ranked = rank_layers(errors, last)
        return self._ranked[:count]

    def _add(self, tried: Tried) -> None:
        """Record a candidate, and tell of it."""
        place = len(self.search.tried)
        best = place if tried.best else self.search.best
        self._keep(tried=(*self.search.tried, tried), best=best, pending=None)
        self.say(describe_tried(tried, self.search.question.max_drop_points))

    def _keep(self, **changes: Any) -> None:
        """Change what is known of the search, and write it."""
        self.search = replace(self.search, seconds=self._before_s + self.limit.elapsed_s, **changes)
        write_record(self.path, self.search)
