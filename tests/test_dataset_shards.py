"""A data set as tar shards: the same photographs, splits and checkpoints as the folder's."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from killing import PREPROCESSING, small_weights

from indoor.cli import main
from indoor.dataset import (
    IndoorScenes,
    identify,
    own_files,
    read_split_lists,
    shards,
    verify,
    write_shards,
)
from indoor.dataset.samples import read_sample
from indoor.dataset.shard_manifest import MANIFEST, ShardManifest, find_manifest
from indoor.dataset.shards import windowed_order
from indoor.errors import IndoorError
from indoor.records import Split, read_record
from indoor.train import fine_tune
from indoor.train.features import read_features
from indoor.train.order import reading_order

SHARD_BYTES = 6_000
"""A few of the drawn photographs."""

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@pytest.fixture(scope="module")
def sharded(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn photographs as shards."""
    out = tmp_path_factory.mktemp("sharded") / "shards"
    write_shards(photographs, out, shard_bytes=SHARD_BYTES)
    return out


@pytest.fixture
def copy(sharded: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(sharded, tmp_path / "copy"))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of the folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("split", SPLITS)
def test_shards_hold_what_the_folder_holds(split: Split, photographs: Path, sharded: Path) -> None:
    """The same names, labels and order, and each photograph's bytes."""
    folder, stored = IndoorScenes(photographs, split), IndoorScenes(sharded, split)
    assert [(one.name, one.label) for one in stored.samples] == [
        (one.name, one.label) for one in folder.samples
    ]
    assert [read_sample(one) for one in stored.samples] == [
        one.path.read_bytes() for one in folder.samples
    ]
    assert all(
        stored[index][0].tobytes() == folder[index][0].tobytes() for index in range(len(folder))
    )


def test_shards_are_the_same_data_set(photographs: Path, sharded: Path) -> None:
    """Figures that were taken from shards name the folder that they were made from."""
    assert identify(sharded) == identify(photographs)
    assert identify(sharded, test=False) == identify(photographs, test=False)
    assert read_split_lists(sharded) == read_split_lists(photographs)


