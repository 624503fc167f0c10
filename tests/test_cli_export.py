"""`indoor export`, and `indoor predict --artefact` with what it wrote and nothing else."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import indoor.runtimes
from indoor.cli import main
from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.model import read_manifest
from indoor.pipeline import evaluate_run
from indoor.records import write_record
from indoor.runtimes import all_variants, base, find_variant, why_not
from indoor.runtimes.artefact_manifest import MANIFEST, list_files, read_artefact
from indoor.runtimes.deployed import Deployed
from indoor.runtimes.exported import EXPORT, read_export, split
from indoor.runtimes.loading import load_here, size_of

RUNTIME = '''
"""A toy whose artefacts count as machine code, one for each batch."""

import torch
from indoor.model import load_float, read_manifest, save_float
from indoor.records import Ran, Variant
from indoor.runtimes.artefacts import build_artefact

VARIANTS = (
    Variant(
        name="float32-packed", runtime="packed", precision="float32", checkpoint="float32",
        min_sqnr_db=60.0, own_process=True, static_batch=True, order=40,
    ),
)

def why_not(variant):
    return None

def prepare(variant, checkpoint, batch):
    def build(folder):
        (folder / "batch.txt").write_text(str(batch))
        loaded = load_float(checkpoint)
        save_float(folder / "model.safetensors", loaded.model, read_manifest(checkpoint))
    return build_artefact(variant, checkpoint, ("torch",), build, batch=batch, compiled=True)

def load(variant, artefact, threads):
    return Packed(artefact)

class Packed:
    def __init__(self, folder):
        self.batch = int((folder / "batch.txt").read_text())
        self.model = load_float(folder / "model.safetensors").model

    def __call__(self, images):
        assert len(images) == self.batch
        with torch.inference_mode():
            return self.model(images)

    def ran(self, images):
        return Ran(precision="float32")
'''


@pytest.fixture(scope="module")
def packed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An export of the toy with packages for 1 and 4 photographs; the toy is a runtime here."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "toys").mkdir()
    (folder / "toys" / "packed.py").write_text(RUNTIME, encoding="utf-8")
    paths = [*indoor.runtimes.__path__, str(folder / "toys")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indoor.runtimes, "__path__", paths)
        base._registry.cache_clear()
        patch.setenv("INDOOR_HOME", str(home))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        words = ("--runtime", "packed", "--batch", "4,1", "--out", str(folder / "out"))
        assert main(["export", "tiny", *words]) == 0
        yield folder / "out"
    base._registry.cache_clear()
    shutil.rmtree(home / "runs" / "tiny" / "artefacts")


@pytest.fixture
def indoor_(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command, in an empty folder."""
    assert packed.is_dir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda *words: main([*map(str, words)])


@pytest.fixture
def copied(packed: Path, tmp_path: Path) -> Path:
    """A copy of the toy's export."""
    return shutil.copytree(packed, tmp_path / "copied")


Command = Callable[..., int]


