"""The gate's settings: what gate.toml may say, which cell it holds for, and what is refused."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indoor.errors import IndoorError
from indoor.gate.limits import CellRules, rules_for
from indoor.gate.settings import (
    AccuracyRules,
    CellOverride,
    GateConfig,
    PlanRules,
    load_config,
    selects,
    unmatched_globs,
)
from indoor.gate.wording import matches

FULL = """
suite = "suite"
paths = ["python", "tools/lib"]
prepare = "make"
own_environment = true
copy = ["_version.py"]
select = ["suite/test_latency.py::*"]
arguments = ["--benchmark-disable", "--batch", "1,8"]
facts = "suite/facts.py"
allow_vanished = ["*old*"]
peak_memory_tolerance = 0.2
hang_s = 60
start_s = 300.5

[plan]
margin = 0.02
tolerance = 0.05
looks = [4, 8]
max_minutes = 5

[accuracy]
max_drop = 0.01

[[cells]]
glob = "*int8*"
tolerance = 0.06

[[cells]]
glob = "*int8-1]"
margin = 0.03

[environment]
OMP_NUM_THREADS = "2"
"""


def written(folder: Path, text: str) -> Path:
    """Return a gate.toml with the text."""
    path = folder / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """Every setting of the file arrives; what it leaves out has its default."""
    assert load_config(written(tmp_path, FULL), root=tmp_path) == GateConfig(
        plan=PlanRules(margin=0.02, tolerance=0.05, looks=(4, 8), max_minutes=5.0),
        suite="suite",
        paths=("python", "tools/lib"),
        prepare="make",
        own_environment=True,
        copy=("_version.py",),
        select=("suite/test_latency.py::*",),
        arguments=("--benchmark-disable", "--batch", "1,8"),
        facts="suite/facts.py",
        allow_vanished=("*old*",),
        cells=(
            CellOverride(glob="*int8*", tolerance=0.06),
            CellOverride(glob="*int8-1]", margin=0.03),
        ),
        accuracy=AccuracyRules(max_drop=0.01, budget_s=180.0),
        peak_memory_tolerance=0.2,
        hang_s=60.0,
        start_s=300.5,
        environment={"OMP_NUM_THREADS": "2"},
    )


def test_the_defaults_pass_their_own_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the gate has the documented defaults, also as an empty file gives them."""
    monkeypatch.chdir(tmp_path)
    assert load_config(None) == GateConfig()
    assert load_config(written(tmp_path, "")) == GateConfig()
    plan = GateConfig().plan
    assert (plan.margin, plan.tolerance, plan.looks) == (0.01, 0.03, (6, 10, 16, 24, 36))


def test_the_suites_own_file_is_found(tmp_path: Path) -> None:
    """A gate.toml in the suite's folder is read unasked, also where a file in it is named."""
    suite = tmp_path / "checks"
    suite.mkdir()
    (suite / "test_speed.py").touch()
    written(suite, "hang_s = 7")
    whole = load_config(None, suite, root=tmp_path)
    assert (whole.hang_s, whole.suite) == (7.0, "checks")
    part = load_config(None, suite / "test_speed.py", root=tmp_path)
    assert (part.hang_s, part.suite) == (7.0, "checks/test_speed.py")


def test_the_default_suites_file_is_found(tmp_path: Path) -> None:
    """Without --suite and --config, bench/gate.toml of the tree is read."""
    (tmp_path / "bench").mkdir()
    written(tmp_path / "bench", "hang_s = 7")
    assert load_config(None, root=tmp_path).hang_s == 7.0


def test_a_named_file_beats_the_suites_own(tmp_path: Path) -> None:
    """--config is read instead of, not on top of, the suite's file; --suite beats its suite."""
    suite = tmp_path / "checks"
    suite.mkdir()
    written(suite, "hang_s = 7")
    named = written(tmp_path, 'suite = "bench"\nstart_s = 8')
    config = load_config(named, suite, root=tmp_path)
    assert (config.suite, config.hang_s, config.start_s) == ("checks", 120.0, 8.0)
    assert load_config(named, root=tmp_path).suite == "bench"


