"""Two functions through the gate: which can be, what is said of the others, and the verdicts."""

import importlib
import importlib.util
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gate_trees import NAP_S, PLAN, cell

from indoor.errors import IndoorError
from indoor.gate.callables import _importable, gate_callables
from indoor.gate.records import GateVerdict
from indoor.gate.report import render_gate
from indoor.gate.settings import PlanRules
from indoor.measure.worker import LINK

MINE = """
import functools
import time
from pathlib import Path

calls = 0


def plain():
    return 1


def asleep(seconds):
    time.sleep(seconds)


def asleep_for_long(seconds):
    time.sleep(6 * seconds)


def asleep_for_a_file():
    time.sleep(float(Path("seconds.txt").read_text()))


def broken(seconds):
    global calls
    calls += 1
    if calls == 5:
        raise RuntimeError("out of order")
    time.sleep(seconds)


async def coroutine():
    return 1


def generator():
    yield 1


async def asynchronous_generator():
    yield 1


def wrapped_badly(function):
    def wrapper():
        return function()

    return wrapper


def wrapped_well(function):
    return functools.wraps(function)(wrapped_badly(function))


@wrapped_well
def decorated():
    return 1


@wrapped_badly
def renamed():
    return 1


@functools.lru_cache
def cached():
    return 1


class Codec:
    def encode(self):
        return 1

    def __call__(self):
        return 1

    @staticmethod
    def static():
        return 1

    @classmethod
    def of_class(cls):
        return 1


codec = Codec()
half = functools.partial(asleep, 0)
square = lambda: 1
number = 1
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A user's module, in a folder that this process imports from and works in."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("mine")
    del sys.modules["mine"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (lambda mine: mine.plain, "mine:plain"),
        (lambda _: "mine:plain", "mine:plain"),
        (lambda mine: mine.decorated, "mine:decorated"),
        (lambda mine: mine.cached, "mine:cached"),
        (lambda mine: mine.Codec, "mine:Codec"),
        (lambda mine: mine.Codec.static, "mine:Codec.static"),
        (lambda mine: mine.Codec.of_class, "mine:Codec.of_class"),
        (lambda _: "mine:codec", "mine:codec"),
        (lambda _: "mine:codec.encode", "mine:codec.encode"),
        (lambda _: "mine:half", "mine:half"),
        (lambda _: "mine:square", "mine:square"),
        (lambda _: "mine:renamed", "mine:renamed"),
        (lambda _: sorted, "builtins:sorted"),
        (lambda _: math.sqrt, "math:sqrt"),
        (lambda _: json.dumps, "json:dumps"),
        (lambda _: np.linalg.svd, "numpy.linalg:svd"),
        (lambda _: "json.decoder:JSONDecoder.decode", "json.decoder:JSONDecoder.decode"),
    ],
)
def test_a_function_is_handed_over_by_its_name(
    mine: ModuleType, given: Callable[[ModuleType], Any], name: str
) -> None:
    """Whatever a fresh process finds under a module's name can be gated."""
    assert _importable(given(mine), "base") == name


def loaded_by_path(mine: ModuleType) -> ModuleType:
    """Return a module that no import finds, as notebooks and plugins load them."""
    assert mine.__file__ is not None
    folder = Path(mine.__file__).parent / "elsewhere"
    folder.mkdir()
    (folder / "apart.py").write_text(MINE)
    spec = importlib.util.spec_from_file_location("apart", folder / "apart.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["apart"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def redefined(mine: ModuleType) -> Any:
    """Return a function after its module was loaded again, as autoreload does."""
    before = mine.plain
    importlib.reload(mine)
    return before


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda _: lambda: 1, "a lambda or a function within a function"),
        (lambda mine: mine.square, "a lambda or a function within a function"),
        (lambda mine: mine.wrapped_badly(mine.plain), "a lambda or a function within a function"),
        (lambda mine: mine.renamed, "a lambda or a function within a function"),
        (lambda mine: mine.half, "which has no name of its own"),
        (lambda mine: mine.codec, "which has no name of its own"),
        (lambda mine: mine.codec.encode, "but mine:Codec.encode is something else"),
        (lambda mine: mine.wrapped_well(mine.plain), "but mine:plain is something else"),
        (redefined, "but mine:plain is something else"),
        (lambda mine: loaded_by_path(mine).plain, "of a module apart that was loaded from"),
        (lambda _: "mine.plain", "which is not of the form module:name"),
        (lambda _: "mine.py:plain", "No module named 'mine.py'"),
        (lambda _: "./mine.py:plain", "which is not of the form module:name"),
        (lambda _: "mine:", "which is not of the form module:name"),
        (lambda _: ":plain", "which is not of the form module:name"),
        (lambda _: "mine:plain()", "which is not of the form module:name"),
        (lambda _: "mine:plane", "but module 'mine' has no attribute 'plane'"),
        (lambda _: "theirs:plain", "but No module named 'theirs'"),
        (lambda _: "__main__:plain", "of the script or session that runs"),
        (lambda _: "mine:number", "which cannot be called"),
        (lambda _: None, "which cannot be called"),
        (lambda mine: mine.coroutine, "a call of which only makes a coroutine"),
        (lambda mine: mine.generator, "a call of which only makes a generator"),
        (lambda _: "mine:generator", "a call of which only makes a generator"),
        (lambda mine: mine.asynchronous_generator, "a call of which only makes a generator"),
    ],
)
def test_what_no_fresh_process_can_call_is_refused(
    mine: ModuleType, given: Callable[[ModuleType], Any], reason: str
) -> None:
    """One line with the reason and the remedy, before anything is started."""
    with pytest.raises((ValueError, IndoorError)) as refused:
        gate_callables("mine:plain", given(mine), plan=PLAN)
    (line,) = str(refused.value).splitlines()
    assert line.startswith("head is ")
    assert reason in line
    assert "; expected a " in line