@pytest.fixture
def photos(photographs: Path) -> list[Path]:
    """Six photographs."""
    return sorted((photographs / "Images").rglob("*.jpg"))[:30:5]


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON that was printed last."""
    return json.loads(capsys.readouterr().out)


def relink(folder: Path, package: str, **changes: object) -> None:
    """Change what a package says of itself as somebody would who knows the hashes, unsigned."""
    known = read_artefact(folder / package)
    assert known is not None
    files = list_files(folder / package)
    write_record(folder / package / MANIFEST, replace(known, files=files, **changes))  # type: ignore[arg-type]
    inner = read_artefact(folder / package)
    assert inner is not None
    assert inner.content_sha256 is not None
    export = read_export(folder)
    packages = tuple(
        replace(one, sha256=inner.content_sha256) if one.path == package else one
        for one in export.packages
    )
    write_record(folder / EXPORT, replace(export, packages=packages))


def test_an_export_says_what_a_deployer_must_know(
    indoor_: Command, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Input, output, preprocessing, classes, precision, versions, hashes; the checkpoint's own."""
    run, out = home / "runs" / "tiny", Path("out")
    words = ("--runtime", "eager", "--precision", "int8", "--out", out, "--json")
    assert indoor_("export", "tiny", *words) == 0
    export = read_export(out)
    assert told(capsys)["export"]["variant"] == export.variant == "int8"
    assert (export.runtime, export.precision) == ("eager", "int8")
    assert export.input.shape == ("batch", 3, 64, 64)
    assert (export.input.name, export.input.dtype) == ("images", "float32")
    assert export.output.shape == ("batch", 3)
    source = read_manifest(run / "int8.safetensors")
    assert export.checkpoint == source
    assert source.quantization is not None
    assert export.checkpoint_sha256 == source.content_sha256
    assert export.checkpoint.quantization == source.quantization
    assert export.checkpoint.provenance == source.provenance
    assert "torch" in export.requires
    assert "torch" in export.libraries
    (package,) = export.packages
    assert (package.path, package.batch) == ("int8.safetensors", None)
    assert package.sha256 == remembered_sha256(run / "int8.safetensors")
    loaded = load_here(find_variant("int8"), run)
    assert package.size_bytes == loaded.size_bytes() == size_of(out / package.path)
    assert sorted(p.name for p in out.iterdir()) == [EXPORT, "int8.safetensors"]


@pytest.mark.parametrize(
    "variant",
    [
        "float32",
        "int8",
        pytest.param("int8-onnxruntime", marks=[pytest.mark.runtime, pytest.mark.slow]),
        pytest.param(
            "int8-aotinductor", marks=[pytest.mark.runtime, pytest.mark.compiles, pytest.mark.slow]
        ),
    ],
)
def test_predict_needs_the_exported_folder_alone(
    indoor_: Command,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
) -> None:
    """The same answers as from the run, without a run."""
    if reason := why_not(all_variants()[variant]):
        pytest.skip(f"runtime: {reason}")
    assert indoor_("predict", "--run", "tiny", "--variant", variant, "--json", *photos) == 0
    expected = told(capsys)
    assert indoor_("export", "tiny", "--variant", variant, "--out", tmp_path / "out") == 0
    assert "next: indoor predict PHOTO --artefact" in capsys.readouterr().out
    monkeypatch.setenv("INDOOR_HOME", str(tmp_path / "nothing"))
    assert indoor_("predict", "--artefact", tmp_path / "out", "--json", *photos) == 0
    assert told(capsys) == expected
    assert not (tmp_path / "nothing").exists()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # as on another machine
    if variant == "int8-aotinductor":
        assert "foreign: loading it executes what is in it" in refused(tmp_path / "out")
    Deployed(tmp_path / "out", trust=variant == "int8-aotinductor")


