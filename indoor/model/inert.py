"""Pickles read without executing anything: what a pickle names is never imported.

Unpickling is dangerous because it calls what the file names. Here a name stands for one of the few
functions below, or for a `Placeholder` that takes whatever it is given and does nothing with it.
"""

import math
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from io import BufferedReader, BytesIO
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

QUANTIZED = "a quantized tensor"
"""The name of the placeholder of a quantized tensor."""

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
    "QUInt4x2Storage": torch.uint8,
    "QUInt2x4Storage": torch.uint8,
    "UntypedStorage": torch.uint8,
}

_RUNNERS = frozenset(
    (
        *("code", "codeop", "commands", "ctypes", "importlib", "nt", "os", "pdb", "posix", "pty"),
        *("runpy", "shutil", "socket", "subprocess", "sys", "timeit", "webbrowser"),
    )
)
"""Modules whose functions no checkpoint needs: a file that names one was made to run something.
It would not run here either, but who gets such a file should hear of it."""

_RUNNING_BUILTINS = frozenset(("__import__", "breakpoint", "compile", "eval", "exec", "open"))

_MAX_STEPS = 2_000_000
_MAX_MADE = 400_000_000
"""Opcodes, and bytes that functions make; a ResNet-50 with its optimizer takes 50,000 of the one
and, of a plain pickle, 300 MB of the other."""

_NUMBERS = re.compile(r"[biuf][1248]|[SU]\d+")
"""numpy's dtypes that are read: numbers and texts."""


class CodeInPickle(Exception):  # noqa: N818 - what it is, not an error of ours
    """A pickle names something that runs programs; the message is the name."""


class Budget:
    """What reading a file may cost beyond its own size; shared by all pickles within it.

    A few bytes of a pickle can ask for gigabytes: an object a byte, or one text copied again and
    again by a function that takes it.
    """

    def __init__(self) -> None:
        self._num_steps, self._num_bytes = _MAX_STEPS, _MAX_MADE

    def step(self) -> None:
        """Count one opcode.

        Raises:
            pickle.UnpicklingError: There were too many.
        """
        self._num_steps -= 1
        if self._num_steps < 0:
            raise pickle.UnpicklingError(f"it has more than {_MAX_STEPS:,} steps")

    def allows(self, num_bytes: int) -> bool:
        """Count bytes that are about to be made; tell whether they may be."""
        self._num_bytes -= num_bytes
        return self._num_bytes >= 0

    def charge(self, num_bytes: int) -> None:
        """Count bytes that are about to be made.

        Raises:
            pickle.UnpicklingError: They are too many.
        """
        if not self.allows(num_bytes):
            raise pickle.UnpicklingError(f"it unpacks to more than {_MAX_MADE:,} bytes")


class _Steps(dict[int, Callable[[Any], None]]):
    """The functions by opcode; looking one up is a step."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(pickle._Unpickler.dispatch)
        self._budget = budget

    def __getitem__(self, opcode: int) -> Callable[[Any], None]:
        """Return the function of an opcode."""
        self._budget.step()
        return super().__getitem__(opcode)


class Placeholder(dict[object, object]):
    """An object of a class that is not imported: its items, its state and its arguments."""

    name: ClassVar[str] = "object"
    args: tuple[object, ...] = ()
    state: object = None

    def __new__(cls, *_args: object, **_kwargs: object) -> "Placeholder":
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *args: object, **_kwargs: object) -> None:
        """Keep the arguments."""
        super().__init__()
        self.args = args

    def __setstate__(self, state: object) -> None:
        """Keep the state."""
        self.state = state

    def append(self, _item: object) -> None:
        """Take an item of a list's subclass."""

    extend = add = append
    # Keys of dicts and members of sets, as paths and enums are.
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class NumpyType(Placeholder):
    """A numpy dtype."""

    def dtype(self) -> np.dtype[Any] | None:
        """Return it, None where its values are objects and the like."""
        code = self.args[0] if self.args else None
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            return None
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "<"
        return np.dtype(code).newbyteorder(">" if order == ">" else "<")


