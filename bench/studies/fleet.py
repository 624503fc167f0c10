"""What 10,000 saved runs cost: listed, reported and as a site, with the index and without it.

The runs are one real run's file, over and over, with machines, commits and speedups of their own.

Example:
    python -m bench.studies.fleet --run results/published/RUN.json.gz --folder /tmp/fleet
"""

import argparse
import datetime
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.studies import run
from indoor.errors import IndoorError
from indoor.files import write_text
from indoor.machine import read_machine
from indoor.records import to_builtins, to_json
from indoor.runs.document import read_document
from indoor.runs.index import INDEX
from indoor.runs.results import load_results, seal

_FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_LOOK_S = 0.1
"""Between two looks at the memory of a command's processes."""

COMMANDS = {
    "results list": ("results", "list", "--json", "--results"),
    "report --summary": ("report", "--summary"),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took: seconds on the clock and of CPUs, and its processes' most memory."""

    seconds: float
    cpu_s: float
    memory_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs, measure, print and record.

    Returns:
        0; 1 where the index told something else than the files.
    """
    parsed = _parse(arguments)
    record = measure(parsed.run, parsed.folder, parsed.runs, parsed.machines)
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(describe(record))  # noqa: T201 - a script's output
    return 0 if record["same"] else 1


def measure(source: Path, folder: Path, num_runs: int, num_machines: int) -> dict[str, Any]:
    """Return the record of one series: first without an index, then with it, then copied.

    Raises:
        IndoorError: The run cannot be read, or the folder is there already.
    """
    load_results([source])
    if folder.exists():
        raise IndoorError(f"{folder} is there already; expected a new folder; choose another")
    size = make_fleet(source, folder, num_runs, num_machines)
    first, last = COMMANDS
    costs: dict[str, Cost] = {}
    told: dict[str, str] = {}
    costs[f"{first}, no index"], told["files"] = call(COMMANDS[first], folder)
    for name, words in COMMANDS.items():
        costs[f"{name}, index"], told[name] = call(words, folder)
    site = folder.with_name(f"{folder.name}-site")
    words = ("results", "site", str(site), "--results")
    for path in folder.rglob(INDEX):
        path.unlink()
    costs["results site, no index"], _ = call(words, folder)
    costs["results site, again"], _ = call(words, folder)
    shutil.rmtree(site)
    index_bytes = sum(path.stat().st_size for path in folder.rglob(INDEX))
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.move(folder, copy)  # within a file system: only the times of the folder change
    for path in copy.rglob("*.json"):
        os.utime(path)
    costs[f"{last}, index, files touched"], touched = call(COMMANDS[last], copy)
    shutil.move(copy, folder)
    return {
        "study": "fleet",
        "run": source.name,
        "num_runs": num_runs,
        "num_machines": num_machines,
        "bytes_a_run": size,
        "index_bytes": index_bytes,
        "machine": to_builtins(read_machine()),
        "costs": {name: to_builtins(cost) for name, cost in costs.items()},
        "same": told["files"] == told[first] and touched == told[last],
    }


def make_fleet(source: Path, folder: Path, num_runs: int, num_machines: int) -> int:
    """Write the runs, a folder a machine, and return the size of the last one's file."""
    data = read_document(source)
    assert isinstance(data, dict)
    ours = [entry["extra_info"]["indoor"] for entry in data["benchmarks"] if _is_ours(entry)]
    speedups = [(one["speedup"], dict(one["speedup"])) for one in ours if one.get("speedup")]
    original = ours[0]["run"]
    chance = random.Random(0)
    factors = [chance.uniform(0.5, 2.0) for _ in range(num_machines)]
    path = folder
    for number in range(num_runs):
        machine = number % num_machines
        identity = {
            **original,
            "commit": f"{number:040x}",
            "machine": {
                **original["machine"],
                "cpu_model": f"CPU {machine:03}",
                "memory_bytes": (8 + machine) * 10**9 + chance.randrange(10**6),
                "load_1min": round(chance.uniform(0, 2), 2),
            },
        }
        for one in ours:
            one["run"] = identity
        factor = factors[machine] * chance.uniform(0.98, 1.02)
        for speedup, then in speedups:
            speedup["speedup"] = then["speedup"] * factor
            speedup["interval"] = {
                **then["interval"],
                "low": then["interval"]["low"] * factor,
                "high": then["interval"]["high"] * factor,
            }
        data["datetime"] = (_FIRST + number * datetime.timedelta(hours=1)).isoformat()
        data["indoor"] = seal(data)
        path = folder / f"machine-{machine:03}" / f"{number // num_machines + 1:04}_made.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_json(data, indent=4))  # as pytest-benchmark lays it out
    return path.stat().st_size


def call(words: Sequence[str], folder: Path) -> tuple[Cost, str]:
    """Run the command on the folder in a process of its own; return its cost and what it printed.

    Raises:
        IndoorError: It failed.
    """
    began = time.perf_counter()
    command = [sys.executable, "-m", "indoor", *words, str(folder)]
    most = 0
    with (
        tempfile.TemporaryFile() as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL) as process,
    ):
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            most = max(most, _memory_bytes(process.pid))
            time.sleep(_LOOK_S)
        seconds = time.perf_counter() - began
        _, status, used = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode()
    if process.returncode:
        raise IndoorError(
            f"indoor {' '.join(words)} {folder} ended with {process.returncode}; expected 0; "
            "run it by itself"
        )
    memory_bytes = max(most, _largest_bytes(used))
    return Cost(
        seconds=seconds, cpu_s=used.ru_utime + used.ru_stime, memory_bytes=memory_bytes
    ), text


def describe(record: Mapping[str, Any]) -> str:
    """Return the record in lines."""
    lines = [
        f"{record['num_runs']:,} runs of {record['num_machines']} machines, "
        f"{record['bytes_a_run'] / 1e3:.0f} kB each, index {record['index_bytes'] / 1e6:.1f} MB"
    ]
    lines += [
        f"{name}: {cost['seconds']:.1f} s ({cost['cpu_s']:.1f} s of a CPU), "
        f"{cost['memory_bytes'] / 1e6:.0f} MB"
        for name, cost in record["costs"].items()
    ]
    same = "the same" if record["same"] else "SOMETHING ELSE"
    return "\n".join([*lines, f"the index tells {same} as the files"])


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return "indoor" in entry.get("extra_info", {})


def _memory_bytes(process_id: int) -> int:
    """Return what a process and its own take now: on Linux what they share once."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(process_id)
        for one in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                about = one.memory_full_info()
                total += getattr(about, "pss", about.rss)
    return total


def _largest_bytes(used: resource.struct_rusage) -> int:
    """Return the peak of the largest process; Linux counts in KiB, macOS in bytes."""
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, metavar="FILE", help="a saved run")
    parser.add_argument(
        "--folder", type=Path, required=True, help="a new folder for the runs, 3 GB for 10,000"
    )
    parser.add_argument("--runs", type=int, default=10_000, metavar="N", help="default: 10000")
    parser.add_argument("--machines", type=int, default=40, metavar="N", help="default: 40")
    parser.add_argument("--out", type=Path, metavar="JSON", help="also write the record there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
