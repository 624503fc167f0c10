"""What really ran: a call's multiply-adds by precision, beside what its variant claims."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from indoor.errors import IndoorError
from indoor.records import Executed, Measurement, Precision, QuantizationRecord, Ran, Variant

TOLERANCE = 0.001
"""A share of the multiply-adds that decides nothing: the last layer of a ResNet-50 has less."""

NUM_NAMED = 3
"""Layers that a line names before it counts the rest."""

_KEPT: Precision = "float32"
"""What the layers compute in that a quantization leaves alone."""

_UNTOLD = None
"""The key of multiply-adds whose precision nobody told."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a call computed with; the multiply-adds are those of its whole batch.

    `precision` is what most of them were computed in, None where nobody can tell. `total` are the
    network's, and under None in `multiply_adds` stand those of them whose precision was not told.
    `layers` lists where the told ones were computed, by precision.
    """

    claimed: Precision
    precision: Precision | None
    total: int
    multiply_adds: dict[Precision | None, int]
    layers: dict[Precision | None, tuple[str, ...]]
    is_told: bool
    """Whether the runtime told operations at all."""
    num_unnamed: int
    """Layers among them that came without a kernel's name."""
    num_too_many: int = 0
    """Multiply-adds that were told beyond those of the network, which is a runtime's defect."""
    notes: tuple[str, ...] = ()
    num_kept: int = 0
    """Multiply-adds of the layers that its quantization was told to keep in float32."""

    def share(self, precision: Precision | None) -> float:
        """Return the share of the multiply-adds in that precision; of None, of those not told."""
        return self.multiply_adds.get(precision, 0) / self.total if self.total else 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all was computed as it was to be, but for the tolerance."""
        return self.is_told and self._share_as_claimed >= 1 - TOLERANCE and not self.num_too_many

    @property
    def is_otherwise(self) -> bool:
        """Whether some of it was computed in another precision than it was to be."""
        if not self.is_told:
            return self.precision not in (self.claimed, None)
        return self._share_as_claimed + self.share(_UNTOLD) < 1 - TOLERANCE

    def num_elsewhere(self, precision: Precision | None) -> int:
        """Return the multiply-adds in that precision that were to be in what is claimed."""
        if precision in (self.claimed, _UNTOLD):
            return 0
        kept = self.num_kept if precision == _KEPT else 0
        return max(0, self.multiply_adds.get(precision, 0) - kept)

    @property
    def _share_as_claimed(self) -> float:
        """The share in what the variant claims, with that which was to stay in float32."""
        kept = self.multiply_adds.get(_KEPT, 0) - self.num_elsewhere(_KEPT)
        as_asked = kept / self.total if self.total and self.claimed != _KEPT else 0.0
        return self.share(self.claimed) + as_asked

    @property
    def words(self) -> str:
        """Return in one line what ran."""
        if not self.is_told:
            if self.precision is None:
                return "what ran is not known: its runtime cannot tell"
            return f"{self.precision}, as its runtime says, which tells no multiply-adds"
        told = sorted(self.multiply_adds, key=lambda one: (one is _UNTOLD, one != self.precision))
        parts = [self._part(one, first=one == told[0]) for one in told]
        if self.num_too_many:
            parts.append(
                f"{giga(self.num_too_many)} more than the network has, so its runtime counts wrong"
            )
        elif self.num_unnamed:
            parts.append(
                f"{self.num_unnamed} of {self.num_layers} layers told by operators and data types, "
                "as their library names no kernels"
            )
        return "; ".join(parts)

    @property
    def num_layers(self) -> int:
        """How many layers were told, in whichever precision."""
        return sum(len(names) for names in self.layers.values())

    def _part(self, precision: Precision | None, *, first: bool) -> str:
        share = percentage(self.multiply_adds[precision], self.total)
        of = f" of {giga(self.total)} multiply-adds" if first else ""
        if precision is _UNTOLD:
            return f"{share}{of} in what nobody told"
        told = f"{precision}: {share}{of}"
        if precision == self.claimed or (precision == self.precision and not self.num_kept):
            return told
        names = self.layers[precision]
        told = f"{told}, {len(names)} of {self.num_layers} layers: {named(names)}"
        if precision != _KEPT or not self.num_kept:
            return told
        return (
            f"{told} ({percentage(min(self.num_kept, self.total), self.total)} by --float-layers)"
        )


def kept_in_float32(
    variant: Variant | None, quantization: QuantizationRecord | None, multiply_adds: int
) -> int:
    """Return how many of a call's multiply-adds are float32's since its quantization says so."""
    if variant is None or variant.checkpoint == _KEPT or quantization is None:
        return 0
    return round(quantization.float_share * multiply_adds)


def examine(claimed: Precision, ran: Ran, multiply_adds: int | None, num_kept: int = 0) -> Proof:
    """Return what a call really computed with.

    Args:
        claimed: What its variant says that it computes with.
        ran: What its runtime tells.
        multiply_adds: The network's, for the batch; None: not known, and then those that are told
            count for all.
        num_kept: Those of them that its quantization leaves in float32 (`kept_in_float32`).
    """
    counts, computing = ran.multiply_adds, [one for one in ran.executed if one.multiply_adds]
    num_told = sum(counts.values())
    total = max(multiply_adds or 0, num_told)
    layers: dict[Precision | None, tuple[str, ...]] = {}
    for one in computing:
        layers[one.precision] = (*layers.get(one.precision, ()), _layer(one))
    if num_told < total and counts:
        counts = counts | {_UNTOLD: counts.get(_UNTOLD, 0) + total - num_told}
    too_many = num_told - multiply_adds if multiply_adds else 0
    return Proof(
        claimed=claimed,
        precision=_most(counts) if counts else ran.precision,
        total=total,
        multiply_adds=counts,
        layers=layers,
        is_told=bool(counts),
        num_unnamed=sum(one.implementation is None for one in computing),
        num_too_many=too_many if too_many > TOLERANCE * total else 0,
        notes=ran.notes,
        num_kept=num_kept,
    )


def judge(variant: Variant, ran: Ran, multiply_adds: int | None, num_kept: int = 0) -> Proof:
    """Return what a call of the variant really computed with, unless that is a lie.

    A variant made from the float32 checkpoint is named by what ran, whatever that is. One made from
    an int8 checkpoint that computed most in another precision has int8's size and logits alone.

    Args:
        variant: Whose call it was.
        ran: What its runtime tells of the call.
        multiply_adds: The network's, for the batch; None: not known.
        num_kept: Those of them that its quantization leaves in float32, which is no lie.

    Raises:
        IndoorError: It claims what it mostly did not compute with; one line.
    """
    proof = examine(variant.precision, ran, multiply_adds, num_kept)
    if variant.checkpoint == _KEPT:
        return proof
    elsewhere = {
        precision: count
        for precision in proof.multiply_adds
        if (count := proof.num_elsewhere(precision))
    }
    where = ""
    if 2 * sum(elsewhere.values()) > proof.total:
        names = tuple(name for precision in elsewhere for name in proof.layers[precision])
        share = percentage(sum(elsewhere.values()), proof.total)
        places = " and ".join(map(str, elsewhere))
        where = (
            f"computes {share} of {giga(proof.total)} multiply-adds in {places}, "
            f"{len(names)} of {proof.num_layers} layers: {named(names)}"
        )
    elif not proof.is_told and proof.precision not in (variant.precision, None):
        where = f"computes in {proof.precision}, as its runtime says, which names no layers"
    if where:
        raise IndoorError(
            f"{variant.name} {where}; expected {variant.precision}, and no time is worth recording "
            "without it; repair its runtime, or leave the variant out"
        )
    return proof


def proof_of(measurement: Measurement) -> Proof | None:
    """Return what a case's calls really computed with; None where that is not recorded."""
    claimed = claimed_precision(measurement)
    if measurement.ran is None or claimed is None:
        return None
    one = measurement.multiply_adds
    total = None if one is None or measurement.batch is None else one * measurement.batch
    known = {one.name: one for one in measurement.run.variants or ()}
    variant = known.get(measurement.variant or "")
    num_kept = kept_in_float32(variant, measurement.run.quantization, total or 0)
    return examine(claimed, measurement.ran, total, num_kept)


