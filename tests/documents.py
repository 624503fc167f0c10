"""What the documents tell people to type, and the real parsers that read it."""

import argparse
import ast
import contextlib
import functools
import io
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.config import _prepareconfig
from pytest_benchmark.cli import make_parser
from torch.distributed.run import get_args_parser

import bench.options
from bench.studies import (
    calibration,
    covariates,
    decoding,
    fleet,
    flows,
    gate,
    gpu,
    hard_models,
    head,
    history,
    overlap,
    own_work,
    page,
    rounds,
    saturation,
    scaling,
)
from indoor.cli.arguments import build_parser, parse

ROOT = Path(__file__).resolve().parent.parent

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "SECURITY.md", "docs/*.md", "data/*.md", "results/*.md")
    for path in ROOT.glob(pattern)
)
"""The documents that tell people what to type."""

OTHERS = ("pip", "gunzip", "gzip", "zcat", "source", "git", "sudo", "less", "sha256sum", "cd")
"""Programs of others, whose words nobody reads here."""

PROGRAMS = ("indoor", "pytest", "pytest-benchmark", "make", "python", "torchrun", *OTHERS)


@dataclass(frozen=True)
class Command:
    """A line that somebody may paste: its page, its line's number, and the line."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        """Return what a test's id says."""
        return f"{self.page}:{self.line} {self.text}"


def commands(page: str) -> Iterator[Command]:
    """Yield the commands of a page: indented lines, and what stands in backticks."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    begun: tuple[int, str] | None = None
    is_code = False
    for number, line in enumerate(lines, start=1):
        is_code = line.startswith("    ") and (is_code or not lines[number - 2])
        if not is_code:
            yield from (Command(page, number, text) for text in _in_backticks(lines, number - 1))
            continue
        at, text = begun or (number, "")
        text += line.strip()
        if text.endswith("\\"):
            begun = at, text[:-1]
            continue
        begun = None
        if _program(text) in PROGRAMS:
            yield Command(page, at, text)


def _in_backticks(lines: Sequence[str], index: int) -> Iterator[str]:
    """Yield commands in backticks that begin in a line; one may end in the next line."""
    text, following = lines[index], lines[index + 1] if index + 1 < len(lines) else ""
    joined = f"{text} {following.strip()}"
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", joined):
        if found.start() < len(text) and _program(found[1]) in PROGRAMS and " " in found[1]:
            before = joined[: found.start()].count("`")
            if before % 2 == 0:
                yield found[1]


def _program(text: str) -> str:
    words = re.sub(r"^([A-Z_]+=\S* )+", "", text).split()
    return words[0] if words else ""


def simple_commands(text: str) -> list[list[str]]:
    """Split a shell's line into the words of its commands; a redirection ends a command."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("&|;<>"):
            found.append([] if not set(word) & set("<>") else ["cd"])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def read(text: str) -> None:
    """Have the real parsers read a line, whatever its commands are.

    Raises:
        AssertionError: One of them refuses it; the message says why.
    """
    for words in simple_commands(text):
        environment: dict[str, str] = {}
        while words and (found := re.match(r"([A-Z_]+)=(.*)", words[0])):
            environment[found[1]] = found[2]
            words = words[1:]
        if words and words[0] not in OTHERS:
            assert words[0] in _PARSERS, f"{words[0]} in {text}: no program that is known"
            _PARSERS[words[0]](words[1:], environment)


def is_mention(words: Sequence[str]) -> bool:
    """Tell whether words name a command, and options of it perhaps, without being a whole line."""
    parser = find_command(words)
    if parser is None:
        return False
    rest = words[len(parser.prog.split()) - 1 :]
    options = {option for action in parser._actions for option in action.option_strings}
    return all(word in options for word in rest)


def find_command(words: Sequence[str]) -> argparse.ArgumentParser | None:
    """Return the parser of the command that the words after `indoor` begin with."""
    parser: argparse.ArgumentParser = build_parser()
    for word in words:
        known = subcommands(parser)
        if not known:
            return parser
        if word not in known:
            return None
        parser = known[word]
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands below a parser by their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def all_commands() -> list[argparse.ArgumentParser]:
    """Return the parser of every command that does something."""

    def below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
        found = subcommands(parser)
        if not found:
            yield parser
        for one in found.values():
            yield from below(one)

    return list(below(build_parser()))


