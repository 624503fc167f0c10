"""All that needs a GPU, on a machine that has one, in at most eight minutes.

The tests of the variants, how near an epoch of `full` comes to its steps (`bench.studies.overlap`,
by processes and by threads), a training that is killed and goes on, the commands with `--device
cuda`, and a small run of the suite. What the minutes do not reach is named.

Example:
    python -m bench.studies.gpu --out gpu
    python -m bench.studies.gpu --data ROOT --out gpu
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.options import ROOT
from bench.studies import run
from indoor.cli.bar import Bar
from indoor.demo import draw_demo
from indoor.devices import choose_device

NUM_CLASSES, NUM_TRAIN, NUM_TEST = 10, 75, 10
RUN = "gpu"


@dataclass(frozen=True)
class Step:
    """A command with what it may take, in seconds; one that is killed after them goes on later."""

    name: str
    words: Sequence[str]
    most_s: float
    is_killed: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each step while there is time, and say how each ended.

    Returns:
        0; 1 where a step failed, or none was left the time for it.
    """
    parsed = _parse(arguments)
    choose_device("cuda")
    out: Path = parsed.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    data: Path = parsed.data.resolve() if parsed.data else out / "drawn"
    if not data.is_dir():
        draw_demo(
            data,
            num_classes=NUM_CLASSES,
            num_train=NUM_TRAIN,
            num_test=NUM_TEST,
            size=320,
            progress=Bar(),
        )
    ended = dict(_run_all(steps(data, out), out, lambda: 60 * parsed.minutes - _since(began)))
    for name, how in ended.items():
        print(f"{name:32} {how}")  # noqa: T201 - a script's output
    print(f"{_since(began):.0f} s; the steps' output lies in {out}")  # noqa: T201
    return 0 if all(how.startswith("ok") for how in ended.values()) else 1


def steps(data: Path, out: Path) -> list[Step]:
    """Return what is run, the most important first."""
    python, of = sys.executable, ["--data", str(data)]
    study = [python, "-m", "bench.studies.overlap", *of, "--device", "cuda", "--batch", "128"]
    command = [python, "-m", "indoor"]
    train = [*command, "train", *of, "--device", "cuda", "--model", "resnet50", "--no-download"]
    train += ["--recipe", "full", "--epochs", "12", "--name", RUN]
    predict = [*command, "predict", "--run", RUN, "--device", "cuda"]
    photograph = next((data / "Images").rglob("*.jpg"))
    bench = [python, "-m", "pytest", str(ROOT / "bench"), "--device", "cuda", "--home", str(out)]
    bench += ["--weights", RUN, *of, "--batch", "1,64", "--cell-seconds", "3", "-q"]
    return [
        Step("tests", [python, "-m", "pytest", str(ROOT / "tests"), "-m", "gpu", "-q"], 90),
        Step(
            "overlap, processes", [*study, "--minutes", "0.8", "--out", f"{out}/overlap.json"], 90
        ),
        Step(
            "overlap, threads",
            [*study, "--minutes", "0.4", "--workers", "0", "--out", f"{out}/threads.json"],
            60,
        ),
        Step("train, killed", train, 25, is_killed=True),
        Step("train, resumed", train, 60),
        Step("evaluate", [*command, "evaluate", RUN, *of, "--device", "cuda"], 40),
        *(
            Step(f"predict {name}", [*predict, "--variant", name, str(photograph)], 40)
            for name in ("float32", "float16-cudagraph")
        ),
        Step("bench", [*bench, "--results", f"{out}/results"], 240),
    ]


def _run_all(
    wanted: Sequence[Step], out: Path, left_s: Callable[[], float]
) -> Iterator[tuple[str, str]]:
    for step in wanted:
        most_s = min(step.most_s, left_s())
        if most_s < min(10.0, step.most_s):
            yield step.name, "NOT RUN: the time was over"
            continue
        print(f"{step.name} ...", flush=True)  # noqa: T201
        yield step.name, run_step(step, out, most_s)


def run_step(step: Step, out: Path, most_s: float) -> str:
    """Run a step in so many seconds, its output in a file of its name; return how it ended."""
    log = out / f"{step.name.replace(', ', '-').replace(' ', '-')}.txt"
    began = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            step.words,
            cwd=ROOT,
            env=os.environ | {"INDOOR_HOME": str(out)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(most_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            how = "ok, killed" if step.is_killed else "FAILED: stopped"
            return f"{how} after {most_s:.0f} s"
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    took = f"{_since(began):.0f} s: {''.join(last)[:200]}"
    return f"ok in {took}" if status == 0 else f"FAILED with status {status} after {took}"


def _since(began: float) -> float:
    return time.monotonic() - began


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.gpu", description=__doc__)
    parser.add_argument("--data", type=Path, help="a data set's folder (default: a drawn one)")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all steps")
    parser.add_argument("--out", type=Path, required=True, help="a folder for figures and output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
