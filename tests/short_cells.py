"""A pytest plugin: the suite measures a cell for a tenth of a second, eager variants by default."""

import bench.cases
import bench.options

bench.options.CELL_SECONDS = 0.1
bench.cases.preferred = lambda _native: frozenset()
