"""Tests of the script that draws accuracy over the number of calibration photographs."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.studies import calibration
from bench.studies.calibration_rows import CalibrationRow, CalibrationStudy, curve, smallest_safe
from indoor.errors import IndoorError
from indoor.quantize import default_config
from indoor.records import read_record

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def saved(home: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a study of two numbers and two seeds on the drawn photographs."""
    out = tmp_path_factory.mktemp("study") / "calibration.json.gz"
    words = [str(home / "runs" / "tiny" / "float32.safetensors"), "--data", str(photographs)]
    words += ["--photographs", "6", "--counts", "1", "4", "--batch", "4", "--seeds", "2"]
    words += ["--observer", "histogram", "mse", "--halved-at", "4", "--out", str(out)]
    words += ["--more-counts", "1", "--more-observer", "mse"]
    assert calibration.main(words) == 0
    return out


@pytest.fixture(scope="module")
def study(saved: Path) -> CalibrationStudy:
    """The study as it is read back."""
    return read_record(saved, CalibrationStudy)


def test_every_number_observer_and_seed_has_a_row(study: CalibrationStudy) -> None:
    """Beside them torch.rand once, and half of the levels with torch's search for them."""
    assert (study.num_test, len(study.pass_s)) == (6, 2)
    full, half = default_config().activation_range, (0, 127)
    first = [r for r in study.rows if r.seed == 0 and r.source == "photographs"]
    assert [(r.num_calibration, r.observer, r.activation_range) for r in first] == [
        (1, "histogram", full),
        (1, "mse", full),
        (4, "histogram", full),
        (4, "mse", full),
        (4, "histogram", half),
        (4, calibration.OF_128_LEVELS, half),
        (4, "mse", half),
    ]
    assert [(r.num_calibration, r.observer) for r in study.rows if r.seed] == [(1, "mse")]
    drawn = [r for r in study.rows if r.source == "torch.rand"]
    assert [(r.observer, r.seed) for r in drawn] == [("histogram", 0), ("mse", 0)]
    assert all(r.pair.num_photographs == 6 for r in study.rows)
    assert all(0 <= r.top1 <= 1 for r in study.rows)


def test_numbers_have_the_batches_of_their_own_quantization() -> None:
    """Whole batches share a pass, and what is none has its own."""
    assert calibration.passes([1, 4, 16, 32, 24], 16) == [[1], [4], [24], [16, 32]]
    assert calibration.passes([3], 16) == [[3]]


def test_a_saved_study_is_shown_again(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each number and observer, what is safe, and a picture."""
    pytest.importorskip("matplotlib")
    assert calibration.main([str(saved), "--plot", str(tmp_path / "curve.png")]) == 0
    text = capsys.readouterr().out
    assert "torch.rand" in text
    assert "mse: smallest safe number" in text
    assert "histogram of 128 levels" in text
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_smallest_safe_number_is_the_first_after_which_nothing_comes(
    study: CalibrationStudy,
) -> None:
    """A number counts by its worst seed, and one after which it is worse again does not."""
    row = next(r for r in study.rows if r.source == "photographs")

    def with_db(count: int, *values: float) -> list[CalibrationRow]:
        return [
            replace(row, num_calibration=count, seed=i, pair=replace(row.pair, sqnr_db=value))
            for i, value in enumerate(values)
        ]

    rows = [*with_db(1, 30.0), *with_db(2, 20.0), *with_db(4, 29.6), *with_db(8, 30.0, 30.0)]
    assert smallest_safe(rows, row.observer) == 4
    assert smallest_safe([*rows, *with_db(4, 29.4)], row.observer) == 8
    assert smallest_safe([*rows, *with_db(8, 28.0)], row.observer) is None
    assert smallest_safe(rows, "nobody") is None
    assert list(curve(rows, row.observer)) == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--photographs", "13"], "has 12 test photographs, expected 13; lower --photographs"),
        (
            ["--photographs", "3", "--seeds", "1", "--observer", "mse", "--counts", "64"],
            "photographs .*, expected 64; lower --counts",
        ),
    ],
)
def test_too_few_photographs_are_one_line(
    more: list[str], message: str, home: Path, photographs: Path
) -> None:
    """The number that there are stands in the message."""
    words = [str(home / "runs" / "tiny" / "float32.safetensors"), "--data", str(photographs)]
    with pytest.raises(IndoorError, match=message):
        calibration.main([*words, *more])


def test_a_checkpoint_needs_a_data_set(home: Path) -> None:
    """Without one there is nothing to measure on."""
    with pytest.raises(IndoorError, match="is measured on a data set; give --data"):
        calibration.main([str(home / "runs" / "tiny" / "float32.safetensors")])
