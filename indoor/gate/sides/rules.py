"""Whose settings a gate goes by: base's, so that no change loosens the rules that judge it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePosixPath

from indoor.errors import IndoorError
from indoor.gate.settings import (
    FILE_NAME,
    GateConfig,
    load_config,
    parse_config,
    suite_within,
)
from indoor.gate.sides.repository import (
    find_repository,
    find_root,
    has_folder,
    read_committed,
    resolve_revision,
)
from indoor.machine import run_git

_HOW_TO_RUN = (
    "suite",
    "paths",
    "arguments",
    "prepare",
    "own_environment",
    "copy",
    "facts",
    "hang_s",
    "start_s",
    "environment",
)
"""Settings that let a suite run at all: those of head's first gate.toml count."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The settings of a gate, and what head's say otherwise.

    `changes` are sentences for the report. `head_allows` are the globs of cells that head's own
    settings let vanish and base's do not.
    """

    config: GateConfig
    changes: tuple[str, ...] = ()
    head_allows: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A tree that settings are read from: a commit, or the working tree where that is None."""

    name: str
    root: Path
    commit: str | None

    def read(self, path: str) -> str | None:
        if self.commit is not None:
            return read_committed(self.root, self.commit, path)
        file = self.root / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    def beside(self, suite: str) -> str:
        """Return where the settings of a suite's folder, or of the folder around it, lie."""
        is_folder = (
            (self.root / suite).is_dir()
            if self.commit is None
            else has_folder(self.root, self.commit, suite)
        )
        return (
            (PurePosixPath(suite) if is_folder else PurePosixPath(suite).parent)
            .joinpath(FILE_NAME)
            .as_posix()
        )


def choose_rules(
    start: Path,
    *,
    path: Path | None = None,
    suite: Path | None = None,
    base: str | None = None,
    head: str | None = None,
    by_head: bool = False,
) -> Ruling:
    """Return base's settings, and tell what head's would change.

    Where base has no settings yet, head's say how its suite is run; the limits are the defaults.
    A file that the user named and that the repository does not hold is nobody's change: it counts
    as it stands, as the working tree's does where no revision is named.

    Args:
        start: A folder of the repository.
        path: The file that the user named; None for a `gate.toml` in the suite's folder.
        suite: The suite that the user named, from the working directory.
        base: The revision to compare with.
        head: The one to judge; None for the working tree.
        by_head: Whether head's settings count instead.

    Raises:
        IndoorError: A revision is unknown, or a file, a key, a type or a value is wrong.
    """
    root = find_root(start)
    own = Path() if path is None else path.resolve()
    if base is None or not _is_repository(start) or not _is_tracked(root, path, own):
        return Ruling(config=load_config(path, suite, root=root))
    inside = suite_within(root, suite) if suite is not None else None
    named = None if path is None else own.relative_to(root.resolve()).as_posix()
    sources = (
        _Source(name="base", root=root, commit=resolve_revision(root, base)),
        _Source(
            name="head",
            root=root,
            commit=None if head is None else resolve_revision(root, head),
        ),
    )
    ours, theirs = (_read(source, named, inside, by_head) for source in sources)
    if named is not None and ours is None and theirs is None:  # neither revision has it
        return Ruling(config=load_config(path, suite, root=root))
    default = parse_config("", "the gate's settings", inside)
    if by_head or ours == theirs:
        return Ruling(config=theirs or default)
    if ours is None:
        assert theirs is not None
        borrowed = {name: getattr(theirs, name) for name in _HOW_TO_RUN}
        config, whose = replace(default, **borrowed), "the defaults, since base has no settings"
    else:
        config, whose = ours, "base's"
    told = list(_differences(config, theirs or default))
    if not told:
        return Ruling(config=config)
    file = named or sources[1].beside(inside or config.suite)
    how = f"head's {file} says otherwise" if theirs else f"head has no {file} any more"
    return Ruling(
        config=config,
        changes=(
            f"{how} ({', '.join(told)}); it is judged by {whose}, and by head's with --head-rules",
        ),
        head_allows=tuple(
            glob for glob in (theirs or default).allow_vanished if glob not in config.allow_vanished
        ),
    )


def _is_repository(start: Path) -> bool:
    """Return whether revisions can be read; what a gate needs of git it asks for itself."""
    try:
        find_repository(start)
    except IndoorError:
        return False
    return True


def _is_tracked(root: Path, path: Path | None, own: Path) -> bool:
    """Return whether a named file is part of the code; without a name, the suite's is."""
    if path is None:
        return True
    if not own.is_relative_to(root.resolve()):
        return False
    return run_git(root, "ls-files", "--error-unmatch", "--", str(own)).returncode == 0


def _read(
    source: _Source, named: str | None, suite: str | None, by_head: bool
) -> GateConfig | None:
    """Return one side's settings; None where it has no file of them."""
    path = named or source.beside(suite or GateConfig.suite)
    text = source.read(path)
    if text is None or (by_head and source.name == "base"):
        return None
    where = path if source.commit is None else f"{path} of {source.name}"
    try:
        return parse_config(text, where, suite)
    except IndoorError as error:
        if source.name == "head":
            raise
        # What is wrong in base is mended by head, which cannot be gated by base's rules then.
        raise IndoorError(f"{error}, and let head's count: --head-rules") from error


def _differences(ours: object, theirs: object, prefix: str = "") -> Iterator[str]:
    """Yield each setting that differs, as `plan.tolerance 0.03 -> 0.9`."""
    assert is_dataclass(ours)
    for one in fields(ours):
        before, after = getattr(ours, one.name), getattr(theirs, one.name)
        if before == after:
            continue
        if is_dataclass(before):
            yield from _differences(before, after, f"{prefix}{one.name}.")
        else:
            yield f"{prefix}{one.name} {_words(before)} -> {_words(after)}"


def _words(value: object) -> str:
    """Return a setting as a reader of gate.toml knows it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_words, value))}]"
    if is_dataclass(value):
        pairs = ((one.name, getattr(value, one.name)) for one in fields(value))
        return f"{{{', '.join(f'{name} = {_words(v)}' for name, v in pairs if v is not None)}}}"
    return f"{value}"
