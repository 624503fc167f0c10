"""Whose rules a gate goes by: base's settings and marks, unless somebody means head's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from gate_records import PASSED, gate
from gate_trees import GATE_TOML, git, naps, running, write_repository, write_tree

from indoor.errors import IndoorError
from indoor.gate.report import render_gate
from indoor.gate.settings import GateConfig
from indoor.gate.sides.rules import choose_rules

NAP_S = 0.005
"""Long, so that other load is a small part of it."""

TIGHT = "margin=0.15, tolerance=0.4"
LOOSE = "margin=0.95, tolerance=0.98"

MARKED = """
import naps
import pytest


def test_nap(benchmark):
    benchmark(naps.nap)


@pytest.mark.gate({mark})
def test_marked(benchmark):
    benchmark(naps.nap)
"""


def settings(limits: str) -> str:
    """Return the quick rules with other limits."""
    margin, tolerance = limits.split(", ")
    text = GATE_TOML.replace("margin = 0.5", margin.replace("=", " = "))
    return text.replace("tolerance = 0.9", tolerance.replace("=", " = "))


def repository(root: Path, base: str | None, head: str | None = None) -> Path:
    """Make a repository whose base and working tree have those texts in suite/gate.toml."""
    write_repository(root, {"suite/gate.toml": base or ""})
    file = root / "suite" / "gate.toml"
    if base is None:
        git(root, "rm", "--quiet", "suite/gate.toml")
        git(root, "commit", "--quiet", "--amend", "-m", "base")
    if head is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(head)
    return root


@pytest.fixture(scope="module")
def loosened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose working tree is half slower and says that this may be."""
    files = {
        "naps.py": naps(NAP_S),
        "suite/gate.toml": settings(TIGHT),
        "suite/test_naps.py": MARKED.format(mark=TIGHT),
    }
    repo = write_repository(tmp_path_factory.mktemp("loosened"), files)
    slower = {"naps.py": naps(1.5 * NAP_S), "suite/test_naps.py": MARKED.format(mark=LOOSE)}
    return write_tree(repo, {"suite/gate.toml": settings(LOOSE), **slower})


