"""`indoor data download`: a data set from an address or a file, whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import archived
import pytest
from archived import Job, files_of, publish, tar, within, zipped
from killing import Runner
from serving import Bar, Server, by_name, ranges, send

from indoor.cli import main
from indoor.dataset import Obtained, obtain, verify
from indoor.dataset.lists import LIST_NAMES
from indoor.dataset.published import MIT_INDOOR_67, PublishedSet, look_for, read_listed
from indoor.errors import IndoorError

LISTS = tuple(names[0] for names in LIST_NAMES.values())


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the other programs' files alone."""
    monkeypatch.setattr("indoor.dataset.obtaining.os.sync", lambda: None)


@pytest.fixture(scope="module")
def files(photographs: Path) -> dict[str, bytes]:
    """What is in the folder that is to come."""
    return files_of(photographs)


@pytest.fixture(scope="module")
def images(files: dict[str, bytes]) -> dict[str, bytes]:
    """The photographs alone, by `class/file`."""
    return {n.removeprefix("Images/"): data for n, data in files.items() if n not in LISTS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the data set is to come."""
    return tmp_path / "sets" / "patterns"


@pytest.fixture
def served(server: Server, photographs: Path, images: dict[str, bytes]) -> PublishedSet:
    """The data set at its publisher's addresses, all of which answer."""
    archive = tar(within("Images/", images))
    answers = {name: send((photographs / name).read_bytes()) for name in LISTS}
    server.answer = by_name({"patterns.tar": ranges(archive, cut=50_000), **answers})
    return publish(photographs, archive, server.url)


def is_whole(got: Obtained) -> bool:
    """Tell whether it is the drawn data set: 36 photographs, 24 for train."""
    return (got.num_photographs, got.num_train, got.num_test) == (36, 24, 12)


def test_it_comes_from_its_publisher(
    served: PublishedSet, root: Path, files: dict[str, bytes]
) -> None:
    """Archive and lists are fetched, verified, unpacked, and nothing else is left."""
    bar = Bar()
    got = obtain(root, served, wait_s=0, progress=bar)
    assert is_whole(got)
    assert (got.is_new, got.verified, got.notes) == (True, "SHA-1", ())
    assert files_of(root) == files
    assert verify(root).problems == ()
    assert [path.name for path in root.parent.iterdir()] == ["patterns"]
    assert ("unpacking photographs", 36) in bar.heard
    assert bar.num_finished == len(bar.heard)


def test_what_is_there_is_left_alone(served: PublishedSet, server: Server, root: Path) -> None:
    """A second call asks nobody; so does one with a file at hand."""
    obtain(root, served, wait_s=0)
    server.asked.clear()
    again = obtain(root, served)
    assert is_whole(again)
    assert not again.is_new
    assert obtain(root, served, archive=root / "none.tar") == again
    assert server.num_requests == 0


def test_an_empty_folder_is_filled(
    served: PublishedSet, root: Path, files: dict[str, bytes]
) -> None:
    """Somebody may have made the folder already, or a link to one on a larger disk."""
    large = root.parent / "large"
    large.mkdir(parents=True)
    root.symlink_to(large)
    obtain(root, served, wait_s=0)
    assert files_of(root) == files
    assert root.is_symlink()


OTHERS: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "another folder": (False, lambda root: (root / "x").mkdir(parents=True), "TrainImages.txt"),
    "a file": (False, lambda root: root.write_text("x"), "TrainImages.txt"),
    "one photograph less": (
        True,
        lambda root: (root / "Images" / "bars" / "bars_03.jpg").unlink(),
        "1 of the 36 listed photographs, the first bars/bars_03.jpg",
    ),
    "no photographs": (True, lambda root: shutil.rmtree(root / "Images"), "the folder Images"),
    "another split": (
        True,
        lambda root: (root / "TestImages.txt").write_text("bars/bars_00.jpg"),
        "TestImages.txt with the publisher's SHA-256",
    ),
}
"""Whether the data set is there, what is done to it or in its place, and what it lacks then."""


