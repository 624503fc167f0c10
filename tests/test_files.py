"""Files appear whole or not at all."""

import hashlib
import os
from pathlib import Path

import pytest

from indoor.errors import IndoorError
from indoor.files import read_bytes, replace_file, sha256_of_file, write_bytes, write_text


def test_write_makes_missing_folders(tmp_path: Path) -> None:
    """A file is written with its parent folders."""
    write_text(tmp_path / "a" / "b.txt", "säule")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "säule".encode()


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    """An exception in the block keeps the old content and removes the temporary file."""
    path = tmp_path / "kept.bin"
    write_bytes(path, b"old")

    def fail() -> None:
        with replace_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.bin"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """An OSError while writing becomes an IndoorError that names the file and the remedy."""
    path = tmp_path / "full.bin"
    with (
        pytest.raises(IndoorError, match=r"cannot write .*full\.bin: No space left"),
        replace_file(path),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    """A parent that is no folder is told, not raised as OSError."""
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(IndoorError, match=r"cannot write .*below"):
        write_bytes(tmp_path / "file" / "below", b"x")


def test_others_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    """The file's mode follows the umask, as open() would have it."""
    old = os.umask(0o022)
    try:
        write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_sha256_of_file(tmp_path: Path) -> None:
    """The hash is that of the content."""
    write_bytes(tmp_path / "x", b"indoor")
    assert sha256_of_file(tmp_path / "x") == hashlib.sha256(b"indoor").hexdigest()


def test_what_is_packed_is_read_like_what_is_not(tmp_path: Path) -> None:
    """A name that ends in .gz packs, always to the same bytes; reading looks at the content."""
    plain, packed, renamed = (tmp_path / name for name in ("a.json", "a.json.gz", "b.json"))
    data = b'{"launches": [1, 2]}\n' * 1000
    for path in (plain, packed):
        write_bytes(path, data)
        assert read_bytes(path) == data
    once = packed.read_bytes()
    assert len(once) < len(data) / 10
    write_bytes(packed, data)
    assert packed.read_bytes() == once
    renamed.write_bytes(once)
    assert read_bytes(renamed) == data


@pytest.mark.parametrize("damage", [slice(0, 30), slice(0, -6)], ids=["cut off", "no checksum"])
def test_damage_to_a_packed_file_is_told(tmp_path: Path, damage: slice) -> None:
    """Half a file is no shorter record: the reason is an OSError's, which every reader handles."""
    path = tmp_path / "a.json.gz"
    write_bytes(path, bytes(range(256)))
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(OSError, match="what gzip packed is damaged"):
        read_bytes(path)
