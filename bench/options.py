"""The suite's options on pytest's command line, and what they add up to."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from indoor import places
from indoor.errors import IndoorError
from indoor.files import check_new_file, path_failure
from indoor.machine import UnreadableError, usable_physical_cores
from indoor.records import Allocator, Arch

ROOT = Path(__file__).resolve().parent.parent
"""The repository's root."""

BATCHES = (1, 8, 16)
FULL_BATCHES = (1, 8, 16, 32)
GPU_BATCHES = (1, 8, 64)
FULL_GPU_BATCHES = (1, 8, 32, 64, 128)
"""A GPU computes 64 photographs in little more time than 8."""
ALL = "all"
PHYSICAL = "physical"
THREADS = (1, ALL)
FULL_THREADS = (1, 2, 4, ALL)
ARCHS = get_args(Arch)
CELL_SECONDS = 15.0
LONGEST_CELLS = 30
"""Times a cell's seconds for `--percentiles mlperf`: what 662 rounds of seven ResNet-50 take."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run of the suite is to measure, on what, and where it keeps what.

    `variants`, `batches` and `threads` are None where the default is meant. Paths are absolute.
    `compare` is None where nothing is compared, True for the newest run that fits, else what names
    a run; `compare_fail` holds pytest-benchmark's parsed checks. `gate` is the revision that
    `indoor gate` is to compare with once the suite has ended. `seed` decides the cells' order.
    """

    arch: str
    variants: tuple[str, ...] | None
    device: str
    batches: tuple[int, ...] | None
    threads: tuple[int | str, ...] | None
    full: bool
    cell_s: float
    seed: int
    percentiles: Literal["mlperf"] | None
    allocator: Allocator | None
    data: Path | None
    weights: Path | None
    home: Path
    results: Path
    keeps_int8: bool
    allow_download: bool
    skip_broken: bool
    fresh: bool
    compare: bool | str | None
    compare_fail: tuple[object, ...]
    allow_other_machine: bool
    gate: str | None
    html: Path | None
    """Where the page goes; None: beside the saved run."""

    @property
    def suite_batches(self) -> tuple[int, ...]:
        """The batches to measure."""
        default, full = (GPU_BATCHES, FULL_GPU_BATCHES) if self.on_gpu else (BATCHES, FULL_BATCHES)
        return self.batches or (full if self.full else default)

    @property
    def on_gpu(self) -> bool:
        """Whether networks are computed elsewhere than on the CPU."""
        return self.device in ("cuda", "mps")

    @property
    def weakened(self) -> tuple[str, ...]:
        """The options by which each case is measured less than by default."""
        return (f"--cell-seconds {self.cell_s:g}",) if self.cell_s < CELL_SECONDS else ()

    def suite_threads(self, num_cores: int) -> tuple[int, ...]:
        """The numbers of threads to measure: words resolved, none twice, none above the cores."""
        default = FULL_THREADS if self.full else THREADS
        # A GPU computes the same on any number; what decodes for it is all that there are.
        wanted = self.threads or ((ALL,) if self.on_gpu else default)
        return _resolve_threads(wanted, num_cores)


SETTINGS = pytest.StashKey[Settings]()
"""Where the session's settings are kept in pytest's config."""


SHARED = pytest.StashKey[Any]()
"""Where the session's `Shared` is kept; Any, so that reading options imports no torch."""


@contextmanager
def mistakes_in_one_line(prefix: str = "") -> Iterator[None]:
    """Turn a user's mistake into pytest's own error of one line, after `prefix`, and exit 4."""
    try:
        yield
    except IndoorError as error:
        raise pytest.UsageError(f"{prefix}{error}") from error
    except OSError as error:
        if line := path_failure(error):
            raise pytest.UsageError(f"{prefix}{line}") from error
        raise


