"""Blocks as one page of HTML that asks nothing of any network: figures, pictures, tables."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from indoor.errors import IndoorError
from indoor.files import check_new_file, write_text
from indoor.hints import install_line
from indoor.report.blocks import OWN, Grid, Heading, PageBlock
from indoor.report.picture import blank

if TYPE_CHECKING:
    from jinja2 import Template

FEW_ROWS = 3
"""A table of no more rows is neither sorted nor filtered."""


@dataclass(frozen=True)
class _Section:
    """What belongs to one run or one gate; `mark` sets its anchors apart from another's."""

    mark: str
    blocks: tuple[PageBlock, ...]


def write_page(path: Path, title: str, blocks: Iterable[PageBlock]) -> None:
    """Write blocks as a page, whole or not at all.

    Raises:
        IndoorError: Jinja2 is not installed, or `path` cannot be written.
    """
    write_text(path, as_page(title, blocks))


def check_new_page(path: Path) -> None:
    """Find out that no page can be made there before minutes are spent on what it is to show.

    Raises:
        IndoorError: Jinja2 or matplotlib is not installed, or nothing can be written there.
    """
    check_new_file(path, option="--html")
    require_pages()


def require_pages() -> None:
    """Find out that no page can be made at all.

    Raises:
        IndoorError: Jinja2 or matplotlib is not installed.
    """
    _template()
    blank(1, 1)


def as_page(title: str, blocks: Iterable[PageBlock]) -> str:
    """Return blocks as one file of HTML with its style and its script in it.

    Whatever a name holds stays text. Without JavaScript everything is there but sorting, filtering
    and copying; a content security policy forbids every request.

    Args:
        title: What the browser calls the page.
        blocks: A heading of level 1 begins what belongs to one run.

    Raises:
        IndoorError: Jinja2 is not installed.
    """
    numbers = count()

    def alone(svg: str) -> str:
        mark = f"p{next(numbers)}-"
        return svg.replace(f'"{OWN}', f'"{mark}').replace(f"#{OWN}", f"#{mark}")

    return _template().render(title=title, sections=_sections(blocks), alone=alone)


def _sections(blocks: Iterable[PageBlock]) -> list[_Section]:
    parts: list[list[PageBlock]] = []
    for block in blocks:
        if not parts or (isinstance(block, Heading) and block.level == 1):
            parts.append([])
        parts[-1].append(block)
    return [_Section(f"s{number}-", tuple(part)) for number, part in enumerate(parts)]


@cache
def _template() -> "Template":
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise IndoorError(
            f"cannot make a page: {error}; expected Jinja2; {install_line('page', 'jinja2')}"
        ) from error
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.tests["of"] = lambda block, kind: type(block).__name__ == kind
    environment.globals |= {"base64": _base64, "can_sort": _can_sort, "full_rows": _full_rows}
    return environment.get_template("page.html")


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _can_sort(grid: Grid) -> bool:
    """Return whether every row stands for itself: none is a line below another."""
    return len(grid.rows) > FEW_ROWS and not any(row[0].startswith(" ") for row in grid.rows)


def _full_rows(grid: Grid) -> Sequence[Sequence[str]]:
    """Return the rows with what a table leaves out where it stands in the row above."""
    if not _can_sort(grid):
        return grid.rows
    full: list[tuple[str, ...]] = []
    for row in grid.rows:
        cells: list[str] = list(row)
        for place in range(grid.num_keys - 1):
            if not cells[place] and full:
                cells[place] = full[-1][place]
        full.append(tuple(cells))
    return full
