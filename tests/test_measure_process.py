"""A child process that answers, is timed from here, or is lost."""

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path

import psutil
import pytest

from indoor.measure import worker
from indoor.measure.pairs import (
    LocalCall,
    Plan,
    RemoteCall,
    UnexpectedAnswerError,
    measure_interleaved,
    take_rounds,
)
from indoor.measure.process import ChildLostError, ChildProcess, run_logged
from indoor.measure.worker import timed

SERVES = """
import importlib, subprocess, sys, time
sys.path.append(sys.argv[1])
tools = vars(importlib.import_module("worker"))
link = tools["Link"]()
calls = 0


def time_round(iterations):
    global calls
    calls += 1
    return iterations * (9.0 if calls == 1 else 0.001)


while True:
    message = link.listen()
    if message["do"] in ("warm_up", "turn", "calibrate"):
        link.tell(message["do"], **tools["answer"](message, time_round, tuple(message["peers"])))
    elif message["do"] == "hang":
        child = subprocess.Popen(["sleep", "600"])
        link.tell("child", pid=child.pid)
        time.sleep(600)
    elif message["do"] == "fail":
        raise RuntimeError("no such kernel")
    else:
        link.tell("calls", number=calls, echo=message["text"])
"""
"""Answers as a runtime's process does; its first call is slow, by its own clock."""

Start = Callable[[str], AbstractContextManager[ChildProcess]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """How to run a program as a child process that is gone at the block's end."""

    @contextmanager
    def started(program: str) -> Iterator[ChildProcess]:
        child = ChildProcess(
            "child",
            [sys.executable, "-c", program, str(Path(worker.__file__).parents[1])],
            log=tmp_path / "log.txt",
            folder=tmp_path,
            environment={},
        )
        try:
            yield child
        finally:
            child.kill()

    return started


def test_messages_of_any_length_come_and_go_whole(start: Start) -> None:
    """A megabyte, more than a pipe holds, is sent and comes back."""
    text = "é" * 500_000
    with start(SERVES) as child:
        assert child.ask("say", 20, text=text) == {"event": "calls", "number": 0, "echo": text}


def test_messages_that_are_remembered_are_the_right_ones(start: Start) -> None:
    """The same again, another, a list that was changed meanwhile: each arrives as it is."""
    with start(SERVES) as child:
        text = ["a"]
        for told in (["a"], ["a"], ["a", "b"], ["a", "b"]):
            text[:] = told
            assert child.ask("say", 20, text=text)["echo"] == told
        assert child.ask("say", 20, text="a")["echo"] == "a"


def test_a_call_elsewhere_is_measured_like_one_here(start: Start) -> None:
    """Warm-up, discarded calls and times are the other process's own; both make pairs."""
    with start(SERVES) as child:
        remote = RemoteCall(child, 20, {"iterations": 2, "peers": []})
        plan = Plan(budget_s=0, min_rounds=5, min_warmup_s=0, max_warmup_s=5)
        calls = {"here": LocalCall(timed(lambda: None)), "there": remote}
        series = measure_interleaved(calls, plan, seed=0)
        made = child.ask("say", 20, text="")["number"]
    assert series["there"].seconds == (0.002,) * 5
    assert len(series["here"].seconds) == 5
    assert series["there"].warmup.fastest_s == 0.002
    assert made == series["there"].warmup.num_calls + 2 * 5


def test_rounds_take_a_turn_of_each_in_random_order(start: Start) -> None:
    """The gate's pairs: as many as are asked for, each side once, in either order."""
    with start(SERVES) as child:
        order: list[str] = []
        calls = {name: RemoteCall(child, 20, {"peers": []}) for name in ("base", "head")}

        def turn(name: str) -> worker.TurnResult:
            order.append(name)
            return calls[name].turn(0)

        turns = {name: lambda name=name: turn(name) for name in calls}  # type: ignore[misc]
        rounds = list(islice(take_rounds(turns, random.Random(0)), 12))
    assert [sorted(a_round) for a_round in rounds] == [["base", "head"]] * 12
    assert {tuple(order[i : i + 2]) for i in range(0, 24, 2)} == {
        ("base", "head"),
        ("head", "base"),
    }


@pytest.mark.skipif(not worker.TELLS_CPU_TIME, reason="no clocks of other processes")
def test_a_turn_tells_what_waiting_processes_used(start: Start) -> None:
    """A process that waits for its turn is idle; without one there is no such share."""
    with start(SERVES) as child, start(SERVES) as waiting:
        assert waiting.ask("say", 20, text="")["number"] == 0
        alone = RemoteCall(child, 20, {"peers": []}).turn(1)
        beside = RemoteCall(child, 20, {"peers": [waiting.pid]}).turn(1)
    assert alone.idle_share is None
    assert beside.idle_share == 0


def test_calibration_repeats_until_a_round_is_long_enough(start: Start) -> None:
    """Rounds of 1 ms an iteration: 5 ms take five or somewhat more."""
    with start(SERVES) as child:
        told = RemoteCall(child, 20, {"peers": []}).ask("calibrate", min_s=0.005)
    assert 5 <= told["iterations"] <= 7
    assert told["seconds"] == pytest.approx(told["iterations"] * 0.001)


def test_another_answer_than_a_time_is_handed_on(start: Start) -> None:
    """A test that ended while its rounds were timed says so instead."""
    with start(SERVES) as child, pytest.raises(UnexpectedAnswerError) as caught:
        RemoteCall(child, 20, {"text": "ended"}).ask("say")
    assert (caught.value.name, caught.value.message["echo"]) == ("child", "ended")


def test_a_process_that_ends_is_lost_with_its_last_words(start: Start) -> None:
    """Exit status and error are told; its code is to blame."""
    with start(SERVES) as child:
        with pytest.raises(ChildLostError, match="RuntimeError: no such kernel") as caught:
            child.ask("fail", 20)
        assert caught.value.reason.startswith("ended with exit status 1: ")
        assert (caught.value.name, caught.value.cut_off) == ("child", False)
        with pytest.raises(ChildLostError):
            child.send("say", text="x" * 100_000)


def test_a_process_that_hangs_is_lost_and_ends_with_its_children(start: Start) -> None:
    """Silence for longer than allowed proves nothing of the code; nothing stays behind."""
    with start(SERVES) as child:
        pids = (child.pid, child.ask("hang", 20)["pid"])
        with pytest.raises(ChildLostError, match=r"no answer for 0\.1 s \(it hangs\)") as caught:
            child.receive(0.1)
    assert caught.value.cut_off
    deadline = time.monotonic() + 20
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)  # whoever adopted the grandchild asks after it
    assert not any(map(_runs, pids))


def test_a_killed_process_says_by_which_signal(start: Start) -> None:
    """SIGKILL from outside or for lack of memory is not the code's fault."""
    with start(SERVES) as child:
        psutil.Process(child.pid).send_signal(signal.SIGKILL)
        with pytest.raises(ChildLostError, match=r"died by SIGKILL .*out of memory") as caught:
            child.receive(20)
    assert caught.value.cut_off


def test_a_command_runs_to_its_end_or_is_killed(tmp_path: Path) -> None:
    """Its exit status, or None where it took too long; its output is in the log."""
    options = {"log": tmp_path / "log.txt", "folder": tmp_path, "environment": {}}
    python = [sys.executable, "-c"]
    assert run_logged([*python, "print('done'); exit(3)"], timeout_s=20, **options) == 3
    assert (tmp_path / "log.txt").read_text() == "done\n"
    assert run_logged([*python, "import time; time.sleep(600)"], timeout_s=0.1, **options) is None


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
