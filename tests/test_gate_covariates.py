"""What could take noise out of pairs: each way on turns whose noise is known."""

from pathlib import Path

import numpy as np
import pytest

from bench.studies import covariates
from bench.studies.covariates import WAYS, Pair, Turn
from indoor.measure.pair_statistics import robust_sd


def pairs(seed: int, num_launches: int = 6, num_pairs: int = 40) -> list[list[Pair]]:
    """Return launches whose first calls waited for a CPU that the other calls did not wait for."""
    rng = np.random.default_rng(seed)

    def turn() -> Turn:
        waited, speed = float(rng.exponential(0.05)), float(np.exp(rng.normal(0, 0.001)))
        wall = (speed + waited, speed, speed)
        return Turn(control_s=0.002, wall_s=wall, cpu_s=(speed,) * 3, waited_s=waited, stolen_s=0.0)

    return [[Pair(base=turn(), head=turn()) for _ in range(num_pairs)] for _ in range(num_launches)]


@pytest.mark.parametrize(
    ("way", "factor"),
    [
        ("one call (as it is)", 1.0),
        ("minimum of 3 calls", 0.1),
        ("median of 3 calls", 0.1),
        ("run-queue delay as covariate", 0.2),
        ("steal as covariate", 1.0),
        ("frozen control as covariate", 1.0),
        ("CPU time", 0.1),
    ],
)
def test_a_way_takes_out_the_noise_that_it_knows(way: str, factor: float) -> None:
    """Noise is delay alone: what sees delay removes it, what does not changes nothing."""
    launches = pairs(0)
    plain, kept = (np.concatenate(WAYS[w][0](launches)) for w in ("one call (as it is)", way))
    assert len(kept) == len(plain)
    if factor < 1:
        assert robust_sd(kept) < factor * robust_sd(plain)
    else:
        assert kept == pytest.approx(plain)


def test_the_study_measures_stores_and_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two launches of two processes, every way a row."""
    monkeypatch.setattr(covariates, "WORKS", {"one thread": covariates.sort_numbers})
    out = tmp_path / "study.json"
    assert covariates.main(["--launches", "2", "--pairs", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {title} | " in printed for title in WAYS)
    assert out.exists()