def claimed_precision(measurement: Measurement) -> Precision | None:
    """Return what the case's variant claims to compute with; of old results, what they say."""
    known = {one.name: one.precision for one in measurement.run.variants or ()}
    return known.get(measurement.variant or "", measurement.precision)


def row_name(measurement: Measurement) -> str:
    """Return what tables call a case's variant: its name, and what ran where it claims another."""
    name, claimed = measurement.variant or "", claimed_precision(measurement)
    ran = measurement.precision
    return name if claimed is None or ran in (claimed, None) else f"{name} (ran in {ran})"


def beats_limit(measurement: Measurement, limits: Iterable[Measurement]) -> str | None:
    """Return in words that a case was faster than the widest precision can be on these cores.

    It is evidence beside what a runtime tells, for one whose library names no kernels.

    Args:
        measurement: A case `latency`.
        limits: The run's cases `limit`. One with more threads than the case says nothing, as a
            core alone may be faster than one of many; one with fewer is taken for each core.

    Returns:
        None where it was not, or where nobody can say.
    """
    threads, one = measurement.threads, measurement.multiply_adds
    if measurement.latency is None or threads is None or one is None:
        return None
    widest = get_args(Precision)[0]
    fitting = [
        (limit.threads, limit.multiply_adds_per_s * threads / limit.threads)
        for limit in limits
        if limit.precision == widest
        and limit.multiply_adds_per_s is not None
        and limit.threads is not None
        and limit.threads <= threads
    ]
    if not fitting:
        return None
    num_threads, per_s = max(fitting)
    took_s, least_s = measurement.latency.median_s, one / per_s
    if took_s >= least_s:
        return None
    cores = "this core" if threads == 1 else f"these {threads} cores"
    return (
        f"faster than {widest} can be on {cores}: {took_s * 1e3:.3g} ms a photograph, and "
        f"{widest} takes {least_s * 1e3:.3g} at least by the limit measured on "
        f"{num_threads} {'thread' if num_threads == 1 else 'threads'}"
    )


def named(layers: tuple[str, ...]) -> str:
    """Return the first layers' names and how many more there are."""
    more = len(layers) - NUM_NAMED
    return ", ".join(layers[:NUM_NAMED]) + (f" and {more} more" if more > 0 else "")


def giga(count: int) -> str:
    """Return a number of multiply-adds in words."""
    return f"{count / 1e9:.3g} G"


def percentage(part: int, whole: int) -> str:
    """Return a share in words; what is not quite all or nothing never reads as if it were."""
    if part in (0, whole):
        return f"{100 * part // whole}%"
    percent = int(1000 * part / whole) / 10
    return f"{percent:g}%" if percent else "below 0.1%"


def _most(counts: dict[Precision | None, int]) -> Precision | None:
    """Return the precision of most multiply-adds, of equal ones the wider; None: nobody told."""
    order = (*get_args(Precision), _UNTOLD)
    most: Precision | None = max(counts, key=lambda one: (counts[one], -order.index(one)))
    return most


def _layer(one: Executed) -> str:
    return one.layer or f"{one.operator} {one.shape}".strip()