def test_any_tar_reader_finds_photograph_label_and_line(photographs: Path, sharded: Path) -> None:
    """WebDataset's convention: members of one key follow each other, each with its ending."""
    lists = read_split_lists(photographs)
    found = {}
    for path in sorted(sharded.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            assert {(one.mtime, one.uid, one.mode, one.isreg()) for one in members} == {
                (0, 0, 0o644, True)
            }
            for jpg, cls, line in zip(*[iter(members)] * 3, strict=True):
                key, _, ending = jpg.name.partition(".")
                assert [cls.name, line.name, ending] == [f"{key}.cls", f"{key}.json", "jpg"]
                data, label, said = (archive.extractfile(one).read() for one in (jpg, cls, line))  # type: ignore[union-attr]
                name = json.loads(said)["name"]
                assert lists.classes[int(label)] == name.split("/")[0]
                assert data == (photographs / "Images" / name).read_bytes()
                assert key not in found
                found[f"{path.name[:5]}{key}"] = name
    assert sorted(found.values()) == sorted((*lists.train, *lists.test))


def test_train_shards_mix_the_classes(sharded: Path) -> None:
    """A list is sorted by class; whoever reads a shard from first to last must not see that."""
    manifest = find_manifest(sharded)
    assert manifest is not None
    stored = [one.name for shard in manifest.shards for one in shard.photographs]
    train = [name for name in stored if name in manifest.train]
    assert train != list(manifest.train)
    assert [name for name in stored if name in manifest.test] == list(manifest.test)
    assert len(manifest.shards) > 4


def test_the_same_photographs_give_the_same_bytes(photographs: Path, tmp_path: Path) -> None:
    """Nothing of a shard depends on when or where it was written; another seed gives others."""
    for name, seed in (("one", 0), ("other", 0), ("seed", 1)):
        write_shards(photographs, tmp_path / name, shard_bytes=SHARD_BYTES, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert contents(tmp_path / "one") != contents(tmp_path / "seed")


def test_an_interrupted_writing_goes_on(
    photographs: Path, sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without its manifest is no data set; the next call writes what is missing."""
    out = tmp_path / "shards"
    written: list[str] = []
    write, last = shards._write, 2

    def counted(root: Path, out: Path, plan: shards._Plan, labels: dict[str, int]) -> object:
        if len(written) == last:
            raise KeyboardInterrupt
        written.append(plan.file)
        return write(root, out, plan, labels)

    monkeypatch.setattr(shards, "_write", counted)
    with pytest.raises(KeyboardInterrupt):
        write_shards(photographs, out, shard_bytes=SHARD_BYTES)
    with pytest.raises(IndoorError, match="has no folder Images"):
        IndoorScenes(out, "train")
    last = 99
    write_shards(photographs, out, shard_bytes=SHARD_BYTES)
    manifest = find_manifest(sharded)
    assert manifest is not None
    assert written == [shard.file for shard in manifest.shards]
    assert contents(out) == contents(sharded)


def test_a_killed_writing_goes_on(photographs: Path, sharded: Path, tmp_path: Path) -> None:
    """SIGKILL after the second shard leaves nothing half, and the result is the same bytes."""
    out = tmp_path / "shards"
    code = (
        "import os, signal, sys; from pathlib import Path; from indoor.dataset import shards\n"
        "write, done = shards._write, []\n"
        "def kill(*words):\n"
        "    if len(done) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(1); return write(*words)\n"
        "shards._write = kill\n"
        f"shards.write_shards(Path(sys.argv[1]), Path(sys.argv[2]), shard_bytes={SHARD_BYTES})"
    )
    command = [sys.executable, "-c", code, str(photographs), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (out / MANIFEST).exists()
    write_shards(photographs, out, shard_bytes=SHARD_BYTES)
    assert contents(out) == contents(sharded)


def test_a_changed_photograph_changes_its_shard_alone(photographs: Path, tmp_path: Path) -> None:
    """Written again, all other shards stay as they are."""
    root, out = Path(shutil.copytree(photographs, tmp_path / "set")), tmp_path / "shards"
    write_shards(root, out, shard_bytes=SHARD_BYTES)
    before = contents(out)
    path = root / "Images" / read_split_lists(root).test[0]
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes(18) + b"\xff\xd9")
    write_shards(root, out, shard_bytes=SHARD_BYTES)
    after = contents(out)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"test-000000.tar", MANIFEST}


@pytest.mark.parametrize("part", ["photograph", "label"])
def test_a_flipped_bit_is_found(part: str, copy: Path) -> None:
    """When the photograph is read, and wherever it lies when the data set is verified."""
    manifest = find_manifest(copy)
    assert manifest is not None
    shard = manifest.shards[-1]
    stored = shard.photographs[0]
    place = stored.offset + 100 if part == "photograph" else stored.offset + stored.num_bytes + 700
    data = bytearray((copy / shard.file).read_bytes())
    data[place] ^= 1
    (copy / shard.file).write_bytes(data)
    report = verify(copy)
    assert report.problems == (
        f"{copy / shard.file} is damaged: its SHA-256 is not {shard.sha256[:16]}...; copy or "
        "write it again",
    )
    scenes = IndoorScenes(copy, "test")
    place = next(i for i, one in enumerate(scenes.samples) if one.name == stored.name)
    if part == "photograph":
        with pytest.raises(IndoorError, match=f"{stored.name} in .*tar is damaged"):
            scenes[place]
    else:
        scenes[place]


def test_a_cut_shard_is_found(copy: Path) -> None:
    """The photographs before the cut are read, the one in it is an error that names it."""
    manifest = find_manifest(copy)
    assert manifest is not None
    path = copy / manifest.shards[-1].file
    path.write_bytes(path.read_bytes()[:1000])
    scenes = IndoorScenes(copy, "test")
    with pytest.raises(IndoorError, match="is damaged"):
        scenes[len(scenes) - 1]


def test_a_missing_shard_is_told_at_once(copy: Path) -> None:
    """Before anything is computed."""
    manifest = find_manifest(copy)
    assert manifest is not None
    (copy / manifest.shards[0].file).unlink()
    with pytest.raises(IndoorError, match=r"there is no shard .*train-000000.tar \(1 of them"):
        IndoorScenes(copy, "train")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:-9], "holds no ShardManifest"),
        (lambda text: text.replace("bars_00", "bars_77", 1), "is damaged"),
        (lambda _: "{}", "holds no ShardManifest"),
    ],
)
def test_a_damaged_manifest_is_one_line(
    change: Callable[[str], str], told: str, copy: Path
) -> None:
    """Nothing is guessed of what it said."""
    path = copy / MANIFEST
    path.write_text(change(path.read_text()))
    with pytest.raises(IndoorError, match=told):
        read_split_lists(copy)


def test_broken_photographs_may_be_left_out(photographs: Path, tmp_path: Path) -> None:
    """With their lines; without the word they are kept as they are."""
    root = Path(shutil.copytree(photographs, tmp_path / "set"))
    name = read_split_lists(root).train[0]
    (root / "Images" / name).write_bytes(b"no photograph")
    kept = write_shards(root, tmp_path / "kept")
    left = write_shards(root, tmp_path / "left", skip_broken=True)
    assert name in kept.train
    assert left.train == tuple(one for one in kept.train if one != name)
    with pytest.raises(IndoorError, match=r"--skip-broken with .* which holds shards"):
        IndoorScenes(tmp_path / "kept", "train", skip_broken=True)


def test_others_archives_stay(photographs: Path, tmp_path: Path) -> None:
    """Only a shard of ours that no list names any more goes."""
    out = tmp_path / "shards"
    out.mkdir()
    for name in ("my-backup.tar", "train-000099.tar"):
        (out / name).write_bytes(b"somebody's")
    write_shards(photographs, out)
    assert (out / "my-backup.tar").read_bytes() == b"somebody's"
    assert not (out / "train-000099.tar").exists()


def test_shards_are_not_made_of_shards(sharded: Path, tmp_path: Path) -> None:
    """Nor of a folder that is none."""
    with pytest.raises(IndoorError, match="holds shards already"):
        write_shards(sharded, tmp_path / "x")
    with pytest.raises(IndoorError, match="there is no folder"):
        write_shards(tmp_path / "nowhere", tmp_path / "x")


# Reading for a training


@pytest.mark.parametrize("window", [1, 2, 100])
def test_a_window_reads_few_shards_at_a_time(window: int) -> None:
    """Each photograph once; those of a shard lie within one window of shards."""
    shard_of = [index % 7 for index in range(70)]
    order = windowed_order(70, shard_of, window, random.Random(0))
    assert sorted(order) == list(range(70))
    for start in range(0, 70, 10 * window):
        assert len({shard_of[index] for index in order[start : start + 10 * window]}) <= window


def test_a_manifest_is_parsed_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three splits and an identity ask for it; a file that changed is read again."""
    monkeypatch.setattr("indoor.dataset.shard_manifest.file_key", _key)
    parsed: list[Path] = []

    def parsing(path: Path, kind: type[ShardManifest]) -> ShardManifest:
        parsed.append(path)
        return read_record(path, kind)

    monkeypatch.setattr("indoor.dataset.shard_manifest.read_record", parsing)
    for split in SPLITS:
        IndoorScenes(copy, split)
    identify(copy)
    assert len(parsed) == 1
    os.utime(copy / MANIFEST, (1_000_000_001, 1_000_000_001))
    find_manifest(copy)
    assert len(parsed) == 2


def _key(path: Path, what: str) -> str:
    """Return the key of a file that nobody wrote a moment ago."""
    return f"{what}:{path}:{path.stat().st_mtime_ns}"


def test_an_epochs_order_can_be_resumed_anywhere(sharded: Path) -> None:
    """It is a function of seed and epoch: what was read before a cut is known after it."""
    scenes = IndoorScenes(sharded, "train")
    orders = [reading_order(scenes, 0, epoch, 2).tolist() for epoch in (1, 2)]
    again = IndoorScenes(sharded, "train")
    assert reading_order(again, 0, 1, 2).tolist()[13:] == orders[0][13:]
    assert orders[0] != orders[1]
    assert reading_order(scenes, 1, 1, 2).tolist() != orders[0]


def test_a_folder_has_no_shards_to_be_read_at_once(photographs: Path) -> None:
    """The option would do nothing there, so it is refused."""
    with pytest.raises(IndoorError, match=r"--shards-at-once 2 with .* holds no shards"):
        reading_order(IndoorScenes(photographs, "train"), 0, 1, 2)


@pytest.mark.usefixtures("one_thread")
def test_features_are_the_same_from_shards(
    photographs: Path, sharded: Path, tmp_path: Path
) -> None:
    """The same chunks of the cache, byte for byte, whichever of the two they were computed from."""
    model = small_weights().model.eval()
    for name, root in (("folder", photographs), ("shards", sharded)):
        read_features(model, IndoorScenes(root, "train"), PREPROCESSING, tmp_path / name)
    one, other = contents(tmp_path / "folder"), contents(tmp_path / "shards")
    assert one == other
    assert len(one) > 1


@pytest.mark.usefixtures("one_thread")
def test_a_training_from_shards_ends_at_the_folders_checkpoint(
    photographs: Path, sharded: Path, tmp_path: Path
) -> None:
    """Byte for byte, as the data are the same; read few shards at a time it is another."""
    ends = {
        name: fine_tune(
            root,
            small_weights(),
            arch="resnet18",
            recipe="full",
            out=tmp_path / name / "runs" / "x",
            epochs=1,
            size=32,
            shards_at_once=window,
            run="x",
        )
        for name, root, window in (
            ("folder", photographs, None),
            ("shards", sharded, None),
            ("window", sharded, 2),
        )
    }
    hashes = {name: hashlib.sha256(end.path.read_bytes()).hexdigest() for name, end in ends.items()}
    assert hashes["folder"] == hashes["shards"] != hashes["window"]
    assert ends["window"].curves.settings["shards_at_once"] == 2


def test_the_command_writes_and_verifies(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`indoor data shard`, then `indoor data verify` on what it wrote."""
    out = tmp_path / "shards"
    assert main(["data", "shard", str(photographs), str(out), "--shard-mb", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["num_train"], told["num_test"], len(told["shards"])) == (24, 12, 2)
    assert main(["data", "verify", str(out)]) == 0
    assert "no problem found" in capsys.readouterr().out
    assert main(["data", "shard", str(out), str(tmp_path / "again")]) == 2


def test_what_reads_files_itself_refuses_shards(sharded: Path) -> None:
    """Timing from a file's bytes to its label has no files here."""
    samples = IndoorScenes(sharded, "test").samples
    with pytest.raises(IndoorError, match="timing needs photographs in files of their own"):
        own_files(samples, "timing")
    assert own_files([replace(samples[0], stored=None)], "timing") == [samples[0].path]
