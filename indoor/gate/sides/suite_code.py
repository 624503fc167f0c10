"""What of a suite's code a cell's test rests on, and whether both sides have the same."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from indoor.gate.sides.imports import PROJECT_MARKS, tree_of
from indoor.gate.worker import TestCode

_ALWAYS = ("pytestmark", "pytest_plugins")
_XUNIT = ("setup_module", "teardown_module", "setup_function", "teardown_function")
_UNNAMED = "statements"
"""What a file does when it is imported, apart from giving names to things."""

_WHOLE = "the whole file"

Bodies = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class _Piece:
    """A statement of a file's top level, or a part of it that stands for itself."""

    name: str
    node: ast.AST

    def text(self) -> str:
        """Return what the piece says, whatever its layout, comments and line numbers."""
        return ast.dump(self.node)


@dataclass(frozen=True)
class _Module:
    """A parsed file: its pieces by the names that they bind, and those that bind none."""

    path: str
    bound: dict[str, list[_Piece]] = field(default_factory=dict)
    unnamed: list[_Piece] = field(default_factory=list)
    unreadable: str | None = None
    """The text where it cannot be parsed."""


def changed_tests(
    base: Path,
    head: Path,
    suite: str,
    ours: Mapping[str, TestCode],
    theirs: Mapping[str, TestCode],
) -> dict[str, str]:
    """Return the cells whose test, fixtures or conftests differ, and what of them does.

    A test rests on what it names, on what that names, and so on, within the suite's folder; what it
    calls outside is what is measured. Comments, layout, docstrings and gate marks do not count:
    the marks are rules, and told as such.

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
            if differing:
                changed[name] = _words(differing)
    return changed


def same_code(base: Path, head: Path) -> bool:
    """Return whether two files hold the same code, whatever its layout and comments."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (base, head)]
    parsed = [_parse(text) for text in texts]
    if None in parsed:
        return texts[0] == texts[1]
    return len({ast.dump(tree) for tree in parsed if tree is not None}) == 1


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
        self._modules: dict[str, _Module] = {}
        self._known: dict[TestCode, dict[tuple[str, str], str]] = {}

    def pieces(self, told: TestCode) -> dict[tuple[str, str], str]:
        """Return all that a cell's test rests on: text by file and name."""
        if told not in self._known:
            roots = [self._module(path) for path in self._own(told.files)]
            self._known[told] = _Closure(self, roots).of(told.names)
        return self._known[told]

    def imported(self, module: _Module, node: ast.AST) -> Iterator[tuple[_Module, str | None]]:
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

    def _find(self, module: _Module, level: int, dotted: str) -> _Module | None:
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

    def _module(self, path: str) -> _Module:
        if path not in self._modules:
            text = (self._root / path).read_text(encoding="utf-8-sig", errors="replace")
            tree = _parse(text)
            module = _Module(path, unreadable=text if tree is None else None)
            for statement in tree.body if tree is not None else ():
                _add(module, statement)
            self._modules[path] = module
        return self._modules[path]


class _Closure:
    """Follows names from a test to all that it rests on."""

    def __init__(self, code: _SuiteCode, roots: Sequence[_Module]) -> None:
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

    def _enter(self, module: _Module) -> None:
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

    def _take(self, module: _Module, name: str, method: str = "") -> None:
        """Take what binds a name; of a class of tests only one test with what it shares."""
        for index, piece in enumerate(module.bound.get(name, ())):
            for part in _parts(piece, method):
                key = (module.path, part.name if index == 0 else f"{part.name} ({index + 1})")
                if key not in self._found:
                    self._found[key] = part.text()
                    self._follow(module, part.node)

    def _take_all(self, module: _Module) -> None:
        self._enter(module)
        for name in module.bound:
            self._take(module, name)

    def _follow(self, module: _Module, top: ast.AST) -> None:
        """Take what a piece names: in its own file, in those of the test, in the suite's."""
        for node in ast.walk(top):
            if isinstance(node, ast.Name):
                self._take(module, node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # request.getfixturevalue("photographs"), usefixtures("photographs")
                for one in self._roots if node.value.isidentifier() else ():
                    self._take(one, node.value)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for target, name in self._code.imported(module, node):
                    if name is None:
                        self._take_all(target)
                    else:
                        self._enter(target)
                        self._take(target, name)


def _parse(text: str) -> ast.Module | None:
    """Return a file's tree without what says nothing of what is measured; None: no Python of ours.

    Base or head may be written for a newer Python than the gate's own.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, Bodies):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list = [one for one in node.decorator_list if not _is_gate_mark(one)]
        elif isinstance(node, ast.List | ast.Tuple):
            node.elts = [one for one in node.elts if not _is_gate_mark(one)]
    return tree


def _is_gate_mark(node: ast.AST) -> bool:
    """Return whether it reads `pytest.mark.gate(...)`."""
    function = node.func if isinstance(node, ast.Call) else node
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "gate"
        and isinstance(function.value, ast.Attribute | ast.Name)
        and (
            function.value.attr if isinstance(function.value, ast.Attribute) else function.value.id
        )
        == "mark"
    )


def _add(module: _Module, statement: ast.stmt) -> None:
    """Keep a statement of the top level under the names that it binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        # One alias each: another one beside it is no change of this.
        for alias in statement.names:
            name = alias.asname or alias.name.partition(".")[0]
            alone = (
                ast.Import([alias])
                if isinstance(statement, ast.Import)
                else ast.ImportFrom(statement.module, [alias], statement.level)
            )
            if name == "*":
                module.unnamed.append(_Piece(name, alone))
            else:
                module.bound.setdefault(name, []).append(_Piece(name, alone))
        return
    names = sorted(_bound_by(statement))
    if names == ["pytestmark"] and isinstance(statement, ast.Assign):
        value = statement.value
        if _is_gate_mark(value) or not getattr(value, "elts", [value]):
            return
    piece = _Piece(", ".join(names), statement)
    if not names:
        module.unnamed.append(piece)
    for name in names:
        module.bound.setdefault(name, []).append(piece)


def _bound_by(statement: ast.stmt) -> set[str]:
    """Return the names of the top level that a statement binds, also within if, for, with, try."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return names


def _parts(piece: _Piece, method: str) -> Iterator[_Piece]:
    """Return the piece, of a class with tests without its other tests."""
    node = piece.node
    if not isinstance(node, ast.ClassDef) or not method:
        yield piece
        return
    kept = [
        one
        for one in node.body
        if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        or not one.name.startswith("test")
        or one.name == method.partition(".")[0]
    ]
    alone = ast.ClassDef(
        name=node.name,
        bases=node.bases,
        keywords=node.keywords,
        body=kept,
        decorator_list=node.decorator_list,
    )
    yield _Piece(f"{node.name}.{method}", alone)


def _words(differing: Iterable[tuple[str, str]]) -> str:
    """Return which parts of which files differ."""
    by_file: dict[str, list[str]] = {}
    for path, name in sorted(differing):
        by_file.setdefault(PurePosixPath(path).as_posix(), []).append(name)
    return "; ".join(f"{path}: {', '.join(names)}" for path, names in by_file.items())
