"""A Python file cut into the statements of its top level, by the names that they bind."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_Bodies = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Piece:
    """A statement of a file's top level, or a part of it that stands for itself."""

    name: str
    node: ast.AST

    def text(self) -> str:
        """Return what the piece says, whatever its layout, comments and line numbers."""
        return ast.dump(self.node)


@dataclass(frozen=True)
class Module:
    """A parsed file: its pieces by the names that they bind, and those that bind none."""

    path: str
    bound: dict[str, list[Piece]] = field(default_factory=dict)
    unnamed: list[Piece] = field(default_factory=list)
    unreadable: str | None = None
    """The text where it cannot be parsed."""


def read_module(path: str, file: Path) -> Module:
    """Return the pieces of a file; `path` is how it is called."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    tree = _parse(text)
    module = Module(path, unreadable=text if tree is None else None)
    for statement in tree.body if tree is not None else ():
        _add(module, statement)
    return module


def same_code(base: Path, head: Path) -> bool:
    """Return whether two files hold the same code, whatever its layout and comments."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (base, head)]
    parsed = [_parse(text) for text in texts]
    if None in parsed:
        return texts[0] == texts[1]
    return len({ast.dump(tree) for tree in parsed if tree is not None}) == 1


def parts_of(piece: Piece, method: str) -> Iterator[Piece]:
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
    yield Piece(f"{node.name}.{method}", alone)


def _parse(text: str) -> ast.Module | None:
    """Return a file's tree without what says nothing of what is measured; None: no Python of ours.

    Base or head may be written for a newer Python than the gate's own.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, _Bodies):
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


def _add(module: Module, statement: ast.stmt) -> None:
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
                module.unnamed.append(Piece(name, alone))
            else:
                module.bound.setdefault(name, []).append(Piece(name, alone))
        return
    names = sorted(_bound_by(statement))
    if names == ["pytestmark"] and isinstance(statement, ast.Assign):
        value = statement.value
        if _is_gate_mark(value) or not getattr(value, "elts", [value]):
            return
    piece = Piece(", ".join(names), statement)
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