@pytest.mark.slow
def test_a_package_for_each_batch_and_what_is_done_without_one(
    indoor_: Command, copied: Path, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Photographs are split into the packages that are there, or fill one up, and it is said."""
    export = read_export(copied)
    assert [(one.path, one.batch) for one in export.packages] == [("batch1", 1), ("batch4", 4)]
    assert export.isa
    assert export.build_s is not None
    for one in export.packages:
        assert one.size_bytes == size_of(copied / one.path)
    assert indoor_("predict", "--run", "tiny", "--json", *photos) == 0
    expected = [one["guesses"][0]["name"] for one in told(capsys)]
    assert indoor_("predict", "--artefact", copied, "--json", *photos) == 0
    printed = capsys.readouterr()
    assert [one["guesses"][0]["name"] for one in json.loads(printed.out)] == expected
    line = "no package for a batch of 2 (there are 1, 4): computed as 1 + 1"
    assert printed.err == f"indoor: {line}\n"
    write_record(copied / EXPORT, replace(export, packages=export.packages[1:]))
    assert indoor_("predict", "--artefact", copied, "--json", *photos[:3]) == 0
    printed = capsys.readouterr()
    assert [one["guesses"][0]["name"] for one in json.loads(printed.out)] == expected[:3]
    line = "no package for a batch of 3 (there are 4): computed as 4, the last filled up with 1"
    assert printed.err == f"indoor: {line}\n"


def test_a_damaged_artefact_is_made_again_and_said(
    indoor_: Command, home: Path, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the process that loads it, through to whoever asked."""
    (folder,) = (home / "runs" / "tiny" / "artefacts").glob("float32-packed-batch1-*")
    (folder / "batch.txt").write_text("100")
    words = ("predict", "--run", "tiny", "--variant", "float32-packed", photos[0])
    assert indoor_(*words) == 0
    line = f"{folder.name} is made again: batch.txt has 3 bytes, 1 by its manifest"
    assert capsys.readouterr().err == f"indoor: {line}\n"


@pytest.mark.parametrize(
    ("num", "batches", "calls"),
    [
        (5, (), [5]),
        (8, (1, 8), [8]),
        (10, (1, 8), [8, 1, 1]),
        (3, (4, 8), [4]),
        (13, (4, 8), [8, 4, 4]),
        (17, (8,), [8, 8, 8]),
    ],
)
def test_photographs_fill_the_packages_there_are(
    num: int, batches: tuple[int, ...], calls: list[int]
) -> None:
    """The largest first; what fills none goes into the smallest."""
    found, line = split(num, batches)
    assert found == calls
    assert (line is None) == (not batches or num in batches)


def refused(folder: Path, *, trust: bool = False) -> str:
    """Return the one line by which an export is refused, before anything of it is loaded."""
    with pytest.raises(IndoorError) as caught:
        Deployed(folder, trust=trust)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["of another machine", "changed with its hashes"])
def test_a_foreign_package_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """The line names what would happen, and the word that allows it."""
    Deployed(copied)
    if kind == "of another machine":
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    else:
        (copied / "batch1" / "more").write_text("code")
        relink(copied, "batch1")
    line = refused(copied)
    assert "batch1 is foreign: loading it executes what is in it" in line
    assert "add --trust" in line
    Deployed(copied, trust=True)


def test_trust_loads_what_is_foreign(
    indoor_: Command, copied: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, in the process that loads it, too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(copied / "elsewhere"))
    assert indoor_("predict", "--artefact", copied, photos[0]) == 2
    assert indoor_("predict", "--artefact", copied, "--trust", photos[0]) == 0


def test_what_says_that_it_is_not_compiled_is_foreign_all_the_same(copied: Path) -> None:
    """Whether loading executes something is the runtime's to say, not the stranger's file."""
    relink(copied, "batch1", isa=None, environment=None, system=None, signature=None)
    assert "is foreign" in refused(copied)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"isa": ("avx2", "sme2"), "cpu_model": "Another"}, "this CPU has no .*sme2"),
        ({"system": "Plan9 mips"}, "it was compiled for Plan9 mips, and this is"),
        ({"libraries": {"torch": "1.0"}}, r"it was compiled by torch 1\.0, and 2\."),
    ],
    ids=["isa", "system", "torch"],
)
def test_what_was_compiled_for_something_else_is_refused_with_trust_too(
    copied: Path, changes: dict[str, object], reason: str
) -> None:
    """It would crash or compute something else, whoever made it."""
    relink(copied, "batch1", **changes)
    assert re.search(rf"batch1 cannot run here: .*{reason}", refused(copied, trust=True))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("batch1/batch.txt", "batch.txt has 2 bytes, 1 by its manifest"),
        ("batch1/manifest.json", "damaged|holds no ArtefactManifest"),
        ("export.json", "damaged|holds no Export"),
    ],
)
def test_damage_is_told_and_not_loaded(copied: Path, path: str, told: str) -> None:
    """A file of the package, what the package says, what the folder says; trust helps nothing."""
    with (copied / path).open("ab") as file:
        file.write(b"x")
    assert re.search(told, refused(copied, trust=True))


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname"])
def test_a_package_lies_within_its_folder(copied: Path, path: str) -> None:
    """A path that leads out of it is refused."""
    export = read_export(copied)
    write_record(
        copied / EXPORT, replace(export, packages=(replace(export.packages[0], path=path),))
    )
    assert "leads out of it" in refused(copied)


