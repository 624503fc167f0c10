"""Names and lists as people have them: read as they are meant, or told in one line.

Ids that end in "-control" were right before lines were read by the files that they lead to.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from indoor.cli import main
from indoor.dataset import IndoorScenes, identify, read_split_lists, verify
from indoor.errors import IndoorError

Change = Callable[[str], str | bytes]

CLASSES = ("bars", "checks", "rings")


@pytest.fixture
def root(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the drawn photographs that a test may spoil."""
    return Path(shutil.copytree(photographs, tmp_path / "set"))


def rewrite(root: Path, change: Change, name: str = "TrainImages.txt") -> None:
    """Replace a list by what `change` makes of its text."""
    path = root / name
    text = change(path.read_text())
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def each(change: Callable[[str], str]) -> Change:
    """Return a change of each line."""
    return lambda text: "\n".join(map(change, text.split("\n")))


def label(line: str) -> int:
    """Return a line's label."""
    return CLASSES.index(line.split("/")[0])


def csv(text: str) -> str:
    """Return a table with a head, as a spreadsheet writes it."""
    return "image,label\n" + "\n".join(f'"{line}",{label(line)}' for line in text.split("\n"))


def tsv_file_and_class(text: str) -> str:
    """Return a table of file names and classes."""
    rows = (f"{line.split('/')[1]}\t{line.split('/')[0]}" for line in text.split("\n"))
    return "filename\tclass\n" + "\n".join(rows)


MANAGERS_FILES = (
    "\nbars/._bars_00.jpg\nrings/.DS_Store\nImages\\bars\\Thumbs.db\nbars/desktop.ini,2"
)

MEANT: list[tuple[str, Change]] = [
    ("leading slash", each(lambda line: f"/{line}")),
    ("dot slash", each(lambda line: f"./{line}")),
    ("Images", each(lambda line: f"Images/{line}")),
    ("images backslash", each(lambda line: "images\\" + line.replace("/", "\\"))),
    ("dot slash Images", each(lambda line: f"./Images/{line}")),
    ("absolute", each(lambda line: f"/home/ann/data/mit67/Images/{line}")),
    ("windows absolute", each(lambda line: "C:\\mit67\\Images\\" + line.replace("/", "\\"))),
    ("another folder", each(lambda line: f"train/{line}")),
    ("address", each(lambda line: f"https://example.org/set/Images/{line}")),
    ("file address", each(lambda line: f"file:///data/Images/{line}")),
    ("double slash", each(lambda line: line.replace("/", "//"))),
    ("percent signs", each(lambda line: line.replace("_", "%5F").replace("/", "%2F"))),
    ("label behind a blank", each(lambda line: f"{line} {label(line)}")),
    ("label behind a tab", each(lambda line: f"{line}\t{label(line)}")),
    ("label behind a comma", each(lambda line: f"{line},{label(line)}")),
    ("label behind a semicolon", each(lambda line: f"{line}; {label(line)}")),
    ("class behind a comma", each(lambda line: f"{line},{line.split('/')[0]}")),
    ("label before", each(lambda line: f"{label(line)} {line}")),
    ("index and label", each(lambda line: f"7,{line},{label(line)}")),
    ("csv with a head", csv),
    ("file and class", tsv_file_and_class),
    ("head alone", lambda text: "path\n" + text),
    ("quoted", each(lambda line: f'"{line}"')),
    ("single quotes", each(lambda line: f"'{line}'")),
    ("trailing comma", each(lambda line: f"{line},")),
    ("trailing semicolon", each(lambda line: f"{line};")),
    ("comments", lambda text: "# the train list\n#bars/old.jpg\n" + text),
    ("comment with a path", lambda text: "# see Images/bars/bars_00.jpg\n" + text),
    ("remarks", each(lambda line: f"{line}  # sharp")),
    ("label and slash", each(lambda line: f"/{line} {label(line)}")),
    ("utf-16", lambda text: text.encode("utf-16")),
    ("utf-16 without a mark", lambda text: text.encode("utf-16-le")),
    ("utf-16 big endian", lambda text: text.encode("utf-16-be")),
    ("file names alone", each(lambda line: line.split("/")[1])),
    ("file names and labels", each(lambda line: f"{line.split('/')[1]} {label(line)}")),
    ("no ending", each(lambda line: line.removesuffix(".jpg"))),
    ("capital ending", each(lambda line: line.replace(".jpg", ".JPG"))),
    ("capital class", each(str.capitalize)),
    ("blanks around the slash", each(lambda line: line.replace("/", " / "))),
    ("invisible mark", each(lambda line: "\u200e" + line)),
    ("utf-32", lambda text: text.encode("utf-32")),
    ("file managers' files", lambda text: text + MANAGERS_FILES),
    ("one odd line", lambda text: text.replace("bars/bars_03", "Images/bars/bars_03")),
]
READ_BEFORE: list[tuple[str, Change]] = [
    ("carriage returns-control", lambda text: text.replace("\n", "\r")),
    ("blanks around-control", each(lambda line: f"  {line}\t")),
    ("form feed at the end-control", lambda text: text + "\n\f"),
    ("end of a text of DOS", lambda text: text + "\r\n\x1a"),
    ("empty lines-control", lambda text: text.replace("\n", "\n\n\r\n")),
]


