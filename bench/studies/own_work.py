"""What our own work costs before a revision and now: evaluating, features, calibrating, loading.

Both sides are processes of their own that take turns in random order, each from its own tree. The
results must be the same: every label, every int8 tensor, features but for rounding.

Example:
    python -m bench.studies.own_work --data ROOT --run RUN --out own-work.json
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.studies import run
from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.files import write_text
from indoor.gate.sides.repository import find_repository, resolve_revision
from indoor.gate.sides.trees import base_tree
from indoor.machine import read_machine
from indoor.measure.process import ChildLostError, ChildProcess, python_command
from indoor.records import to_builtins

BEFORE = "a508503"
"""The last revision that evaluated, extracted features and calibrated in eager float32 alone."""

SIDES = ("before", "now")
SIDE = Path(__file__).with_name("own_work_side.py")
ANSWER_S = 1200.0
MIN_DB = 90.0
"""Features may differ by rounding alone."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured: a run, its data set, and how often.

    All test photographs are evaluated once, in so many `parts` that take turns; after each come
    the features of `num_photographs`, and loads.
    """

    root: Path
    run: Path
    threads: int
    parts: int
    num_photographs: int
    num_calibration: int
    num_calibrated: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both sides, print and record the figures.

    Returns:
        0; 1 where a label, an int8 tensor or a feature is another one now.
    """
    parsed = _parse(arguments)
    asked = Asked(
        root=parsed.data.resolve(),
        run=parsed.run.resolve(),
        threads=parsed.threads or torch.get_num_threads(),
        parts=parsed.parts,
        num_photographs=parsed.photographs,
        num_calibration=parsed.calibration_rounds,
        num_calibrated=parsed.calibration,
    )
    for name in ("float32.safetensors", "int8.safetensors"):
        if not (asked.run / name).is_file():
            raise IndoorError(
                f"there is no {asked.run / name}; expected a run with both precisions"
            )
    try:
        record = measure(asked, parsed.before)
    except ChildLostError as error:
        raise IndoorError(f"a side was lost: {error}") from error
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(describe(record))  # noqa: T201 - a script's output
    return 1 if record["differences"] else 0


def measure(asked: Asked, before: str) -> dict[str, Any]:
    """Return the record of one interleaved run.

    Raises:
        IndoorError: The revision or the data set cannot be used.
        ChildLostError: A side died.
    """
    repository = find_repository(Path(__file__).parent)
    with (
        tempfile.TemporaryDirectory(prefix="indoor-own-work-") as name,
        base_tree(repository, before, Path(sys.executable)) as tree,
        _sides(Path(name), {"before": tree.root, "now": repository}, asked.threads) as sides,
    ):
        found = _rounds(asked, sides, Path(name))
    machine = read_machine()
    return {
        "study": "own-work",
        "before": resolve_revision(repository, before),
        "data": asked.root.name,
        "run": asked.run.name,
        "threads": asked.threads,
        "machine": to_builtins(machine),
        **found,
        "differences": _differences(found),
    }


@contextlib.contextmanager
def _sides(
    folder: Path, trees: Mapping[str, Path], threads: int
) -> Iterator[dict[str, ChildProcess]]:
    """Start a process in each tree and see that it took its own `indoor`."""
    with contextlib.ExitStack() as stack:
        sides: dict[str, ChildProcess] = {}
        for name, tree in trees.items():
            code = f"import runpy; runpy.run_path({str(SIDE)!r}, run_name='__main__')"
            sides[name] = ChildProcess(
                name,
                python_command(code),
                log=folder / f"{name}.log",
                folder=tree,
                environment=os.environ | {"PYTHONPATH": str(tree)},
            )
            stack.callback(sides[name].kill)
            package = Path(sides[name].ask("begin", ANSWER_S, threads=threads)["package"])
            if package.resolve().parent.parent != tree.resolve():
                raise IndoorError(f"{name} took {package}; expected the package of {tree}")
        yield sides


def _rounds(asked: Asked, sides: Mapping[str, ChildProcess], folder: Path) -> dict[str, Any]:
    order = random.Random(0)

    def turns(task: str, **fields: Any) -> dict[str, dict[str, Any]]:
        """Give each side a turn, in random order."""
        names = list(SIDES)
        order.shuffle(names)
        answers = {}
        for name in names:
            told = {"out": str(folder / f"{name}.pt")} if task in ("evaluate", "features") else {}
            answers[name] = sides[name].ask(task, ANSWER_S, **fields, **told)
        return answers

    def written() -> list[torch.Tensor]:
        return [torch.load(folder / f"{name}.pt", weights_only=True) for name in SIDES]

    run_folder = folder / "run"
    run_folder.mkdir()
    for name in ("float32.safetensors", "int8.safetensors"):
        shutil.copy2(asked.run / name, run_folder / name)
    here = {"root": str(asked.root), "run": str(run_folder)}
    few = {"root": str(_part(asked.root, folder / "few", slice(0, 8))), "run": str(run_folder)}
    turns("evaluate", **few)  # imports, and what a photograph's file holds, are read before
    turns("features", **few, num_photographs=8)
    turns("load", run=str(run_folder), num_loads=1)
    found: dict[str, Any] = {"evaluate": [], "features": [], "calibrate": [], "load": []}
    logits: list[list[torch.Tensor]] = []
    for part in range(asked.parts):
        root = _part(asked.root, folder / f"part{part}", slice(part, None, asked.parts))
        found["evaluate"].append(turns("evaluate", root=str(root), run=str(run_folder)))
        logits.append(written())
        found["features"].append(turns("features", **here, num_photographs=asked.num_photographs))
        found["features_sqnr_db"] = sqnr_db(*written())
        found["load"].append(turns("load", run=str(run_folder), num_loads=5))
    before, now = (torch.cat(parts) for parts in zip(*logits, strict=True))
    found["num_labels_changed"] = int((before.argmax(1) != now.argmax(1)).sum())
    found["logits_sqnr_db"] = sqnr_db(before, now)
    for _ in range(asked.num_calibration):
        found["calibrate"].append(turns("calibrate", **here, num_photographs=asked.num_calibrated))
    return found


