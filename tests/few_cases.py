"""A pytest plugin: `short_cells` without the cases that start processes for each variant."""

import short_cells  # noqa: F401 - short and eager, too

import bench.cases

COSTLY = ("test_throughput.py", "test_limit.py", "test_to_label.py")

bench.cases.CASES = tuple(case for case in bench.cases.CASES if case[0] not in COSTLY)
