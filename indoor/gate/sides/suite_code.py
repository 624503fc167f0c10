"""What of a suite's code a cell's test rests on, and whether both sides have the same."""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from indoor.gate.settings import FILE_NAME
from indoor.gate.sides.imports import PROJECT_MARKS, tree_of
from indoor.gate.sides.pieces import Module, parts_of, read_module
from indoor.gate.worker import TestCode

_ALWAYS = ("pytestmark", "pytest_plugins")
_XUNIT = ("setup_module", "teardown_module", "setup_function", "teardown_function")
_UNNAMED = "statements"
"""What a file does when it is imported, apart from giving names to things."""

_WHOLE = "the whole file"
_CONTENT = "content"
"""Of a file that is no code."""

MAX_NAME = 255
"""Characters of a text that may be a file's name."""


def changed_tests(
    base: Path,
    head: Path,
    suite: str,
    ours: Mapping[str, TestCode],
    theirs: Mapping[str, TestCode],
) -> dict[str, str]:
    """Return the cells whose test, fixtures or conftests differ, and what of them does.

    A test rests on what it names, on what that names, and so on, within the suite's folder; what it
    calls outside is what is measured. Files of data there count for a test that names them, or a
    folder around them, where both sides have them. Comments, layout, docstrings and gate marks do
    not count: the marks are rules, and told as such.

    Args:
        base: The tree of base.
        head: The tree of head.
        suite: The suite's folder or file, from the trees' roots.
        ours: Where base's cells have their code, by the cell's name.
        theirs: Where head's have it.

    Returns:
        By the cell's name, such as `suite/test_sort.py: SIZES, test_sort`.
    """
    codes = (_SuiteCode(base, suite), _SuiteCode(head, suite))
    changed = {}
    for name in ours:
        if name in theirs:
            before, after = (
                code.pieces(told)
                for code, told in zip(codes, (ours[name], theirs[name]), strict=True)
            )
            differing = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
            # What a run left in the working tree is not in a worktree, so data count in both alone.
            differing = {k for k in differing if k[1] != _CONTENT}
            differing |= {
                k
                for k in before.keys() & after.keys()
                if k[1] == _CONTENT and codes[0].sha256(k[0]) != codes[1].sha256(k[0])
            }
            if differing:
                changed[name] = _words(differing)
    return changed


class _SuiteCode:
    """The suite's code in one tree; each file is parsed once."""

    def __init__(self, root: Path, suite: str) -> None:
        self._root = root.resolve()
        place = (self._root / suite).resolve()
        self._area: Path | None = place if place.is_dir() else place.parent
        # There the code that is measured cannot be told from the code that measures.
        if self._area == self._root or any((self._area / mark).is_file() for mark in PROJECT_MARKS):
            self._area = None
        self._environments: dict[Path, bool] = {}
        self._modules: dict[str, Module] = {}
        self._data: dict[str, list[Path]] | None = None
        self._sha256: dict[str, str] = {}
        self._known: dict[TestCode, dict[tuple[str, str], str]] = {}

    def pieces(self, told: TestCode) -> dict[tuple[str, str], str]:
        """Return all that a cell's test rests on: text by file and name, of data the name alone."""
        if told not in self._known:
            roots = [self._module(path) for path in self._own(told.files)]
            self._known[told] = _Closure(self, roots).of(told.names)
        return self._known[told]

    def imported(self, module: Module, node: ast.AST) -> Iterator[tuple[Module, str | None]]:
        """Yield the suite's files that a statement imports, and the name that it takes of each."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (found := self._find(module, 0, alias.name)) is not None:
                    yield found, None
        elif isinstance(node, ast.ImportFrom):
            source = self._find(module, node.level, node.module or "")
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}" if node.module else alias.name
                within = self._find(module, node.level, dotted)
                if within is not None:
                    yield within, None
                elif source is not None:
                    yield source, None if alias.name == "*" else alias.name

    def data(self, text: str) -> Iterator[str]:
        """Yield the suite's files of data that a text names, or their folder, from the root."""
        name = PurePosixPath(text).name if len(text) <= MAX_NAME else ""
        for path in self._data_files().get(name, ()):
            yield path.relative_to(self._root).as_posix()

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file of data, which may be large and is read once."""
        if path not in self._sha256:
            with (self._root / path).open("rb") as file:
                self._sha256[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._sha256[path]

    def _data_files(self) -> dict[str, list[Path]]:
        """Return the suite's files that are no code, by their names and by those of folders."""
        if self._data is None:
            self._data = {}
            for folder, names, files in os.walk(self._area) if self._area else ():
                names[:] = [name for name in names if not name.startswith((".", "__pycache__"))]
                place = Path(folder)
                around = place.relative_to(self._area).parts if self._area else ()
                for file in (place / name for name in files if not name.startswith(".")):
                    if file.suffix not in (".py", ".pyc") and file.name != FILE_NAME:
                        for name in {file.name, *around} if file.is_file() else ():
                            self._data.setdefault(name, []).append(file)
        return self._data

    def _find(self, module: Module, level: int, dotted: str) -> Module | None:
        """Return the suite's file that an import leads to; None where it leads elsewhere."""
        if self._area is None:
            return None
        folder = (self._root / module.path).parent
        folders = [folder, *folder.parents]
        if level:
            folders = folders[level - 1 : level]
        parts = dotted.split(".") if dotted else []
        for place in folders:
            if not place.is_relative_to(self._root):
                break
            target = place.joinpath(*parts)
            for file in (target.with_name(f"{target.name}.py"), target / "__init__.py"):
                if file.is_file() and file.is_relative_to(self._area):
                    return self._module(file.relative_to(self._root).as_posix())
        return None

    def _own(self, files: Sequence[str]) -> list[str]:
        """Return the files of this tree, from its root; what is installed is not the suite's."""
        paths = dict.fromkeys((self._root / file).resolve() for file in files)
        return [
            path.relative_to(self._root).as_posix()
            for path in paths
            if tree_of(path, [self._root], self._environments) and path.is_file()
        ]

    def _module(self, path: str) -> Module:
        if path not in self._modules:
            self._modules[path] = read_module(path, self._root / path)
        return self._modules[path]


