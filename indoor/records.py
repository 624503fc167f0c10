"""The frozen records that are stored on disk, and the one place where they become JSON and back."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from indoor.errors import IndoorError
from indoor.files import read_bytes, write_bytes

SCHEMA_VERSION = 2
"""The version of our part of a result, which stands in every `Measurement`."""

Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

Split = Literal["train", "val", "test"]
Resize = Literal["whole", "crop"]
Precision = Literal["float32", "tf32", "bfloat16", "float16", "int8"]
"""What factors are multiplied in, the widest first. `tf32` is a GPU's: float32 whose factors are
rounded to 10 bits as they are multiplied."""

Arch = Literal[
    "resnet18",
    "resnet50",
    "resnext101_32x8d",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "googlenet",
    "inception_v3",
    "shufflenet_v2_x1_0",
]
Engine = Literal["x86", "fbgemm", "onednn", "qnnpack"]
Flow = Literal["eager", "fx", "pt2e"]
Observer = Literal["minmax", "moving-average", "histogram", "percentile", "mse"]
WeightGranularity = Literal["per-channel", "per-tensor"]
Rounding = Literal["nearest", "gptq"]
Recipe = Literal["head", "full"]
Case = Literal["latency", "load", "peak-memory", "decode", "throughput", "label", "limit"]
Allocator = Literal["default", "retain"]
Role = Literal["baseline", "plain", "judged"]

Record = TypeVar("Record")

_SEAL = re.compile(rb'^  "content_sha256": "[0-9a-f]{64}"', re.MULTILINE)
"""A record's own, and not one of a record within it."""

_UNSEALED = b'  "content_sha256": null'


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; `level` is its coverage, in 0..1."""

    low: float
    high: float
    level: Share = 0.95


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of photographs, `num_hits / num_total`, with its Wilson interval."""

    num_hits: Count
    num_total: PositiveCount
    value: Share
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a photograph becomes float32 `(3, size, size)`.

    `resize` is `whole` (the whole photograph to size x size) or `crop` (the short side to
    size * 256 / 224, then a centred square). RGB is scaled to 0..1, then `(x - mean) / std`.
    """

    resize: Resize
    size: PositiveCount
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """Where the weights came from before this project touched them.

    `sha256` is that of the source's file; it is None for `none` (a random backbone).
    """

    kind: Literal["file", "imagenet-cache", "imagenet-download", "none"]
    name: str
    sha256: Sha256 | None
    assumed: tuple[str, ...] = field(default=(), compare=False)
    """What the file does not say and what was taken instead, one clause each, to be read beside
    every figure; it does not tell these weights from others."""

    @property
    def identity(self) -> str:
        """What tells these weights from others: their content, whichever way they came."""
        return self.sha256 or f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class DataIdentity:
    """Which photographs: the folder's name, counts, and a hash over lists and file contents."""

    name: str
    num_classes: Count
    num_train: Count
    num_val: Count
    num_test: Count
    num_skipped: Count
    sha256: Sha256
    seed: int | None = None
    """What chose the validation photographs, as `val_fraction`, their share of the train list,
    did; None: not recorded."""
    val_fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class InputStatistics:
    """What a model was fed: extremes, mean and standard deviation over all values."""

    num_photographs: Count
    minimum: float
    maximum: float
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class QuantizationConfig:
    """Everything that decides which int8 network a float32 one becomes.

    `activation_range` is (0, 127) or (0, 255); `num_calibration` counts photographs. What repairs
    it comes last, in the order in which it is done; checkpoints from before there was any have none
    of it.
    """

    flow: Flow
    engine: Engine
    activation_range: tuple[int, int]
    observer: Observer
    weights: WeightGranularity
    num_calibration: Count
    batch: PositiveCount
    seed: int
    equalised: bool = False
    """Whether the ranges of channels were levelled across layers before all else."""
    rounding: Rounding = "nearest"
    """How weights are rounded: each to the nearest, or so that their errors cancel (GPTQ)."""
    qat_epochs: Count = 0
    """Epochs of training with quantization in the network; 0: post-training quantization."""
    float_layers: tuple[str, ...] = ()
    """The layers that stay float32, by name."""
    bias_corrected: bool = False
    """Whether the shift that rounding gave each channel's mean was taken off its bias."""


