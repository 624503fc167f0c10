"""Which of a suite's tests are cells, and what their marks say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def rules_of(item: pytest.Item) -> dict[str, Any]:
    """Return what `@pytest.mark.gate(margin=..., tolerance=...)` says of a cell."""
    marker = item.get_closest_marker("gate")
    if marker is None:
        return {}
    names = ["margin", "tolerance", *(f"argument {n + 1}" for n in range(2, len(marker.args)))]
    return dict(zip(names, marker.args, strict=False)) | dict(marker.kwargs)
