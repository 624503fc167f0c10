"""A gate's report as GitHub's markdown, for the summary of a job or a comment."""

from collections.abc import Iterable, Iterator

from indoor.gate.records import GateVerdict
from indoor.gate.report.parts import Facts, Items, Part, Section, Table, Words


def as_markdown(title: str, sentence: str, sections: Iterable[Section]) -> str:
    """Return the report: the verdict first, then what it rests on, the details folded at the end.

    Args:
        title: The heading.
        sentence: Why that is the verdict.
        sections: What follows; those that are details are folded.
    """
    sections = tuple(sections)
    blocks = [f"## {_escape(title)}", f"**{_escape(sentence)}**"]
    for section in sections:
        if not section.is_detail:
            blocks += _section(section)
    details = [section for section in sections if section.is_detail]
    if details:
        # Without the empty line after it GitHub takes what follows for HTML.
        blocks.append("<details>\n<summary>Details</summary>")
        for section in details:
            blocks += _section(section)
        blocks.append("</details>")
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"### {_escape(section.title)}"
    for part in section.parts:
        yield _part(part)


def _part(part: Part) -> str:
    match part:
        case Words(text, strong):
            return f"**{_escape(text)}**" if strong else _escape(text)
        case Facts(entries):
            return "\n".join(f"- **{_escape(label)}**: {_escape(text)}" for label, text in entries)
        case Items(entries):
            return "\n".join(f"- {_escape(entry)}" for entry in entries)
        case Table():
            return _table(part)


def _table(table: Table) -> str:
    headers = (table.noun, "verdict", *table.headers, "reason")
    side = "---:" if table.is_numeric else ":---"
    rows = [
        [_escape(" ".join(header.split())) for header in headers],
        [":---", ":---", *(side for _ in table.headers), ":---"],
    ]
    for row in table.rows:
        figures = (_escape(figure) for figure in row.figures)
        rows.append([_escape(row.name), _verdict(row.verdict), *figures, _escape(row.reason)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _verdict(verdict: GateVerdict) -> str:
    return verdict.value if verdict is GateVerdict.PASS else f"**{verdict.value}**"


def _escape(text: str) -> str:
    """Return the text with everything that GitHub would take for its own marks escaped."""
    for character in "\\`*_[]<>|#~&$":
        text = text.replace(character, f"\\{character}")
    return text