class Deferred(Placeholder):
    """A tensor, or texts, to be made once the whole file is read: tensors may come last in it."""

    make: Callable[[], object]
    budget: Budget | None = None
    num_bytes = 0
    """What `make` makes, about."""
    _made: object = None

    def value(self) -> object:
        """Return it; None where it cannot be made."""
        make, budget = self.make, self.budget or Budget()
        try:
            if self._made is None and budget.allows(self.num_bytes):
                self._made = make()
        except (ArithmeticError, RuntimeError, TypeError, ValueError):
            return None
        return self._made


class NumpyArray(Deferred):
    """A numpy array, whose content comes as its state: version, shape, dtype, order, bytes."""

    name = "numpy.ndarray"

    def __setstate__(self, state: object) -> None:
        """Keep the state, whose bytes are copied later."""
        super().__setstate__(state)
        self.num_bytes = _size(state)

    def make(self) -> object:
        """Return it as a tensor, texts as a list; None where it holds objects."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, kind, fortran, raw = self.state
        if isinstance(raw, list):  # an array of objects
            return raw if all(isinstance(item, str) for item in raw) else None
        return _array(kind, raw, shape, "F" if fortran else "C")


class InertUnpickler(pickle._Unpickler):
    """An unpickler that imports nothing and calls only what stands in `_FUNCTIONS`.

    It is the one in Python: the memo of the one in C is an array up to its largest index, so that
    ten bytes would take gigabytes.
    """

    def __init__(
        self,
        file: BufferedReader | BytesIO,
        storage: Callable[[torch.dtype, str, int], Tensor],
        nested: Callable[[bytes], object],
        budget: Budget,
    ) -> None:
        """Prepare to read one pickle.

        Args:
            file: The file, at the pickle's first byte.
            storage: Returns a storage, flat, from dtype, key and number of values.
            nested: Reads a file of torch.save that lies in the pickle as bytes.
            budget: What the file may still cost.
        """
        # Pickles of Python 2 hold bytes; every byte is a character of latin1.
        super().__init__(file, encoding="latin1")
        self.dispatch = _Steps(budget)  # type: ignore[misc]
        self.dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray
        self._storage = storage
        self._nested = nested
        self._budget = budget

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for a name: a function of ours, a constant, or a placeholder."""
        module = "builtins" if module in ("__builtin__", "io", "_io") else module
        package, full = module.split(".")[0], f"{module}.{name}"
        if package in _RUNNERS or (module == "builtins" and name in _RUNNING_BUILTINS):
            raise CodeInPickle(full)
        if full == "torch.storage._load_from_bytes":
            return lambda raw: self._read_nested(raw)
        if package == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and _is_constant(getattr(torch, name, None)):
            return getattr(torch, name)
        function = _FUNCTIONS.get(full.replace("numpy.core.", "numpy._core."))
        if function is None or function is NumpyType:
            return _named(full, NumpyType if function else Placeholder)

        # A new function each time: whatever a pickle sets on it is gone with it.
        def call(*args: Any) -> object:
            self._budget.charge(sum(map(_size, args)))
            made = function(*args)
            if isinstance(made, Deferred):
                made.budget = self._budget
            return made

        return call

    def _read_nested(self, raw: object) -> object:
        self._budget.charge(_size(raw))
        return self._nested(_encoded(raw))

    def persistent_load(self, pid: Any) -> object:
        """Return a storage, flat, in the dtype of the tensors over it; or a module's class."""
        if isinstance(pid, tuple) and pid[0] in ("module", b"module"):
            return pid[1]  # before 1.6 a module's class came with its source
        if not isinstance(pid, tuple) or pid[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError("it refers to what lies outside of it")
        _, dtype, key, _, num_values, *view = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"storage {key} has an unknown type")
        flat = self._storage(dtype, str(key), int(num_values))
        if view and view[0] is not None:
            _, start, size = view[0]
            return flat[start : start + size]
        return flat


def _named(full: str, kind: type[Placeholder] = Placeholder) -> type[Placeholder]:
    return type(full.rpartition(".")[2], (kind,), {"name": full})


def _load_bytearray(reader: Any) -> None:
    """Read a bytearray; pickle's own makes one of whatever length is said before it reads."""
    (length,) = struct.unpack("<Q", reader.read(8))
    reader.append(bytearray(reader.read(length)))


