"""What a fine-tuning needs to go on after `kill -9`: tensors and curves in one whole file."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from indoor.errors import IndoorError
from indoor.files import replace_file
from indoor.records import TrainingCurves, from_json, to_json

_NUM_EPOCHS = "num_epochs"
_CURVES = "curves"


@dataclass(frozen=True)
class State:
    """A training after `num_epochs` whole epochs; `curves` is None where it draws none."""

    tensors: dict[str, Tensor]
    num_epochs: int
    curves: TrainingCurves | None


def write_state(path: Path, state: State) -> None:
    """Write the state whole or not at all; a kill leaves the one before."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors.items()}
    metadata = {_NUM_EPOCHS: str(state.num_epochs)}
    if state.curves is not None:
        metadata[_CURVES] = to_json(state.curves).decode()
    with replace_file(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def read_state(path: Path) -> State | None:
    """Return the state that `write_state` left, or None where there is none.

    A file that cannot be read (a failing disk, another version) counts as none: the training then
    begins anew, which costs time and changes no figure.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        curves = metadata.get(_CURVES)
        return State(
            # Copies: what safetensors maps need not be aligned as torch aligns its own tensors,
            # and alignment can change the last bit of a product.
            {name: tensor.clone() for name, tensor in tensors.items()},
            int(metadata[_NUM_EPOCHS]),
            None if curves is None else from_json(curves, TrainingCurves, str(path)),
        )
    except (SafetensorError, IndoorError, KeyError, ValueError):
        return None


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writes that a kill cut short.

    Call it only while the folder is locked: a write in progress has such a file too.
    """
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
