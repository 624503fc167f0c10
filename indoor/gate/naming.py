"""What the tests' names and marks leave in doubt: ids that change, and marks that make a cell."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from indoor.gate.records import CheckReport, GateVerdict
from indoor.gate.settings import GateConfig, selects
from indoor.gate.sides.setup import Sides
from indoor.gate.tally import Tally
from indoor.gate.wording import count, listed, matches
from indoor.gate.worker import LaunchRules, changing_names

_ASKS = re.compile(r"^\s*(async )?def test\w*\([^)]*\bbenchmark\b", re.MULTILINE)
"""A test that asks for the fixture."""


def doubt_changing_ids(sides: Sides, rules: LaunchRules, tally: Tally) -> None:
    """Take tests that have another id in each collection out of the vanished and the new ones.

    Nobody can tell which of head is which of base, so the run says that and is INCONCLUSIVE. Both
    trees are collected once more where something vanished that no setting allows to.

    Raises:
        ChildLostError: A tree cannot be collected again.
        IndoorError: It was imported from elsewhere.
    """
    may = (*sides.job.config.allow_vanished, *sides.job.head_allows)
    suspects = [n for n in tally.vanished if not any(matches(n, glob) for glob in may)]
    if not suspects:
        return
    changing = {
        name: changing_names(sides.arm(name), collected, rules)
        for name, collected in tally.collected.items()
    }
    unsteady = {_test_of(name) for name in changing["head"]}
    lost = [name for name in suspects if name in changing["base"] or _test_of(name) in unsteady]
    if not lost:
        return
    tally.vanished = tuple(name for name in tally.vanished if name not in lost)
    tally.new = tuple(name for name in tally.new if name not in changing["head"])
    tally.checks.append(
        CheckReport(
            name="test ids",
            verdict=GateVerdict.INCONCLUSIVE,
            base=f"{len(changing['base'] & tally.collected['base'].cells.keys())} change",
            head=f"{len(changing['head'] & tally.collected['head'].cells.keys())} change",
            reason=f"each collection of the same tree gives other ids to {listed(lost)}, so nobody "
            "can tell which test of head is which of base; give their parameters ids= that stay, "
            "or leave them out with select",
        )
    )


def mention_marks(config: GateConfig, tally: Tally) -> None:
    """Say which tests a mark alone makes cells, and which it does not."""
    both = tally.collected.values()
    whole = dict.fromkeys(n for side in both for n in side.whole if selects(config, n))
    if whole:
        tally.note(
            f"{count(len(whole), 'test')} without the fixture benchmark, timed as a whole since "
            f"the mark of that name wants it: {listed(list(whole))}"
        )
    unmeasured = dict.fromkeys(n for side in both for n in side.unmeasured if selects(config, n))
    if unmeasured:
        tally.note(
            f"not measured, since the mark gate alone does not ask for benchmark: "
            f"{listed(list(unmeasured))}"
        )


def other_files(suite: Path) -> str:
    """Return what would have pytest collect a folder's benchmarks of other names, as `; ...`.

    Args:
        suite: The suite's folder; of a file nothing is said.
    """
    names = [
        path.name
        for path in sorted(suite.glob("**/*.py"))
        if path.name not in ("conftest.py", "__init__.py")
        and not fnmatchcase(path.name, "test_*.py")
        and not fnmatchcase(path.name, "*_test.py")
        and _ASKS.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    if not names:
        return ""
    starts = {name.partition("_")[0] for name in names}
    pattern = names[0] if len(names) == 1 else "*.py" if len(starts) > 1 else f"{starts.pop()}_*.py"
    return (
        f"; pytest looks into test_*.py alone, and {listed(names)} may hold some: "
        f'set arguments = ["-o", "python_files={pattern}"] in gate.toml'
    )


def _test_of(cell: str) -> str:
    """Return a cell's test, without its parameters."""
    return cell.partition("[")[0]
