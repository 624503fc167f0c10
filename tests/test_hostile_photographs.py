"""Whatever is in the place of a photograph: decoded, or one line that names it, within bounds."""

import shutil
from pathlib import Path

import pytest
from hostile import Outcome, assert_bounded, assert_refused, call
from hostile_photographs import Case, all_cases

from indoor.dataset import IndoorScenes, verify
from indoor.dataset.soundness import find_broken
from indoor.errors import IndoorError

CASES = all_cases()
SMALL = tuple(c for c in CASES if not c.name.startswith(("largest", "many-scans", "10-giga")))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What became of each file, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    for case in CASES:
        case.make(folder / case.name)
    found = call([("photograph", folder / case.name) for case in CASES], folder, timeout_s=300)
    return {case.name: outcome for case, outcome in zip(CASES, found, strict=False)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_photograph_is_decoded_or_refused(
    case: Case, outcomes: dict[str, Outcome]
) -> None:
    """It ends, within 1 GiB and without a traceback; what is refused is named in one line."""
    assert case.name in outcomes, "it hung or killed the process, or one before it did"
    outcome = outcomes[case.name]
    if case.expected == "refused" or outcome.status:
        assert case.expected != "decodes", outcome.err
        assert_refused(outcome, case.name)
    else:
        assert_bounded(outcome)
        assert outcome.status == 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A data set whose train list names the hostile photographs too, for the class `bars`."""
    root = tmp_path_factory.mktemp("data") / "set"
    shutil.copytree(photographs, root)
    lines = []
    for case in SMALL:
        path = root / "Images" / "bars" / f"{case.name}"
        if case.name not in ("folder.jpg", "pipe.jpg", "device.jpg", "nowhere.jpg", "itself.jpg"):
            case.make(path)
            lines.append(f"bars/{case.name}")
    with (root / "TrainImages.txt").open("a") as file:
        file.write("\n" + "\n".join(lines))
    return root


def test_hostile_photographs_are_skipped_and_counted(root: Path) -> None:
    """Where that is asked for; `indoor data verify` names just those, and no file is lost."""
    before = sorted(path.name for path in (root / "Images").rglob("*"))
    paths = [s.path for split in ("train", "val") for s in _scenes(root, split).samples]
    broken = {path.name for path in find_broken(paths)}
    assert {case.name for case in SMALL if case.expected == "refused"} - _NOT_LISTED <= broken
    assert not broken & {case.name for case in SMALL if case.expected == "decodes"}
    skipped = sum(_scenes(root, split, skip_broken=True).num_skipped for split in ("train", "val"))
    assert skipped == len(broken)
    problems = verify(root).problems
    assert len(problems) == len(broken)
    assert all(any(name in problem for problem in problems) for name in broken)
    assert sorted(path.name for path in (root / "Images").rglob("*")) == before


_NOT_LISTED = {"folder.jpg", "pipe.jpg", "device.jpg", "nowhere.jpg", "itself.jpg"}


def _scenes(root: Path, split: str, *, skip_broken: bool = False) -> IndoorScenes:
    return IndoorScenes(root, split, skip_broken=skip_broken)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(_NOT_LISTED))
def test_what_is_no_file_is_missing_from_a_data_set(
    name: str, photographs: Path, tmp_path: Path
) -> None:
    """A list that names a folder, a pipe, a device or a link to nowhere names no photograph."""
    root = tmp_path / "set"
    shutil.copytree(photographs, root)
    (case,) = (case for case in CASES if case.name == name)
    case.make(root / "Images" / "bars" / name)
    with (root / "TrainImages.txt").open("a") as file:
        file.write(f"\nbars/{name}")
    with pytest.raises(IndoorError, match=rf"{name}.*no such file"):
        [_scenes(root, split) for split in ("train", "val")]
