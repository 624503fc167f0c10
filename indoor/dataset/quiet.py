"""Decoders keep their remarks to themselves: what counts is told by `indoor`, in its own words."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from PIL import _imaging

_LIBTIFF_HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")

logging.getLogger("PIL").addHandler(logging.NullHandler())
"""Without any handler, Python prints Pillow's errors to standard error."""

_lock = threading.Lock()
_num_decoding = 0
_silenced = ExitStack()


@contextmanager
def decoders_silenced() -> Iterator[None]:
    """Silence Pillow's warnings and libtiff's lines on standard error while something decodes.

    Both are settings of the whole process, and threads that decode enter and leave in any order:
    the first one in sets them, the last one out puts the old ones back.
    """
    global _num_decoding
    with _lock:
        if _num_decoding == 0:
            _silenced.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _silenced.enter_context(_libtiff_silenced())
        _num_decoding += 1
    try:
        yield
    finally:
        with _lock:
            _num_decoding -= 1
            if _num_decoding == 0:
                _silenced.close()


@contextmanager
def _libtiff_silenced() -> Iterator[None]:
    """Take libtiff's handlers away, which print to standard error, and put them back."""
    before = [(set_handler, set_handler(None)) for set_handler in _libtiff_setters()]
    try:
        yield
    finally:
        for set_handler, handler in before:
            set_handler(handler)


@cache
def _libtiff_setters() -> tuple[Callable[[int | None], int | None], ...]:
    """Return the functions that set the handlers of the libtiff that Pillow itself uses.

    A library's symbols are found through the module that is linked with it, wherever that lies.
    Where Pillow holds libtiff within itself (Windows), or has none, there are none to be found, and
    libtiff's lines stay.
    """
    try:
        library = ctypes.CDLL(_imaging.__file__)
        setters = tuple(getattr(library, name) for name in _LIBTIFF_HANDLERS)
    except (OSError, AttributeError):
        return ()
    for set_handler in setters:
        set_handler.argtypes = [ctypes.c_void_p]
        set_handler.restype = ctypes.c_void_p
    return setters