def _strictly(parse: Callable[[Sequence[str]], Any], words: Sequence[str]) -> None:
    """Call an argparse parser; its mistake becomes an AssertionError that says what it printed."""
    told = io.StringIO()
    status: str | int | None = 0
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            parse(words)
        except SystemExit as stop:  # also after --help, with status 0
            status = stop.code
    assert not status, told.getvalue().strip()


def _indoor(words: Sequence[str], environment: dict[str, str]) -> None:  # noqa: ARG001
    _strictly(parse, words)


def _pytest(words: Sequence[str], environment: dict[str, str]) -> None:  # noqa: ARG001
    """Have pytest, pytest-benchmark and the suite read the options; files need not exist."""
    try:
        config = _prepareconfig(["--rootdir", str(ROOT), *words], [])
    except pytest.UsageError as error:
        raise AssertionError(str(error)) from error
    try:
        config.option.data = config.option.weights = None  # whatever folder a document names
        bench.options.read_settings(config)
    except pytest.UsageError as error:
        raise AssertionError(str(error)) from error
    finally:
        config._ensure_unconfigure()


def _make(words: Sequence[str], environment: dict[str, str]) -> None:
    """Have make say what it would do, and read the suite's line of that."""
    done = subprocess.run(
        ["make", "--dry-run", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        _, found, suite = line.partition("-m pytest bench")
        if found:
            read(f"pytest bench{suite}")


def _python(words: Sequence[str], environment: dict[str, str]) -> None:  # noqa: ARG001
    if words[:1] == ["-m"]:
        assert words[1] in _MODULES, f"python -m {words[1]}: no module that is known"
        _strictly(_MODULES[words[1]], words[2:])


def _torchrun(words: Sequence[str], environment: dict[str, str]) -> None:
    """Have torchrun read its own options, and `indoor` what follows `-m indoor`."""
    found: list[argparse.Namespace] = []
    _strictly(lambda words: found.append(get_args_parser().parse_args(words)), words)
    assert found[0].module, f"torchrun {' '.join(words)}: expected -m indoor"
    assert found[0].training_script == "indoor"
    _indoor(found[0].training_script_args, environment)


def _pytest_benchmark(words: Sequence[str], environment: dict[str, str]) -> None:  # noqa: ARG001
    _strictly(make_parser().parse_args, words)


_MODULES: dict[str, Callable[[Sequence[str]], Any]] = {
    "bench.studies.calibration": calibration._parse,
    "bench.studies.covariates": covariates._parse,
    "bench.studies.decoding": decoding._parse,
    "bench.studies.fleet": fleet._parse,
    "bench.studies.flows": flows._parse,
    "bench.studies.gate": gate._parse,
    "bench.studies.gpu": gpu._parse,
    "bench.studies.hard_models": hard_models._parse,
    "bench.studies.head": head._parse,
    "bench.studies.history": history._parse,
    "bench.studies.overlap": overlap._parse,
    "bench.studies.own_work": own_work._parse,
    "bench.studies.page": page._parse,
    "bench.studies.rounds": rounds._parse,
    "bench.studies.saturation": saturation._parse,
    "bench.studies.scaling": scaling._parse,
    "indoor": functools.partial(_indoor, environment={}),
    "pytest": functools.partial(_pytest, environment={}),
}

_PARSERS: dict[str, Callable[[Sequence[str], dict[str, str]], None]] = {
    "indoor": _indoor,
    "pytest": _pytest,
    "make": _make,
    "python": _python,
    "pytest-benchmark": _pytest_benchmark,
    "torchrun": _torchrun,
}


def commands_in_code(path: Path) -> Iterator[Command]:
    """Yield the commands that a file's messages name; `X` stands for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    names = "|".join(subcommands(build_parser()))
    for node in ast.walk(tree):  # a text comes before its parts
        if id(node) in passed or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        passed.update(map(id, parts))
        text = "".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in parts)
        quoted = re.findall(r"`((?:indoor|pytest|make|python) [^`]+)`", text)
        bare = re.findall(rf"\bindoor (?:{names})\b(?: --?\w[\w-]*)*", re.sub(r"`[^`]*`", "", text))
        for found in (*quoted, *bare):
            place = path.relative_to(ROOT).as_posix()
            yield Command(place, node.lineno, " ".join(found.split()))