def test_a_suite_is_named_from_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user types in a subfolder is told from the root, so that base has its own."""
    (tmp_path / "part" / "bench").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "part")
    assert load_config(None, Path("bench"), root=tmp_path).suite == "part/bench"
    assert load_config(None, Path("../part"), root=tmp_path).suite == "part"


def test_a_suite_outside_the_tree_is_refused(tmp_path: Path) -> None:
    """Both sides would run the same suite from elsewhere; the message names the tree."""
    with pytest.raises(IndoorError, match=r"suite .* lies outside .*; name one with --suite"):
        load_config(None, tmp_path / "suite", root=tmp_path / "tree")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("marjin = 1", "marjin = 1 is no setting; expected one of plan, suite,"),
        ("[plan]\nmarjin = 0.1", "plan.marjin = 0.1 is no setting; expected one of margin,"),
        ("[accuracy]\ndrop = 1", "accuracy.drop = 1 is no setting; expected one of max_drop,"),
        ("[[cells]]\nname = 'x'", r"cells\[0\].name = 'x' is no setting; expected one of glob,"),
        ("plan = 3", "plan is 3; expected a table"),
        ("[plan]\nmargin = '1%'", "plan.margin is '1%'; expected a number"),
        ("[plan]\nmargin = true", "plan.margin is True; expected a number"),
        ("[plan]\nmax_pairs = 4.5", "plan.max_pairs is 4.5; expected a whole number"),
        ("[plan]\nlooks = [6, 'all']", r"plan.looks\[1\] is 'all'; expected a whole number"),
        ("select = 'bench/*'", r"select is 'bench/\*'; expected a list"),
        ("arguments = ['--batch', 8]", r"arguments\[1\] is 8; expected text"),
        ("facts = 1", "facts is 1; expected text"),
        ("paths = 'python'", "paths is 'python'; expected a list"),
        ("paths = ['python', 1]", r"paths\[1\] is 1; expected text"),
        ("cells = [1]", r"cells\[0\] is 1; expected a table"),
        ("[[cells]]\nmargin = 0.1", r"cells\[0\] is .*; expected a table with a glob"),
        ("[[cells]]\nglob = 'x'\nmargin = 'y'", r"cells\[0\].margin is 'y'; expected a number"),
        ("[environment]\nA = 1", "environment is {'A': 1}; expected text"),
    ],
)
def test_a_wrong_key_or_type_is_named(tmp_path: Path, text: str, message: str) -> None:
    """A misspelt key must not gate with the default: file, key, value, and what is expected."""
    path = written(tmp_path, text)
    with pytest.raises(IndoorError, match=message) as caught:
        load_config(path, root=tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plan]\nmargin = 0", "plan.margin is 0.0; expected a share"),
        ("[plan]\nmargin = 1.0", "plan.margin is 1.0; expected a share"),
        ("[plan]\nmargin = nan", "plan.margin is nan; expected a share"),
        ("[plan]\nmargin = 0.03", r"plan.tolerance is 0.03; expected above the margin \(0.03\)"),
        ("[plan]\ntolerance = 1", "plan.tolerance is 1.0; expected above the margin"),
        ("[plan]\naccepted = 5", "plan.accepted is 5.0; expected a share"),
        ("[plan]\nwider = [0.05, 10]", r"plan.wider\[1\] is 10.0; expected a share"),
        ("[plan]\nwider = 0.05", "plan.wider is 0.05; expected a list"),
        ("[plan]\nstrict = 1", "plan.strict is 1; expected true or false"),
        ("[[cells]]\nglob = 'x'\naccepted = 0", r"cells\[0\].accepted is 0.0; expected a share"),
        ("[[cells]]\nglob = 'x'\nwider = [1]", r"cells\[0\].wider\[0\] is 1.0; expected a share"),
        ("[plan]\nlooks = []", r"plan.looks is \[\]; expected rising"),
        ("[plan]\nlooks = [1, 4]", r"plan.looks is \[1, 4\]; expected rising .* from 2 on"),
        ("[plan]\nlooks = [6, 6]", r"plan.looks is \[6, 6\]; expected rising"),
        ("[plan]\nlooks = [6, 4]", r"plan.looks is \[6, 4\]; expected rising"),
        ("[plan]\nnum_confirming = 1", "plan.num_confirming is 1; expected 2 launches or more"),
        ("[plan]\nalpha_fail = 0.5", "plan.alpha_fail is 0.5; expected an error rate"),
        ("[plan]\nalpha_pass = 0", "plan.alpha_pass is 0.0; expected an error rate"),
        ("[plan]\nalpha_instrument = -1", "plan.alpha_instrument is -1.0; expected an error"),
        ("[plan]\nmin_pairs = 0", "plan.min_pairs is 0; expected 1 pair or more"),
        ("[plan]\nmax_pairs = 3", r"plan.max_pairs is 3; expected min_pairs \(4\) or more"),
        ("[plan]\nlaunch_s = 0", "plan.launch_s is 0.0; expected a time"),
        ("[plan]\nmax_minutes = inf", "plan.max_minutes is inf; expected a time"),
        ("[accuracy]\nmax_drop = 1.5", "accuracy.max_drop is 1.5; expected a share"),
        ("[accuracy]\nbudget_s = 0", "accuracy.budget_s is 0.0; expected seconds"),
        ("peak_memory_tolerance = 10", "peak_memory_tolerance is 10.0; expected a share"),
        ("hang_s = -1", "hang_s is -1.0; expected seconds"),
        ("start_s = inf", "start_s is inf; expected seconds"),
        ("suite = ''", "suite is ''; expected a path"),
        ("facts = '../facts.py'", "facts is '../facts.py'; expected a path .* without .."),
        ("facts = '/facts.py'", "facts is '/facts.py'; expected a path"),
        ("paths = ['']", r"paths\[0\] is ''; expected a path"),
        ("paths = ['a', '/b']", r"paths\[1\] is '/b'; expected a path from the root"),
        ("paths = ['a/../..']", r"paths\[0\] is 'a/../..'; expected a path .* without .."),
        ("prepare = ' '", "prepare is ' '; expected a command"),
        ("own_environment = true", "own_environment is True; expected a command in prepare"),
        ("copy = ['../x']", r"copy\[0\] is '../x'; expected a path from the root .*without .."),
        ("[[cells]]\nglob = 'x'", r"cells\[0\] is .*; expected a glob and a margin"),
        ("[[cells]]\nglob = ''\nmargin = 0.1", r"cells\[0\] is .*; expected a glob and a margin"),
        ("[[cells]]\nglob = 'x'\nmargin = 2", r"cells\[0\].margin is 2.0; expected a share"),
        (
            "[[cells]]\nglob = 'x'\nmargin = 0.2\ntolerance = 0.1",
            r"cells\[0\].tolerance is 0.1; expected above the margin \(0.2\)",
        ),
        ("[environment]\n'A=B' = 'c'", "environment.A=B is 'c'; expected NAME"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, message: str) -> None:
    """What the plan could not work with is refused before anything is prepared."""
    with pytest.raises(IndoorError, match=message) as caught:
        load_config(written(tmp_path, text), root=tmp_path)
    assert str(caught.value).endswith("; correct it")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    """A syntax error tells its line; bytes that are no text and a missing file are told, too."""
    with pytest.raises(IndoorError, match=r"gate.toml is not TOML: .*line 2"):
        load_config(written(tmp_path, "hang_s = 1\nsuite = \nx = 1"))
    (tmp_path / "gate.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(IndoorError, match="is not TOML"):
        load_config(tmp_path / "gate.toml")
    with pytest.raises(IndoorError, match=r"cannot read .*missing.toml: No such file.*--config"):
        load_config(tmp_path / "missing.toml")


def limits(
    config: GateConfig, name: str, mark: dict[str, object] | None = None
) -> tuple[float, float]:
    """Return a cell's margin and tolerance."""
    rules = rules_for(config, name, mark)
    return rules.margin, rules.tolerance


