"""Two functions to one verdict: the gate on two small trees, each of which calls one of them."""

import io
import os
import pickle
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any

from indoor.errors import IndoorError
from indoor.gate.controller import run_gate
from indoor.gate.records import GateReport
from indoor.gate.settings import GateConfig, PlanRules, check_config
from indoor.gate.sides.setup import GateJob
from indoor.gate.trial_suite import SUITE, write_small_suite
from indoor.measure.pairs import why_no_call
from indoor.measure.worker import LINK

_MODULE = "indoor_called"
_CASES = "cases.pickle"

_SOURCE = '''"""Finds the function where the gate's caller found it."""

import os
import pickle
import pkgutil
import sys
from pathlib import Path

os.chdir({folder!r})
sys.path[:] = list(dict.fromkeys({search_path!r} + sys.path))
FUNCTION = pkgutil.resolve_name({name!r})
CASES = pickle.loads(Path(__file__).with_name({cases!r}).read_bytes())
'''

_TESTS = f'''"""Each case is a cell."""

import pytest

import {_MODULE}


@pytest.mark.parametrize("case", {_MODULE}.CASES)
def test_call(benchmark, case):
    benchmark({_MODULE}.FUNCTION, *{_MODULE}.CASES[case])
'''


def gate_callables(
    base: Callable[..., object] | str,
    head: Callable[..., object] | str,
    *,
    cases: Mapping[str, Sequence[Any]] | None = None,
    plan: PlanRules | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _line: None,
) -> GateReport:
    """Tell whether a function is slower than another, by the whole gate that revisions pass.

    Fresh processes import either function, call it with the same arguments again and again, and are
    compared in pairs: launches, looks, reproduction and the instrument's own checks are those of
    `indoor gate` (`run_gate`). They run in the caller's working directory and import from where the
    caller does. Whether both give the same answer is a matter for tests.

    Args:
        base: A function that fresh processes can import: one of a module's top level, or
            `"module:name"`.
        head: What may have got slower; likewise.
        cases: The positional arguments by the case's name; each case is a cell. None for a single
            call without arguments. They are pickled, and a call must leave them as they are.
        plan: Margin, tolerance, minutes; None for the gate's own.
        seed: Decides the order of cells and turns.
        say: Hears one line at a time of how far the gate is.

    Returns:
        The report: `verdict` and `reason`, and a cell for each case, whose `ratio` is head's time /
        base's (above 1: slower). `render_gate` makes a table of it.

    Raises:
        ValueError: A function cannot be imported by its name, or a call does none of its work; or
            the cases cannot be handed to another process.
        IndoorError: The plan is wrong, a module cannot be imported, the machine cannot go on, or a
            gate's own worker called this.
    """
    if LINK in os.environ:
        raise IndoorError(
            "gate_callables was called within a gate's own process, by a module that it imported; "
            "expected a call by nobody but the script; put it under if __name__ == '__main__'"
        )
    names = {"base": _importable(base, "base"), "head": _importable(head, "head")}
    packed = _packed({"call": ()} if cases is None else cases)
    config = GateConfig(plan=plan or PlanRules(), suite=SUITE)
    check_config(config, "gate_callables")
    with tempfile.TemporaryDirectory(prefix="indoor-callables-") as folder:
        roots = {side: Path(folder).resolve() / side for side in names}
        for side, root in roots.items():
            source = _SOURCE.format(
                folder=str(Path.cwd()),
                search_path=[str(Path(place).absolute()) for place in sys.path],
                name=names[side],
                cases=_CASES,
            )
            write_small_suite(root, _MODULE, source, _TESTS)
            (root / _CASES).write_bytes(packed)
        base_root, head_root = roots.values()
        job = GateJob(
            start=base_root,
            base_root=base_root,
            head_root=head_root,
            config=config,
            seed=seed,
            say=say,
        )
        report = run_gate(job)
    return replace(
        report,
        base=replace(report.base, label=names["base"]),
        head=replace(report.head, label=names["head"]),
    )


def _importable(given: Callable[..., object] | str, side: str) -> str:
    """Return the `module:name` by which a fresh process finds the same function.

    Raises:
        ValueError: There is none.
        IndoorError: The module cannot be imported.
    """
    if isinstance(given, str):
        name, why = given, _why_not_importable(given)
    else:
        parts = (getattr(given, "__module__", None), getattr(given, "__qualname__", None))
        name = f"{parts[0]}:{parts[1]}"
        why = why_no_call(given) or (
            _why_not_importable(name) if all(parts) else "which has no name of its own"
        )
    if not why:
        try:
            found = pkgutil.resolve_name(name)
        except AttributeError as error:
            why = f"but {error}"
        except ImportError as error:
            raise IndoorError(
                f"{side} is {given!r}, but {error}; expected a module that Python finds from here; "
                "correct the name, or add its folder to PYTHONPATH"
            ) from error
        else:
            is_same = isinstance(given, str) or found == given
            why = why_no_call(found) if is_same else f"but {name} is something else"
    if why:
        raise ValueError(
            f"{side} is {given!r}, {why}; expected a function that a fresh process can import; "
            "write it with def at the top level of a module, such as mine.py, and pass mine.NAME "
            "or 'mine:NAME'"
        )
    return name


def _why_not_importable(name: str) -> str:
    """Return why that name alone does not lead a fresh process to a function; empty: it may."""
    module, _, path = name.partition(":")
    if "<" in name:
        return "a lambda or a function within a function"
    if not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        return "which is not of the form module:name"
    main, top = sys.modules["__main__"], module.partition(".")[0]
    specs = (finder.find_spec(top, None) for finder in sys.meta_path)
    spec = next((one for one in specs if one), None)
    file = spec.origin if spec and spec.has_location else None
    if module in ("__main__", getattr(main.__spec__, "name", None)) or (
        file is not None and file == getattr(main, "__file__", None)
    ):
        return "of the script or session that runs"
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if (loaded is not None and spec is None) or (None not in (file, loaded) and file != loaded):
        return f"of a module {top} that was loaded from {loaded}, where no import finds it"
    return ""


class _Pickler(pickle.Pickler):
    """Refuses what only the running script or session defines."""

    def reducer_override(self, value: object) -> Any:
        """Return how to pickle that, which is as usual."""
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__":
            raise pickle.PicklingError(f"{value.__qualname__} is of the script or session")
        return NotImplemented


def _packed(cases: Mapping[str, Sequence[Any]]) -> bytes:
    """Return the pickled cases; ValueError where they cannot be handed to a fresh process."""
    if not cases:
        raise ValueError("cases is empty; expected one or more; leave it out for a single call")
    for name, arguments in cases.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"a case is called {name!r}, expected a text such as 'small'")
        if not isinstance(arguments, tuple | list):
            raise ValueError(
                f"case {name} is {arguments!r}, expected a tuple of arguments, such as (1000,)"
            )
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump({name: tuple(arguments) for name, arguments in cases.items()})
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the cases cannot be handed to a fresh process ({error}); expected arguments that can "
            "be pickled; make the others within the function"
        ) from error
    return buffer.getvalue()