@dataclass(frozen=True, kw_only=True)
class QuantizationCheck:
    """float32 and int8 side by side on photographs that were kept out of calibration."""

    num_photographs: Count
    agreement: Rate
    entropy_float32_bits: NotNegative
    entropy_int8_bits: NotNegative
    num_classes_float32: Count
    num_classes_int8: Count
    sqnr_db: float
    calibration_input: InputStatistics
    inference_input: InputStatistics
    findings: tuple[str, ...]
    """Why the model counts as collapsed; empty where it does not."""


@dataclass(frozen=True, kw_only=True)
class QuantizationRecord:
    """How an int8 model was made, on what, and what its check found."""

    config: QuantizationConfig
    calibration_sha256: Sha256
    num_quantized_modules: Count
    cpu_model: str
    vnni: bool | None
    torch_version: str
    forced: bool
    check: QuantizationCheck | None
    exact: bool | None = None
    """Whether the engine added up exactly in this range on that CPU; None: not recorded."""
    float_share: Share = 0.0
    """The share of the multiply-adds that `config.float_layers` are."""

    @property
    def num_calibrated(self) -> int:
        """Photographs that calibration saw; `config` keeps how many were asked for."""
        if self.check is None:
            return self.config.num_calibration
        return self.check.calibration_input.num_photographs


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What an artefact was made from, and where. None: not recorded."""

    made_from: dict[str, Sha256]
    """SHA-256 by role (`weights`, `float32`): of a checkpoint its `content_sha256`, of any other
    file, and of a checkpoint of format 1, that of the file."""
    data: DataIdentity | None = None
    """The train list's photographs, by which the test list decides nothing: `num_test` is 0."""
    recipe: Recipe | None = None
    settings: dict[str, str | int | float] = field(default_factory=dict)
    """The recipe's settings, as in `TrainingCurves`, with `epochs`."""
    run: str | None = None
    """The run that a preparation made it for, by the name of its folder."""
    device: str | None = None
    torch: str | None = None
    environment: dict[str, str] | None = None
    """The variables that change kernels or clocks."""


