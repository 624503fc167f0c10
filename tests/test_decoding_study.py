"""Tests of the script that sets decoding against libjpeg-turbo."""

import json
from pathlib import Path

import pytest
from PIL import Image

from bench.studies import decoding
from indoor.errors import IndoorError


def test_every_way_is_timed_and_no_pixel_differs(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record holds each way's share of libjpeg-turbo, and that old and new pixels agree."""
    out = tmp_path / "decoding.json"
    arguments = ["--data", str(photographs), "--photographs", "5", "--threads", "1"]
    assert decoding.main([*arguments, "--seconds", "0", "--out", str(out)]) == 0
    record = json.loads(out.read_bytes())
    assert (record["num_photographs"], record["num_different"]) == (5, 0)
    shares = {row["way"]: row["share_of_turbo"] for row in record["rows"]}
    assert shares.pop("libjpeg-turbo") is None
    assert {"decoding, before", "decoding", "with transform, before", "with transform"} <= set(
        shares
    )
    assert all(share["num_pairs"] >= 12 and share["speedup"] > 0 for share in shares.values())
    assert "0 of them differ" in capsys.readouterr().out


def test_a_difference_is_an_exit_status(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pixels other than Pillow's are counted, and the study fails."""
    black = Image.new("RGB", (64, 48))
    monkeypatch.setattr(decoding, "decode_by_pillow", lambda *_: black)
    arguments = ["--data", str(photographs), "--photographs", "3", "--threads", "1"]
    assert decoding.main([*arguments, "--seconds", "0"]) == 1
    assert "3 of them differ" in capsys.readouterr().out


def test_a_set_without_jpegs_is_one_line(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to set against libjpeg-turbo then."""
    monkeypatch.setattr(decoding, "read_photograph_bytes", lambda _: b"no JPEG")
    with pytest.raises(IndoorError, match="has no JPEG that decodes in its test split"):
        decoding.main(["--data", str(photographs)])