SCRIPT = """
import asyncio
from indoor.gate.callables import gate_callables

def own():
    return 1

class Own:
    pass

try:
    gate_callables({words})
except ValueError as error:
    print(error)
"""


OF_THE_SCRIPT = {
    "own, own": "base is <function own",
    "'mine:plain', Own": "head is <class '__main__.Own'>",
    "'mine:plain', 'script:own'": "head is 'script:own'",
    "'mine:plain', 'mine:plain', cases={'a': (Own(),)}": "Own is of the script or session",
    "'mine:plain', 'mine:plain', cases={'a': ([own],)}": "own is of the script or session",
}


@pytest.mark.parametrize("words", OF_THE_SCRIPT)
@pytest.mark.parametrize("how", ["script", "module", "session"])
@pytest.mark.usefixtures("mine")
def test_what_only_the_running_script_defines_is_refused(words: str, how: str) -> None:
    """A script, `python -m` and a session are each called `__main__`, in every process."""
    reason = OF_THE_SCRIPT[words]
    if how == "session":  # there is no script then
        words, reason = (text.replace("script:", "__main__:") for text in (words, reason))
    text = SCRIPT.format(words=words)
    Path("script.py").write_text(text)
    call = {"script": ["script.py"], "module": ["-m", "script"], "session": ["-c", text]}[how]
    done = subprocess.run([sys.executable, *call], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = set(done.stdout.splitlines())
    assert reason in line
    assert "of the script or session" in line


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        ({}, "cases is empty"),
        ({"": (1,)}, "a case is called ''"),
        ({3: (1,)}, "a case is called 3"),
        ({"small": 1000}, r"case small is 1000, expected a tuple of arguments, such as \(1000,\)"),
        ({"small": "text"}, "case small is 'text', expected a tuple"),
        ({"small": {"seconds": 1}}, "case small is {'seconds': 1}, expected a tuple"),
        ({"lock": (threading.Lock(),)}, "cannot be handed to a fresh process"),
        ({"function": (lambda: 1,)}, "cannot be handed to a fresh process"),
        ({"generator": ((one for one in "ab"),)}, "cannot be handed to a fresh process"),
        ({"module": (sys,)}, "cannot be handed to a fresh process"),
    ],
)
def test_cases_that_cannot_be_handed_over_are_refused(
    mine: ModuleType, cases: Any, reason: str
) -> None:
    """One line says which and why."""
    with pytest.raises(ValueError, match=reason):
        gate_callables(mine.asleep, mine.asleep, cases=cases, plan=PLAN)


def test_a_wrong_plan_is_refused(mine: ModuleType) -> None:
    """The rules are checked like those of a gate.toml."""
    with pytest.raises(IndoorError, match=r"plan.margin is 5; expected a share between 0 and 1"):
        gate_callables(mine.plain, mine.plain, plan=PlanRules(margin=5))


def test_a_module_that_gates_when_it_is_imported_is_refused(
    mine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate's own processes import it, and must not wait for each other."""
    monkeypatch.setenv(LINK, "3,4")
    with pytest.raises(IndoorError, match="put it under if __name__ == '__main__'"):
        gate_callables(mine.plain, mine.plain)


def test_a_slower_function_fails(mine: ModuleType) -> None:
    """The report names both functions, and each case is a cell."""
    cases = {"short": (NAP_S,), "long": [1.5 * NAP_S]}
    report = gate_callables(mine.asleep, "mine:asleep_for_long", cases=cases, plan=PLAN)
    assert report.verdict is GateVerdict.FAIL
    assert (report.base.label, report.head.label) == ("mine:asleep", "mine:asleep_for_long")
    for name in cases:
        found = cell(report, f"test_call[{name}]")
        assert found.verdict is GateVerdict.FAIL
        assert found.ratio == pytest.approx(6, rel=0.5)
    assert "mine:asleep_for_long" in render_gate(report)


def test_the_same_function_passes(mine: ModuleType) -> None:
    """It finds its files in the working directory, as it does for the caller."""
    Path("seconds.txt").write_text(str(NAP_S))
    report = gate_callables(mine.asleep_for_a_file, mine.asleep_for_a_file, plan=PLAN)
    assert (report.verdict, report.partial) == (GateVerdict.PASS, False)
    assert not [path.name for path in Path().iterdir() if path.name.startswith("indoor")]


def test_a_function_that_breaks_on_one_side_is_no_pass(mine: ModuleType) -> None:
    """What it raised is the reason."""
    report = gate_callables(mine.asleep, mine.broken, cases={"short": (NAP_S,)}, plan=PLAN)
    assert report.verdict is GateVerdict.INCONCLUSIVE
    assert "out of order" in render_gate(report, width=200)
