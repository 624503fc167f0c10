"""A small suite of ordinary functions, on which the gate is tried; its slowdown is exact."""

from pathlib import Path

from indoor.gate.settings import PlanRules

SUITE = "suite"
"""The suite's folder in a tree that `write_suite` wrote."""

EXAMPLE_PLAN = PlanRules(launch_s=0.5, max_pairs=24, max_minutes=5.0)
"""Short launches: the functions take a millisecond or a few."""

NUM_REPEATS = 100
"""How often a function of the suite does its work; 105 is 5% slower, whatever the machine."""

_FUNCTIONS = '''"""Ordinary work of a millisecond or a few, which needs nothing but Python."""

import json
import random
import zlib

REPEATS = {repeats}

_random = random.Random(0)
NUMBERS = [_random.random() for _ in range(400)]
RECORD = {{f"key{{i}}": [i, str(i), i / 7] for i in range(24)}}
BLOCK = bytes(1 << 16)


def sort_numbers():
    for _ in range(REPEATS):
        ordered = sorted(NUMBERS)
    return ordered[0]


def round_trip():
    for _ in range(REPEATS):
        copy = json.loads(json.dumps(RECORD))
    return copy


def checksum():
    for _ in range(REPEATS):
        value = zlib.crc32(BLOCK)
    return value
'''

_TESTS = '''"""Benchmarks of ordinary functions, as anybody writes them for pytest-benchmark."""

import zlib

import ordinary


def test_sort_numbers(benchmark):
    assert benchmark(ordinary.sort_numbers) == min(ordinary.NUMBERS)


def test_round_trip(benchmark):
    assert benchmark(ordinary.round_trip) == ordinary.RECORD


def test_checksum(benchmark):
    assert benchmark.pedantic(ordinary.checksum, rounds=10) == zlib.crc32(ordinary.BLOCK)
'''


def write_suite(root: Path, slowdown: float = 0.0) -> None:
    """Write a tree with three ordinary functions and their benchmarks in `SUITE`.

    Args:
        root: A folder that does not exist yet.
        slowdown: By how much all three are slower, a multiple of 1%.

    Raises:
        ValueError: No whole number of repetitions is that much slower.
    """
    repeats = round(NUM_REPEATS * (1 + slowdown))
    if abs(repeats - NUM_REPEATS * (1 + slowdown)) > 1e-9:
        raise ValueError(f"slowdown {slowdown}, expected a multiple of {1 / NUM_REPEATS:.0%}")
    write_small_suite(root, "ordinary", _FUNCTIONS.format(repeats=repeats), _TESTS)


def write_small_suite(root: Path, name: str, module: str, tests: str) -> None:
    """Write a tree with one module and its benchmarks in `SUITE`.

    Args:
        root: A folder that does not exist yet.
        name: What the module is called.
        module: Its source.
        tests: That of its benchmarks.
    """
    (root / SUITE).mkdir(parents=True)
    # Without it pytest would look for a configuration in the folders above.
    (root / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    (root / f"{name}.py").write_text(module, encoding="utf-8")
    (root / SUITE / f"test_{name}.py").write_text(tests, encoding="utf-8")
