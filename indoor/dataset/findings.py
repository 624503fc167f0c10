"""What is found in a data set, each thing in its own line, many of one kind in one."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

MANY = 3
"""Findings of one kind that are told one by one; more are counted, and some of them shown."""

_JOINER = "\u200d"  # within emoji


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to tell of a data set.

    `kind` names many of its sort, behind their number ("lines of TrainImages.txt are ..."); `what`
    tells of this one; `remedy` is for each or all of its kind.
    """

    kind: str
    what: str
    remedy: str = ""


def each(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return one line a finding; the first of a kind has the remedy."""
    kinds: set[str] = set()
    lines: list[str] = []
    for finding in findings:
        lines.append(_line(finding.what, "" if finding.kind in kinds else finding.remedy))
        kinds.add(finding.kind)
    return tuple(lines)


def briefly(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return one line a finding, and one line for all where more than a few are of one kind."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    lines: list[str] = []
    for kind, alike in kinds.items():
        if len(alike) <= MANY:
            lines += each(alike)
        else:
            shown = f"{len(alike):,} {kind} (--json has each); the first: {alike[0].what}"
            lines.append(_line(shown, alike[0].remedy))
    return tuple(lines)


def visible(text: str) -> str:
    r"""Return text that fits one line of any terminal and into JSON.

    What a name may hold and nobody can see or print (bytes that are no UTF-8, line ends, marks
    that turn the direction of writing) is told as Python writes it, such as `\n`.
    """
    return "".join(
        character
        if character == _JOINER or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _line(what: str, remedy: str) -> str:
    return visible(f"{what}; {remedy}" if remedy else what)
