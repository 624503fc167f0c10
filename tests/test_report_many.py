"""Every runtime in one table: what stands where, and that it stays readable."""

from runtime_records import many_json, many_run

from indoor.report import render
from indoor.report.comparison import case_name, compare_runs


def test_a_run_of_every_case_is_read_with_its_rounds() -> None:
    """Limits of several precisions are several cases, and rounds stay in the order of time."""
    run = many_run()
    assert len(run.cases) == len(many_json()["benchmarks"])
    first, saved = run.cases[0], many_json()["benchmarks"][0]
    assert first.seconds == tuple(saved["stats"]["data"])
    assert sorted(first.seconds) != list(first.seconds)


def test_each_kind_of_case_has_a_name_of_its_own() -> None:
    """Throughput says its processes, a limit its precision."""
    names = [case_name(case.measurement) for case in many_run().cases]
    assert len(set(names)) == len(names)
    assert "int8, throughput, batch 8, 1 thread, 2 processes" in names
    assert "float32, measured limit, 2 threads" in names
    assert "int8-openvino, from bytes to label, batch 8, 2 threads" in names


def test_what_is_no_time_is_compared_in_its_own_unit() -> None:
    """A run beside itself has each case unchanged, limits and throughput too."""
    found = compare_runs(many_run(), many_run())
    assert {change.change for change in found.changes} == {0.0}
    text = render([many_run()], baseline=many_run(), width=100)
    assert "photos/s" in text
    assert "GMAC/s" in text
