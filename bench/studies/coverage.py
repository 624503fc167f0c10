"""How often a one-sided bound on the median log-ratio is wrong, by the way it is computed.

Launches of pairs are simulated whose true median is 0, with noise as it was measured and worse. A
lower bound above 0, or an upper bound below, is wrong, and should be so with probability alpha.

Example:
    python -m bench.studies.coverage --out results/studies/gate-coverage.json.gz
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from indoor.files import write_text
from indoor.gate.decide.evidence import MIN_LAUNCH_SD, MIN_TRIMMED, TRIMMED_SHARE, lower_bound
from indoor.measure.pair_statistics import sign_rank

NUM_LAUNCHES = (6, 10, 16, 24)
ALPHAS = (0.025, 0.0025, 0.0005)
"""A 95% interval's side, and two levels as small as those of a FAIL at one look."""

_LEVELS = tuple(map(str, ALPHAS))
METHODS = (
    "bootstrap",
    "t over launches",
    "trimmed t over launches",
    "sign test on pairs",
    "wider of the last two",
)
_CHUNK = 500

Row = dict[str, Any]
"""What one method did: `errors` and `half_widths` (the mean) by alpha; `num_bounds` counts both."""


@dataclass(frozen=True)
class Scenario:
    """Where the noise comes from; standard deviations are of log-ratios."""

    noise: str
    pair_sd: float
    launch_sd: float
    num_pairs: int


