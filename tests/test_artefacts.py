"""What runtimes make from a checkpoint: made once, whole, and by this user where it is executed."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from suite_process import environment

import indoor.runtimes
from indoor.errors import IndoorError
from indoor.files import sha256_of_file
from indoor.model import load_float, read_manifest, save_float
from indoor.records import Variant
from indoor.runtimes import artefact_manifest, artefacts, trust
from indoor.runtimes.artefact_manifest import (
    MANIFEST,
    read_artefact,
    why_other_cpu,
    write_manifest,
)
from indoor.runtimes.artefacts import build_artefact, listening
from indoor.runtimes.loading import size_of

TOY = Variant(name="toy", runtime="eager", precision="float32", checkpoint="float32")

PROCESS = """
import sys, time
from pathlib import Path
from indoor.records import Variant
from indoor.runtimes.artefacts import build_artefact

checkpoint, log, go = map(Path, sys.argv[1:])
toy = Variant(name="toy", runtime="eager", precision="float32", checkpoint="float32")

def build(folder):
    (folder / "half").write_text("half")
    with log.open("a") as file:
        file.write("began\\n")
    while not go.exists():
        time.sleep(0.01)

print("ready", flush=True)
print(build_artefact(toy, checkpoint, ("torch",), build))
"""


@pytest.fixture
def checkpoint(tmp_path: Path, backbone: Path) -> Path:
    """A run's folder with a float32 checkpoint."""
    path = tmp_path / "run" / "float32.safetensors"
    path.parent.mkdir()
    shutil.copy(backbone, path)
    return path


@pytest.fixture(autouse=True)
def own_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The secret of a user of the test's own."""
    path = tmp_path / "state" / "artefacts.key"
    monkeypatch.setattr(trust, "secret_path", lambda: path)
    return path


def make(checkpoint: Path, text: str = "content", **how: object) -> Path:
    """Make the toy's artefact, one file in a folder within."""

    def build(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "model.bin").write_text(text)

    return build_artefact(TOY, checkpoint, ("torch",), build, **how)  # type: ignore[arg-type]


def content(folder: Path) -> str:
    """Return what the artefact's file holds."""
    return (folder / "inner" / "model.bin").read_text()


def folders(checkpoint: Path) -> list[str]:
    """Return the names of what lies among the run's artefacts, but the lock."""
    return sorted(p.name for p in (checkpoint.parent / "artefacts").iterdir() if p.name != ".lock")


def test_an_artefact_is_made_once_and_says_what_of(checkpoint: Path) -> None:
    """Asked again it is taken as it is; its manifest tells sources, machine and files."""
    folder = make(checkpoint)
    assert make(checkpoint, "other") == folder
    assert content(folder) == "content"
    manifest = read_artefact(folder)
    assert manifest is not None
    assert (manifest.variant, manifest.runtime, manifest.batch) == ("toy", "eager", None)
    assert manifest.checkpoint_sha256 == read_manifest(checkpoint).content_sha256
    assert [*manifest.libraries] == ["torch"]
    assert (manifest.isa, manifest.signature) == (None, None)
    assert [file.name for file in manifest.files] == ["inner/model.bin"]
    assert manifest.size_bytes == size_of(folder) == len("content")
    assert folder.stat().st_mode & 0o777 == 0o777 & ~os.umask(os.umask(0o022))


def _rewrite(path: Path, value: float = 0.5) -> None:
    loaded = load_float(path)
    save_float(path, loaded.model, replace(loaded.manifest, metrics={"val": value}))


@pytest.mark.parametrize("what", ["checkpoint", "library", "code"])
def test_what_was_made_from_something_else_is_made_again_and_removed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Another checkpoint, library or source: the new one takes the place of all batches'."""
    before = [make(checkpoint), make(checkpoint, batch=8)]
    if what == "checkpoint":
        _rewrite(checkpoint)
    elif what == "library":
        monkeypatch.setattr(artefacts, "version", lambda _: "99.0")
    else:
        monkeypatch.setattr(artefacts, "_code_sha256", lambda _: "0" * 64)
    after = make(checkpoint, "new")
    assert after not in before
    assert content(after) == "new"
    assert folders(checkpoint) == [after.name]


