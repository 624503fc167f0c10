"""A file of results as JSON: one document, in which an object names each member once."""

import json
import sys
from collections import Counter
from pathlib import Path

import msgspec

from indoor.errors import IndoorError
from indoor.files import read_bytes

_MOST_MEMORY_BYTES = 700_000_000
"""What a document and its objects may take; those of a run of a thousand cases take 50 MB."""

_MEMBER_BYTES = 180
"""What a member of an object takes, which no other character of the text comes near."""

ONE_BY_ONE = "report the runs' own files one by one"
"""The remedy where a file holds more than one run."""


def read_document(path: Path) -> object:
    """Return what the file holds, packed by gzip or not.

    Raises:
        IndoorError: It cannot be read, is far longer than any run, is no JSON or holds several
            documents, or an object in it names a member twice, of which Python's own reader would
            keep the last in silence.
    """
    try:
        data = read_bytes(path)
        text = data.decode("utf-8-sig")  # editors of another system begin with a mark
    except UnicodeDecodeError as error:
        raise _no_json(path, "it is not UTF-8 text") from error
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror or error}; expected a file that "
            "`pytest bench` saved; see results/ for those there are"
        ) from error
    may_be_much = len(text) * _MEMBER_BYTES > _MOST_MEMORY_BYTES
    if may_be_much and _memory_bytes(text) > _MOST_MEMORY_BYTES:
        raise _no_run(path, f"holds {len(text):,} characters of objects within objects")
    if (found := _quickly(data)) is not _SLOWLY:
        return found
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise IndoorError(
            f"{path} names {error} twice in one object; expected one run; {ONE_BY_ONE}"
        ) from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text[error.pos] in "[{":
            raise IndoorError(
                f"{path} holds more than one JSON document, the second from line {error.lineno} "
                f"on; expected one run; {ONE_BY_ONE}"
            ) from error
        raise _no_json(path, str(error) if text.strip() else "it is empty") from error
    except RecursionError as error:
        raise _no_run(path, "is nested too deeply") from error
    except ValueError as error:
        raise _no_json(path, str(error)) from error


_SLOWLY = object()


def _quickly(data: bytes) -> object:
    """Return what ordinary JSON holds; `_SLOWLY` where the slow reader must look at it.

    msgspec takes a third of the time, but keeps the last of two members of one name in silence, as
    Python does. Written again, such an object has a colon less than its text had, unless one was
    spelled as an escape.
    """
    try:
        found = msgspec.json.decode(data)
        colons = msgspec.json.encode(found).count(b":")
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return _SLOWLY
    escaped = b"\\u003a" in data or b"\\u003A" in data
    return _SLOWLY if escaped or colons != data.count(b":") else found


def _memory_bytes(text: str) -> int:
    """Return about how many bytes a text and Python's objects of it take at most."""
    containers, members, others = (
        text.count("{") + text.count("["),
        text.count(":"),
        text.count(","),
    )
    return sys.getsizeof(text) + 100 * containers + _MEMBER_BYTES * members + 40 * others


class _TwiceError(Exception):
    """An object names this member twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise _TwiceError(repr(name))
    return found


def _no_run(path: Path, what: str) -> IndoorError:
    return IndoorError(
        f"{path} {what}; expected one run, as `pytest bench` saves it; give such a file"
    )


def _no_json(path: Path, reason: str) -> IndoorError:
    return IndoorError(
        f"{path} is no JSON: {reason}; expected a file that `pytest bench` saved; "
        "measure again if it was cut off"
    )