def test_the_last_matching_entry_wins(tmp_path: Path) -> None:
    """Each threshold comes from the last entry that names it; the plan gives the others."""
    config = load_config(written(tmp_path, FULL), root=tmp_path)
    assert limits(config, "t.py::t[float32-1]") == (0.02, 0.05)
    assert limits(config, "t.py::t[int8-8]") == (0.02, 0.06)
    assert limits(config, "t.py::t[int8-1]") == (0.03, 0.06)
    later = replace(config, cells=(*config.cells, CellOverride(glob="*", margin=0.04)))
    assert limits(later, "t.py::t[int8-1]") == (0.04, 0.06)


def test_the_file_beats_the_mark_and_the_mark_the_plan(tmp_path: Path) -> None:
    """A mark on a test counts unless the user's file says otherwise for that cell."""
    config = load_config(written(tmp_path, FULL), root=tmp_path)
    mark = {"margin": 0.005, "tolerance": 0.2}
    assert limits(config, "t.py::t[float32-1]", mark) == (0.005, 0.2)
    assert limits(config, "t.py::t[int8-8]", mark) == (0.005, 0.06)
    assert limits(config, "t.py::t[float32-1]", {"margin": 0.04}) == (0.04, 0.05)
    assert limits(config, "t.py::t[float32-1]", {}) == (0.02, 0.05)