def test_the_accuracy_is_the_one_of_these_checkpoints(
    indoor_: Command, home: Path, photographs: Path
) -> None:
    """What the run was evaluated at stands in the export; other checkpoints' figures do not."""
    run = home / "runs" / "tiny"
    report = evaluate_run(photographs, run)
    words = ("export", "tiny", "--runtime", "eager", "--out", "out")
    try:
        write_record(run / "evaluation.json", report)
        assert indoor_(*words) == 0
        export = read_export(Path("out"))
        assert export.accuracy == report.evaluations[0].top1
        assert export.accuracy_on == report.data
        other = dict.fromkeys(report.checkpoint_sha256, "0" * 64)
        write_record(run / "evaluation.json", replace(report, checkpoint_sha256=other))
        assert indoor_(*words) == 0
        assert read_export(Path("out")).accuracy is None
    finally:
        (run / "evaluation.json").unlink()


def test_an_export_is_whole_or_not_there(
    indoor_: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails leaves the earlier one; a folder of something else is not touched."""
    words = ("export", "tiny", "--runtime", "eager", "--out", "out")
    assert indoor_(*words) == 0
    before = read_export(Path("out"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("indoor.pipeline.export.write_record", full)
        assert indoor_(*words) == 2
    assert "cannot write out: No space left on device" in capsys.readouterr().err
    assert read_export(Path("out")) == before
    assert sorted(p.name for p in Path().iterdir()) == ["out"]
    assert indoor_(*words, "--precision", "int8") == 0
    assert read_export(Path("out")).variant == "int8"
    Path("other").mkdir()
    (Path("other") / "thesis.txt").write_text("")
    assert indoor_(*words[:-1], "other") == 2
    assert "other is there and no export; expected a new folder" in capsys.readouterr().err
    assert [p.name for p in Path("other").iterdir()] == ["thesis.txt"]


def test_what_lies_beside_an_export_is_not_removed(
    indoor_: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with an export.json is replaced only where it is an export and nothing more."""
    words = ("export", "tiny", "--runtime", "eager", "--out", "out")
    assert indoor_(*words) == 0
    Path("out/notes.txt").write_text("mine")
    capsys.readouterr()
    assert indoor_(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "out holds notes.txt, which is not of the export there" in line
    assert Path("out/notes.txt").read_text() == "mine"
    Path("other").mkdir()
    Path("other/export.json").write_text('{"pages": 3}')
    Path("other/thesis.txt").write_text("mine")
    assert indoor_(*words[:-1], "other") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; or choose another folder with --out")
    assert Path("other/thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "tiny"), "expected --runtime NAME or --variant NAME"),
        (("export", "tiny", "--runtime", "eagre"), "--runtime eagre --precision float32: there"),
        (
            ("export", "tiny", "--runtime", "packed", "--precision", "int8"),
            "--runtime packed --precision int8: there is none; expected one of eager float32",
        ),
        (
            ("export", "tiny", "--runtime", "eager", "--batch", "1,8"),
            "--batch 1,8: float32 takes any batch from one artefact; expected no --batch",
        ),
        (("export", "tiny", "--variant", "int8", "--runtime", "eager"), "--variant int8 says run"),
        (("export", "tiny", "--variant", "int9"), "variant int9: expected one of float32"),
        (("export", "tiny", "--runtime", "packed", "--batch", "1,x"), "--batch: invalid|'x' is"),
        (("predict", "a.jpg"), "one of the arguments --run --artefact is required"),
        (("predict", "--run", "tiny", "--trust", "a.jpg"), "--trust is for --artefact"),
        (("predict", "--artefact", ".", "--variant", "int8", "a.jpg"), "--variant is for --run"),
        (("predict", "--artefact", ".", "--device", "cuda", "a.jpg"), "--device cuda is for --run"),
        (("predict", "--artefact", ".", "a.jpg"), "holds no export.json; expected a folder that"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(
    indoor_: Command, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    """Exit 2, and nothing is written."""
    assert indoor_(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(told, line)
    assert not list(Path().iterdir())
