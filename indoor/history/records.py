"""What is kept of gates, one line a commit, and what the chain of them says."""

from dataclasses import dataclass
from typing import Literal

from indoor.gate.records import GateVerdict
from indoor.records import Interval, NotNegative, Positive, PositiveCount

HISTORY_SCHEMA_VERSION = 1
"""The version of a kept line; a rename, a removal or a change of meaning counts it up."""


@dataclass(frozen=True, kw_only=True)
class KeptCell:
    """What a gate measured of one cell: head's time / base's, and its unadjusted 95% interval."""

    ratio: Positive
    low: Positive
    high: Positive
    num_launches: PositiveCount
    base_s: NotNegative | None = None
    test_changed: bool = False
    """Whether head measured it by other code than base, so that the ratio may be the test's."""


@dataclass(frozen=True, kw_only=True)
class KeptGate:
    """A gate as a link of the chain: what it was measured against, where, and each cell's ratio.

    `base_position` is base's place on the branch; None: it lies on another, such as a release's.
    """

    base: str
    base_position: PositiveCount | None
    began_at: str
    cpu_model: str
    num_cores: PositiveCount
    verdict: GateVerdict
    cells: dict[str, KeptCell]


@dataclass(frozen=True, kw_only=True)
class KeptCommit:
    """A commit and the gates that judged it; one line of the kept file.

    `position` counts the commits on the branch's first parents from the oldest, which is 1, so it
    orders the lines without git.
    """

    commit: str
    position: PositiveCount
    subject: str
    gates: tuple[KeptGate, ...]
    schema_version: int = HISTORY_SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Place:
    """A commit on the chain of one cell.

    `level` is its time over that of the chain's reference by all links together, with the 95%
    interval that they give; of the reference itself there is no interval. `ratio` is its time over
    that of `ratio_to`, the commit before it on the chain, by the same links.
    """

    commit: str
    position: int
    level: float
    interval: Interval | None
    ratio: float | None = None
    ratio_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a cell's time that the links show.

    A `step` came with one commit, `commit`; `after` is the one before it on the chain, and where
    commits between the two were never gated it may be any of them (`num_commits`). A `drift` was
    spread over the commits behind `after` up to `commit`, too little in each to be told apart.
    """

    kind: Literal["step", "drift"]
    after: str
    commit: str
    subject: str
    num_commits: int
    ratio: float
    """Time behind it over time before it, above 1 slower."""
    interval: Interval
    """95%, not adjusted for where else one might have looked."""
    p_value: float
    """Adjusted for all places, widths and cells."""
    or_with: tuple[str, ...] = ()
    """Other commits with which the step may have come as well, by the same links (95%)."""
    test_changed: bool = False
    """Whether the cell's test, fixtures or conftest changed between the two commits, too."""


@dataclass(frozen=True, kw_only=True)
class CellHistory:
    """One cell's chain and what changed on it."""

    name: str
    reference: str
    """The commit whose time is 1: the oldest of the chain."""
    places: tuple[Place, ...]
    changes: tuple[Change, ...]
    num_links: int
    scatter: float
    """By how much the links' intervals were widened, since the links scatter more; 1: not."""
    apart: tuple[str, ...] = ()
    """Commits that no chain of gates joins to these, so that nothing is known of them here."""


@dataclass(frozen=True, kw_only=True)
class History:
    """All cells' chains, and what a reader must know beside them."""

    cells: tuple[CellHistory, ...]
    num_commits: int
    num_gates: int
    machines: tuple[str, ...]
    alpha: float
    """The chance that a history without any change is said to have one, over all cells."""
    notes: tuple[str, ...] = ()