def add_options(parser: pytest.Parser) -> None:
    """Add the options to pytest's command line."""
    add = parser.getgroup(
        "indoor", "indoor: what is measured; example: pytest bench --batch 1,8 --threads all"
    ).addoption
    add(
        "--model", default="resnet50", metavar="ARCH", help=f"{', '.join(ARCHS)}; default: resnet50"
    )
    add(
        "--variant",
        action="append",
        default=[],
        metavar="NAMES",
        help="such as float32,int8, from indoor/runtimes; may be repeated (default: the eager "
        "ones and the best-ranked of each precision; with --full all that this machine computes)",
    )
    add("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, mps, or auto")
    add(
        "--batch",
        action="append",
        default=[],
        metavar="SIZES",
        help="photographs a batch, such as 1,8; may be repeated (default: 1,8,16; on a GPU 1,8,64)",
    )
    add(
        "--threads",
        action="append",
        default=[],
        metavar="COUNTS",
        help="numbers of threads, such as 1,all; may be repeated (default: 1,all; on a GPU all); "
        "all: as many as there are usable CPUs; physical: one a core where hyper-threads share one "
        "(the system places threads; OMP_PLACES=cores OMP_PROC_BIND=close binds them)",
    )
    add(
        "--full",
        action="store_true",
        help="batch 1,8,16,32, threads 1,2,4,all, every variant, both allocators (on a GPU batch "
        "1,8,32,64,128)",
    )
    add(
        "--allocator",
        metavar="KIND",
        help="default (default), or retain: start again with glibc's malloc thresholds raised, so "
        "that large activations are not mapped anew in every call",
    )
    add(
        "--cell-seconds",
        default=str(CELL_SECONDS),
        metavar="S",
        help=f"time for the rounds of one batch and number of threads (default: {CELL_SECONDS:g}; "
        "12 rounds are made in any case)",
    )
    add(
        "--percentiles",
        metavar="RULE",
        help="mlperf: p90, p99 and p99.9 by its rule of early stopping, valid or not; rounds of "
        f"batch 1 go on for p99's 662, up to {LONGEST_CELLS} times --cell-seconds (default: "
        "nearest ranks)",
    )
    add(
        "--order-seed",
        metavar="N",
        help="decides the order of the cells, which changes times (default: drawn anew, recorded)",
    )
    add = parser.getgroup("indoor-data", "indoor: data and weights").addoption
    add("--data", metavar="ROOT", help="the data set (default: the drawn one)")
    add(
        "--weights",
        metavar="FILE",
        help="a file of weights, or a run (default: ImageNet's, or none)",
    )
    add(
        "--keep-int8",
        action="store_true",
        help="take the int8 that indoor quantize left in the run, such as that of --auto (default: "
        "that of its defaults, made anew where another lies there)",
    )
    add("--no-download", action="store_true", help="do not fetch ImageNet weights")
    add("--skip-broken", action="store_true", help="leave undecodable photographs out, and count")
    add("--home", metavar="FOLDER", help="where data and checkpoints lie (default: data/)")
    add = parser.getgroup("indoor-runs", "indoor: what becomes of the run").addoption
    add("--fresh", action="store_true", help="do not go on with a run that was interrupted")
    add(
        "--allow-other-machine",
        action="store_true",
        help="with --benchmark-compare=FILE: compare the speedups alone where FILE is of another "
        "machine (default: refuse it)",
    )
    add(
        "--gate",
        metavar="REV",
        help="then run `indoor gate --base REV` on the suite; its exit status counts (default: no)",
    )
    add("--results", metavar="FOLDER", help="where runs are saved (default: results/)")
    # pytest-html, where it is installed, has the name; then the page lies beside the run.
    with suppress(ValueError):
        add("--html", metavar="FILE", help="where the run's page goes (default: beside the run)")


def read_settings(config: pytest.Config) -> Settings:
    """Return what the command line asks for.

    Raises:
        pytest.UsageError: A value that means nothing, or that nobody would heed; one line.
    """
    _refuse_unheeded(config)
    get = config.getoption
    arch = get("model")
    if arch not in ARCHS:
        raise pytest.UsageError(f"--model {arch}: expected one of {', '.join(ARCHS)}")
    if get("gate") and get("keep_int8"):
        raise pytest.UsageError(
            "--keep-int8: expected no --gate beside it, whose two sides make an int8 each"
        )
    here = config.invocation_params.dir
    home = _home(get("home"), here)
    return Settings(
        arch=arch,
        variants=_split(get("variant")) or None,
        device=get("device"),
        batches=tuple(_whole("--batch", text) for text in _split(get("batch"))) or None,
        threads=tuple(_threads(text) for text in _split(get("threads"))) or None,
        full=get("full"),
        cell_s=_seconds("--cell-seconds", get("cell_seconds")),
        seed=_seed(get("order_seed")),
        percentiles=_percentiles(get("percentiles")),
        allocator=_allocator(get("allocator")),
        data=_data(get("data"), here),
        weights=_weights(get("weights"), home, here),
        home=home,
        results=(here / get("results")).resolve() if get("results") else ROOT / "results",
        keeps_int8=get("keep_int8"),
        allow_download=not get("no_download"),
        skip_broken=get("skip_broken"),
        fresh=get("fresh"),
        compare=get("benchmark_compare", None) or None,
        compare_fail=_compare_fail(config),
        allow_other_machine=get("allow_other_machine"),
        gate=get("gate") or None,
        html=_html(config, here),
    )


def _html(config: pytest.Config, here: Path) -> Path | None:
    text = config.getoption("html", None)
    if not text or config.pluginmanager.hasplugin("html"):
        return None
    path = here / str(text)
    try:
        check_new_file(path, option="--html")
    except IndoorError as error:
        raise pytest.UsageError(str(error)) from error
    return path


