"""A history as a page: what changed, the chains as a picture and as tables."""

from collections.abc import Iterator

from indoor.history.plot import draw_history
from indoor.history.records import History
from indoor.history.render import history_blocks
from indoor.report.blocks import PageBlock, Picture
from indoor.report.picture import as_svg


def history_page_blocks(history: History) -> Iterator[PageBlock]:
    """Yield a history's page.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    found, chains = history_blocks(history)
    yield from found
    if history.cells:
        alt = (
            f"Levels of {len(history.cells)} cells over the commits; the figures are in the tables"
        )
        yield Picture(as_svg(draw_history(history)), alt)
    yield from chains
