"""A network made hard to quantize in two ways, diagnosed and repaired."""

import json
from pathlib import Path

import pytest
import torch

from bench.studies.hard_models import (
    blame,
    compare_repairs,
    hard_pairs,
    main,
    rescale_channels,
    shift_means,
)
from bench.studies.hard_models import photographs as _photographs
from indoor.model import load_float
from indoor.quantize.equalisation import pairs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
def test_the_study_records_each_network_and_repair(
    home: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rescaled and equalised, shifted and corrected, each beside the same network in float32."""
    checkpoint, out = home / "runs" / "tiny" / "float32.safetensors", tmp_path / "hard.json"
    words = ["--checkpoint", str(checkpoint), "--data", str(photographs), "--out", str(out)]
    assert main([*words, "--photographs", "6", "--calibration", "4"]) == 0
    record = json.loads(out.read_bytes())
    rows = {
        (row["network"], row["config"]["equalised"], row["config"]["bias_corrected"])
        for row in record["rows"]
    }
    assert rows >= {
        ("rescaled", False, False),
        ("rescaled", True, False),
        ("shifted", False, False),
        ("shifted", False, True),
    }
    assert record["num_photographs"] == 6
    for errors in record["blamed"].values():
        assert len(errors) == 2 * len(record["rescaled"]) == 10
    assert "--equalise" in capsys.readouterr().out


@pytest.mark.real_data
@pytest.mark.slow
def test_a_trained_network_made_hard_is_diagnosed_and_repaired(shared: Path) -> None:
    """Both lose points in plenty, are diagnosed by name, and get all but a photograph or two back.

    Of 200 photographs two are a point: the study has the figures on all of them.
    """
    root = shared / "scene15"
    loaded = load_float(shared / "weights" / "scene15_resnet50.pt", arch="resnet50")
    calibration, _ = _photographs(loaded, root, "train", 32)
    batches, labels = _photographs(loaded, root, "test", 200)
    names = hard_pairs(loaded.model)
    networks = {
        "rescaled": rescale_channels(loaded.model, names),
        "shifted": shift_means(loaded.model, torch.cat(calibration)),
    }
    with torch.inference_mode():
        first = batches[0]
        assert torch.equal(networks["rescaled"](first), loaded.model(first))
    rows = compare_repairs(networks, calibration, batches, labels)
    rescaled, equalised, repaired, shifted, corrected = (row.pair for row in rows)
    assert rescaled.difference <= -0.1
    assert equalised.sqnr_db > rescaled.sqnr_db + 10
    assert shifted.difference <= -0.05
    for good in (repaired, corrected):
        assert good.sqnr_db > 32
        assert good.difference >= -0.01
    images = torch.cat(calibration)[:4]
    layers = {module: name for name, module in loaded.model.named_modules()}
    around = {
        layers[module]
        for pair in pairs(loaded.model)
        if pair.name in names
        for module in (pair.first, pair.second)
    }
    assert len(around) == 10
    blamed = {error.layer for error in blame(networks["rescaled"], rows, "rescaled", images)}
    assert len(blamed & around) >= 8
    moved = blame(networks["shifted"], rows, "shifted", images)
    assert all(error.layer.endswith("conv3") for error in moved[:5])
    assert "shifted means" in moved[0].causes