@pytest.mark.parametrize(("is_there", "change", "lacks"), OTHERS.values(), ids=OTHERS)
def test_what_else_is_there_is_told_and_kept(
    photographs: Path, root: Path, is_there: bool, change: Callable[[Path], object], lacks: str
) -> None:
    """Nothing is written over, and a part of the data set is not taken for the whole."""
    root.parent.mkdir()
    if is_there:
        shutil.copytree(photographs, root)
    change(root)
    before = files_of(root.parent)
    with pytest.raises(
        IndoorError, match=rf"is there already .* it lacks {lacks}.*; expected a new"
    ):
        obtain(root, publish(photographs))
    assert files_of(root.parent) == before


# Copies, as people have them.


def copies(images: dict[str, bytes]) -> dict[str, bytes]:
    """Return the copy that is sorted into train/ and val/, with a photograph under another name."""
    sorted_in = {
        f"{'train' if int(name[-6:-4]) < 8 else 'val'}/{name}": data
        for name, data in images.items()
    }
    sorted_in["train/bars/bars_1.jpg"] = sorted_in.pop("train/bars/bars_01.jpg")
    return sorted_in


KINDS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "tar": lambda images: tar(within("Images/", images)),
    "tar.gz": lambda images: tar(within("Images/", images), "w:gz"),
    "zip": lambda images: zipped(within("Images/", images)),
    "in a folder": lambda images: tar(within("./indoorCVPR_09/Images/", images)),
    "without a folder": lambda images: zipped(images),
    "backslashes": lambda images: zipped(
        {f"Images\\{name}".replace("/", "\\"): data for name, data in images.items()}
    ),
    "train and val": lambda images: zipped(within("MITIndoor67/", copies(images))),
    "with masks": lambda images: zipped(
        {
            **within("masks/", {name.replace("jpg", "png"): b"mask" for name in images}),
            **within("Images/", images),
            "Annotations/bars/bars_00.xml": b"<x/>",
        }
    ),
    "macOS": lambda images: zipped(
        {
            **within("Images/", images),
            **within("__MACOSX/Images/", dict.fromkeys(images, b"fork")),
            "Images/bars/._bars_00.jpg": b"fork",
            "Images/.DS_Store": b"x",
        }
    ),
    "twice": lambda images: tar({**within("Images/", images), **within("again/", images)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_at_hand_of_any_kind_will_do(
    photographs: Path,
    root: Path,
    images: dict[str, bytes],
    files: dict[str, bytes],
    tmp_path: Path,
    kind: str,
) -> None:
    """Whatever folders a copy has, its photographs come into their places; lists lie beside it."""
    archive = tmp_path / "copy.bin"  # the name says nothing
    archive.write_bytes(KINDS[kind](images))
    for name in LISTS:
        shutil.copy(photographs / name, tmp_path)
    got = obtain(root, publish(photographs), archive=archive)
    assert is_whole(got)
    assert got.verified == ""
    assert got.notes[0].startswith("copy.bin is not the publisher's archive (its SHA-1 is ")
    assert files_of(root) == files


def test_photographs_that_no_list_names_come_from_images_alone(
    photographs: Path, root: Path, images: dict[str, bytes], tmp_path: Path
) -> None:
    """The full archive's other photographs belong to it; a copy's other folders do not."""
    more = {
        **within("Images/", images),
        "Images/bars/more.jpg": b"more",
        "Images/other/no_class.jpg": b"x",
        "views/bars/view.jpg": b"x",
        **{name: (photographs / name).read_bytes() for name in LISTS},
    }
    (tmp_path / "x.tar").write_bytes(tar(more))
    got = obtain(root, publish(photographs), archive=tmp_path / "x.tar")
    assert got.num_photographs == 37
    assert (root / "Images" / "bars" / "more.jpg").read_bytes() == b"more"
    assert not (root / "Images" / "other").exists()


def test_the_publishers_own_archive_is_known(
    photographs: Path, root: Path, images: dict[str, bytes], tmp_path: Path
) -> None:
    """A file at hand with the publisher's SHA-1 is verified without being told a hash."""
    data = tar({**within("Images/", images), **{n: (photographs / n).read_bytes() for n in LISTS}})
    (tmp_path / "x.tar").write_bytes(data)
    got = obtain(root, publish(photographs, data), archive=tmp_path / "x.tar")
    assert (got.verified, got.notes) == ("SHA-1", ())


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_hash_that_is_given_must_hold(
    photographs: Path, root: Path, images: dict[str, bytes], tmp_path: Path, algorithm: str
) -> None:
    """Of a file at hand, too; in capitals or not."""
    data = tar({**within("Images/", images), **{n: (photographs / n).read_bytes() for n in LISTS}})
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    right = hashlib.new(algorithm, data).hexdigest()
    with pytest.raises(IndoorError, match=rf"x.tar has SHA-\d+ {right}, expected 0+: damaged"):
        obtain(root, publish(photographs), archive=path, **{algorithm: "0" * len(right)})
    assert not root.exists()
    got = obtain(root, publish(photographs), archive=path, **{algorithm: right.upper()})
    assert got.verified == f"SHA-{algorithm[3:]}"


def test_a_mirror_serves_with_a_hash_of_its_own(
    served: PublishedSet, server: Server, photographs: Path, root: Path, images: dict[str, bytes]
) -> None:
    """Another address is taken by the publisher's hash, or by the one that is given."""
    copy = zipped(images)
    answers = {name: send((photographs / name).read_bytes()) for name in LISTS}
    server.answer = by_name({"copy.zip": send(copy), **answers})
    with pytest.raises(IndoorError, match=r"copy.zip has SHA-1 .*expected .* --sha256 HASH`"):
        obtain(root, served, url=server.url("copy.zip"))
    digest = hashlib.sha256(copy).hexdigest()
    got = obtain(root, served, url=server.url("copy.zip"), sha256=digest)
    assert (is_whole(got), got.verified) == (True, "SHA-256")


# The lists decide.


def test_another_split_in_the_archive_is_not_used(
    photographs: Path, root: Path, images: dict[str, bytes], files: dict[str, bytes], tmp_path: Path
) -> None:
    """The publisher's lists come from beside it, and a note tells of the archive's own."""
    (tmp_path / "x.zip").write_bytes(
        zipped({**within("Images/", images), "TrainImages.txt": b"bars/bars_00.jpg"})
    )
    for name in LISTS:
        shutil.copy(photographs / name, tmp_path)
    got = obtain(root, publish(photographs), archive=tmp_path / "x.zip")
    assert got.notes[1].startswith("the archive has a TrainImages.txt of its own")
    assert files_of(root) == files


def test_the_lists_may_have_their_other_names(
    photographs: Path, root: Path, images: dict[str, bytes], files: dict[str, bytes], tmp_path: Path
) -> None:
    """In an archive they are known by content, and published under the publisher's names."""
    lists = {f"lists/{n.replace('I', ' I')}": (photographs / n).read_bytes() for n in LISTS}
    (tmp_path / "x.zip").write_bytes(zipped({**within("Images/", images), **lists}))
    obtain(root, publish(photographs), archive=tmp_path / "x.zip")
    assert files_of(root) == files


def test_without_lists_it_says_where_to_put_them(
    served: PublishedSet, server: Server, photographs: Path, root: Path, files: dict[str, bytes]
) -> None:
    """The archive that came stays, and the next call goes on with the lists that were put there."""
    archive_alone = server.answer
    server.answer = lambda handler: (
        archive_alone(handler) if handler.path.endswith(".tar") else send(b"", status=404)(handler)
    )
    work = root.parent / ".patterns.download"
    with pytest.raises(IndoorError, match=r"HTTP 404.*put the publisher's TrainImages.txt into "):
        obtain(root, served, wait_s=0)
    assert not root.exists()
    for name in LISTS:
        shutil.copy(photographs / name, work)
    server.asked.clear()
    obtain(root, served)
    assert server.num_requests == 0
    assert files_of(root) == files


def test_an_address_that_is_gone_names_what_works(
    server: Server, photographs: Path, root: Path
) -> None:
    """404 says so, with the two commands that do without the publisher."""
    server.answer = send(b"", status=404)
    with pytest.raises(IndoorError) as caught:
        obtain(root, publish(photographs, b"", server.url))
    told = str(caught.value)
    assert "patterns.tar: HTTP 404 Not Found" in told
    assert f"`indoor data download {root} --url URL --sha256 HASH` from a mirror" in told
    assert f"`indoor data download {root} --archive FILE` with a file at hand" in told
    assert not root.exists()


LACKING: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "one": (
        lambda images: {n: d for n, d in images.items() if n != "rings/rings_11.jpg"},
        "lacks 1 of the 36 listed photographs, the first rings/rings_11.jpg.*another selection",
    ),
    "all but the archive in it": (
        lambda _: {"data/indoorCVPR_09.tar": b"x"},
        r"lacks 36 of the 36.*it holds data/indoorCVPR_09.tar: unpack that",
    ),
    "all": (lambda _: {"a.txt": b"x", "b.txt": b"x"}, "it holds a.txt and 1 more"),
    "everything": (lambda _: {}, "it holds nothing and 0 more"),
}


@pytest.mark.parametrize(("change", "words"), LACKING.values(), ids=LACKING)
def test_a_part_is_never_taken_for_the_whole(
    photographs: Path,
    root: Path,
    images: dict[str, bytes],
    tmp_path: Path,
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
    words: str,
) -> None:
    """Where listed photographs are missing nothing is unpacked, and the line says how many."""
    (tmp_path / "x.zip").write_bytes(zipped(change(images)))
    for name in LISTS:
        shutil.copy(photographs / name, tmp_path)
    with pytest.raises(IndoorError, match=words):
        obtain(root, publish(photographs), archive=tmp_path / "x.zip")
    assert not root.exists()


def test_two_photographs_for_one_place_are_told(
    photographs: Path, root: Path, images: dict[str, bytes], tmp_path: Path
) -> None:
    """Which of the two is meant nobody knows."""
    twice = {**within("Images/", images), "train/bars/bars_00.jpg": b"another"}
    (tmp_path / "x.zip").write_bytes(zipped(twice))
    for name in LISTS:
        shutil.copy(photographs / name, tmp_path)
    with pytest.raises(IndoorError, match=r"has two photographs for bars/bars_00.jpg, one of them"):
        obtain(root, publish(photographs), archive=tmp_path / "x.zip")
    assert not root.exists()


# Interrupted anywhere.


STEPS = {
    "while it is fetched": "indoor.download.fetching.read_body",
    "while it is compared": "indoor.download.fetching.hash_of_file",
    "while it is looked through": "indoor.dataset.unpacking.read_archive",
    "while it is unpacked": "indoor.dataset.unpacking.read_entry",
    "while the lists are written": "indoor.dataset.obtaining.write_bytes",
    "before it has its name": "indoor.dataset.obtaining.os.sync",
    "before the rest is removed": "indoor.dataset.obtaining.shutil.rmtree",
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_an_interrupted_download_goes_on(
    served: PublishedSet,
    root: Path,
    files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    kind: type[BaseException],
) -> None:
    """Ctrl-C or a failing disk at any step leaves no half data set, and the next call ends it."""

    def fail(*_: object, **__: object) -> None:
        raise kind(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], fail)
        with pytest.raises((KeyboardInterrupt, IndoorError, OSError)):
            obtain(root, served, wait_s=0)
    assert not root.exists() or not look_for(served, root).lacks
    assert is_whole(obtain(root, served, wait_s=0))
    assert files_of(root) == files
    assert [path.name for path in root.parent.iterdir()] == ["patterns"]


def test_a_killed_download_goes_on(
    served: PublishedSet, tmp_path: Path, files: dict[str, bytes]
) -> None:
    """SIGKILL before any change on the disk: the folder is whole or not there, and then whole."""
    runner = Runner(archived.run, "indoor.dataset")
    num_changes = runner.finish(Job(root=tmp_path / "first" / "patterns", published=served))
    assert num_changes > 60
    for step in range(1, num_changes + 1, num_changes // 5):
        job = Job(root=tmp_path / str(step) / "patterns", published=served)
        runner.kill_at_write(job, step)
        assert not job.root.exists() or not look_for(served, job.root).lacks
        obtain(job.root, served, wait_s=0)
        assert files_of(job.root) == files
        assert [path.name for path in job.root.parent.iterdir()] == ["patterns"]


def test_a_full_disk_is_told_before_anything_is_unpacked(
    photographs: Path,
    root: Path,
    images: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the photographs need is known beforehand."""
    (tmp_path / "x.zip").write_bytes(zipped(images))
    for name in LISTS:
        shutil.copy(photographs / name, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("indoor.dataset.unpacking.shutil.disk_usage", lambda _: usage)
    with pytest.raises(IndoorError, match=r"photographs of x.zip have .* bytes, .* has 100 free"):
        obtain(root, publish(photographs), archive=tmp_path / "x.zip")


def test_of_many_at_once_one_downloads(
    served: PublishedSet, server: Server, root: Path, files: dict[str, bytes]
) -> None:
    """Whoever comes second waits, says for whom, and finds the folder whole."""
    told: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(obtain, root, served, wait_s=0, say=told.append) for _ in range(3)]
    assert sorted(call.result().is_new for call in calls) == [False, False, True]
    assert files_of(root) == files
    assert server.ranges.count(None) == 3  # the archive's first part and the lists
    assert [path.name for path in root.parent.iterdir()] == ["patterns"]
    assert all("another download to this folder" in line or "asking" in line for line in told)


def test_a_place_that_cannot_be_written_to_is_one_line(
    served: PublishedSet, server: Server, tmp_path: Path
) -> None:
    """It is told before anything is asked for."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(IndoorError, match=r"cannot write to .*choose another"):
        obtain(tmp_path / "file" / "patterns", served)
    assert server.num_requests == 0


# MIT Indoor-67's facts, and the command.


@pytest.mark.real_data
def test_the_published_lists_are_known(shared: Path) -> None:
    """The constants are those of the official lists: 5,360 and 1,340 lines, 67 classes."""
    lines = {}
    for name, (_, file) in LIST_NAMES.items():
        data = (shared / "mit67" / file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == MIT_INDOOR_67.lists[name].sha256
        lines[name] = read_listed(data)
    listed = {*lines["train"], *lines["test"]}
    assert (len(lines["train"]), len(lines["test"]), len(listed)) == (5360, 1340, 6700)
    assert len({line.split("/")[0] for line in listed}) == 67
    for official, other in MIT_INDOOR_67.other_names.items():
        assert official in listed
        assert other not in listed


@pytest.fixture
def at_hand(
    photographs: Path, images: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An archive at hand of what the command takes for the published data set."""
    data = tar({**within("Images/", images), **{n: (photographs / n).read_bytes() for n in LISTS}})
    (tmp_path / "x.tar").write_bytes(data)
    published = replace(publish(photographs, data), name="MIT Indoor-67")
    monkeypatch.setattr(obtain, "__defaults__", (published,))
    return tmp_path / "x.tar"


def test_the_command_says_what_lies_there_and_what_is_next(
    at_hand: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In text and as JSON, the first time and again."""
    words = ["data", "download", str(root), "--archive", str(at_hand)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "verified by its archive's SHA-1: 36 photographs, of which its lists name 24" in out
    assert f"next: indoor data verify {root}" in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "MIT Indoor-67",
        "num_photographs": 36,
        "num_train": 24,
        "num_test": 12,
        "is_new": False,
        "verified": "",
        "notes": [],
    }


MISTAKES = {
    "no hash": (["--sha1", "xyz"], "'xyz' is not 40 hexadecimal digits"),
    "a hash of the other kind": (["--sha256", "0" * 40], "is not 64 hexadecimal digits"),
    "no address": (["--url", "ftp://x"], "does not begin with http"),
    "both": (["--url", "http://x", "--archive", "x"], "not allowed with"),
    "no file": (["--archive", "none.tar"], "none.tar: there is no such file; expected an archive"),
    "a folder": (["--archive", "."], "it is no file; expected an archive"),
    "a device": (["--archive", "/dev/zero"], "it is no file; expected an archive"),
}


@pytest.mark.parametrize(("words", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    """Exit status 2, and nothing at the folder."""
    assert main(["data", "download", str(root), *words]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1
    assert not root.exists()


@pytest.mark.parametrize(
    "words", [{"url": "http://x", "archive": Path("x")}, {"sha1": "0" * 40, "sha256": "0" * 64}]
)
def test_bad_arguments_are_refused(root: Path, words: dict[str, Any]) -> None:
    """An archive comes from one place and is known by one hash."""
    with pytest.raises(ValueError, match="expected one of"):
        obtain(root, **words)
