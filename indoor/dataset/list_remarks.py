"""What there is to tell of one split list's lines, with commands that work when they are pasted."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from indoor.dataset.findings import Finding
from indoor.dataset.folders import ClassFolders
from indoor.dataset.list_lines import Reading


def no_text(path: Path) -> Finding:
    """Tell of a list in an encoding that nothing gives away, and how it becomes UTF-8."""
    quoted = shlex.quote(str(path))
    command = f"iconv -f LATIN1 -t UTF-8 {quoted} > list.utf8 && mv list.utf8 {quoted}"
    return Finding(
        kind="lists are no text",
        what=f"{path} is no UTF-8 text; expected lines class/file",
        remedy=f"if it is Latin-1: {command}",
    )


def not_understood(
    path: Path, readings: Sequence[Reading], folders: ClassFolders
) -> Iterator[Finding]:
    """Tell of the lines that name no photograph inside Images, and how they go."""
    wrong = [reading for reading in readings if reading.name is None and not reading.ignored]
    quoted = shlex.quote(str(path))
    if len(wrong) == len(readings):
        remedy = "write the class's folder and a slash before each name"
    elif ranges := _ranges([reading.number for reading in wrong]):
        remedy = f"correct them, or take them off the list: sed -i.bak '{ranges}' {quoted}"
    else:
        remedy = "correct them, or take them off the list"
    for reading in wrong:
        what = (
            f"{path.name} line {reading.number} is {_shortened(reading.text)}, "
            "expected class/file inside Images"
        )
        if len(holders := folders.holders(reading.text.strip())) > 1:
            what += f" ({len(holders)} class folders have such a file)"
        yield Finding(kind=f"lines of {path.name} are not class/file", what=what, remedy=remedy)


def named_again(path: Path, reading: Reading, first: int) -> Finding:
    """Tell of a line that names the photograph of an earlier line."""
    quoted = shlex.quote(str(path))
    return Finding(
        kind=f"lines of {path.name} name a photograph again",
        what=f"{path.name} line {reading.number} names {reading.name} again "
        f"(first in line {first})",
        remedy=f"each line once: awk '!seen[$0]++' {quoted} > list.once && mv list.once {quoted}",
    )


def read_as_meant(path: Path, readings: Sequence[Reading]) -> Iterator[Finding]:
    """Tell once of each thing that was put right in a list's lines."""
    alike: dict[str, list[Reading]] = {}
    for reading in readings:
        if reading.how:
            alike.setdefault(reading.how, []).append(reading)
    for how, some in alike.items():
        first = some[0]
        meaning = "as no photograph" if first.name is None else f"as {first.name}"
        count = "1 line is" if len(some) == 1 else f"{len(some):,} lines are"
        what = (
            f"{path.name}: {count} read as meant ({how}); "
            f"line {first.number}, {_shortened(first.text)}, {meaning}"
        )
        yield Finding(kind="lists are read as they are meant", what=what)


def names_another_class(
    path: Path, readings: Sequence[Reading], folders: ClassFolders
) -> Iterator[Finding]:
    """Tell once of columns that hold another class than the photograph's folder."""
    others: dict[int, set[str]] = {}
    for reading in readings:
        if reading.name is not None and reading.how:
            fields = {field.strip(" \"'") for field in re.split(r"[\t,;]|\s+", reading.text)}
            named = fields & set(folders.classes)
            if named and reading.name.split("/")[0] not in named:
                others[reading.number] = named
    if others:
        count = "1 line names" if len(others) == 1 else f"{len(others):,} lines name"
        number, named = next(iter(others.items()))
        what = (
            f"{path.name}: {count} another class beside the photograph ({', '.join(sorted(named))})"
            f" than its folder, the first in line {number}; the folder counts"
        )
        yield Finding(kind="lists name another class than the folder", what=what)


def _ranges(numbers: Sequence[int]) -> str:
    """Return sed's words that delete these lines; empty where they would be many."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    if len(ranges) > 9:
        return ""
    return ";".join(f"{a}d" if a == b else f"{a},{b}d" for a, b in ranges)


def _shortened(text: str) -> str:
    """Return a line as Python writes it, the middle of a long one left out."""
    text = text.strip()
    return repr(text if len(text) <= 100 else f"{text[:60]}...{text[-30:]}")