class _Closure:
    """Follows names from a test to all that it rests on."""

    def __init__(self, code: _SuiteCode, roots: Sequence[Module]) -> None:
        self._code = code
        self._roots = roots
        self._found: dict[tuple[str, str], str] = {}
        self._entered: set[str] = set()

    def of(self, names: Iterable[str]) -> dict[tuple[str, str], str]:
        """Return the text of all pieces by file and name."""
        wanted = [*names, *_ALWAYS, *_XUNIT]
        for module in self._roots:
            self._enter(module)
            hooks = [name for name in module.bound if name.startswith("pytest_")]
            for name in (*wanted, *hooks):
                owner, _, method = name.partition(".")
                self._take(module, owner, method)
        return self._found

    def _enter(self, module: Module) -> None:
        """Take what importing the file does whoever imports it."""
        if module.path in self._entered:
            return
        self._entered.add(module.path)
        if module.unreadable is not None:
            self._found[module.path, _WHOLE] = module.unreadable
        if module.unnamed:
            texts = [piece.text() for piece in module.unnamed]
            self._found[module.path, _UNNAMED] = "\n".join(texts)
            for piece in module.unnamed:
                self._follow(module, piece.node)

    def _take(self, module: Module, name: str, method: str = "") -> None:
        """Take what binds a name; of a class of tests only one test with what it shares."""
        for index, piece in enumerate(module.bound.get(name, ())):
            for part in parts_of(piece, method):
                key = (module.path, part.name if index == 0 else f"{part.name} ({index + 1})")
                if key not in self._found:
                    self._found[key] = part.text()
                    self._follow(module, part.node)

    def _take_all(self, module: Module) -> None:
        self._enter(module)
        for name in module.bound:
            self._take(module, name)

    def _follow(self, module: Module, top: ast.AST) -> None:
        """Take what a piece names: in its own file, in those of the test, in the suite's."""
        for node in ast.walk(top):
            if isinstance(node, ast.Name):
                self._take(module, node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # request.getfixturevalue("photographs"), usefixtures("photographs")
                for one in self._roots if node.value.isidentifier() else ():
                    self._take(one, node.value)
                for path in self._code.data(node.value):
                    self._found[path, _CONTENT] = ""  # compared where both sides have it
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for target, name in self._code.imported(module, node):
                    if name is None:
                        self._take_all(target)
                    else:
                        self._enter(target)
                        self._take(target, name)


def _words(differing: Iterable[tuple[str, str]]) -> str:
    """Return which parts of which files differ."""
    by_file: dict[str, list[str]] = {}
    for path, name in sorted(differing):
        by_file.setdefault(PurePosixPath(path).as_posix(), []).append(name)
    return "; ".join(f"{path}: {', '.join(names)}" for path, names in by_file.items())