@pytest.mark.parametrize("change", [row[1] for row in MEANT], ids=[row[0] for row in MEANT])
def test_what_leads_to_a_file_is_read_as_it_is_meant(
    root: Path, photographs: Path, change: Change
) -> None:
    """The same photographs, the same identity, no problem, and at most two notes that say so."""
    rewrite(root, change)
    assert read_split_lists(root) == read_split_lists(photographs)
    assert identify(root).sha256 == identify(photographs).sha256
    report = verify(root)
    assert report.problems == ()
    assert 1 <= len(report.notes) <= 2
    assert all("TrainImages.txt" in note and "read as" in note for note in report.notes)


@pytest.mark.parametrize(
    "change", [row[1] for row in READ_BEFORE], ids=[row[0] for row in READ_BEFORE]
)
def test_blanks_and_line_ends_are_not_worth_a_note(
    root: Path, photographs: Path, change: Change
) -> None:
    """They mean nothing in a list."""
    rewrite(root, change)
    assert read_split_lists(root) == read_split_lists(photographs)
    assert verify(root).notes == ()


def rename(root: Path, old: str, new: str) -> None:
    """Rename a file or class folder on the disk alone."""
    (root / "Images" / old).rename(root / "Images" / new)


NFC, NFD = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))

ON_DISK: list[tuple[str, str, str, str | bytes]] = [
    ("nfd file, nfc line", "bars/bars_00.jpg", f"bars/{NFD}.jpg", f"bars/{NFC}.jpg"),
    ("nfc file, nfd line", "bars/bars_00.jpg", f"bars/{NFC}.jpg", f"bars/{NFD}.jpg"),
    ("nfc both-control", "bars/bars_00.jpg", f"bars/{NFC}.jpg", f"bars/{NFC}.jpg"),
    ("nfd both-control", "bars/bars_00.jpg", f"bars/{NFD}.jpg", f"bars/{NFD}.jpg"),
    ("latin-1 list", "bars/bars_00.jpg", f"bars/{NFC}.jpg", f"bars/{NFC}.jpg".encode("latin-1")),
    ("capital file", "bars/bars_00.jpg", "bars/BARS_00.JPG", "bars/bars_00.jpg"),
    ("trailing blank", "bars/bars_00.jpg", "bars/bars_00.jpg ", "bars/bars_00.jpg "),
    ("trailing dot-control", "bars/bars_00.jpg", "bars/bars_00.", "bars/bars_00."),
    ("emoji-control", "bars/bars_00.jpg", "bars/\U0001f468\u200d\U0001f373.jpg",
     "bars/\U0001f468\u200d\U0001f373.jpg"),
    ("right to left-control", "bars/bars_00.jpg", "bars/\u200f\u05d0.jpg", "bars/\u200f\u05d0.jpg"),
    ("right to left lost", "bars/bars_00.jpg", "bars/\u200f\u05d0.jpg", "bars/\u05d0.jpg"),
    ("comma-control", "bars/bars_00.jpg", "bars/a,b.jpg", "bars/a,b.jpg"),
    ("number sign-control", "bars/bars_00.jpg", "bars/a #3.jpg", "bars/a #3.jpg"),
    ("percent sign-control", "bars/bars_00.jpg", "bars/100%25.jpg", "bars/100%25.jpg"),
    ("number behind-control", "bars/bars_00.jpg", "bars/photo 3", "bars/photo 3"),
    ("quotes-control", "bars/bars_00.jpg", 'bars/"a".jpg', 'bars/"a".jpg'),
    ("comma in csv", "bars/bars_00.jpg", "bars/a,b.jpg", '"bars/a,b.jpg",0'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line"), [row[1:] for row in ON_DISK], ids=[row[0] for row in ON_DISK]
)
def test_a_name_on_the_disk_is_found(root: Path, old: str, new: str, line: str | bytes) -> None:
    """The file that is meant is in the split, under the disk's own name."""
    rename(root, old, new)
    raw = line if isinstance(line, bytes) else line.encode()
    rewrite(root, lambda text: text.encode().replace(old.encode(), raw))
    assert read_split_lists(root).train[0] == new
    scenes = IndoorScenes(root, "train", val_fraction=0.01)
    assert len(scenes[0][0].size) == 2
    assert verify(root).problems == ()


def test_a_class_folder_is_found_in_the_other_unicode_form(root: Path) -> None:
    """Lists from one system name the folders of another; the disk's name is the class's."""
    rename(root, "bars", NFD)
    for name in ("TrainImages.txt", "TestImages.txt"):
        rewrite(root, each(lambda line: line.replace("bars/", f"{NFC}/")), name)
    lists = read_split_lists(root)
    assert NFD in lists.classes
    assert lists.train[0] == f"{NFD}/bars_00.jpg"
    report = verify(root)
    assert report.problems == ()
    assert len(report.notes) == 2


Spoil = Callable[[Path], object]


def both_lists(change: Change) -> Spoil:
    """Return a change of both lists."""
    return lambda root: [rewrite(root, change, f"{name}Images.txt") for name in ("Train", "Test")]


def train_list(change: Change) -> Spoil:
    """Return a change of the train list."""
    return lambda root: rewrite(root, change)


def same_names(root: Path) -> None:
    """Give the files of all classes the same names, and list them without their class."""
    for folder in (root / "Images").iterdir():
        for path in folder.iterdir():
            path.rename(folder / path.name.replace(folder.name, "image"))
    both_lists(each(lambda line: line.split("/")[1].replace(line.split("/")[0], "image")))(root)


def swap(root: Path) -> None:
    """Give each list the other's name."""
    (root / "TrainImages.txt").rename(root / "x")
    (root / "TestImages.txt").rename(root / "TrainImages.txt")
    (root / "x").rename(root / "TestImages.txt")


def undecodable_folder(root: Path) -> None:
    """Add a class folder whose name is Latin-1."""
    Path(os.fsdecode(os.fsencode(root) + b"/Images/caf\xe9")).mkdir()


def undecodable_listed(root: Path) -> None:
    """Give a photograph a Latin-1 name, on the disk and in a Latin-1 list."""
    (root / "Images/bars/bars_00.jpg").rename(
        os.fsdecode(os.fsencode(root) + b"/Images/bars/Gr\xf6\xdfe.jpg")
    )
    rewrite(root, lambda text: text.encode().replace(b"bars_00", b"Gr\xf6\xdfe"))


def link_loop(root: Path) -> None:
    """Replace a class folder by a link to itself."""
    shutil.rmtree(root / "Images/bars")
    (root / "Images/bars").symlink_to("bars")


def file_link_loop(root: Path) -> None:
    """Replace a photograph by a link to itself."""
    (root / "Images/bars/bars_00.jpg").unlink()
    (root / "Images/bars/bars_00.jpg").symlink_to("bars_00.jpg")


def photograph_that_is_a_folder(root: Path) -> None:
    """Replace a photograph by a folder."""
    (root / "Images/bars/bars_00.jpg").unlink()
    (root / "Images/bars/bars_00.jpg").mkdir()


def train_within_test(root: Path) -> None:
    """Put all lines of the train list before the test list's."""
    rewrite(
        root, lambda text: f"{(root / 'TrainImages.txt').read_text()}\n{text}", "TestImages.txt"
    )


def train_twice(root: Path) -> None:
    """Put the train list in the test list's place."""
    shutil.copy(root / "TrainImages.txt", root / "TestImages.txt")


def list_folder(root: Path) -> None:
    """Put a folder in a list's place."""
    (root / "TrainImages.txt").unlink()
    (root / "TrainImages.txt").mkdir()


def binary(_: str) -> bytes:
    """Return what is no text."""
    return bytes(range(256)) * 20


def sentences(_: str) -> str:
    """Return a text that is no list."""
    return "\n".join(["never a name"] * 50)


def one_class(root: Path) -> None:
    """Leave one class."""
    for name in ("checks", "rings"):
        shutil.rmtree(root / "Images" / name)
    for name in ("TrainImages.txt", "TestImages.txt"):
        rewrite(root, lambda t: "\n".join(x for x in t.split("\n") if x.startswith("bars/")), name)


def hidden_class(root: Path) -> None:
    """Hide a class, in the lists too."""
    rename(root, "bars", ".bars")
    both_lists(each(lambda line: line.replace("bars/", ".bars/")))(root)


ONE_LINE: list[tuple[str, Spoil, str]] = [
    (
        "300 characters",
        train_list(lambda t: f"{t}\nbars/{'x' * 300}.jpg"),
        "there is no Images/bars/xxx",
    ),
    ("300 in the class-control", train_list(lambda t: f"{t}\n{'x' * 300}/a.jpg"), "name class xxx"),
    ("100,000 characters", train_list(lambda t: f"{t}\n{'x' * 100_000}"), "line 25 is 'xxx"),
    ("csv field too long", train_list(lambda t: f'{t}\n"' + "x," * 100_000), "line 25 is"),
    ("nul-control", train_list(lambda t: t + "\nbars/\0.jpg"), r"line 25 is 'bars/\\x00.jpg'"),
    ("escape", train_list(each(lambda line: f"../{line}")), "24 lines of TrainImages.txt are not"),
    ("escape percent", train_list(lambda t: t + "\n%2e%2e/secret.jpg"), "name class %2e%2e"),
    (
        "all unknown classes",
        both_lists(each(lambda line: f"un{line}")),
        "none of the classes that the lists name",
    ),
    ("same file names", same_names, "3 class folders have such a file"),
    ("sentences", train_list(sentences), "50 lines of Train"),
    (
        "missing",
        train_list(each(lambda line: line.replace("_", "_9"))),
        "24 photographs that the lists name are not there",
    ),
    (
        "missing with labels",
        train_list(each(lambda line: f"{line.replace('_', '_9')} 3")),
        "24 photographs that the lists name",
    ),
    (
        "missing with labels in both lists",
        both_lists(each(lambda line: f"{line.replace('_', '_9')} 3")),
        r"there is no Images/bars/bars_900\.jpg, which",
    ),
    (
        "twice",
        train_list(lambda t: t + "\n" + t),
        "24 lines of TrainImages.txt name a photograph again",
    ),
    ("train list as test list", train_twice, "both lists of .* name the same 24"),
    ("train list in the test list", train_within_test, "24 photographs stand in both lists"),
    ("undecodable folder", undecodable_folder, r"caf\\udce9 has a name that is no UTF-8"),
    ("undecodable file-control", undecodable_listed, r"TrainImages.txt is no UTF-8 text"),
    (
        "line end in a folder",
        lambda r: (r / "Images/two\nlines").mkdir(),
        r"two\\nlines has a name",
    ),
    ("link loop-control", link_loop, "name class bars, and .* has no such folder"),
    ("file link loop-control", file_link_loop, "there is no Images/bars/bars_00.jpg"),
    ("folder as file-control", photograph_that_is_a_folder, "there is no Images/bars/bars_00.jpg"),
    (
        "latin-1 of nothing",
        train_list(lambda t: t.encode() + b"\nbars/Gr\xf6\xdfe.jpg"),
        "iconv -f LATIN1",
    ),
    ("binary-control", train_list(binary), "no UTF-8 text|not class/file"),
    (
        "two paths in a line-control",
        train_list(lambda t: t.replace("_00.jpg\n", "_00.jpg,bars/bars_01.jpg\n")),
        "there is no Images/|is 'bars/bars_00",
    ),
    ("one class", one_class, r"one class folder \(bars\); expected two or more"),
    ("hidden class", hidden_class, r"Images/\.bars is hidden"),
    ("list is a folder-control", list_folder, "has no TrainImages.txt"),
]


@pytest.mark.parametrize(
    ("spoil", "words"), [row[1:] for row in ONE_LINE], ids=[row[0] for row in ONE_LINE]
)
def test_what_is_not_unambiguous_is_one_line(
    root: Path, spoil: Spoil, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` says it in a line or two, whatever their number, as text and as JSON."""
    spoil(root)
    assert main(["data", "verify", str(root)]) == 1
    said = capsys.readouterr()
    told = [line for line in said.out.splitlines() if line.startswith("problem: ")]
    assert 1 <= len(told) <= 3
    assert any(re.search(words, line) for line in told)
    assert all(len(line) < 1000 for line in told)
    assert main(["data", "verify", str(root), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]
    with pytest.raises(IndoorError) as error:
        identify(root)
    assert "\n" not in str(error.value)
    assert str(error.value).encode()


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (lambda text: "not a name\n" + text + "\n../x\n../y", "sed -i"),
        (lambda text: text + "\n" + text, "awk "),
        (lambda text: text.encode().replace(b"_00", b"_00\xe9"), "iconv "),
    ],
)
def test_the_remedy_works_when_it_is_pasted(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: Change, command: str
) -> None:
    """The problem ends with a command that takes it away, in a folder of any name."""
    root = Path(shutil.move(root, root.parent / "a set, it's"))
    monkeypatch.chdir(root.parent)
    rewrite(root, change)
    problem = verify(root).problems[0]
    subprocess.run(problem[problem.index(command) :], shell=True, check=True)  # noqa: S602
    assert not any(command in problem for problem in verify(root).problems)
    assert len(read_split_lists(root).train) == 24


@pytest.mark.parametrize(
    "name", ["train.txt", "TRAIN.TXT", "trainimages.txt", "train_list.txt", "training.csv"]
)
def test_a_list_of_another_name_is_read(root: Path, photographs: Path, name: str) -> None:
    """The one file that is named like the list is it, and is noted; two would be a problem."""
    (root / "TrainImages.txt").rename(root / name)
    assert read_split_lists(root) == read_split_lists(photographs)
    assert verify(root).notes == (
        f"{name} is read as the train list, as there is no TrainImages.txt",
    )
    shutil.copy(root / name, root / "train-split.txt")
    with pytest.raises(IndoorError, match=r"has no TrainImages\.txt"):
        read_split_lists(root)


@pytest.mark.parametrize(
    "name", ["val.txt", "ValImages.txt", "validation.csv", "valid_list.txt", "dev.txt"]
)
def test_a_validation_list_is_noted_as_not_read(root: Path, name: str) -> None:
    """Its photographs would be in no split, without a word."""
    (root / name).write_text("bars/bars_00.jpg\n")
    assert [note for note in verify(root).notes if note.startswith(f"{name} is not read: a seeded")]


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"]
)
def test_a_folder_of_the_system_is_no_class(root: Path, photographs: Path, name: str) -> None:
    """Unpacking, network disks and Windows leave folders among the classes."""
    (root / "Images" / name / "bars").mkdir(parents=True)
    assert verify(root).problems == ()
    assert read_split_lists(root) == read_split_lists(photographs)
    assert identify(root).sha256 == identify(photographs).sha256


@pytest.mark.parametrize(
    "column", ["{},rings", "{}\trings", "{};rings", "{} rings", "rings,{}", "7,{},rings"]
)
def test_a_column_that_names_another_class_is_noted(root: Path, column: str) -> None:
    """The folder is the class; whoever wrote another one beside it may have meant that."""
    rewrite(root, each(lambda line: column.format(line)))
    notes = [note for note in verify(root).notes if "another class" in note]
    assert len(notes) == 1
    assert "16 lines name another class beside the photograph (rings)" in notes[0]
    assert "the folder counts" in notes[0]


ELSEWHERE: list[tuple[str, Spoil, str, str]] = [
    ("its photographs", lambda _: None, "Images", "give {root}"),
    ("one folder deeper", lambda r: shutil.move(r, r / "../x/set"), "../x", "give {root}/set"),
    ("small letters", lambda r: rename(r, "../Images", "../images"), "", "rename {root}/images to"),
    (
        "another name",
        lambda r: rename(r, "../Images", "../JPEGImages"),
        "",
        "give the folder that holds Images",
    ),
    (
        "train and test folders",
        lambda r: [shutil.copytree(r / "Images", r / "train"), rename(r, "../Images", "../test")],
        "",
        "the folders test and train are not read as splits; put all class folders into",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "given", "words"), [row[1:] for row in ELSEWHERE], ids=[row[0] for row in ELSEWHERE]
)
def test_where_the_data_set_lies_is_told(
    root: Path, spoil: Spoil, given: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder without Images the one line says what was seen beside, above or below it."""
    (root.parent / "x").mkdir()
    spoil(root)
    given_root = (root / given) if given != "../x" else root.parent / "x"
    assert main(["data", "verify", str(given_root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    told_root = root if given == "Images" else given_root
    assert words.format(root=told_root) in line


def test_swapped_lists_are_noted(root: Path) -> None:
    """Nothing is wrong with a train list that is shorter than the test list, but it is seldom."""
    swap(root)
    report = verify(root)
    assert report.problems == ()
    assert any("are they swapped?" in note for note in report.notes)


def test_names_that_other_disks_take_for_one_are_noted(root: Path) -> None:
    """Two photographs and two classes that differ in capitals alone are used, and noted."""
    images = root / "Images"
    shutil.copytree(images / "bars", images / "Bars")
    shutil.copy(images / "checks/checks_00.jpg", images / "checks/CHECKS_01.jpg")
    rewrite(root, lambda text: text + "\nBars/bars_09.jpg\nchecks/CHECKS_01.jpg")
    report = verify(root)
    assert report.problems == ()
    assert any(
        "bars and Bars differ only" in note or "Bars and bars" in note for note in report.notes
    )
    assert any("CHECKS_01.jpg differ only" in note for note in report.notes)


def test_a_file_that_no_list_can_name_is_noted(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file name that is no UTF-8 spoils nothing; it is told so that any terminal shows it."""
    Path(os.fsdecode(os.fsencode(root) + b"/Images/bars/Gr\xf6\xdfe.jpg")).write_text("")
    assert main(["data", "verify", str(root)]) == 0
    said = capsys.readouterr().out
    assert r"Images/bars/Gr\udcf6\udcdfe.jpg has a name that is no UTF-8" in said
    assert main(["data", "verify", str(root), "--json"]) == 0
    assert r"Gr\\udcf6\\udcdfe.jpg" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_data_set_in_a_folder_of_another_encoding(root: Path, encoding: str) -> None:
    """The data set's own folder may have any name; text, JSON and errors can be printed."""
    other = Path(os.fsdecode(os.fsencode(root.parent) + b"/caf\xe9 \xff"))
    root.rename(other)
    assert identify(other).name == r"caf\udce9 \udcff"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in (["verify"], ["verify", "--json"]):
        program = ["python", "-m", "indoor", "data", *words, other]
        done = subprocess.run([sys.executable, *program[1:]], env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
    (other / "TrainImages.txt").unlink()
    with pytest.raises(IndoorError, match="has no TrainImages"):
        read_split_lists(other)


def test_the_three_first_of_a_kind_are_told_one_by_one(root: Path) -> None:
    """JSON and Python have every problem; the text counts a kind that has more than three."""
    for index in range(3):
        (root / f"Images/bars/bars_0{index}.jpg").unlink()
    assert len(verify(root).problems_in_brief) == len(verify(root).problems) == 3
    (root / "Images/bars/bars_03.jpg").unlink()
    report = verify(root)
    assert len(report.problems) == 4
    assert len(report.problems_in_brief) == 1
    assert report.problems_in_brief[0].startswith("4 photographs that the lists name are not there")


@pytest.mark.real_data
def test_the_identity_of_a_published_data_set_stays(shared: Path) -> None:
    """What was recorded of the 15-scene set before lists were read more kindly still holds."""
    identity = identify(shared / "scene15")
    assert identity.sha256 == "a108947da202a1e539ddca28a0e9ec3d9fae96aa4b81e0609d9e6e80831fbb3e"
