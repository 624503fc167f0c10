"""How tests call the suite as its users do: real pytest processes on a tiny network."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from indoor.dataset import IndoorScenes
from indoor.model import FORMAT, build_model, save_float
from indoor.records import (
    CheckpointManifest,
    Measurement,
    Preprocessing,
    WeightSource,
    from_builtins,
)
from indoor.runs.results import seal
from indoor.transforms import inference_transform

ROOT = Path(__file__).resolve().parent.parent
LATENCY = "bench/test_latency.py"
SIZE = 32
ALL_CASES = ("-p", "short_cells")
QUICK = ("-p", "few_cases")
"""Not `--cell-seconds`, which makes a run that is no baseline."""
NARROW = ("--variant", "float32,int8", "--batch", "1", "--threads", "1", *QUICK)
TIMEOUT_S = 540
HEAR_INTERRUPTS = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Runs a command that does not inherit from a shell's background job that Ctrl-C is ignored."""


@dataclass
class Suite:
    """How to call pytest on the suite with a folder of results of its own."""

    photographs: Path
    weights: Path
    home: Path
    results: Path

    def command(self, *arguments: str, target: str = "bench") -> list[str]:
        """Return pytest's command line with the tiny network."""
        return [
            *(sys.executable, "-m", "pytest", target, "-p", "no:cacheprovider"),
            *("--model", "resnet18", "--no-download"),
            *("--data", str(self.photographs), "--weights", str(self.weights)),
            *("--home", str(self.home), "--results", str(self.results)),
            *arguments,
        ]

    def run(
        self, *arguments: str, target: str = "bench", cwd: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """Run pytest to its end."""
        return finish(self.command(*arguments, target=target), cwd)

    def saved(self) -> list[Path]:
        """Return the saved runs, the oldest first."""
        return sorted(self.results.glob("*/[0-9]*.json"))


def environment() -> dict[str, str]:
    """Return this process's environment without what pytest or a terminal put into it."""
    dropped = ("PYTEST_", "COV_", "MALLOC_", "INDOOR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": python_path()}


def python_path(*more: Path) -> str:
    """Return PYTHONPATH with our plugins and the suite, and more folders before them."""
    return os.pathsep.join(map(str, (*more, ROOT / "tests", ROOT)))


def finish(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it printed, both streams in one."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def measurements(path: Path) -> dict[str, Measurement]:
    """Return our part of each benchmark of a saved run, by the test's name."""
    return {
        entry["name"]: from_builtins(entry["extra_info"]["indoor"], Measurement, str(path))
        for entry in json.loads(path.read_text())["benchmarks"]
    }


def lines_with(output: str, words: str) -> list[str]:
    """Return the lines of the output that hold the words."""
    return [line for line in output.splitlines() if words in line]


def edit(path: Path, change: Callable[[dict], None], to: Path | None = None) -> None:
    """Change every benchmark of a saved run, in place or as a copy."""
    data = json.loads(path.read_text())
    for entry in data["benchmarks"]:
        change(entry)
    data["indoor"] = seal(data)
    (to or path).write_text(json.dumps(data))


def save_tiny(path: Path, photographs: Path) -> None:
    """Write a resnet18 for 32 x 32 pixels that tells the three patterns apart.

    Its backbone is random with statistics of the photographs, its head is a ridge regression.
    """
    preprocessing = Preprocessing(
        resize="whole", size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    scenes = IndoorScenes(photographs, "train", inference_transform(preprocessing))
    inputs = torch.stack([scenes[index][0] for index in range(len(scenes))])
    labels = torch.tensor([scenes[index][1] for index in range(len(scenes))])
    model = build_model("resnet18", len(scenes.classes), seed=0)
    features: list[torch.Tensor] = []
    with torch.no_grad():
        model.train()
        for _ in range(20):
            model(inputs)
        model.eval()
        hook = model.avgpool.register_forward_hook(
            lambda _module, _inputs, output: features.append(output.flatten(1))
        )
        model(inputs)
        hook.remove()
        mean = features[0].mean(0)
        centred = features[0] - mean
        ridge = 0.1 * len(inputs) * centred.square().mean() * torch.eye(centred.shape[1])
        targets = 6 * torch.eye(3)[labels] - 2
        head = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ targets)
        model.fc.weight.copy_(head.T)
        model.fc.bias.copy_(-(head.T @ mean))
    manifest = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="float32",
        classes=scenes.classes,
        preprocessing=preprocessing,
        weights=WeightSource(kind="none", name="ridge regression", sha256=None),
    )
    save_float(path, model, manifest)
