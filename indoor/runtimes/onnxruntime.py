"""ONNX Runtime on the CPU: float32 and int8 from an ONNX file, in threads of its own."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from indoor.records import Executed, Ran, Variant
from indoor.runtimes.executed import ran_from
from indoor.runtimes.onnxruntime_profile import read_profile
from indoor.runtimes.operators import call_profiled
from indoor.runtimes.to_onnx import FILE, onnx_artefact

VARIANTS = (
    Variant(
        name="float32-onnxruntime",
        runtime="onnxruntime",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=5,
        own_process=True,
        rank=1,
    ),
    Variant(
        name="int8-onnxruntime",
        runtime="onnxruntime",
        precision="int8",
        checkpoint="int8",
        min_sqnr_db=6.0,  # as eager int8
        order=23,
        own_process=True,
        rank=1,
    ),
)

REQUIRES = {"onnx": ">=1.18", "onnxruntime": ">=1.23,<2", "onnxscript": ">=0.6"}

EXTRA = "onnxruntime"

DATA_ONLY = True

ROUNDING = "WeightBiasQuantization"
"""Its optimizer that makes int8 of any float32 layer between int8 ones, even of those that a
quantization keeps in float32 on purpose."""


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    if variant.device != "cpu":
        return f"here ONNX Runtime computes on the CPU only, not on {variant.device}"
    return None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Return the folder with the ONNX file, which takes every batch."""
    return onnx_artefact(variant, checkpoint)


def load(variant: Variant, artefact: Path, threads: int) -> "OnnxRuntimeNetwork":  # noqa: ARG001
    """Return the network in a session of so many threads."""
    options = {"intra_op_num_threads": threads}
    return OnnxRuntimeNetwork(artefact / FILE, options, open_session(artefact / FILE, options))


@dataclass(frozen=True, eq=False)
class OnnxRuntimeNetwork:
    """A session, and what another one of the same file and options is opened with."""

    path: Path
    options: dict[str, Any]
    session: Any

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`."""
        logits = self.session.run(None, {"images": images.detach().numpy()})[0]
        return torch.from_numpy(logits)

    def ran(self, images: Tensor) -> Ran:
        """Return the operators of one call of a session that keeps a profile."""
        return ran_from(self.profile(images, 1))

    def profile(self, images: Tensor, num_calls: int) -> tuple[Executed, ...]:
        """Return the operators of another session, which keeps a profile.

        MLAS, which computes them, names no kernel.
        """
        with tempfile.TemporaryDirectory(prefix="indoor-profile-") as folder:
            graph = Path(folder) / "executed.onnx"
            profiled = {
                "enable_profiling": True,
                "profile_file_prefix": f"{folder}/profile",
                "optimized_model_filepath": str(graph),
            }
            session = open_session(self.path, self.options | profiled)
            other = replace(self, session=session)
            call_profiled(lambda: other(images), num_calls)
            return read_profile(Path(session.end_profiling()), graph, num_calls)


def open_session(path: Path, options: dict[str, Any]) -> Any:
    """Return a session on the CPU alone; `options` are attributes of its SessionOptions."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 3  # errors, which are raised, too
    # Its threads wait for the next operator awake; between two calls that would cost others a CPU.
    chosen.add_session_config_entry("session.force_spinning_stop", "1")
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(
        path, chosen, providers=["CPUExecutionProvider"], disabled_optimizers=[ROUNDING]
    )