@dataclass(frozen=True, kw_only=True)
class CheckpointManifest:
    """What a checkpoint says of itself; `classes` in the order of the logits.

    `provenance` and `content_sha256`, over the tensors and this manifest without it, are None in
    format 1. A writer works the latter out itself.
    """

    format: int
    arch: str
    precision: Precision
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    weights: WeightSource
    epoch: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    quantization: QuantizationRecord | None = None
    provenance: Provenance | None = None
    content_sha256: Sha256 | None = None


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch's figures; loss in nats, accuracy in 0..1, `epoch` from 1."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainingCurves:
    """The history of a fine-tuning; `note` is set where it overfits (with the figure)."""

    recipe: Recipe
    epochs: tuple[Epoch, ...]
    best_epoch: int
    note: str | None
    settings: dict[str, str | int | float] = field(default_factory=dict)
    """What decided it: learning rates, batch, training size, device and the like."""

    @property
    def best(self) -> Epoch:
        """The figures of `best_epoch`."""
        return self.epochs[self.best_epoch - 1]


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """The accuracy on the photographs of one class."""

    name: str
    accuracy: Rate


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model on one split; `confusion[i][j]` counts class i taken for class j.

    `loss` is the mean cross-entropy in nats; `mean_class_accuracy` is in 0..1. `top5` counts the
    true class among the five (or all, if fewer) largest logits.
    """

    variant: str
    split: Split
    num_photographs: Count
    top1: Rate
    top5: Rate
    mean_class_accuracy: Share
    loss: NotNegative
    per_class: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[Count, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PairedEvaluation:
    """Two models on the same photographs.

    `difference` is the candidate's top-1 minus the baseline's, in -1..1.
    """

    baseline: str
    candidate: str
    num_photographs: Count
    num_both_right: Count
    num_only_baseline_right: Count
    num_only_candidate_right: Count
    num_both_wrong: Count
    agreement: Rate
    difference: Annotated[float, Meta(ge=-1, le=1)]
    difference_interval: Interval
    mcnemar_p: Share
    sqnr_db: float


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """All variants of one fine-tuned network on the test split; every pair against float32."""

    data: DataIdentity
    weights: WeightSource
    preprocessing: Preprocessing
    checkpoint_sha256: dict[str, str]
    """The SHA-256 of the checkpoints' files, by precision."""
    cpu_model: str
    """int8 kernels differ from host to host, and with them some logits."""
    torch_version: str
    evaluations: tuple[Evaluation, ...]
    pairs: tuple[PairedEvaluation, ...]
    device: str | None = None
    """Where the logits were computed; None: not recorded."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a variant has no figures, by its name: what went wrong in its own process, or that it was
    made from another network."""
    libraries: dict[str, str] = field(default_factory=dict)
    """With which libraries beside torch a variant was evaluated, such as `onnxruntime 1.32.0`."""
    notes: tuple[str, ...] = ()
    """What is not known of these checkpoints, which variants computed in another precision than
    they claim, and of how many photographs the baseline computed the logits itself."""
    content_sha256: Sha256 | None = field(default=None, compare=False)
    """The hash of its file without this one; `write_record` works it out."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine a figure was taken on. None: not readable, and `unreadable` says why."""

    cpu_model: str
    num_cores: PositiveCount
    isa: tuple[str, ...]
    vnni: bool | None
    amx: bool | None
    bfloat16: bool | None
    governor: str | None
    load_1min: NotNegative | None
    memory_bytes: Count | None
    system: str
    python: str
    torch: str
    torchvision: str
    engines: tuple[str, ...]
    unreadable: dict[str, str]
    libc: str | None = None
    cpu_quota: float | None = None
    """Cores' worth of CPU time that a cgroup allows, where below `num_cores`' CPUs; else None."""
    swap_used_bytes: Count | None = None
    num_throttled: Count | None = None
    """How often the cores in use slowed down because of heat since the machine started."""
    num_physical_cores: PositiveCount | None = None
    """Cores behind the usable CPUs, of which hyper-threads share one; None also: not recorded."""
    core_kinds: dict[str, PositiveCount] | None = None
    """The same by kind (`performance`, `efficiency`), nothing where the machine has one kind; None
    also: not recorded."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to run a network, and all that others would otherwise ask its name for.

    `checkpoint` is the precision of the file that it is made from. Of the roles, the `baseline` is
    what the others are compared with, `judged` asks for a verdict whether it pays, and `plain`
    stands beside them, since it needs no calibration.
    """

    name: str
    runtime: str
    """The file in indoor/runtimes that runs it."""
    precision: Precision
    checkpoint: Literal["float32", "int8"]
    device: str = "cpu"
    min_sqnr_db: float | None = None
    """Logits below this are another network's; None: their bits must be the baseline's."""
    role: Role = "plain"
    order: int = 50
    """Where it stands in tables, ascending; the baseline is 0."""
    own_process: bool = False
    """Whether it is loaded in a process of its own, since it brings threads and crashes."""
    static_batch: bool = False
    """Whether it takes just the number of photographs that it was loaded for."""
    rank: int | None = None
    """Its place among the variants of its precision that a short run prefers, the quickest being 0;
    None: only the full run, or its name, asks for it."""
    colour: str | None = None
    """Of the plot, as `#0072b2`; None: one that is free."""
    marker: str | None = None


REST = "all but oneDNN's primitives"
"""The operator of what a call takes beside the others, where its runtime tells no more of it."""


