"""Whatever `indoor data download` is given as an archive: one line, within bounds, and no trace."""

import shutil
from pathlib import Path

import pytest
from archived import eighths, files_of
from hostile import Outcome, assert_all_refused, call
from hostile_archives import HOSTILE, PACKED

Names = tuple[str, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the archives; the data sets would be made in `sets`."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "sets").mkdir()
    return folder


@pytest.fixture(scope="module")
def outcomes(folder: Path, photographs: Path) -> dict[str, Outcome | None]:
    """What became of each file, by its name; None: the process did not come so far."""
    images = {name: data for name, data in files_of(photographs).items() if "/" in name}
    made = {
        f"{number}-{kind.replace(' ', '-')}": make(images)
        for number, (kind, (make, _)) in enumerate(HOSTILE.items())
    }
    for kind, pack in PACKED.items():
        parts = eighths(pack(images))
        made |= {f"{number}-eighths.{kind}": part for number, part in enumerate(parts, start=1)}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    for name in ("TrainImages.txt", "TestImages.txt"):
        shutil.copy(photographs / name, folder)
    calls = [("archive", folder / name, photographs) for name in made]
    found = call(calls, folder, timeout_s=300)
    return dict.fromkeys(made) | dict(zip(made, found, strict=False))


def test_hostile_archives_are_refused_in_one_line(outcomes: dict[str, Outcome | None]) -> None:
    """Each of them, within 1 GiB and without a traceback."""
    assert_all_refused(outcomes)
    assert len(outcomes) == len(HOSTILE) + 7 * len(PACKED)


def test_nothing_of_them_is_anywhere(outcomes: dict[str, Outcome | None], folder: Path) -> None:
    """No photograph of a data set, and no file with what leads outside."""
    assert None not in outcomes.values()
    assert [path.name for path in (folder / "sets").iterdir()] == [".set.download.lock"]
    assert not list(folder.parent.rglob("evil.jpg"))
    assert not Path("/tmp/evil.jpg").exists()  # noqa: S108
