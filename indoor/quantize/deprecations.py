"""The three deprecation warnings of this torch's quantization, filtered by message."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Each a regular expression for the start of a message. All three announce that the eager flow will
# go (pytorch/ao#2259, pytorch#184982); the torch range in pyproject.toml is what answers them.
# Anything else, such as an observer that saw no data, is news and stays visible.
_KNOWN = (
    r"torch\.ao\.quantization is deprecated and will be removed",
    r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other quantized tensor creation",
    r"Please use quant_min and quant_max to specify the range for observers",
)


@contextmanager
def known_deprecations_filtered() -> Iterator[None]:
    """Keep the known deprecation warnings of torch's quantization quiet inside the block."""
    with warnings.catch_warnings():
        for message in _KNOWN:
            warnings.filterwarnings("ignore", message=message)
        yield
