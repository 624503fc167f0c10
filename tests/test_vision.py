"""torchvision comes without torch's compiler, and is torchvision all the same."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.torch


def told(code: str) -> list[str]:
    """Return the lines that a fresh process prints."""
    command = [sys.executable, "-W", "error::ImportWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_command_loads_the_compiler_to_begin_with() -> None:
    """Importing all of the commands, the networks, training and the suite leaves it out."""
    code = (
        "import sys, indoor.cli.parser, indoor.cli.train, indoor.cli.quantize_auto, bench.session; "
        "print('torchvision' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    assert told(code) == ["True False"]


@pytest.mark.parametrize("first", ["", "import torch._dynamo; "], ids=["alone", "compiler first"])
def test_what_was_put_off_is_there_when_it_is_called(first: str) -> None:
    """The one function of torchvision's that asks the compiler something gives its own result."""
    code = (
        f"import sys, torch; {first}from indoor.vision import torchvision\n"
        "torch.use_deterministic_algorithms(True)\n"
        "boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])\n"
        "image = torch.arange(16.0).reshape(1, 1, 4, 4)\n"
        "print(torchvision.ops.roi_align(image, [boxes], 1).item())\n"
        "from torch._dynamo.utils import is_compile_supported as real\n"
        "ours = sys.modules['torchvision.ops.roi_align'].is_compile_supported\n"
        "print([ours(device) == real(device) for device in ('cpu', 'meta')])"
    )
    assert told(code) == ["9.375", "[True, True]"]


def test_another_wish_of_torchvisions_is_fulfilled() -> None:
    """Where another release imports more of the compiler, it gets the compiler itself."""
    code = (
        "import sys; from indoor import vision\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "with vision._compiler_put_off():\n"
        "    from torch._dynamo.utils import is_compile_supported, counters\n"
        "import torch._dynamo.utils as utils\n"
        "print(counters is utils.counters, is_compile_supported('cpu'))"
    )
    assert told(code) == ["True True"]