@pytest.mark.parametrize(
    ("plan", "mark", "override", "expected"),
    [
        ({}, {}, {}, (0.03, (0.05, 0.1), 0.05)),
        ({"accepted": 0.07}, {}, {}, (0.03, (0.05, 0.07, 0.1), 0.07)),
        ({"tolerance": 0.08}, {}, {}, (0.08, (0.1,), 0.08)),
        ({"strict": True}, {"accepted": 0.1}, {}, (0.03, (0.05, 0.1), 0.03)),
        ({"wider": ()}, {}, {}, (0.03, (0.05,), 0.05)),
        ({}, {"wider": [0.2], "accepted": 0.2}, {}, (0.03, (0.2,), 0.2)),
        ({}, {"accepted": 0.2}, {"accepted": 0.04}, (0.03, (0.04, 0.05, 0.1), 0.04)),
        ({}, {"tolerance": 0.5}, {"wider": (0.6, 0.55)}, (0.5, (0.55, 0.6), 0.5)),
    ],
)
def test_settings_and_mark_choose_the_rungs_and_the_accepted_one(
    plan: dict, mark: dict, override: dict, expected: tuple[float, tuple[float, ...], float]
) -> None:
    """The tolerance is the first rung, an accepted one always a rung, nothing below is any."""
    cells = (CellOverride(glob="*", **override),) if override else ()
    config = GateConfig(plan=PlanRules(**plan), cells=cells)
    tolerance, wider, accepted = expected
    assert rules_for(config, "t.py::t", mark) == CellRules(0.01, tolerance, wider, accepted)


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ({"wider": 0.1}, r"says wider=0.1; expected .* or wider as a list"),
        ({"wider": ["5%"]}, r"says wider=\['5%'\]; expected"),
        ({"accepted": [0.1]}, r"says accepted=\[0.1\]; expected"),
        ({"accepted": 5}, "has a rung of 5; expected shares between 0 and 1"),
        ({"wider": [0.05, float("nan")]}, "has a rung of nan; expected shares"),
    ],
)
def test_a_mark_without_a_ladder_to_stand_on_is_refused(
    mark: dict[str, object], words: str
) -> None:
    """What is no list of shares, or no share, is told with the cell and the remedy."""
    with pytest.raises(IndoorError, match=rf"t.py::t: its gate mark {words}.*; correct"):
        rules_for(GateConfig(), "t.py::t", mark)


@pytest.mark.parametrize("mark", [{"margins": 0.1}, {"margin": "1%"}, {"tolerance": True}])
def test_a_mark_that_says_something_else_is_refused(mark: dict[str, object]) -> None:
    """A misspelt mark is told with its cell."""
    key = next(iter(mark))
    with pytest.raises(IndoorError, match=rf"t.py::t: its gate mark says {key}=.*; correct"):
        rules_for(GateConfig(), "t.py::t", mark)


@pytest.mark.parametrize("margin", [0.03, 0.5, 0, -0.1, float("nan")])
def test_thresholds_that_do_not_fit_together_are_refused(margin: float) -> None:
    """A margin from a mark must stay below the tolerance that holds for its cell."""
    with pytest.raises(IndoorError, match=r"margin .* and tolerance 0.03 do not fit; expected 0 <"):
        rules_for(GateConfig(), "t.py::t", {"margin": margin})


@pytest.mark.parametrize(
    ("glob", "hit"),
    [
        ("bench/test_latency.py::test_latency[int8-1]", True),
        ("bench/*[int8-?]", True),
        ("*", True),
        ("*int8*", True),
        ("int8", False),
        ("bench/test_latency.py::test_latency[int8-1", False),
        ("bench/test_latency.py::test_latency[i]", False),
        ("bench/test.latency.py::*", False),
    ],
)
def test_brackets_and_points_are_no_pattern(glob: str, hit: bool) -> None:
    """Only * and ? mean something: a node id is its own glob, brackets included."""
    assert matches("bench/test_latency.py::test_latency[int8-1]", glob) is hit


@given(st.text())
def test_every_name_is_its_own_glob(name: str) -> None:
    """Whatever a parameter's id holds, a cell can be allowed to vanish by its exact name."""
    assert matches(name, name)


def test_cells_are_selected_by_any_glob() -> None:
    """No globs select all cells; else one that matches is enough."""
    assert selects(GateConfig(), "a")
    config = GateConfig(select=("a*", "b"))
    assert [name for name in ("a1", "b", "b1", "c") if selects(config, name)] == ["a1", "b"]


def test_globs_without_a_cell_are_listed_once() -> None:
    """A misspelt glob, which would change nothing in silence, can be told to the user."""
    config = GateConfig(
        select=("t*", "x*"),
        cells=(CellOverride(glob="x*", margin=0.02), CellOverride(glob="t1", margin=0.02)),
        allow_vanished=("gone",),
    )
    assert unmatched_globs(config, ["t1", "t2"]) == ("x*", "gone")


def test_the_documented_settings_are_read_and_are_the_defaults(tmp_path: Path) -> None:
    """Every name there exists, and where it says default, it is."""
    text = (Path(__file__).parent.parent / "docs" / "gate.md").read_text(encoding="utf-8")
    block = text[text.index('    suite = "bench"') : text.index("A test can also carry")]
    path = tmp_path / "gate.toml"
    path.write_text(textwrap.dedent(block), encoding="utf-8")
    config = load_config(path, None, root=tmp_path)
    assert config.plan == PlanRules()
    default = GateConfig()
    for name in ("peak_memory_tolerance", "hang_s", "start_s", "allow_vanished", "accuracy"):
        assert getattr(config, name) == getattr(default, name)