def judged(repo: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Run the command on the working tree; return its exit status and report."""
    with running(repo, "--base", "main", "--format", "json", *words) as process:
        said, errors = process.communicate(timeout=120)
    assert said, errors
    return process.returncode, json.loads(said)


def test_a_change_that_loosens_its_own_rules_is_judged_by_bases(loosened: Path) -> None:
    """Limits in gate.toml and in marks are base's, and the report says what head's would be."""
    status, report = judged(loosened)
    assert (status, report["verdict"]) == (1, "FAIL")
    assert {cell["margin"] for cell in report["cells"]} == {0.15}
    file, marks = report["rule_changes"]
    assert "plan.margin 0.15 -> 0.95, plan.tolerance 0.4 -> 0.98" in file
    assert "judged by base's, and by head's with --head-rules" in file
    assert "marks say otherwise for suite/test_naps.py::test_marked" in marks
    assert report["changed"] == []


def test_heads_rules_count_for_those_who_mean_them(loosened: Path) -> None:
    """With --head-rules the same change passes, and no rule is said to differ."""
    status, report = judged(loosened, "--head-rules")
    assert (status, report["verdict"]) == (0, "PASS")
    assert {cell["margin"] for cell in report["cells"]} == {0.95}
    assert report["rule_changes"] == []


LOOSER = "[plan]\ntolerance = 0.9\n"


@pytest.mark.parametrize(
    ("base", "head", "tolerance", "told"),
    [
        ("", LOOSER, 0.03, r"suite/gate.toml says otherwise \(plan.tolerance 0.03 -> 0.9\)"),
        (LOOSER, "", 0.9, r"says otherwise \(plan.tolerance 0.9 -> 0.03\)"),
        (LOOSER, None, 0.9, r"head has no suite/gate.toml any more \(plan.tolerance"),
        (None, LOOSER, 0.03, "judged by the defaults, since base has no settings"),
        (LOOSER, LOOSER + "# as before", 0.9, None),
        (None, None, 0.03, None),
        ("", "select = ['*nap*']", 0.03, r"\(select \[\] -> \[\*nap\*\]\)"),
        ("", "[[cells]]\nglob = '*'\nmargin = 0.02", 0.03, r"cells \[\] -> \[{glob = \*, margin"),
        ("", "[accuracy]\nmax_drop = 0.1", 0.03, r"\(accuracy.max_drop 0.015 -> 0.1\)"),
        ("", "allow_vanished = ['*nap']", 0.03, r"\(allow_vanished \[\] -> \[\*nap\]\)"),
    ],
    ids=[
        *("loosened", "tightened", "removed", "new", "the same", "none"),
        *("select", "cells", "accuracy", "vanished"),
    ],
)
def test_settings_are_bases_and_what_head_changes_is_told(
    tmp_path: Path, base: str | None, head: str | None, tolerance: float, told: str | None
) -> None:
    """Whatever kind of setting head's file has otherwise, base's counts, in one sentence."""
    repo = repository(tmp_path, base, head)
    ruling = choose_rules(repo, suite=repo / "suite", base="main")
    assert ruling.config.plan.tolerance == tolerance
    assert (ruling.config.select, ruling.config.cells, ruling.config.suite) == ((), (), "suite")
    if told is None:
        assert ruling.changes == ()
    else:
        (line,) = ruling.changes
        assert re.search(told, line)
    by_head = choose_rules(repo, suite=repo / "suite", base="main", by_head=True)
    assert by_head.changes == ()
    assert by_head.config.plan.tolerance == (0.9 if head and "tolerance" in head else 0.03)


def test_a_first_file_says_how_the_suite_is_run_and_not_by_which_limits(tmp_path: Path) -> None:
    """Without it the suite might not run at all, so these words of head's count."""
    text = (
        "arguments = ['-p', 'no:cov']\nhang_s = 7\npaths = ['lib']\nprepare = 'true'\n"
        "select = ['x']\n" + LOOSER
    )
    ruling = choose_rules(repository(tmp_path, None, text), suite=tmp_path / "suite", base="main")
    config = ruling.config
    assert (config.arguments, config.hang_s, config.paths) == (("-p", "no:cov"), 7.0, ("lib",))
    assert (config.select, config.plan.tolerance, config.prepare) == ((), 0.03, "true")


def test_two_revisions_settings_come_from_their_trees(tmp_path: Path) -> None:
    """With --head the working tree has no say, whatever lies or does not lie in it."""
    repo = repository(tmp_path, "hang_s = 7\n" + LOOSER, "hang_s = 8\n")
    git(repo, "commit", "--quiet", "--all", "-m", "head")
    (repo / "suite" / "gate.toml").write_text("hang_s = 9")
    words: dict[str, Any] = {"suite": repo / "suite", "base": "main~", "head": "main"}
    assert choose_rules(repo, **words).config.hang_s == 7.0
    assert choose_rules(repo, **words, by_head=True).config.hang_s == 8.0
    for name in ("gate.toml", "test_naps.py"):
        (repo / "suite" / name).unlink()
    (repo / "suite").rmdir()
    (changes,) = choose_rules(repo, **words).changes
    assert "hang_s 7.0 -> 8.0" in changes


def test_a_suite_behind_a_link_or_a_file_of_it_has_the_same_settings(tmp_path: Path) -> None:
    """Git's own objects hold a link and no folder; a suite's file has those beside it."""
    repo = repository(tmp_path, "hang_s = 7", "hang_s = 8")
    (repo / "linked").symlink_to("suite")
    git(repo, "add", "linked")
    git(repo, "commit", "--quiet", "-m", "link")
    for suite in ("linked", "suite/test_naps.py"):
        assert choose_rules(repo, suite=repo / suite, base="main").config.hang_s == 7.0


def test_a_named_file_of_the_repository_is_bases_too(tmp_path: Path) -> None:
    """--config does not let head's file in; one that the repository does not hold is the user's."""
    repo = repository(tmp_path, "", "")
    (repo / "ci.toml").write_text("hang_s = 7")
    assert choose_rules(repo, path=repo / "ci.toml", base="main").config.hang_s == 7.0
    git(repo, "add", "ci.toml")
    git(repo, "commit", "--quiet", "-m", "ci")
    (repo / "ci.toml").write_text("hang_s = 8")
    ruling = choose_rules(repo, path=repo / "ci.toml", base="main")
    assert ruling.config.hang_s == 7.0
    assert "head's ci.toml says otherwise (hang_s 7.0 -> 8.0)" in ruling.changes[0]


def test_one_tree_in_two_environments_has_its_own_settings(tmp_path: Path) -> None:
    """Without a revision there is no base whose rules could be others."""
    repo = repository(tmp_path, "hang_s = 7", "hang_s = 8")
    ruling = choose_rules(repo, suite=repo / "suite")
    assert (ruling.config.hang_s, ruling.changes) == (8.0, ())
    assert choose_rules(tmp_path / "suite").config == GateConfig()


def test_a_mistake_in_bases_settings_names_the_way_out(tmp_path: Path) -> None:
    """Head mends it, so head's may be told to count; a mistake in head's is told, too."""
    repo = repository(tmp_path, "marjin = 1", "hang_s = 7")
    with pytest.raises(IndoorError, match=r"suite/gate.toml of base: marjin.*: --head-rules$"):
        choose_rules(repo, suite=repo / "suite", base="main")
    by_head = choose_rules(repo, suite=repo / "suite", base="main", by_head=True)
    assert by_head.config.hang_s == 7.0
    git(repo, "commit", "--quiet", "--all", "-m", "mended")
    (repo / "suite" / "gate.toml").write_text("marjin = 1")
    with pytest.raises(IndoorError, match=r"^suite/gate.toml: marjin = 1 is no setting"):
        choose_rules(repo, suite=repo / "suite", base="main")


def test_the_report_says_at_once_that_rules_differ() -> None:
    """It is among the first lines, before any table."""
    line = "head's gate.toml says otherwise (plan.tolerance 0.03 -> 0.9); it is judged by base's"
    text = render_gate(gate(PASSED, rule_changes=(line,)))
    assert text.splitlines()[0] == "Gate: PASS"
    assert "plan.tolerance 0.03 -> 0.9" in " ".join(text.split("Time of head")[0].split())
