"""Whatever is in the place of weights: one line that names it, within bounds, and nothing runs."""

from pathlib import Path

import pytest
from hostile import Outcome, assert_all_refused, call
from hostile_weights import all_cases

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files."""
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Outcome | None]:
    """What became of each file, by its name; None: the process did not come so far."""
    cases = all_cases(folder)
    for name, make in cases.items():
        make(folder / name)
    found = call([("weights", folder / name) for name in cases], folder, timeout_s=300)
    return dict.fromkeys(cases) | dict(zip(cases, found, strict=False))


def test_hostile_weights_are_refused_in_one_line(outcomes: dict[str, Outcome | None]) -> None:
    """Each of them, within 1 GiB and without a traceback."""
    assert_all_refused(outcomes)


def test_no_code_of_a_file_is_executed(outcomes: dict[str, Outcome | None], folder: Path) -> None:
    """The pickles that would make a folder have made none."""
    assert outcomes["code.pt"] is not None
    assert "could run code" in outcomes["code.pt"].err
    assert not (folder / "code-was-executed").exists()
    assert not Path("code-was-executed").exists()