def _part(root: Path, target: Path, which: slice) -> Path:
    """Return a data set of the same photographs with a part of the test list."""
    lines = (root / "TestImages.txt").read_text(encoding="utf-8").splitlines()
    target.mkdir()
    (target / "Images").symlink_to(root / "Images", target_is_directory=True)
    shutil.copyfile(root / "TrainImages.txt", target / "TrainImages.txt")
    text = "\n".join(lines[which])
    (target / "TestImages.txt").write_text(f"{text}\n", encoding="utf-8")
    return target


def _differences(found: Mapping[str, Any]) -> list[str]:
    """Return what is not the same now; empty where everything is."""
    different = []
    for task, fields in (
        ("evaluate", ("num_hits", "num_top5_hits")),
        ("features", ("answers",)),
        ("calibrate", ("tensors_sha256", "num_agreeing")),
    ):
        different += [
            f"{task}: {name} {one['before'][name]} before and {one['now'][name]} now"
            for one in found[task]
            for name in fields
            if one["before"][name] != one["now"][name]
        ]
    if found["features_sqnr_db"] < MIN_DB:
        different.append(f"features: {found['features_sqnr_db']:.0f} dB apart")
    if found["num_labels_changed"]:
        different.append(f"evaluate: {found['num_labels_changed']} labels are others now")
    return different


def describe(record: Mapping[str, Any]) -> str:
    """Return the figures in words, a line each."""
    machine = record["machine"]
    lines = [
        f"{machine['cpu_model']}, {record['threads']} threads, torch {machine['torch']}; before: "
        f"{record['before'][:7]}"
    ]

    def line(name: str, sides: Sequence[Sequence[float]], unit: str) -> None:
        before, now = sides
        first, second = statistics.median(before), statistics.median(now)
        lines.append(
            f"{name:32} {first:8.1f} {second:8.1f} {unit}  {first / second:5.2f}x "
            f"({len(now)} rounds, {min(before):.1f} to {max(before):.1f} and {min(now):.1f} to "
            f"{max(now):.1f})"
        )

    def seconds(task: str) -> list[list[float]]:
        return [[one[side]["seconds"] for one in record[task]] for side in SIDES]

    def count(task: str, what: str = "num_photographs") -> int:
        return sum(one["now"][what] for one in record[task])

    evaluated = [[sum(taken)] for taken in seconds("evaluate")]
    line(f"evaluate {count('evaluate'):,}", evaluated, "s")
    each = [
        [1000 * s / count("evaluate") * len(taken) for s in taken] for taken in seconds("evaluate")
    ]
    line("  a photograph, by parts", each, "ms")
    of_one = record["features"][0]["now"]["num_photographs"]
    line(
        "features, a photograph",
        [[1000 * s / of_one for s in t] for t in seconds("features")],
        "ms",
    )
    if record["calibrate"]:
        calibrated = record["calibrate"][0]["now"]["num_photographs"]
        line(f"calibrate on {calibrated}, and check", seconds("calibrate"), "s")
    for name in ("float32", "int8"):
        loads = [
            [1000 * s for one in record["load"] for s in one[k]["seconds"][name]] for k in SIDES
        ]
        line(f"load {name}", loads, "ms")
    lines.append(
        f"of {count('evaluate'):,} photographs {record['num_labels_changed']} have another label; "
        f"{count('evaluate', 'num_hits'):,} right; logits {record['logits_sqnr_db']:.0f} dB, "
        f"features {record['features_sqnr_db']:.0f} dB"
    )
    lines += [note for one in record["evaluate"] for note in one["now"]["notes"]]
    lines += [f"DIFFERENT: {one}" for one in record["differences"]] or ["nothing differs"]
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.own_work", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--run", type=Path, required=True, help="a run's folder, which is copied")
    parser.add_argument("--before", default=BEFORE, help="the revision to compare with")
    parser.add_argument("--parts", type=int, default=3, help="of the test list, which take turns")
    parser.add_argument("--photographs", type=int, default=128, help="features of so many, a part")
    parser.add_argument("--calibration", type=int, default=256, help="photographs to calibrate on")
    parser.add_argument("--calibration-rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, help="default: torch's own")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
