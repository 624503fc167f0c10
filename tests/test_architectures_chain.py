"""Every architecture through the whole chain, as a person types it, on few drawn photographs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from gate_trees import ONE_LAUNCH
from suite_process import LATENCY, NARROW, ROOT, Suite
from torch import Tensor, nn

from indoor.cli import main
from indoor.dataset import IndoorScenes
from indoor.gate.controller import run_gate
from indoor.gate.records import GateVerdict
from indoor.gate.settings import load_config
from indoor.gate.sides.setup import GateJob
from indoor.model import ARCHS, FORMAT, build_model, read_manifest, save_float
from indoor.model.imagenet import preprocessing_of, smallest_size
from indoor.records import CheckpointManifest, WeightSource
from indoor.train.scratch import reestimate_batch_norm
from indoor.transforms import inference_transform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@dataclass(frozen=True)
class Chain:
    """A home with the run of an architecture, and the words that name its photographs."""

    arch: str
    home: Path
    photographs: Path

    @property
    def run(self) -> Path:
        """Return the run's folder."""
        return self.home / "runs" / self.arch

    @property
    def data(self) -> list[str]:
        """Return the words."""
        return ["--data", str(self.photographs)]


OPEN_RELU = 2.0
"""Every batch norm's shift: its outputs have deviation 1, so that a ReLU cuts 2% of them off.

At the shift 0 of an untrained network a ReLU cuts half off. Batch norms then amplify rounding from
layer to layer, which is less the nearer a network is to a linear one (Yang et al., arXiv
1902.08129), and int8 of the deep ones collapses, rightly. Measured on these photographs, the
logits' SQNR at 0 and 2: inception_v3 2.5 and 14.3 dB (the least of all eight), shufflenet_v2_x1_0
4.2 and 24.1."""


def save_backbone(path: Path, arch: str, photographs: Path) -> None:
    """Write random weights that int8 can represent, as small as the network can see.

    Their batch-norm statistics are the photographs'.
    """
    preprocessing = replace(preprocessing_of(arch), size=max(64, smallest_size(arch)))
    scenes = IndoorScenes(photographs, "train", inference_transform(preprocessing))
    images: list[Tensor] = [scenes[index][0] for index in range(len(scenes))]
    model = build_model(arch, 2, seed=0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.bias, OPEN_RELU)
    model = reestimate_batch_norm(model, [torch.stack(images)])
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=arch,
        precision="float32",
        classes=("other", "classes"),
        preprocessing=preprocessing,
        weights=WeightSource(kind="none", name="random", sha256=None),
    )
    save_float(path, model, manifest)


@pytest.fixture(scope="module", params=ARCHS)
def chain(
    request: pytest.FixtureRequest,
    photographs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Chain:
    """A new head on such a backbone, and int8 of it."""
    made = Chain(request.param, tmp_path_factory.mktemp(request.param), photographs)
    weights = made.home / "backbone.safetensors"
    save_backbone(weights, made.arch, photographs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INDOOR_HOME", str(made.home))
        train = ["train", *made.data, "--model", made.arch, "--weights", str(weights)]
        assert main([*train, "--name", made.arch, "--epochs", "3"]) == 0
        assert main(["quantize", made.arch, *made.data]) == 0
    return made


@pytest.fixture
def indoor(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command on the run, and return what it prints."""
    monkeypatch.setenv("INDOOR_HOME", str(chain.home))

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main([*words]) == 0
        return capsys.readouterr().out

    return run


def test_it_is_evaluated_and_predicts(chain: Chain, indoor: Callable[..., str]) -> None:
    """int8 beside float32 on the test photographs, and a name for one of them."""
    told = json.loads(indoor("evaluate", chain.arch, *chain.data, "--json"))
    assert {one["variant"] for one in told["evaluations"]} >= {"float32", "int8"}
    photograph = next((chain.photographs / "Images").glob("*/*.jpg"))
    for variant in ("float32", "int8"):
        words = indoor("predict", "--run", chain.arch, "--variant", variant, str(photograph))
        assert any(name in words for name in ("bars", "checks", "rings"))


def test_it_is_diagnosed(chain: Chain, indoor: Callable[..., str]) -> None:
    """Each of its int8 layers has a line."""
    record = read_manifest(chain.run / "int8.safetensors").quantization
    assert record is not None
    told = json.loads(indoor("diagnose", chain.arch, *chain.data, "--photographs", "4", "--json"))
    weighted = [one for one in told["layers"] if one["weight_sqnr_db"] is not None]
    assert len(weighted) == record.num_quantized_modules


def test_it_is_measured(chain: Chain, tmp_path: Path) -> None:
    """The suite takes the run's own checkpoint, and saves what both precisions computed with."""
    weights = chain.run / "float32.safetensors"
    suite = Suite(chain.photographs, weights, tmp_path / "home", tmp_path / "results")
    done = suite.run(*NARROW, "--model", chain.arch, target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert len(suite.saved()) == 1


def test_the_gate_compares_it(chain: Chain) -> None:
    """Two equal trees: the facts are the same, and one launch measures what there is time for."""
    config = load_config(None, root=ROOT)
    narrow = ("--model", chain.arch, "--batch", "1", "--threads", "1")
    weights = ("--weights", str(chain.run / "float32.safetensors"))
    job = GateJob(
        start=ROOT,
        base_root=ROOT,
        head_root=ROOT,
        config=replace(config, plan=replace(config.plan, max_minutes=ONE_LAUNCH)),
        arguments=(*chain.data, *weights, *narrow),
    )
    report = run_gate(job)
    launched = [cell for cell in report.cells if cell.num_launches]
    assert {cell.num_launches for cell in launched} == {1}
    assert all(cell.num_pairs for cell in launched)
    facts = {check.name: check for check in report.checks}
    for kind in ("size", "multiply-adds", "logits"):
        for variant in ("float32", "int8"):
            check = facts[f"{kind} of {variant}"]
            assert check.verdict is GateVerdict.PASS, check.reason
