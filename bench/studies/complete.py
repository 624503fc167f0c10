"""Complete gates of identical code, one after another, and a CPU hog."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from bench.options import ROOT
from bench.studies.records import FalseAlarmStudy, RunOutcome
from indoor.errors import IndoorError
from indoor.gate import decide
from indoor.gate.controller import run_gate
from indoor.gate.decide.verdicts import widest_rung
from indoor.gate.records import GateReport, GateVerdict
from indoor.gate.settings import GateConfig, PlanRules, check_config, load_config
from indoor.gate.sides.setup import GateJob
from indoor.gate.trial_suite import EXAMPLE_PLAN, SUITE, write_small_suite, write_suite
from indoor.machine import code_identity, num_usable_cores, read_machine
from indoor.measure import pair_statistics
from indoor.records import read_record, write_record

GATE = Path(decide.__file__).parent.parent
"""The room whose deciding code is hashed."""

RunGate = Callable[[GateJob], GateReport]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is gated: `write` makes a side's tree; None is this checkout's suite at its commit."""

    config: GateConfig
    write: Callable[[Path], None] | None = None

    def job(self, folder: Path) -> GateJob:
        """Return a gate of two sides of the same code, whose trees go into `folder`."""
        if self.write is None:
            return GateJob(start=ROOT, base="HEAD", head="HEAD", config=self.config)
        base, head = folder / "base", folder / "head"
        for root in (base, head):
            self.write(root)
        return GateJob(start=base, base_root=base, head_root=head, config=self.config)


_MODELS = '''"""A small convolutional network on one thread, a millisecond or a few a call."""

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)

NETWORK = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, 15),
).eval()


@torch.inference_mode()
def logits(photographs):
    return NETWORK(photographs)
'''

_MODEL_TESTS = '''"""Benchmarks of the network at two batch sizes."""

import models
import pytest
import torch


@pytest.mark.parametrize("batch", [1, 8])
def test_network(benchmark, batch):
    photographs = torch.rand(batch, 3, 64, 64)
    assert benchmark(models.logits, photographs).shape == (batch, 15)
'''

# Hundreds of gates: their workers need not load what else is installed here.
_SMALL = GateConfig(
    plan=EXAMPLE_PLAN,
    suite=SUITE,
    arguments=("-p", "pytest_benchmark.plugin"),
    environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
)

SUITES: Mapping[str, Suite] = {
    "ordinary functions": Suite(config=_SMALL, write=write_suite),
    "short models": Suite(
        config=_SMALL, write=lambda root: write_small_suite(root, "models", _MODELS, _MODEL_TESTS)
    ),
    "ResNet-50": Suite(config=load_config(None, root=ROOT)),
}
"""By what a table calls each; the last one's photographs and weights are named by the caller."""

_HOG = """
import os, random, sys, time
chance, parent = random.Random(int(sys.argv[1])), os.getppid()
while os.getppid() == parent:
    until = time.monotonic() + chance.expovariate(1 / 3)
    while time.monotonic() < until and os.getppid() == parent:
        sum(range(10_000))
    time.sleep(min(20.0, chance.expovariate(1 / 6)))
"""


def count_false_alarms(
    out: Path,
    num_runs: int,
    *,
    title: str = "ordinary functions",
    words: Sequence[str] = (),
    seed: int = 0,
    hog: bool = False,
    minutes: float | None = None,
    run: RunGate = run_gate,
    say: Callable[[str], None] = lambda _line: None,
) -> FalseAlarmStudy:
    """Run gates until there are `num_runs`, and keep each one's outcome as it comes.

    An interrupted study goes on where it stood. The whole report of a gate that was not PASS is
    kept beside `out`, so that a false alarm can be looked at.

    Args:
        out: The study's JSON.
        num_runs: Gates in all, those already in `out` included.
        title: One of `SUITES`.
        words: pytest's, such as the data and the weights.
        seed: The first gate's; the next has one more.
        hog: Whether another program takes a core away at random.
        minutes: Of measuring in each gate; None for the suite's own plan.
        run: Runs one gate.
        say: Hears a line after each gate.

    Raises:
        IndoorError: There is no such suite, `out` holds a study of another machine, code or plan,
            or a gate broke off.
    """
    if title not in SUITES:
        raise IndoorError(f"--suite {title}: expected one of {', '.join(SUITES)}")
    suite = SUITES[title]
    if minutes is not None:
        plan = replace(suite.config.plan, max_minutes=minutes)
        suite = replace(suite, config=replace(suite.config, plan=plan))
        check_config(suite.config, "--minutes")
    study = _open(out, title, hog, suite.config.plan)
    done = {known.seed for known in study.runs}
    for number in range(seed, seed + num_runs):
        if number in done:
            continue
        with (
            tempfile.TemporaryDirectory(prefix="indoor-study-") as folder,
            hog_cpu(number) if hog else nullcontext(),
        ):
            job = suite.job(Path(folder))
            report = run(replace(job, arguments=tuple(words), seed=number))
        if report.partial:
            raise IndoorError(
                f"the gate with seed {number} broke off: {report.reason}; expected a whole one, "
                "the same command goes on from there"
            )
        outcome = RunOutcome(
            seed=number,
            verdict=report.verdict,
            reason=report.reason,
            cells={cell.name: cell.verdict for cell in report.cells},
            rung=widest_rung(report.cells),
            num_launches=max((cell.num_launches for cell in report.cells), default=0),
            measure_s=report.measure_s,
        )
        if report.verdict is not GateVerdict.PASS:
            write_record(out.with_name(f"{out.stem}-seed{number}.json"), report)
        study = replace(study, runs=(*study.runs, outcome))
        write_record(out, study)
        say(f"gate {len(study.runs)} of {num_runs}: {report.verdict} ({report.reason})")
    return study


@contextmanager
def hog_cpu(seed: int) -> Iterator[None]:
    """Keep one core busy at random within the block: 3 s on, 6 s off on average."""
    hog = subprocess.Popen([sys.executable, "-c", _HOG, str(seed)])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def deciding_code() -> str:
    """Return a hash of the code that turns pairs into verdicts, whatever else has changed."""
    files = (*GATE.glob("decide/*.py"), GATE / "limits.py", Path(pair_statistics.__file__))
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _open(out: Path, title: str, hog: bool, plan: PlanRules) -> FalseAlarmStudy:
    new = FalseAlarmStudy(
        title=title,
        cpu_model=read_machine().cpu_model,
        num_cores=num_usable_cores(),
        commit=code_identity(ROOT)[0],
        hog=hog,
        plan=plan,
        deciding=deciding_code(),
    )
    if not out.exists():
        return new
    known = read_record(out, FalseAlarmStudy)
    names = ("study", "title", "cpu_model", "num_cores", "deciding", "hog", "plan")
    if differing := [name for name in names if getattr(known, name) != getattr(new, name)]:
        raise IndoorError(
            f"{out} holds another study ({', '.join(differing)} differ); expected the same to go "
            "on with, name another --out"
        )
    return known
