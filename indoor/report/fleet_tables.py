"""Many runs as tables, JSON or CSV: the machines, the spread between them, each's own figures."""

from itertools import pairwise

from indoor.records import to_json
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Items, Paragraph
from indoor.report.caption import describe_cpu, describe_isa
from indoor.report.export import REPORT_FORMAT, csv_text
from indoor.report.fleet import Figure, Fleet, FleetMachine, MachineSpeedup, Spread

MOST_MACHINES = 40
"""Machines that tables show; JSON and CSV have all."""


def fleet_blocks(fleet: Fleet) -> list[Block]:
    """Return the machines, the spread of their speedups, and these machine by machine."""
    shown = _shown(fleet)
    blocks: list[Block] = [
        Heading(f"{_counted(fleet.num_runs, 'run')} of {_counted(len(fleet.machines), 'machine')}"),
        _machines(fleet, shown),
    ]
    if len(shown) < len(fleet.machines):
        blocks.append(
            Paragraph(
                f"{len(fleet.machines) - len(shown):,} more machines are in --format json and csv.",
                "faint",
            )
        )
    blocks += _left_out(fleet)
    networks = dict.fromkeys(_network(one.figure) for one in fleet.speedups)
    for network in networks:
        spreads = [one for one in fleet.spreads if _network(one.figure) == network]
        if spreads:
            blocks += [
                Heading(f"Speedups between machines: {network}"),
                Paragraph(
                    "lowest and highest are two machines' own figures, at the largest thread count "
                    "of each; nothing is averaged across machines. faster and slower count those "
                    "on which all runs' 95% intervals lie above or below 1.",
                    "faint",
                ),
                _spread_grid(spreads),
            ]
        own = [
            one
            for one in fleet.speedups
            if _network(one.figure) == network and one.machine in shown
        ]
        blocks += [
            Heading(f"Speedups of each machine: {network}"),
            Paragraph(
                "The median over a machine's runs, the smallest and the largest of them, and the "
                "ends of their 95% intervals.",
                "faint",
            ),
            _own_grid(own),
        ]
    return blocks


def fleet_json(fleet: Fleet) -> str:
    """Return the whole fleet as indented JSON."""
    return to_json({"report_format": REPORT_FORMAT, "summary": fleet}, indent=2).decode("utf-8")


def fleet_csv(fleet: Fleet) -> str:
    """Return a header and a row for each figure of each machine."""
    machines = {one.name: one for one in fleet.machines}
    rows = [_row(machines[one.machine], one) for one in fleet.speedups]
    return csv_text(rows, names=["machine"])


def _shown(fleet: Fleet) -> set[str]:
    """Return the machines for tables: those at the ends of a spread, then the first ones."""
    ends = [name for one in fleet.spreads for name in (one.lowest.machine, one.highest.machine)]
    names = dict.fromkeys([*ends, *(one.name for one in fleet.machines)])
    return set(list(names)[:MOST_MACHINES])


def _machines(fleet: Fleet, shown: set[str]) -> Grid:
    return Grid(
        columns=(
            Column("machine", "left"),
            Column("runs"),
            Column("first", "left"),
            Column("last", "left"),
            Column("what it is", "left"),
        ),
        rows=tuple(
            (
                one.name,
                f"{one.num_runs:,}",
                one.first[:10],
                one.last[:10],
                _describe(one),
            )
            for one in fleet.machines
            if one.name in shown
        ),
    )


def _describe(one: FleetMachine) -> str:
    memory = one.machine.memory_bytes
    quota = one.machine.cpu_quota
    told = [
        describe_cpu(one.machine),
        describe_isa(one.machine),
        "" if memory is None else f"{units.digits(memory / 1e9)} GB",
        "" if quota is None else f"quota of {quota:g} CPUs",
        one.device or "",
        ", ".join(f"{name} {value}" for name, value in sorted((one.environment or {}).items())),
    ]
    return "; ".join(filter(None, told))


def _left_out(fleet: Fleet) -> list[Block]:
    blocks: list[Block] = []
    if fleet.num_unpaired:
        blocks.append(
            Paragraph(f"{_counted(fleet.num_unpaired, 'run')} without a paired speedup.", "faint")
        )
    if fleet.num_left_out:
        blocks.append(Paragraph(f"{_counted(fleet.num_left_out, 'file')} left out:", "strong"))
        blocks.append(Items(tuple(fleet.left_out.values())))
        if more := fleet.num_left_out - len(fleet.left_out):
            blocks.append(Paragraph(f"and {more:,} more", "faint"))
    return blocks


def _spread_grid(spreads: list[Spread]) -> Grid:
    return Grid(
        columns=(
            Column("variant", "left"),
            Column("batches", "left"),
            Column("machines"),
            Column("lowest"),
            Column("on", "left"),
            Column("highest"),
            Column("on", "left"),
            Column("highest /\nlowest"),
            Column("faster"),
            Column("slower"),
        ),
        rows=tuple(
            (
                one.lowest.label,
                _batches(one.figure),
                f"{one.num_machines:,}",
                units.ratio(one.lowest.speedup),
                one.lowest.machine,
                units.ratio(one.highest.speedup),
                one.highest.machine,
                units.digits(one.highest.speedup / one.lowest.speedup),
                f"{one.num_faster:,}",
                f"{one.num_slower:,}",
            )
            for one in spreads
        ),
    )


def _own_grid(speedups: list[MachineSpeedup]) -> Grid:
    places = {one: number for number, one in enumerate(dict.fromkeys(s.figure for s in speedups))}
    ordered = sorted(speedups, key=lambda one: places[one.figure])
    rules = {
        number
        for number, (one, following) in enumerate(pairwise(ordered))
        if one.figure != following.figure and len(places) < len(speedups)
    }
    return Grid(
        columns=(
            Column("variant", "left"),
            Column("batches", "left"),
            Column("machine", "left"),
            Column("threads"),
            Column("runs"),
            Column("speedup"),
            Column("smallest"),
            Column("largest"),
            Column("intervals"),
        ),
        rows=tuple(
            (
                one.label,
                _batches(one.figure),
                one.machine,
                str(one.threads),
                f"{one.num_runs:,}",
                units.ratio(one.speedup),
                units.ratio(one.lowest),
                units.ratio(one.highest),
                units.ratio_interval(one.interval),
            )
            for one in ordered
        ),
        num_keys=3,
        rules=frozenset(rules),
    )


def _network(figure: Figure) -> str:
    return f"{figure.arch} at {figure.size} x {figure.size}, against {figure.baseline}"


def _batches(figure: Figure) -> str:
    return units.batches(figure.batches).partition(" ")[2]


def _row(machine: FleetMachine, one: MachineSpeedup) -> dict[str, object]:
    return {
        "machine": machine.name,
        "cpu_model": machine.machine.cpu_model,
        "num_cores": machine.machine.num_cores,
        "memory_bytes": machine.machine.memory_bytes,
        "device": machine.device,
        "arch": one.figure.arch,
        "size": one.figure.size,
        "baseline": one.figure.baseline,
        "variant": one.figure.variant,
        "batches": " ".join(map(str, one.figure.batches)),
        "threads": one.threads,
        "num_runs": one.num_runs,
        "speedup": one.speedup,
        "lowest": one.lowest,
        "highest": one.highest,
        "interval_low": one.interval.low,
        "interval_high": one.interval.high,
    }


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
