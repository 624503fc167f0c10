"""`indoor diagnose`: what each layer of an int8 network loses, why, and what helps."""

import argparse

from indoor import places
from indoor.cli.bar import Bar
from indoor.cli.chosen_run import checkpoint, data_root, opened_run
from indoor.cli.output import Outcome, use_color, width
from indoor.diagnose.causes import apply
from indoor.diagnose.diagnosis import NUM_PHOTOGRAPHS, diagnose
from indoor.diagnose.plot import diagnosis_page_blocks, plot_diagnosis
from indoor.diagnose.records import Diagnosis
from indoor.diagnose.render import render_diagnosis
from indoor.errors import IndoorError
from indoor.files import check_writable
from indoor.hints import command_line, run_word
from indoor.model import describe_pair
from indoor.records import QuantizationConfig
from indoor.repair.render import options_of
from indoor.report.page import check_new_page, write_page


def run(parsed: argparse.Namespace) -> Outcome:
    """Diagnose a run's int8, or one that was named beside a float32."""
    named, root = checkpoint(parsed.run), data_root(parsed)
    if parsed.plot:
        check_writable(parsed.plot.parent)
    if parsed.html:
        check_new_page(parsed.html)
    opened = opened_run(named, root)
    if parsed.int8 is None:
        may_be_paired, line = describe_pair(opened.folder, root=root)
        if not may_be_paired:
            raise IndoorError(line)
    found = diagnose(
        opened.folder / places.FLOAT32,
        parsed.int8 or opened.folder / places.INT8,
        root,
        adopted_from=named,
        num_photographs=parsed.photographs or NUM_PHOTOGRAPHS,
        seed=parsed.seed or 0,
        skip_broken=parsed.skip_broken,
        progress=Bar(),
    )
    if parsed.plot:
        plot_diagnosis(found, parsed.plot)
    if parsed.html:
        title = f"indoor diagnose: {opened.folder.name}"
        write_page(parsed.html, title, diagnosis_page_blocks(found))
    if parsed.format == "json":
        return Outcome(record=found, text="", notes=opened.notes)
    text = render_diagnosis(
        found,
        format=parsed.format,
        every_layer=parsed.layers,
        width=parsed.width or width(),
        color=use_color(),
    )
    if found.findings and parsed.format == "table":
        options = options_of(_repaired(found))
        again = command_line("quantize", run_word(opened.folder), data=root, **options)
        text = f"{text.rstrip()}\n\nnext: {again}"
    return Outcome(record=None, text=text, notes=opened.notes)


def _repaired(found: Diagnosis) -> QuantizationConfig:
    """Return the configuration with the remedies of all findings."""
    config = found.config
    for finding in found.findings:
        config = apply(finding.remedy, config)
    return config
