"""A split list's lines read as they are meant, whatever stands around `class/file`."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote

from indoor.dataset.folders import ClassFolders, has_ending

_HEADER = re.compile(
    r"(class|file|image|img|photo|picture|path|name|label|category|scene|split|target|index|id|"
    r"idx|[\W\d_])+",
    re.IGNORECASE,
)
_BARE = "without what stands before class/file"
_ALONE = "without the other columns"
_MANAGERS_FILE = re.compile(
    r"(^|[/\\])(\._|\.DS_Store|Thumbs\.db|desktop\.ini)[^/\\]*$", re.IGNORECASE
)
"""What macOS and Windows put beside photographs, and `find` into a list."""

_BLANK = " \t\f\v\x1a"
"""What a line may hold that is blank; DOS ends a text with the last."""

_OLD_ENCODINGS = ("cp1252", "mac-roman", "cp850")
_LONGEST = 4096
"""Characters of a line that may name a file; no system has longer paths."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A line: its number, its text, the `class/file` that is meant, and what was put right.

    `name` is None where the text does not tell; `how` is empty where nothing was put right, and
    `ignored` says that the line names no photograph and is none of the list's (a comment, a head).
    """

    number: int
    text: str
    name: str | None
    how: str = ""
    ignored: bool = False


def read_list(data: bytes, folders: ClassFolders) -> tuple[list[Reading] | None, str]:
    """Return a list's lines with what each means, and the encoding where it is not UTF-8.

    An encoding that nothing gives away is taken where it leads each line to a file that is there.
    Where none does, there are no lines (None).
    """
    if encoding := _wide_encoding(data):
        return read_lines(data.decode(encoding, errors="replace"), folders), encoding
    try:
        return read_lines(data.decode("utf-8-sig"), folders), ""
    except UnicodeDecodeError:
        pass
    for encoding in _OLD_ENCODINGS:
        readings = read_lines(data.decode(encoding, errors="replace"), folders)
        if all(r.ignored or (r.name and folders.holds(r.name)) for r in readings):
            return readings, encoding
    return None, ""


def _wide_encoding(data: bytes) -> str:
    """Return which UTF-16 or UTF-32 a text is in, by its mark or many zeros; empty: in none."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if zeros.count(0) > 0.4 * len(data):
            return encoding
    return ""


def read_lines(text: str, folders: ClassFolders) -> list[Reading]:
    """Return the lines that are not blank, each with the photograph that it means.

    A line means the file to which the plainest way of reading leads that leads to one. Lines whose
    file is missing are read as the others of their list are.
    """
    lines = [
        (number, line)
        for number, line in enumerate(re.split(r"\r\n?|\n", text), start=1)
        if line.strip(_BLANK)
    ]
    readings = [_read_by_files(number, line, folders) for number, line in lines]
    usual = [how for how, _ in Counter(r.how for r in readings if r.name).most_common()]
    readings = [r if r.name or r.ignored else _read_by_form(r, usual, folders) for r in readings]
    names_alone = [r for r in readings if r.name is None and "/" not in r.text.strip()]
    if names_alone and all(r.name is None for r in readings):
        readings = [_read_by_only_holder(r, folders) for r in readings]
    if readings and readings[0].name is None and _is_head(readings[0].text):
        readings[0] = replace(readings[0], how="a head of columns", ignored=True)
    return readings


def _read_by_files(number: int, line: str, folders: ClassFolders) -> Reading:
    """Take the first way of reading that leads to a file."""
    if line.lstrip().startswith("#") and not folders.find(line.strip()):
        return Reading(number=number, text=line, name=None, how="a comment", ignored=True)
    if _MANAGERS_FILE.search(line):
        return Reading(number=number, text=line, name=None, how="a file manager's", ignored=True)
    for how, name in _ways(line, folders):
        if found := folders.find(name):
            told = ", ".join(part for part in (how, found[1]) if part)
            return Reading(number=number, text=line, name=found[0], how=told)
    return Reading(number=number, text=line, name=None)