def test_what_a_runtime_imports_makes_its_artefacts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own file and a converter that it shares with others; not what only tells what ran."""
    monkeypatch.setattr(indoor.runtimes, "__path__", [*indoor.runtimes.__path__, str(tmp_path)])
    (tmp_path / "toy_one.py").write_text("from indoor.runtimes.toy_to import convert\n")
    (tmp_path / "toy_to.py").write_text("from indoor.runtimes.toy_one import FILE\n")
    found = [artefacts._code_sha256("toy_one")]
    (tmp_path / "toy_to.py").write_text("from indoor.runtimes.toy_one import OTHER\n")
    found.append(artefacts._code_sha256("toy_one"))
    (tmp_path / "toy_one.py").write_text("from indoor.runtimes.toy_to import other\n")
    found.append(artefacts._code_sha256("toy_one"))
    assert len(set(found)) == 3
    assert artefacts._code_sha256("toy_one") == found[-1]


def test_batches_and_precisions_lie_side_by_side(checkpoint: Path) -> None:
    """One for each batch, and one for any; none is taken for another."""
    made = {make(checkpoint), make(checkpoint, batch=1), make(checkpoint, batch=8)}
    assert sorted(path.name.rpartition("-")[0] for path in made) == [
        "toy",
        "toy-batch1",
        "toy-batch8",
    ]
    assert folders(checkpoint) == sorted(path.name for path in made)


def _alter(folder: Path) -> None:
    (folder / "inner" / "model.bin").write_text("CONTENT")


def _cut(folder: Path) -> None:
    (folder / "inner" / "model.bin").write_text("con")


def _drop(folder: Path) -> None:
    (folder / "inner" / "model.bin").unlink()


def _add(folder: Path) -> None:
    (folder / "more.bin").write_text("more")


def _link(folder: Path) -> None:
    path = folder / "inner" / "model.bin"
    path.rename(folder.parent.parent / "elsewhere")
    path.symlink_to(folder.parent.parent / "elsewhere")


def _tear(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:100])


def _edit(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"build_s": ', '"build_s": 1'))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_alter, r"inner/model.bin has SHA-256 \w{16}, \w{16} by its manifest"),
        (_cut, "inner/model.bin has 3 bytes, 7 by its manifest"),
        (_drop, "inner/model.bin is missing"),
        (_add, "more.bin is none of its files"),
        (_link, "inner/model.bin is missing"),
        (_tear, "holds no ArtefactManifest"),
        (_edit, "is damaged"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_artefact_is_made_again_with_a_line(
    checkpoint: Path, damage: Callable[[Path], None], told: str
) -> None:
    """Nothing is loaded that is not what was made, and the line says what was found."""
    folder = make(checkpoint)
    time.sleep(0.06)  # what was written a moment ago is not remembered
    make(checkpoint)
    damage(folder)
    with listening() as lines:
        assert make(checkpoint, "again") == folder
    (line,) = lines
    assert line.startswith(f"{folder.name} is made again: ")
    assert re.search(told, line)
    assert content(folder) == "again"
    with listening() as lines:
        make(checkpoint)
    assert lines == []


def test_a_build_that_fails_leaves_nothing(checkpoint: Path) -> None:
    """Neither a folder that counts nor half of one."""

    def build(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ValueError("no kernel")

    with pytest.raises(ValueError, match="no kernel"):
        build_artefact(TOY, checkpoint, ("torch",), build)
    assert folders(checkpoint) == []
    with pytest.raises(IndoorError, match=r"toy: its runtime wrote no file; expected an artefact"):
        build_artefact(TOY, checkpoint, ("torch",), lambda _: None)


def test_a_full_disk_is_one_line(checkpoint: Path) -> None:
    """The folder, the reason and the remedy."""

    def build(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    with pytest.raises(IndoorError, match=r"^cannot make .*toy-.*: No space left.*; make room"):
        build_artefact(TOY, checkpoint, ("torch",), build)


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_folder_that_nobody_may_write_to_is_one_line(checkpoint: Path) -> None:
    """What is there is taken all the same."""
    folder = make(checkpoint)
    for path in (folder.parent, checkpoint.parent):
        path.chmod(0o555)
    try:
        assert make(checkpoint) == folder
        with pytest.raises(IndoorError, match=r"cannot make artefacts in .*make it writable"):
            make(checkpoint, batch=8)
    finally:
        for path in (checkpoint.parent, folder.parent):
            path.chmod(0o755)


def test_where_no_folder_can_be_made_it_is_one_line(checkpoint: Path) -> None:
    """A file in its place, which root cannot write into either."""
    (checkpoint.parent / "artefacts").write_text("")
    with pytest.raises(IndoorError, match=r"^cannot make artefacts in .*; make it writable"):
        make(checkpoint)


def start(checkpoint: Path, tmp_path: Path) -> "subprocess.Popen[str]":
    """Start a process that makes the toy's artefact; it has begun when it is returned."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, checkpoint, tmp_path / "log", tmp_path / "go"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait_for(path: Path) -> None:
    """Wait until there is a file with something in it."""
    for _ in range(2000):
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


@pytest.mark.slow
def test_of_two_that_ask_at_once_one_makes_it(checkpoint: Path, tmp_path: Path) -> None:
    """The other waits and takes the first one's."""
    first = start(checkpoint, tmp_path)
    wait_for(tmp_path / "log")
    second = start(checkpoint, tmp_path)
    time.sleep(0.5)
    (tmp_path / "go").touch()
    told = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert told[0] == told[1]
    assert (tmp_path / "log").read_text() == "began\n"
    assert folders(checkpoint) == [Path(told[0].strip()).name]