def _size(value: object) -> int:
    """Return about how many bytes a copy of a value takes."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, dict):
        return 100 * len(value)
    if isinstance(value, list | tuple):
        texts = (len(item) for item in value[:8] if isinstance(item, str | bytes | bytearray))
        return 8 * len(value) + sum(texts)
    return 0


def _is_constant(value: object) -> bool:
    """Tell whether it is one of torch's constants, which can be neither called nor changed."""
    return isinstance(value, torch.dtype | torch.layout | torch.memory_format | torch.qscheme)


def _tensor(flat: Tensor, start: int, size: Any, stride: Any, *_: object) -> Tensor:
    return flat.as_strided(size, stride, start)  # refuses what reaches beyond the storage


def _typed_tensor(flat: Tensor, start: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    return flat.view(rest[2]).as_strided(size, stride, start)


def _first(data: object, *_: object) -> object:
    return data


def _subclass(build: Any, _kind: object, args: Any, *_: object) -> object:
    return build(*args)


def _later(make: Callable[[], object], num_bytes: int) -> Deferred:
    value = Deferred()
    value.make, value.num_bytes = make, num_bytes
    return value


def _sparse(layout: object, data: Any) -> object:
    if layout is not torch.sparse_coo:
        return _named(f"a tensor of {layout}")()
    indices, values, size = data[:3]
    return _later(
        lambda: torch.sparse_coo_tensor(indices, values, size, check_invariants=True).to_dense(),
        num_bytes=8 * math.prod(size),
    )


def _layout(name: object) -> object:
    layout = getattr(torch, str(name).split(".")[-1], None)
    return layout if _is_constant(layout) else None


def _converted(data: Any, dtype: Any, *_: object) -> object:
    def convert() -> object:
        tensor: Any = data.value() if isinstance(data, Deferred) else data
        return tensor.to(dtype)

    return _later(convert, num_bytes=8 * data.numel() if isinstance(data, Tensor) else 0)


def _ordered(*args: Any) -> Placeholder:
    result = _named("collections.OrderedDict")()
    result.update(*args)
    return result


def _array(kind: object, raw: object, shape: Any, order: Any) -> Tensor | list[str] | None:
    dtype = kind.dtype() if isinstance(kind, NumpyType) else None
    if dtype is None or not isinstance(raw, str | bytes | bytearray):
        return None
    values = np.frombuffer(_encoded(raw), dtype).reshape(shape, order=order)
    if dtype.kind in "SU":
        return [str(value) for value in values.ravel().astype("U").tolist()]
    return torch.from_numpy(np.array(values, dtype.newbyteorder("=")))


def _scalar(kind: object, raw: object = None) -> object:
    value = _array(kind, raw, (), "C")
    return value.item() if isinstance(value, Tensor) else value[0] if value else None


def _frombuffer(raw: object, kind: object, shape: Any, order: object = "C") -> NumpyArray:
    array = NumpyArray()
    array.__setstate__((1, shape, kind, order == "F", raw))
    return array


def _encoded(text: Any = b"", *_: object) -> bytes:
    return text.encode("latin1") if isinstance(text, str) else bytes(memoryview(text))


def _member(owner: object, name: object = "") -> type[Placeholder]:
    return _named(f"{getattr(owner, 'name', type(owner).__name__)}.{name}")


def _reconstructed(kind: object, *_: object) -> Placeholder:
    return kind() if isinstance(kind, type) and issubclass(kind, Placeholder) else Placeholder()


_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_qtensor": lambda *_: _named(QUANTIZED)(),
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": lambda *_: _named("a tensor on meta")(),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _converted,
    "torch._utils._rebuild_device_tensor_from_numpy": _converted,
    "torch._tensor._rebuild_from_type": _subclass,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.tensor._rebuild_from_type": _subclass,
    "torch.serialization._get_layout": _layout,
    "torch.Size": tuple,
    "numpy.dtype": NumpyType,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.multiarray._reconstruct": lambda *_: NumpyArray(),
    "numpy._core.numeric._frombuffer": _frombuffer,
    "collections.OrderedDict": _ordered,
    "collections.Counter": _ordered,
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda *_: [],
    "builtins.set": tuple,
    "builtins.frozenset": tuple,
    "builtins.bytearray": _encoded,
    "builtins.getattr": _member,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
}
"""The functions that a pickle of weights may call, each of them ours or a builtin type."""
