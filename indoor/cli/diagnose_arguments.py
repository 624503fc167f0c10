"""The arguments of `indoor diagnose`."""

from pathlib import Path
from typing import Any

from indoor.cli.network_arguments import RUN_HELP, data_options
from indoor.cli.parser import add_html, command, group, positive


def add_diagnose(commands: Any) -> None:
    """Add `indoor diagnose`."""
    diagnose = command(
        commands,
        "diagnose",
        "what each layer of an int8 network loses, why, and what helps",
        "indoor diagnose mit67 --data data/mit67 --plot layers.png",
        formats=("table", "markdown", "json"),
    )
    diagnose.add_argument("run", metavar="FLOAT", help=RUN_HELP)
    diagnose.add_argument(
        "int8",
        type=Path,
        nargs="?",
        metavar="INT8",
        help="what was quantized of it, a file (default: the one of the same run)",
    )
    data_options(diagnose)
    group(diagnose, "data").add_argument(
        "--photographs",
        type=positive,
        metavar="N",
        help="of the validation split (default: 16)",
    )
    output = group(diagnose, "output")
    output.add_argument(
        "--plot", type=Path, metavar="PNG", help="also plot the layers (default: no plot)"
    )
    add_html(output)
    output.add_argument("--layers", action="store_true", help="all layers, not the worst 20 alone")
    output.add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )
