"""How a run ends: judged, saved under a lock, found again, and told in tables and words."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.adapter import session_of, write_whole
from bench.cases import default_names
from bench.options import ROOT, Settings
from bench.terminal import say
from indoor.errors import IndoorError
from indoor.machine import code_identity
from indoor.report import plot_latency, render, write_report_page
from indoor.report.comparison import render_ratios
from indoor.runs.baseline import Choice, match_cases, regressions, unmatched
from indoor.runs.results import load_results
from indoor.runs.storage import lock_results, name_run


class Saving:
    """pytest-benchmark's session as far as it saves; `regressions` are known once it is judged."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._known: frozenset[Path] = frozenset()
        self._file: Path | None = None
        self.regressions: list[str] = []
        self.problem: str | None = None
        """Why the run could not be saved, if so."""

    @property
    def bench_session(self) -> Any:
        """pytest-benchmark's session."""
        return session_of(self._config)

    @property
    def storage(self) -> Any:
        """pytest-benchmark's storage."""
        return self.bench_session.storage

    @property
    def results(self) -> Path:
        """The folder with a folder a machine."""
        path = getattr(self.storage, "path", None)
        return path if isinstance(path, Path) else self._settings.results

    @property
    def benchmarks(self) -> dict[str, Any]:
        """This run's benchmarks by node id, those that failed left out."""
        return {b.fullname: b for b in self.bench_session.benchmarks if b and not b.has_error}

    @contextmanager
    def judged(
        self, choice: Choice, *, whole: bool, failed: bool, num_resumed: int = 0
    ) -> Iterator[None]:
        """Judge the run, and hold the lock for the block that saves it and looks for its file.

        Args:
            choice: What to compare with.
            whole: Whether the session came to its end; what did not is not saved.
            failed: Whether a test failed.
            num_resumed: How many cells an interrupted run measured.
        """
        entries = self.benchmarks
        saves = whole and bool(entries)
        with ExitStack() as stack:
            if saves:
                self._judge(entries, choice, failed=failed, num_resumed=num_resumed)
                try:  # two runs that save at once must not count to the same number
                    stack.enter_context(lock_results(self.results, say=self._say))
                except IndoorError as error:
                    self.problem, saves = str(error), False
            if not saves:
                session = self.bench_session
                session.save = session.autosave = session.json = None
            else:
                write_whole(self.bench_session)
            self._known = frozenset(self.storage.query())
            try:
                yield
            except IndoorError as error:  # what is written whole says where and why it is not
                if not saves:
                    raise
                self.problem = str(error)
            if saves:
                self._file = self.saved()

    def _shown(self, path: Path) -> Path:
        """Return the path as pytest-benchmark shows it: below its storage, wherever that is."""
        folder = self.storage.path
        return path.relative_to(folder) if path.is_relative_to(folder) else path

    def saved(self) -> Path | None:
        """Return the file that pytest-benchmark has written for this run, if it has."""
        if self._file is not None:
            return self._file
        new = sorted(set(self.storage.query()) - self._known)
        return new[-1] if new else None

    def unmatched_lines(self, choice: Choice) -> list[str]:
        """Return lines that name the cases which only this run or only a baseline has."""
        return [line for run in choice.runs for line in unmatched(self.benchmarks, run)]

    def name(self, remark: str | None = None) -> str:
        """Return what follows the number in the name of this run's file."""
        return name_run(self._settings.arch, *code_identity(ROOT), remark)

    def _say(self, line: str) -> None:
        say(self._config, line)

    def _judge(
        self, entries: dict[str, Any], choice: Choice, *, failed: bool, num_resumed: int
    ) -> None:
        missing = default_names(self._settings) - set(entries)
        if choice.runs:
            self.bench_session.compared_mapping = {
                self._shown(run.path): {
                    name: {"stats": stats} for name, stats in match_cases(entries, run).items()
                }
                for run in choice.runs
            }
            self.regressions = regressions(self._settings.compare_fail, entries, choice.runs)
        reason = "failed" if failed else "regressed" if self.regressions else None
        narrowed = bool(missing or self._settings.weakened)
        told = {
            "narrowed": narrowed,
            "not_a_baseline": reason or ("narrowed" if narrowed else None),
            "weakened": self._settings.weakened,
            "num_resumed": num_resumed,
        }
        for entry in entries.values():  # only the end of the run tells it
            entry.extra_info.get("indoor", {}).get("run", {}).update(told)
        if self.bench_session.autosave == self._settings.arch:
            self.bench_session.autosave = self.name(reason or ("narrowed" if narrowed else None))


def write_tables(reporter: Any, saved: Path, choice: Choice, html: Path | None) -> None:
    """Print the saved run's tables beside what was chosen, and draw its plot beside the file.

    Args:
        reporter: pytest's terminal reporter.
        saved: The file of this run.
        choice: What to compare with.
        html: Where the page goes; None: beside the file.
    """
    reporter.section("what this run found", sep="=")
    (result,) = load_results([saved])
    width, color = shutil.get_terminal_size().columns, bool(reporter.hasmarkup)
    baseline = choice.runs[0].result if choice.runs else None
    reporter.write(render([result], width=width, color=color, baseline=baseline))
    reporter.write_line(f"saved: {saved}")
    page = html or saved.with_suffix(".html")
    for what, path, write in (
        ("plot", saved.with_suffix(".png"), partial(plot_latency, [result])),
        ("page", page, partial(write_report_page, [result], baseline=baseline)),
    ):
        try:
            write(path)
        except IndoorError as error:
            reporter.write_line(f"no {what}: {error}")
        else:
            reporter.write_line(f"{what}: {path}")
    for run in choice.elsewhere:
        assert run.result is not None
        reporter.write(render_ratios(run.result, result, width=width, color=color))


def write_comparison(
    reporter: Any, choice: Choice, problems: Sequence[str], unmatched: Sequence[str]
) -> None:
    """Print with what the run was compared, what only one of the two holds, and what got worse."""
    for line in (*choice.lines, *unmatched):
        reporter.write_line(line)
    for line in problems:
        reporter.write_line(f"REGRESSION {line}", red=True)
    if problems:
        reporter.write_line(
            f"{len(problems)} {'case' if len(problems) == 1 else 'cases'} slower than "
            "--benchmark-compare-fail allows: exit 1; this run does not become the baseline. Two "
            "runs apart in time differ by 10% and more on a shared machine; run it again to see",
            red=True,
        )


def write_nothing_saved(reporter: Any, option: Any) -> None:
    """Say that a file which was asked for is not written, where `--benchmark-disable` times none.

    Args:
        reporter: pytest's terminal reporter.
        option: pytest's options.
    """
    asked = {
        f"--benchmark-json {option.benchmark_json}": option.benchmark_json,
        "--benchmark-save": option.benchmark_save,
        "--benchmark-autosave": option.benchmark_autosave,
    }
    given = [words for words, value in asked.items() if value]
    if given and option.benchmark_disable:
        reporter.write_line(
            f"--benchmark-disable: nothing is timed, so nothing is saved ({', '.join(given)})"
        )
