"""A cell's limits: the margin, the ladder of tolerances, and which rung of it is accepted."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indoor.errors import IndoorError
from indoor.gate.settings import GateConfig
from indoor.gate.wording import matches


@dataclass(frozen=True)
class CellRules:
    """A cell's limits on its slowdown (head's time / base's - 1).

    FAIL needs more than `margin`, PASS needs less than a rung of the ladder: less than `tolerance`
    at any look, or, once the minutes are used, less than one of `wider`, up to `accepted`. Rungs
    above that are told and pass nothing.
    """

    margin: float
    tolerance: float
    wider: tuple[float, ...] = ()
    """Rising, above `tolerance`."""
    accepted: float | None = None
    """The widest rung that passes, one of the ladder's; None: the tolerance alone."""

    def __post_init__(self) -> None:
        """Refuse limits between which no verdict would make sense."""
        if not 0 < self.margin < self.tolerance < math.inf:
            raise ValueError(
                f"margin is {self.margin} and tolerance is {self.tolerance}, "
                "expected 0 < margin < tolerance"
            )
        rising = all(low < high for low, high in itertools.pairwise(self.rungs))
        if not rising or self.accepts not in self.rungs:
            raise ValueError(
                f"the rungs are {self.rungs} and {self.accepted} is accepted, expected rising "
                "rungs and one of them"
            )

    @property
    def rungs(self) -> tuple[float, ...]:
        """The ladder, rising."""
        return (self.tolerance, *self.wider)

    @property
    def accepts(self) -> float:
        """The widest rung that is a PASS."""
        return self.tolerance if self.accepted is None else self.accepted


def rules_for(
    config: GateConfig, name: str, marker: Mapping[str, object] | None = None
) -> CellRules:
    """Return a cell's limits.

    Rungs that lie below the cell's tolerance are no rungs of it, one that is accepted always is,
    and where the accepted one lies below the tolerance, the tolerance is.

    Args:
        config: The settings; its `cells` beat the marker, its `plan` gives what nothing else names.
        name: The cell's node id.
        marker: What `pytest.mark.gate(margin=..., tolerance=..., wider=[...], accepted=...)` on the
            test says, if it is there.

    Raises:
        IndoorError: The marker says something else, or margin and tolerance do not fit.
    """
    plan = config.plan
    said: dict[str, Any] = {
        "margin": plan.margin,
        "tolerance": plan.tolerance,
        "wider": plan.wider,
        "accepted": plan.accepted,
    }
    for key, value in (marker or {}).items():
        is_list = isinstance(value, list | tuple)
        values = value if isinstance(value, list | tuple) else (value,)
        if key not in said or is_list != (key == "wider") or not all(map(_is_number, values)):
            raise IndoorError(
                f"{name}: its gate mark says {key}={value!r}; expected margin, tolerance or "
                "accepted as a number such as 0.02, or wider as a list of them; correct the mark "
                "in the suite"
            )
        said[key] = value
    for override in config.cells:
        if matches(name, override.glob):
            said |= {key: v for key in said if (v := getattr(override, key)) is not None}
    margin, tolerance = float(said["margin"]), float(said["tolerance"])
    if not 0 < margin < tolerance < 1:
        raise IndoorError(
            f"{name}: margin {margin:g} and tolerance {tolerance:g} do not fit; expected 0 < "
            f"margin < tolerance < 1; give both in its gate mark or in gate.toml"
        )
    rungs = [*map(float, said["wider"]), float(said["accepted"])]
    if wrong := [rung for rung in rungs if not 0 < rung < 1]:
        raise IndoorError(
            f"{name}: its gate mark has a rung of {wrong[0]:g}; expected shares between 0 and 1, "
            "such as wider=[0.05, 0.1] and accepted=0.05; correct the mark in the suite"
        )
    accepted = tolerance if plan.strict else max(tolerance, rungs[-1])
    wider = {rung for rung in (*rungs, accepted) if rung > tolerance}
    return CellRules(margin, tolerance, tuple(sorted(wider)), accepted)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
