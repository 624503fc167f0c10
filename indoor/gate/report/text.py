"""A gate's report as text for a terminal or a pipe: nothing is cut off, at any width."""

import textwrap
from collections.abc import Iterable, Iterator

from indoor.gate.records import GateVerdict
from indoor.gate.report.parts import Facts, Items, Part, Row, Section, Table, Words

MIN_WIDTH = 40
"""Narrower than this no table is of use; a narrower terminal wraps the lines itself."""

_GAP = "  "
_INDENT = "  "
_COLORS = {
    GateVerdict.PASS: "32",
    GateVerdict.IMPROVED: "36",
    GateVerdict.FAIL: "1;31",
    GateVerdict.INCONCLUSIVE: "33",
    GateVerdict.UNRELIABLE: "1;35",
}
_BOLD, _DIM = "1", "2"


def as_text(
    title: str,
    verdict: GateVerdict,
    sentence: str,
    sections: Iterable[Section],
    *,
    width: int,
    color: bool,
) -> str:
    """Return the report as lines of at most `width` characters; it ends with a newline.

    Args:
        title: Opens the report.
        verdict: Gives the title its colour.
        sentence: Why that is the verdict.
        sections: What follows.
        width: Characters a line; below 40 counts as 40.
        color: Whether escape codes for colours may stand in it.
    """
    printer = _Printer(max(width, MIN_WIDTH), color)
    lines = [printer.paint(title, _COLORS[verdict]), printer.rule("═", title)]
    lines += [*printer.part(Words(sentence, strong=True)), ""]
    for section in sections:
        lines += [printer.paint(section.title, _BOLD), printer.rule("─", section.title)]
        for part in section.parts:
            lines += [*printer.part(part), ""]
    return "\n".join(line.rstrip() for line in lines[:-1]) + "\n"


class _Printer:
    """Lines of one width, with colours or without."""

    def __init__(self, width: int, color: bool) -> None:
        self.width = width
        self.color = color

    def paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.color and text else text

    def rule(self, character: str, text: str) -> str:
        return self.paint(character * min(len(text), self.width), _DIM)

    def part(self, part: Part) -> Iterator[str]:
        match part:
            case Words(text, strong):
                for line in self._wrapped(text):
                    yield self.paint(line, _BOLD) if strong else line
            case Facts(entries):
                widest = max((len(label) for label, _ in entries), default=0)
                for label, value in entries:
                    first = f"{label:<{widest}}{_GAP}"
                    lines = self._wrapped(value, " " * len(first))
                    lines[0] = self.paint(first, _DIM) + lines[0][len(first) :]
                    yield from lines
            case Items(entries):
                for entry in entries:
                    lines = self._wrapped(entry, _INDENT)
                    yield f"-{lines[0][1:]}"
                    yield from lines[1:]
            case Table():
                yield from self._table(part)

    def _table(self, table: Table) -> Iterator[str]:
        """Yield a line a row, or, where the figures take too much room, a line a figure."""
        headers = [header.split("\n") for header in table.headers]
        widths = [
            max(len(text) for text in (*headers[i], *(row.figures[i] for row in table.rows)))
            for i in range(len(headers))
        ]
        verdict_width = max(len("verdict"), *(len(row.verdict.value) for row in table.rows))
        room = self.width - verdict_width - sum(widths) - len(_GAP) * (len(widths) + 1)
        if room < len(table.noun):
            for row in table.rows:
                yield from self._stacked(row, table.headers)
            return
        fitting = [len(row.name) for row in table.rows if len(row.name) <= room]
        name_width = max([*fitting, len(table.noun)])
        height = max(len(header) for header in headers)
        side = ">" if table.is_numeric else "<"

        def line(name: str, verdict: str, figures: Iterable[str]) -> str:
            cells = (f"{t:{side}{w}}" for t, w in zip(figures, widths, strict=True))
            return _GAP.join((f"{name:<{name_width}}", verdict, *cells))

        for level in range(height):
            is_last = level == height - 1
            texts = ["" if (i := level - height + len(h)) < 0 else h[i] for h in headers]
            head = line(
                table.noun if is_last else "",
                f"{'verdict' if is_last else '':<{verdict_width}}",
                texts,
            )
            yield self.paint(head.rstrip(), _BOLD)
        full = name_width + verdict_width + sum(widths) + len(_GAP) * (len(widths) + 1)
        yield self.paint("─" * full, _DIM)
        for row in table.rows:
            name = row.name
            if len(name) > name_width:
                yield from self._wrapped(name)
                name = ""
            verdict = self.paint(f"{row.verdict.value:<{verdict_width}}", _COLORS[row.verdict])
            yield line(name, verdict, row.figures)
            yield from self._wrapped(row.reason, _INDENT)

    def _stacked(self, row: Row, headers: tuple[str, ...]) -> Iterator[str]:
        verdict = self.paint(row.verdict.value, _COLORS[row.verdict])
        if len(row.name) + len(_GAP) + len(row.verdict.value) <= self.width:
            yield f"{row.name}{_GAP}{verdict}"
        else:
            yield from self._wrapped(row.name)
            yield f"{_INDENT}{verdict}"
        figures = [
            f"{' '.join(header.split())}: {figure}"
            for header, figure in zip(headers, row.figures, strict=True)
        ]
        if len(together := _GAP.join(figures)) <= self.width - len(_INDENT):
            figures = [together]
        for figure in figures:
            yield from self._wrapped(figure, _INDENT)
        yield from self._wrapped(row.reason, _INDENT)

    def _wrapped(self, text: str, indent: str = "") -> list[str]:
        """Return at least one line; hyphens stay where they are, for `-0.4` is a number."""
        return textwrap.wrap(
            text,
            self.width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        ) or [indent]