def test_a_kill_in_the_middle_leaves_nothing_that_counts(checkpoint: Path, tmp_path: Path) -> None:
    """The next one makes it, and clears away what was left."""
    process = start(checkpoint, tmp_path)
    wait_for(tmp_path / "log")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (left,) = folders(checkpoint)
    assert left.startswith(".building-")
    folder = make(checkpoint)
    assert folders(checkpoint) == [folder.name]


def test_what_a_process_may_load_from_is_not_pulled_away(checkpoint: Path, tmp_path: Path) -> None:
    """It stays until that process has ended, whatever else was made meanwhile."""
    (tmp_path / "go").touch()
    holding = PROCESS + "sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", holding, checkpoint, tmp_path / "log", tmp_path / "go"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = process.stdout.readline(), process.stdout.readline()
    in_use = Path(lines[1].strip()).name
    _rewrite(checkpoint)
    newer = make(checkpoint)
    assert folders(checkpoint) == sorted([in_use, newer.name])
    process.communicate("", timeout=60)
    _rewrite(checkpoint, 0.7)
    newest = make(checkpoint)
    assert folders(checkpoint) == [newest.name]


def test_a_compiled_package_is_this_users_own(checkpoint: Path, own_secret: Path) -> None:
    """Its manifest is signed with a secret that nobody else can read, made on the first use."""
    folder = make(checkpoint, compiled=True)
    manifest = read_artefact(folder)
    assert manifest is not None
    assert manifest.isa
    assert manifest.signature
    assert own_secret.stat().st_mode & 0o777 == 0o600
    assert not artefact_manifest.is_foreign(manifest)
    assert make(checkpoint, "other", compiled=True) == folder
    assert content(folder) == "content"


def test_a_foreign_package_is_compiled_again(checkpoint: Path, own_secret: Path) -> None:
    """One of another user or machine, and one whose files and manifest were changed together."""
    folder = make(checkpoint, compiled=True)
    own_secret.unlink()
    with listening() as lines:
        make(checkpoint, "ours", compiled=True)
    assert content(folder) == "ours"
    assert "loading it executes it" in lines[0]
    manifest = read_artefact(folder)
    assert manifest is not None
    signature = manifest.signature
    (folder / "inner" / "model.bin").write_text("evil")
    (file,) = artefact_manifest.list_files(folder)
    forged = replace(manifest, files=(file,))
    write_manifest(folder, forged)
    text = (folder / MANIFEST).read_text()
    resigned = read_artefact(folder)
    assert resigned is not None
    assert signature is not None
    assert resigned.signature is not None
    (folder / MANIFEST).write_text(text.replace(resigned.signature, signature))
    with listening() as lines:
        make(checkpoint, "ours again", compiled=True)
    assert content(folder) == "ours again"
    assert lines


def test_another_instruction_set_is_told(checkpoint: Path) -> None:
    """A package is refused by what this CPU lacks, or by the system; a lesser one goes."""
    manifest = read_artefact(make(checkpoint, compiled=True))
    assert manifest is not None
    assert why_other_cpu(manifest) is None
    assert manifest.isa is not None
    assert why_other_cpu(replace(manifest, isa=manifest.isa[:1])) is None
    more = replace(manifest, isa=(*manifest.isa, "sme2"), cpu_model="Another")
    assert why_other_cpu(more) == "it was compiled for Another, and this CPU has no sme2"
    other = why_other_cpu(replace(manifest, system="Plan9 mips"))
    assert other is not None
    assert other.startswith("it was compiled for Plan9 mips, and this is ")


@pytest.mark.parametrize("how", ["readable", "short", "folder"])
def test_a_secret_that_is_none_is_one_line(checkpoint: Path, own_secret: Path, how: str) -> None:
    """Others may read it, it is damaged, or no file: told with what to do, and not used."""
    if how == "folder":
        own_secret.mkdir(parents=True)
    else:
        own_secret.parent.mkdir()
        own_secret.write_bytes(b"x" * (32 if how == "readable" else 5))
        own_secret.chmod(0o644 if how == "readable" else 0o600)
    with pytest.raises(IndoorError, match=r"artefacts.key, .* cannot be used: .*; remove it"):
        make(checkpoint, compiled=True)


def test_a_remembered_hash_is_not_trusted_for_what_is_executed(checkpoint: Path) -> None:
    """A file of the same size and times is read again."""
    folder = make(checkpoint, compiled=True)
    path = folder / "inner" / "model.bin"
    manifest = read_artefact(folder)
    assert manifest is not None
    about = path.stat()
    path.write_text("CONTENT")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert sha256_of_file(path) != manifest.files[0].sha256
    assert artefact_manifest.why_damaged(folder, manifest) is not None
