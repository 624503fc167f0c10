"""`indoor quantize`: from float32 to a calibrated, checked int8 checkpoint."""

import argparse

from indoor import places
from indoor.cli.bar import Bar
from indoor.cli.chosen_run import checkpoint, data_root, opened_run
from indoor.cli.output import Outcome
from indoor.cli.quantize_auto import run_auto
from indoor.files import check_writable
from indoor.hints import command_line, run_word
from indoor.model import load_float, recorded_split, unknown_split
from indoor.quantize import default_config, quantize_checkpoint
from indoor.report.caption import assumed_lines, describe_quantization


def run(parsed: argparse.Namespace) -> Outcome:
    """Quantize a run's float32 checkpoint; raises CollapseError where int8 is no good."""
    named, root = checkpoint(parsed.run), data_root(parsed)
    opened = opened_run(named, root)
    folder = opened.folder
    asked = {
        "flow": parsed.flow,
        "engine": parsed.engine,
        "activation_range": parsed.activations
        and tuple(int(end) for end in parsed.activations.split("..")),
        "observer": parsed.observer,
        "weights": parsed.granularity,
        "num_calibration": parsed.num_calibration,
        "batch": parsed.batch,
        "seed": parsed.seed,
        "equalised": parsed.equalise,
        "rounding": parsed.rounding,
        "qat_epochs": parsed.qat_epochs,
        "float_layers": parsed.float_layers,
        "bias_corrected": parsed.bias_correction,
    }
    config = default_config(**{name: value for name, value in asked.items() if value is not None})
    out = folder / places.INT8
    check_writable(folder)
    loaded = load_float(folder / places.FLOAT32)
    seed = parsed.seed or 0
    if parsed.auto:
        return run_auto(parsed, loaded, root, config, opened.notes)
    record = quantize_checkpoint(
        loaded,
        root,
        config,
        out=out,
        force=parsed.force,
        seed=seed,
        skip_broken=parsed.skip_broken,
        progress=Bar(),
    )
    low, high = record.config.activation_range
    assumed = assumed_lines(loaded.manifest.weights)
    lines = [
        *assumed,
        f"{describe_quantization(record.config)}; {record.num_quantized_modules} quantized modules",
        f"calibration list {record.calibration_sha256[:12]}; CPU {record.cpu_model}, "
        f"VNNI {'unknown' if record.vnni is None else 'yes' if record.vnni else 'no'}",
    ]
    if recorded_split(loaded.manifest) is None:
        lines.append(f"warning: {unknown_split(loaded.manifest, loaded.path, seed)}")
    if record.exact is False:
        lines.append(
            f"warning: on this CPU engine {record.config.engine} saturates with activations "
            f"{low}..{high}; its logits are wrong where it does; try --activations 0..127"
        )
    if record.check is not None:
        check = record.check
        lines += [
            f"calibrated on {record.num_calibrated} train photographs",
            f"check on {check.num_photographs} photographs kept out: agreement "
            f"{check.agreement.value:.1%}, logit SQNR {check.sqnr_db:.1f} dB, entropy of "
            f"predictions {check.entropy_int8_bits:.2f} bit (float32 "
            f"{check.entropy_float32_bits:.2f})",
            *(f"kept by --force although: {finding}" for finding in check.findings),
        ]
    following = command_line(
        "evaluate", run_word(folder), data=root, skip_broken=parsed.skip_broken
    )
    lines += [f"checkpoint: {out}", f"next: {following}"]
    notes = opened.notes + (assumed if parsed.format == "json" else ())
    return Outcome(record=record, text="\n".join(lines), notes=notes)