def _read_by_form(reading: Reading, usual: list[str], folders: ClassFolders) -> Reading:
    """Take the way that the list's other lines were read, or the plainest that names a class.

    A name of another class stays as it stands, to be told.
    """
    ways = dict(reversed(list(_ways(reading.text, folders))))
    order = [how for how in dict.fromkeys([*usual, "", _BARE, *ways]) if how in ways]
    # What ends as a photograph does is one, and not a photograph with a label behind it.
    for how in sorted(order, key=lambda how: not has_ending(ways[how])):
        folder, _, file = ways[how].partition("/")
        if (known := folders.find_class(folder)) is not None:
            return replace(reading, name=f"{known}/{file}", how=how)
    return replace(reading, name=ways.get(""))


def _read_by_only_holder(reading: Reading, folders: ClassFolders) -> Reading:
    """Take the class folder that alone has a file of this name."""
    for how, file in _without_columns(reading.text, folders):
        holders = folders.holders(file)
        if len(holders) == 1 and not reading.ignored:
            told = ", ".join(
                part for part in (how, "no class, but one folder alone has it") if part
            )
            return replace(reading, name=f"{holders[0]}/{file}", how=told)
    return reading


def _is_head(text: str) -> bool:
    """Tell whether a line names columns, and no photograph."""
    return len(text) <= _LONGEST and "/" not in text and _HEADER.fullmatch(text.strip()) is not None


def _ways(line: str, folders: ClassFolders) -> Iterator[tuple[str, str]]:
    """Yield ways to read a line, and the `class/file` of each, the plainest first."""
    seen: set[str] = set()
    for columns, text in _without_columns(line, folders):
        for escape, path in (("", text), ("without percent signs", unquote(text))):
            plain = path.replace("\\", "/")
            tight = re.sub(r"\s*/\s*", "/", plain)
            for prefix, name in (
                ("", plain),
                ("without blanks around the slash", tight),
                (_BARE, _without_prefix(tight)),
            ):
                if name not in seen and is_class_and_file(name):
                    seen.add(name)
                    yield ", ".join(part for part in (columns, escape, prefix) if part), name


def _without_columns(line: str, folders: ClassFolders) -> Iterator[tuple[str, str]]:
    """Yield what may be the path of a line that has quotes, columns or a remark beside it."""
    text = line.strip()
    if len(text) > _LONGEST:
        return
    if line != text:
        yield "with the blanks around the name", line
    yield "", text
    yield "without quotes", text.strip("\"'")
    yield "without trailing separators", text.rstrip(",;\t ")
    for separator in ("\t", ",", ";"):
        fields = [
            field.strip().strip("'") for field in next(csv.reader([text], delimiter=separator))
        ]
        paths = [field for field in fields if re.search(r"[/\\]", field)]
        if len(paths) == 1 and len(fields) > 1:
            yield _ALONE, paths[0]
        if not paths:
            yield from (
                (_ALONE, f"{folder}/{file}")
                for folder in fields
                for file in fields
                if folder != file and folder in folders.files
            )
    # Not by `\s+`, which looks at a long run of blanks again from each of them.
    if remark := re.search(r"\s#", text):
        yield "without a remark", text[: remark.start()].rstrip()
    if len(parts := text.rsplit(None, 1)) == 2:
        yield _ALONE, parts[0].strip("\"',;")
    if found := re.fullmatch(r"(\d+)[\s,;:]+(.+)", text):
        yield _ALONE, found[2].strip("\"'")


def _without_prefix(path: str) -> str:
    """Return the last two parts of a path, where none of it leads upwards."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return "" if ".." in parts else "/".join(parts[-2:])


def is_class_and_file(line: str) -> bool:
    """Whether a line is two plain names, so that it cannot leave the Images folder."""
    parts = line.split("/")
    return (
        len(parts) == 2
        and all(part.strip() and part not in {".", ".."} for part in parts)
        and "\0" not in line
    )
