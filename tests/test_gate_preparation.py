"""What a gate does with a suite's facts plugin: real processes, a few lines of plugin, no torch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_trees import TEST_NAPS, gate, left_behind, own_temporary_files, write_tree

from indoor.gate.records import GateReport, GateVerdict

FACTS = "suite/facts.py"
PLUGIN = """
import json, os
from pathlib import Path

import numpy as np
import model


def pytest_runtestloop(session):
    out = Path(os.environ["INDOOR_GATE_FACTS_OUT"])
    words = " ".join(session.config.invocation_params.args)
    (Path(session.config.rootpath) / "words").write_text(words)
    if os.environ["INDOOR_GATE_FACTS_MODE"] == "predictions":
        right = np.arange(400) < model.RIGHT
        np.savez(
            out / "predictions.npz",
            classes_small=np.where(right, np.arange(400) % 4, (np.arange(400) + 1) % 4),
            labels=np.arange(400) % 4,
            photographs=np.array([str(i) for i in range(400)]),
            num_photographs=np.array(400),
        )
        return True
    if os.environ["INDOOR_GATE_FACTS_MODE"] == "memory":
        here = Path(session.config.rootpath) / "measured"
        with here.open("a") as file:
            file.write("x")
        np.savez(out / "memory.npz", small=model.PEAKS[len(here.read_text()) % len(model.PEAKS)])
        return True
    model.prepare()
    np.savez(out / "logits.npz", small=np.eye(32, 4, dtype=np.float32) * model.SCALE)
    variant = dict(
        size_bytes=model.SIZE, operators={"Linear": 3}, engine=None,
        peak_memory_bytes=model.PEAKS[0],
    )
    facts = dict(
        version=1, num_photographs=400, photographs_sha256="p", inputs_sha256="i",
        variants={"small": variant}, share=["-k", "nap"],
    )
    (out / "facts.json").write_text(json.dumps(facts))
    return True
"""
MODEL = """
SIZE, SCALE, RIGHT = {size}, {scale}, {right}
PEAKS = {peaks}


def prepare():
    {prepare}
"""


def tree(
    root: Path,
    *,
    size: int = 1000,
    scale: float = 1.0,
    right: int = 300,
    prepare: str = "pass",
    peaks: tuple[int, ...] = (10**8,),
) -> Path:
    """Write a tree whose model has these facts."""
    model = MODEL.format(size=size, scale=scale, right=right, prepare=prepare, peaks=peaks)
    return write_tree(root, {"model.py": model, FACTS: PLUGIN})


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path) -> Iterator[None]:
    with own_temporary_files(tmp_path / "temporary") as folder:
        yield
        assert left_behind(folder) == []


def run(base: Path, head: Path) -> GateReport:
    """Run a gate that collects facts."""
    return gate(base, head, facts=FACTS)


def verdicts(report: GateReport) -> dict[str, GateVerdict]:
    """Return each check's verdict."""
    return {check.name: check.verdict for check in report.checks}


def test_equal_facts_pass_and_the_cells_are_timed(tmp_path: Path) -> None:
    """Both sides are prepared, head with the words that base shares, and then timed."""
    base, head = tree(tmp_path / "base"), tree(tmp_path / "head")
    report = run(base, head)
    assert report.verdict is GateVerdict.PASS, report.reason
    assert set(verdicts(report).values()) == {GateVerdict.PASS}
    assert "-k nap" in (head / "words").read_text()
    assert "-k nap" not in (base / "words").read_text()
    assert report.cells[0].num_pairs > 0


def test_a_marked_cell_may_be_prepared_for_by_strict_pytest(tmp_path: Path) -> None:
    """The gate's own mark is known where facts are collected, as it is in workers."""
    marked = f"import pytest\n{TEST_NAPS}".replace(
        "def test", "@pytest.mark.gate(margin=0.6)\ndef test"
    )
    strict = {"pytest.ini": "[pytest]\naddopts = --strict-markers\n", "suite/test_naps.py": marked}
    sides = [tree(tmp_path / name) for name in ("base", "head")]
    for side in sides:
        write_tree(side, strict)
    report = run(*sides)
    assert report.verdict is GateVerdict.PASS, report.reason
    assert report.cells[0].margin == 0.6