UNHEEDED = {
    "min_time": ("0.000005", "a round is one call of a whole batch"),
    "max_time": ("1.0", "--cell-seconds says how long the rounds of a cell go on"),
    "precision": ("None", "--cell-seconds says how long the rounds of a cell go on"),
    "calibration_precision": ("10", "a round is one call, so nothing is calibrated"),
    "warmup": ("False", "a variant is warmed up until its calls stop getting faster"),
    "warmup_iterations": ("100000", "a variant is warmed up until its calls stop getting faster"),
}
"""pytest-benchmark's options that change nothing here: what they are by default, and why."""


def _refuse_unheeded(config: pytest.Config) -> None:
    for name, (default, reason) in UNHEEDED.items():
        value = config.getoption(f"benchmark_{name}", default)
        if str(value) != default:
            option = f"--benchmark-{name.replace('_', '-')}"
            raise pytest.UsageError(f"{option} {value}: nothing to heed it here, since {reason}")


def _compare_fail(config: pytest.Config) -> tuple[object, ...]:
    """Return all checks; where the option is repeated pytest-benchmark keeps the last alone."""
    from pytest_benchmark.utils import parse_compare_fail

    parsed = list(config.getoption("benchmark_compare_fail", None) or ())
    option = "--benchmark-compare-fail"
    given: list[str] = []
    takes = False  # more words, as `--benchmark-compare-fail A B` has them
    for word in map(str, config.invocation_params.args):
        name, _, value = word.partition("=")
        if word.startswith("-"):
            takes = word == option
            if name == option and not takes:
                given.append(value)
        elif takes:
            given.append(word)
    if len(given) > len(parsed):
        return tuple(parse_compare_fail(text) for text in given)  # type: ignore[no-untyped-call]
    return tuple(parsed)


def _split(values: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a repeatable, comma-separated option, none twice."""
    words = [word.strip() for value in values for word in value.split(",")]
    return tuple(dict.fromkeys(word for word in words if word))


def _whole(option: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise pytest.UsageError(f"{option} {text}: expected a whole number, 1 or more")
    return int(text)


def _seed(text: str | None) -> int:
    """Return the seed that was named, or any other: a fixed one would fix the cells' errors."""
    return (
        random.SystemRandom().randrange(1, 10**6) if text is None else _whole("--order-seed", text)
    )


def _threads(text: str) -> int | str:
    if text in (ALL, PHYSICAL):
        return text
    if not text.isdigit():
        raise pytest.UsageError(
            f"--threads {text}: expected a whole number, 1 or more, {ALL} or {PHYSICAL}"
        )
    return _whole("--threads", text)


def _seconds(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86_400:
        raise pytest.UsageError(f"{option} {text}: expected seconds, above 0")
    return value


def _allocator(text: str | None) -> Allocator | None:
    if text is None or text == "default" or text == "retain":
        return text  # type: ignore[return-value]
    raise pytest.UsageError(f"--allocator {text}: expected default or retain")


def _percentiles(text: str | None) -> Literal["mlperf"] | None:
    if text is None or text == "mlperf":
        return text  # type: ignore[return-value]
    raise pytest.UsageError(f"--percentiles {text}: expected mlperf")


def _data(text: str | None, here: Path) -> Path | None:
    if not text:
        return None
    path = (here / Path(text).expanduser()).resolve()
    with mistakes_in_one_line("--data "):
        is_there = path.is_dir()
    if is_there:
        return path
    raise pytest.UsageError(
        f"--data {text}: there is no such folder; expected a folder with Images/ and the split "
        "lists"
    )


def _weights(text: str | None, home: Path, here: Path) -> Path | None:
    if not text:
        return None
    with mistakes_in_one_line("--weights "):
        return places.find_checkpoint(text, home, here).resolve()


def _home(text: str | None, here: Path) -> Path:
    """Return where data lies: as elsewhere, but a checkout's `data/` from any working directory."""
    if text:
        return (here / Path(text).expanduser()).resolve()
    if os.environ.get("INDOOR_HOME"):
        return places.data_folder().resolve()
    return ROOT / "data"


def _resolve_threads(wanted: Sequence[int | str], num_cores: int) -> tuple[int, ...]:
    """Return the numbers of threads in rising order.

    Raises:
        pytest.UsageError: None is left, since all are above the machine's cores; or nobody knows
            which CPUs share a core.
    """
    words = {ALL: num_cores}
    if PHYSICAL in wanted:
        words[PHYSICAL] = min(_physical_cores(), num_cores)
    numbers = {words[count] if isinstance(count, str) else count for count in wanted}
    kept = tuple(sorted(count for count in numbers if count <= num_cores))
    if not kept:
        asked = ",".join(str(count) for count in wanted)
        raise pytest.UsageError(
            f"--threads {asked}: expected {num_cores} (this machine's cores) or fewer"
        )
    return kept


def _physical_cores() -> int:
    try:
        return usable_physical_cores()
    except UnreadableError as error:
        raise pytest.UsageError(
            f"--threads {PHYSICAL}: {error}; expected numbers of threads, or {ALL}"
        ) from error
