"""A pytest plugin with which the suite measures a cell for a tenth of a second by default."""

import bench.options

bench.options.CELL_SECONDS = 0.1