def test_a_larger_model_fails_and_nothing_is_timed(tmp_path: Path) -> None:
    """A failed check needs no clock."""
    report = run(tree(tmp_path / "base"), tree(tmp_path / "head", size=1100))
    assert report.verdict is GateVerdict.FAIL
    assert verdicts(report)["size of small"] is GateVerdict.FAIL
    assert report.traces == ()
    assert any("nothing was timed" in note for note in report.notes)


@pytest.mark.parametrize(
    ("right", "verdict"), [(300, GateVerdict.PASS), (200, GateVerdict.FAIL)], ids=["same", "worse"]
)
def test_other_logits_have_the_accuracy_asked(
    tmp_path: Path, right: int, verdict: GateVerdict
) -> None:
    """Where logits differ, the predictions decide."""
    report = run(tree(tmp_path / "base"), tree(tmp_path / "head", scale=2.0, right=right))
    assert verdicts(report)["accuracy of small"] is verdict
    assert report.verdict is verdict, report.reason


def test_a_head_that_cannot_be_prepared_fails(tmp_path: Path) -> None:
    """Base is prepared and head is not: that is head's doing."""
    broken = tree(tmp_path / "head", prepare="raise RuntimeError('collapsed')")
    report = run(tree(tmp_path / "base"), broken)
    assert report.verdict is GateVerdict.FAIL
    assert "collapsed" in report.checks[0].reason


def test_a_base_that_cannot_be_prepared_proves_nothing(tmp_path: Path) -> None:
    """There is nothing to compare with: INCONCLUSIVE, and the reason is told."""
    broken = tree(tmp_path / "base", prepare="raise RuntimeError('no data')")
    report = run(broken, tree(tmp_path / "head"))
    assert report.verdict is GateVerdict.INCONCLUSIVE
    assert report.partial
    assert "base cannot be prepared" in report.reason
    assert "no data" in report.reason


def test_a_head_without_room_proves_nothing(tmp_path: Path) -> None:
    """A full disk is nobody's regression."""
    full = "import errno, os; raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))"
    report = run(tree(tmp_path / "base"), tree(tmp_path / "head", prepare=full))
    assert report.verdict is GateVerdict.INCONCLUSIVE
    assert "head cannot be prepared" in report.reason
    assert "No space left on device" in report.reason


def test_a_head_that_is_killed_while_it_prepares_proves_nothing(tmp_path: Path) -> None:
    """Out of memory is no regression that anybody has shown."""
    killed = tree(tmp_path / "head", prepare="import os; os.kill(os.getpid(), 9)")
    report = run(tree(tmp_path / "base"), killed)
    assert report.verdict is GateVerdict.INCONCLUSIVE
    assert "head cannot be prepared" in report.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peaks", "verdict", "words"),
    [
        ((2 * 10**8,), GateVerdict.FAIL, "reproduced in 3 fresh processes of either side"),
        ((2 * 10**8, 10**8), GateVerdict.PASS, "not reproduced in fresh processes"),
    ],
    ids=["always", "once"],
)
def test_more_memory_is_reproduced_before_it_fails(
    tmp_path: Path, peaks: tuple[int, ...], verdict: GateVerdict, words: str
) -> None:
    """One measurement has noise, so fresh processes of both sides take more, in turn."""
    report = run(tree(tmp_path / "base"), tree(tmp_path / "head", peaks=peaks))
    (check,) = (one for one in report.checks if one.name == "peak memory of small")
    assert check.verdict is verdict
    assert words in check.reason
    assert report.budget is not None
    assert report.budget.memory > 0
    assert report.budget.accuracy == 0