@dataclass(frozen=True, kw_only=True)
class Executed:
    """One operation of a call, as the runtime that executed it tells it.

    `operator` is a convolution, a matrix product, a reorder and so on in the runtime's own word,
    `layer` the network's own name where the runtime keeps it. `implementation` is the kernel's
    name; None: the library names none. `types` are those of its input, weights and output, such as
    `u8/s8/u8`, and `shape` is told in the runtime's own way. `multiply_adds` are those of the whole
    batch, 0 for what only moves or adds; `precision` is what they were computed in, None where that
    cannot be told. `num_bytes` are those of its tensors, once each: its inputs, weights and output;
    None: not known. `seconds` are its own, as the runtime timed it; None: it did not.
    """

    operator: str
    types: str
    shape: str
    implementation: str | None = None
    layer: str | None = None
    precision: Precision | None = None
    multiply_adds: Count = 0
    num_bytes: Count | None = None
    seconds: NotNegative | None = None


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a warm call really computed with, as its runtime tells it: the kernel fingerprint.

    `precision` is that of most multiply-adds; None: the runtime cannot tell. `executed` are the
    operations in their order, `notes` what else is to be said, such as weights repacked in every
    call. `kernels` counts names; results from before there was `executed` have nothing else.
    """

    precision: Precision | None
    kernels: dict[str, int] = field(default_factory=dict)
    executed: tuple[Executed, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def multiply_adds(self) -> dict[Precision | None, int]:
        """Multiply-adds by what they were computed in, most first; nothing where none is told."""
        found: Counter[Precision | None] = Counter()
        for one in self.executed:
            found[one.precision] += one.multiply_adds
        return {precision: count for precision, count in found.most_common() if count}

    @property
    def share(self) -> float | None:
        """The share of the multiply-adds that were computed in `precision`; None: not told."""
        counts = self.multiply_adds
        return counts.get(self.precision, 0) / sum(counts.values()) if counts else None


@dataclass(frozen=True, kw_only=True)
class Tail:
    """A high percentile of latency by MLPerf's rule of early stopping.

    `percentile` is such as 99.9, `min_calls` what the rule asks for, and `value_s` seconds a
    photograph; None where the calls were too few, which is INVALID.
    """

    percentile: float
    num_calls: Count
    min_calls: PositiveCount
    value_s: NotNegative | None


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What a run measured: code, data, weights, network and machine."""

    commit: str | None
    dirty: bool | None
    arch: str
    preprocessing: Preprocessing
    data: DataIdentity
    weights: WeightSource
    checkpoint_sha256: dict[str, Sha256]
    """The SHA-256 of the float32 and the int8 checkpoint's files, by precision."""
    quantization: QuantizationRecord | None
    machine: Machine
    narrowed: bool
    """Whether fewer cases were measured than the suite holds by default, or each of them less."""
    not_a_baseline: str | None = None
    """Why a later run must not be compared with this one by default; None where it may be."""
    variants: tuple[Variant, ...] | None = None
    """All that this machine computes natively, in the tables' order; None: not recorded."""
    weakened: tuple[str, ...] | None = None
    """The options by which each case was measured less than by default; None: not recorded."""
    num_resumed: Count | None = None
    """How many of its cells an interrupted run measured; None: not recorded."""
    timer: str | None = None
    """What the rounds were timed with, such as `time.perf_counter`; None: not recorded."""
    environment: dict[str, str] | None = None
    """What changes kernels, memory or clocks, as `machine.read_environment` tells it; None: not
    recorded."""
    order_seed: Count | None = None
    """What decided the order of its cells; None: not recorded, or the order of their names."""
    commit_unknown: str | None = None
    """Why there is no `commit`, as git says it; None: there is one, or not recorded."""

    @property
    def device(self) -> str | None:
        """Where its variants were computed; None: not recorded."""
        return self.variants[0].device if self.variants else None


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """Seconds per photograph over the rounds. None: the rounds cannot carry that percentile."""

    median_s: NotNegative
    p90_s: NotNegative | None
    p99_s: NotNegative | None
    left_out: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PairedSpeedup:
    """baseline / candidate, from calls that were interleaved in time.

    `speedup` is the median of the pairs' ratios, `blocked_speedup` the ratio of medians of two
    blocks that were not interleaved (measured once a run, to show the difference).
    """

    baseline: str
    candidate: str
    num_pairs: PositiveCount
    speedup: Positive
    interval: Interval
    log_ratio_robust_sd: NotNegative
    log_ratio_lag1: float | None
    blocked_speedup: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Our part of one benchmark, `extra_info["indoor"]` in pytest-benchmark's JSON."""

    schema_version: Annotated[int, Meta(ge=1, le=SCHEMA_VERSION)]
    case: Case
    variant: str | None
    runtime: str | None
    precision: Precision | None
    batch: PositiveCount | None
    threads: PositiveCount | None
    allocator: Allocator
    run: RunIdentity
    latency: LatencySummary | None = None
    photographs_per_s: NotNegative | None = None
    minor_faults_per_photograph: NotNegative | None = None
    num_warmup_calls: Count | None = None
    warmup_stable: bool | None = None
    output_sqnr_db: float | None = None
    """Logits against float32's on the same batch; None for float32 itself."""
    speedup: PairedSpeedup | None = None
    unpaired_reason: str | None = None
    size_bytes: Count | None = None
    peak_memory_bytes: Count | None = None
    evaluation: Evaluation | None = None
    paired_evaluation: PairedEvaluation | None = None
    measured_at: str | None = None
    """When its rounds were finished, ISO 8601 in UTC; None: not recorded."""
    load_1min: NotNegative | None = None
    """The system's load at that moment; None: not recorded, or not readable."""
    resumed: bool | None = None
    """Whether an interrupted run measured it, which this one went on with; None: not recorded."""
    device: str | None = None
    """Where it was computed, such as `cpu`; None: not recorded."""
    ran: Ran | None = None
    """What this case's own variant, batch and threads really computed with."""
    num_processes: PositiveCount | None = None
    """How many computed side by side, each on `threads`; the case `throughput`."""
    multiply_adds_per_s: Positive | None = None
    """The case `limit`: the most that `precision` was seen to reach on `threads`."""
    multiply_adds: PositiveCount | None = None
    """Of the network for one photograph."""
    num_busy_threads: PositiveCount | None = None
    """Threads of the process that computed in a call, from /proc; None: not recorded."""
    idle_share: NotNegative | None = None
    """CPUs that the other variants' processes used while none was called."""
    build_s: NotNegative | None = None
    """Seconds that making the artefact took, where this run made it."""
    output_max_difference: NotNegative | None = None
    """The largest difference of a logit from float32's on the same batch."""
    tails: tuple[Tail, ...] = ()
    """Where `--percentiles mlperf` asked for them."""


