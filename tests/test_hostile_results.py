"""Whatever is in the place of a saved run: one line that names it, within bounds."""

import gzip
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import Outcome, assert_bounded, assert_refused, call
from report_records import full_json

from indoor.runs.index import INDEX
from indoor.runs.results import seal

NUM_FLIPPED = 48

SEALED: dict[str, Any] = {**full_json(), "indoor": seal(full_json())}
WHOLE = json.dumps(SEALED, indent=1).encode()
MIB = 1 << 20


def text_of(data: bytes, length: int) -> bytes:
    """Return some bytes again and again, so many in all."""
    return data * (length // len(data))


def packed(data: bytes, times: int) -> bytes:
    """Return data packed by gzip, so many times one behind the other."""
    return gzip.compress(data, 1) * times


def cut(data: bytes, eighth: int) -> bytes:
    """Return so many eighths of it."""
    return data[: len(data) * eighth // 8]


def within(value: bytes) -> bytes:
    """Return a run with a member of that text."""
    return WHOLE.rstrip()[:-1] + b', "more": ' + value + b"}"


def nested(depth: int) -> bytes:
    """Return lists within lists."""
    return b"[" * depth + b"]" * depth


def other_version(version: object) -> bytes:
    """Return the run with another version of the schema in each case."""
    data = json.loads(json.dumps(full_json()))
    for entry in data["benchmarks"]:
        if "indoor" in entry["extra_info"]:
            entry["extra_info"]["indoor"]["schema_version"] = version
    return json.dumps(data).encode()


REFUSED: dict[str, Callable[[], bytes]] = {
    **{f"cut-{eighth}.json": partial(cut, WHOLE, eighth) for eighth in range(8)},
    **{f"cut-{eighth}.json.gz": partial(cut, packed(WHOLE, 1), eighth) for eighth in range(1, 8)},
    "version-99.json": lambda: other_version(99),
    "version-text.json": lambda: other_version("\x1b[31m1"),
    "version-huge.json": lambda: other_version(10**400),
    "zeros.json": lambda: bytes(5000),
    "text.json": lambda: b"hello",
    "utf-16.json": lambda: WHOLE.decode().encode("utf-16"),
    "100-mib-of-blanks.json": lambda: b" " * 100 * MIB,
    "100-mib-of-numbers.json": lambda: b"[" + text_of(b"0.125,", 100 * MIB) + b"1]",
    "90-mib-of-objects.json": lambda: b"[" + text_of(b"{},", 90 * MIB) + b"1]",
    "90-mib-of-lists.json": lambda: b"[" + text_of(b"[],", 90 * MIB) + b"1]",
    "90-mib-of-members.json": lambda: b"[" + text_of(b'{"":1},', 90 * MIB) + b"1]",
    "90-mib-of-wide-text.json": lambda: "[\N{GRINNING FACE}".encode() + text_of(b"0,", 90 * MIB),
    "gzip-bomb.json.gz": lambda: packed(bytes(64 * MIB), 40),
    "gzip-of-gzip.json": lambda: packed(packed(WHOLE, 1), 1),
    "long-number.json": lambda: within(b"1" * 5000),
    "infinite.json": lambda: within(b"1e999"),
    **{f"nested-{d}.json": partial(within, nested(d)) for d in (900, 960, 980, 100_000)},
    **{f"only-nested-{d}.json": partial(nested, d) for d in (960, 980, 990, 100_000)},
}


def flipped() -> Iterator[tuple[str, bytes]]:
    """Yield the sealed run with a bit that is wrong somewhere, each another one."""
    generator = np.random.default_rng(3)
    for number in range(NUM_FLIPPED):
        data = bytearray(WHOLE)
        data[int(generator.integers(0, len(data)))] ^= 1 << int(generator.integers(0, 8))
        yield f"flipped-{number}.json", bytes(data)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What `indoor report` made of each file, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    files = {**{name: make() for name, make in REFUSED.items()}, **dict(flipped())}
    files["whole.json"] = WHOLE
    for name, data in files.items():
        (folder / name).write_bytes(data)
    found = call([("report", folder / name) for name in files], folder, timeout_s=300)
    return dict(zip(files, found, strict=False))


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_run_is_refused(name: str, outcomes: dict[str, Outcome]) -> None:
    """It ends in one line that names it, within 1 GiB."""
    assert name in outcomes, "it hung or killed the process, or one before it did"
    assert_refused(outcomes[name], name)


def test_a_flipped_bit_of_a_saved_run_is_found(outcomes: dict[str, Outcome]) -> None:
    """Either the run is refused, or the bit changed nothing that it says (a blank between)."""
    whole = outcomes["whole.json"]
    assert whole.status == 0
    for number in range(NUM_FLIPPED):
        name = f"flipped-{number}.json"
        outcome = outcomes[name]
        if outcome.status:
            assert_refused(outcome, name)
        else:
            assert_bounded(outcome)
            assert outcome.out == whole.out.replace("whole.json", name)


def test_a_message_cannot_steer_the_terminal(outcomes: dict[str, Outcome]) -> None:
    """What a file says of itself is printed without its control characters."""
    assert "\x1b" not in outcomes["version-text.json"].err


def test_one_bad_file_among_the_saved_runs_spoils_no_other(
    tmp_path: Path, outcomes: dict[str, Outcome]
) -> None:
    """`indoor results list` tells each with its reason and lists the whole one."""
    assert outcomes["whole.json"].status == 0
    machine = tmp_path / "results" / "machine"
    machine.mkdir(parents=True)
    names = ["cut-4.json", "version-99.json", "nested-980.json", "90-mib-of-lists.json"]
    for number, name in enumerate(names, start=1):
        (machine / f"{number:04d}_{name}").write_bytes(REFUSED[name]())
    (machine / "0009_whole.json").write_bytes(WHOLE)
    (outcome,) = call(
        [("results", "list", "--results", tmp_path / "results", "--json")], tmp_path, timeout_s=120
    )
    assert_bounded(outcome)
    entries = {entry["number"]: entry for entry in json.loads(outcome.out)}
    assert entries["0009"]["reason"] is None
    problems = [entries[f"{n:04d}"]["problems"] for n in range(1, 5)]
    nested = problems.pop(2)  # as deep as the reader's own stack just allows, or does not
    assert nested in (["changed"], ["unreadable"])
    assert problems == [["unreadable"]] * 3
    assert sorted(path.name for path in machine.iterdir() if path.name != INDEX) == sorted(
        [f"{n:04d}_{name}" for n, name in enumerate(names, start=1)] + ["0009_whole.json"]
    )