SCENARIOS = (
    Scenario("normal", 0.02, 0.003, 10),
    Scenario("normal", 0.052, 0.003, 10),
    Scenario("normal", 0.02, 0.01, 10),
    Scenario("normal", 0.02, 0.01, 40),
    Scenario("normal", 0.052, 0.01, 4),
    Scenario("Laplace", 0.052, 0.003, 10),
    Scenario("contaminated", 0.052, 0.003, 10),
    Scenario("AR(1) 0.3", 0.02, 0.003, 10),
    Scenario("Laplace launches", 0.02, 0.01, 10),
    Scenario("outlying launches", 0.02, 0.01, 10),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate every scenario, print the table, write the record; return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.coverage")
    parser.add_argument("--runs", type=int, default=20_000, help="simulated cells a row")
    parser.add_argument("--bootstrap-runs", type=int, default=200, help="of them, bootstrapped")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    parsed = parser.parse_args(arguments)
    rng = np.random.default_rng(parsed.seed)
    counts = (parsed.runs, parsed.bootstrap_runs, parsed.resamples)
    rows: list[Row] = []
    for scenario in SCENARIOS:
        for num_launches in NUM_LAUNCHES:
            rows += _study(scenario, num_launches, *counts, rng)
    for line in _table(rows):
        print(line)  # noqa: T201 - a script's output
    if parsed.out:
        record = {
            "study": "gate-coverage",
            "seed": parsed.seed,
            "num_resamples": parsed.resamples,
            "rows": rows,
        }
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    return 0


def _study(
    scenario: Scenario,
    num_launches: int,
    num_runs: int,
    num_bootstrapped: int,
    num_resamples: int,
    rng: np.random.Generator,
) -> list[Row]:
    """Return what each method did in one scenario."""
    bounds: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    for start in range(0, num_runs, _CHUNK):
        pairs = _simulate(scenario, min(_CHUNK, num_runs - start), num_launches, rng)
        by_launches, by_signs = _t_bounds(pairs, is_trimmed=True), _sign_bounds(pairs)
        bounds["t over launches"].append(_t_bounds(pairs, is_trimmed=False))
        bounds["trimmed t over launches"].append(by_launches)
        bounds["sign test on pairs"].append(by_signs)
        wider = np.maximum(by_launches, by_signs)
        bounds["wider of the last two"].append(wider)
        # The study stands for the gate only while both compute the same.
        assert math.isclose(-wider[0, 0, 0], lower_bound(list(pairs[0]), ALPHAS[0]), abs_tol=1e-9)
        few = pairs[: max(0, num_bootstrapped - start)]
        if len(few):
            bounds["bootstrap"].append(
                np.stack([_bootstrap_bounds(run, num_resamples, rng) for run in few])
            )
    rows = []
    for method, parts in bounds.items():
        if not parts:
            continue
        # Each is its distance beyond 0, `(runs, alphas, sides)`; infinite where no pair bounds.
        found = np.concatenate(parts)
        is_bounded = np.isfinite(found).all(axis=(0, 2))
        half_widths = np.where(is_bounded, found.mean(axis=(0, 2)), np.inf).tolist()
        rows.append(
            {
                "scenario": asdict(scenario),
                "num_launches": num_launches,
                "method": method,
                "num_bounds": 2 * len(found),
                "errors": dict(zip(_LEVELS, (found < 0).mean(axis=(0, 2)).tolist(), strict=True)),
                "half_widths": dict(zip(_LEVELS, half_widths, strict=True)),
            }
        )
    return rows


def _simulate(
    scenario: Scenario, num_runs: int, num_launches: int, rng: np.random.Generator
) -> np.ndarray:
    """Return log-ratios, float64 `(runs, launches, pairs)`."""
    shape = (num_runs, num_launches, scenario.num_pairs)

    def laplace(sd: float, shape: tuple[int, ...]) -> np.ndarray:
        return rng.laplace(0, sd / math.sqrt(2), shape)

    def outliers(size: float, spread: float, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        # One in ten of either arm is slower, by a share of its time or a multiple.
        for sign in (1, -1):
            hit = rng.random(shape) < 0.1
            yield sign * hit * np.log1p(rng.lognormal(math.log(size), spread, shape))

    if scenario.noise == "Laplace launches":
        launch = laplace(scenario.launch_sd, shape[:2])[:, :, None]
    else:
        launch = rng.normal(0, scenario.launch_sd, shape[:2])[:, :, None]
    if scenario.noise == "outlying launches":  # a process is slower all along
        for slower in outliers(0.1, 0.5, launch.shape):
            launch = launch + slower
    if scenario.noise == "Laplace":
        return launch + laplace(scenario.pair_sd, shape)
    noise = rng.normal(0, scenario.pair_sd, shape)
    if scenario.noise == "contaminated":  # a round is interrupted
        for slower in outliers(0.2, 1.0, shape):
            noise += slower
    elif scenario.noise.startswith("AR(1)"):
        rho = 0.3
        for i in range(1, scenario.num_pairs):
            noise[:, :, i] = rho * noise[:, :, i - 1] + math.sqrt(1 - rho**2) * noise[:, :, i]
    return launch + noise


def _t_bounds(pairs: np.ndarray, *, is_trimmed: bool) -> np.ndarray:
    medians = np.sort(np.median(pairs, axis=2), axis=1)
    num_launches = medians.shape[1]
    is_trimmed = is_trimmed and num_launches >= MIN_TRIMMED
    num_cut = int(TRIMMED_SHARE * num_launches) if is_trimmed else 0
    kept = medians[:, num_cut : num_launches - num_cut]
    winsorized = np.clip(medians, kept[:, :1], kept[:, -1:])
    num_kept = kept.shape[1]
    sd = np.maximum(winsorized.std(axis=1, ddof=1) * num_launches / num_kept, MIN_LAUNCH_SD)
    reach = [-float(stdtrit(num_kept - max(1, num_cut), alpha)) for alpha in ALPHAS]
    width = np.outer(sd / math.sqrt(num_launches), reach)
    mean = kept.mean(axis=1)[:, None]
    return np.stack([width - mean, width + mean], axis=2)


def _sign_bounds(pairs: np.ndarray) -> np.ndarray:
    ordered = np.sort(pairs.reshape(len(pairs), -1), axis=1)
    num_pairs = ordered.shape[1]
    ranks = [sign_rank(num_pairs, alpha) for alpha in ALPHAS]
    return np.stack(
        [np.stack([-ordered[:, r - 1], ordered[:, num_pairs - r]], axis=1) for r in ranks], axis=1
    )


def _bootstrap_bounds(
    pairs: np.ndarray, num_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Resample launches, then pairs within each, and take percentiles of the median."""
    num_launches, num_pairs = pairs.shape
    launches = rng.integers(num_launches, size=(num_resamples, num_launches, 1))
    chosen = rng.integers(num_pairs, size=(num_resamples, num_launches, num_pairs))
    medians = np.median(pairs[launches, chosen].reshape(num_resamples, -1), axis=1)
    return np.array(
        [[-np.quantile(medians, alpha), np.quantile(medians, 1 - alpha)] for alpha in ALPHAS]
    )


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a markdown table: errors in percent for each alpha, the first alpha's half-width."""
    nominal = " / ".join(f"{alpha:.2%}" for alpha in ALPHAS)
    yield f"Wrong bounds at {nominal}, and the mean half-width of the first"
    yield ""
    yield f"| noise, pair sd, launch sd, pairs | launches | {' | '.join(METHODS)} |"
    yield "|---|---|" + "---|" * len(METHODS)
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        scenario = Scenario(**row["scenario"])
        words = (
            f"{scenario.noise}, {scenario.pair_sd:.1%}, {scenario.launch_sd:.1%}, "
            f"{scenario.num_pairs} | {row['num_launches']}"
        )
        wrong = " / ".join(f"{100 * error:.2f}" for error in row["errors"].values())
        figures = f"{wrong} (±{row['half_widths'][_LEVELS[0]]:.2%})"
        lines.setdefault(words, {})[row["method"]] = figures
    for words, by_method in lines.items():
        yield f"| {words} | {' | '.join(by_method.get(method, '') for method in METHODS)} |"


if __name__ == "__main__":
    raise SystemExit(main())