def to_json(record: object, indent: int = 0) -> bytes:
    r"""Return the record as UTF-8 JSON, the same bytes for the same record.

    A file's name that is no UTF-8 has its odd bytes written as in Python, such as `\udce9`.
    """
    try:
        data = msgspec.json.encode(record)
    except UnicodeEncodeError:
        data = msgspec.json.encode(_encodable(msgspec.to_builtins(record)))
    return msgspec.json.format(data, indent=indent) + b"\n" if indent else data


def _encodable(value: object) -> object:
    """Return plain values with what UTF-8 cannot hold escaped in every text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


def from_json(data: bytes | str, record_type: type[Record], source: str) -> Record:
    """Return the record that `data` holds.

    Args:
        data: JSON, as `to_json` writes it.
        record_type: The dataclass to build.
        source: What to call the data in an error, such as a file's path.

    Raises:
        IndoorError: It is no JSON, or not such a record.
    """
    try:
        return msgspec.json.decode(data, type=record_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(source, record_type, error) from error


def to_builtins(record: object) -> dict[str, object]:
    """Return the record as dicts, lists, strings and numbers, for somebody else's JSON."""
    data = msgspec.to_builtins(record)
    assert isinstance(data, dict)
    return data


def from_builtins(data: object, record_type: type[Record], source: str) -> Record:
    """Return the record that `to_builtins` took apart; errors as in `from_json`."""
    try:
        return msgspec.convert(data, type=record_type)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _unreadable(source, record_type, error) from error


def write_record(path: Path, record: object) -> None:
    """Write the record to `path` as indented JSON, whole or not at all.

    A record that has a `content_sha256` is written with the hash of its file without it.
    """
    data = to_json(record, indent=2)
    if hasattr(record, "content_sha256"):
        data = _SEAL.sub(_UNSEALED, data)
        sealed = f'\n  "content_sha256": "{hashlib.sha256(data).hexdigest()}"'
        data = data.replace(b"\n" + _UNSEALED, sealed.encode())
    write_bytes(path, data)


def read_record(path: Path, record_type: type[Record]) -> Record:
    """Read a record that `write_record` wrote.

    Raises:
        IndoorError: As in `from_json`, or its content is not what its hash says.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror or error}; expected a {record_type.__name__} as "
            "JSON"
        ) from error
    record = from_json(data, record_type, str(path))
    said = getattr(record, "content_sha256", None)
    found = hashlib.sha256(_SEAL.sub(_UNSEALED, data)).hexdigest() if said else None
    if said != found:
        raise IndoorError(
            f"{path} is damaged (content of SHA-256 {str(found)[:16]}, {str(said)[:16]} by its own "
            "word), expected a file as indoor wrote it; make it again"
        )
    return record


def _unreadable(source: str, record_type: type[object], error: Exception) -> IndoorError:
    return IndoorError(
        f"{source} holds no {record_type.__name__}: {error}; "
        "expected a file that this version of indoor wrote; make it again"
    )
