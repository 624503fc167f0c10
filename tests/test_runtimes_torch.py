"""What torch's runtimes really executed: oneDNN's lines, torch's trace, and both of one call."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from quantizable import config, network, noise
from test_int8_checkpoints import manifest
from torch import nn

from indoor.model import multiply_adds
from indoor.quantize import load_int8, quantize, save_int8, supported_engines
from indoor.records import Executed, Ran
from indoor.runtimes.eager import EagerNetwork
from indoor.runtimes.fingerprint import merged, operators_of, what_ran
from indoor.runtimes.onednn import primitives_of

pytestmark = pytest.mark.usefixtures("one_thread")

BEGIN = "onednn_verbose,v1,primitive,exec,cpu,"
LINES = {
    "convolution,brgconv_1x1:avx512_core_vnni,forward_inference,src:u8::blocked:acdb::f0 "
    "wei:s8:a:blocked:AcdB64a4b::f0 bia:f32:a:blocked:a::f0 dst:u8::blocked:acdb::f0,"
    "attr-scratchpad:user attr-scales:src0:0:f32+dst:0:f32+wei:1:f32 "
    "attr-post-ops:sum:0.0562301:136+eltwise_relu,alg:convolution_direct,"
    "mb8_ic64oc256_ih56oh56kh1sh1dh0ph0_iw56ow56kw1sw1dw0pw0,2.66504": (
        "u8/s8/u8",
        "int8",
        8 * 256 * 56 * 56 * 64,
    ),
    "convolution,jit:avx2,forward_training,src:f32:a:blocked:aBcd8b::f0 "
    "wei:f32:a:blocked:ABcd8b8a::f0 bia:undef::undef::: dst:f32:a:blocked:aBcd8b::f0,"
    "attr-scratchpad:user,alg:convolution_direct,"
    "mb2_g32ic64oc128_ih16oh8kh3sh2dh0ph1_iw16ow8kw3sw2dw0pw1,0.349121": (
        "f32/f32/f32",
        "float32",
        2 * 128 * 8 * 8 * (64 // 32) * 9,
    ),
    "convolution,brg_conv_fwd:avx10_1_512_amx,forward_inference,src:u8::blocked:acdb::f0 "
    "wei:s8:a:blocked:AcdB64a4b::f0 bia:f32:a:blocked:a::f0 dst:f32::blocked:acdb::f0,"
    "attr-scratchpad:user,alg:convolution_direct,"
    "mb1_ic3oc64_ih224oh112kh7sh2dh0ph3_iw224ow112kw7sw2dw0pw3,0.4": (
        "u8/s8/f32",
        "int8",
        64 * 112 * 112 * 3 * 49,
    ),
    "convolution,brgconv:avx512_core_bf16,forward_training,src:f32::blocked:acdb::f0 "
    "wei:f32:a:blocked:Acdb64a::f0 bia:undef::undef::: dst:f32::blocked:acdb::f0,"
    "attr-scratchpad:user attr-fpmath:bf16,alg:convolution_direct,"
    "mb1_ic16oc16_ih4oh4kh1sh1dh0ph0_iw4ow4kw1sw1dw0pw0,1e-05": (
        "f32/f32/f32",
        "bfloat16",
        16 * 16 * 16,
    ),
    "matmul,brg_matmul:avx512_core_bf16,undef,src:bf16::blocked:ab::f0 "
    "wei:bf16::blocked:ba::f0 dst:bf16::blocked:ab::f0,attr-scratchpad:user attr-post-ops:sum,,"
    "2x2048:2048x15,0.0300293": ("bf16/bf16/bf16", "bfloat16", 2 * 2048 * 15),
    "matmul,brg_matmul:avx2,undef,src:f32::blocked:abc::f0 wei:f32::blocked:abc::f0 "
    "dst:f32::blocked:abc::f0,attr-scratchpad:user,,4x2x8:1x8x16,0.01": (
        "f32/f32/f32",
        "float32",
        4 * 2 * 8 * 16,
    ),
    "matmul,brg_matmul:avx2,undef,src:f32::blocked:ab::f0 wei:f32::blocked:ab::f0 "
    "dst:f32::blocked:ab::f0,runtime_dims_masks:1:0,,*x8:8x16,0.01": ("f32/f32/f32", None, 0),
    "inner_product,gemm:jit,forward_inference,src:f32::blocked:abcd::f0 "
    "wei:f32::blocked:abcd::f0 bia:f32::blocked:a::f0 dst:f32::blocked:ab::f0,,,"
    "mb2ic512ih7iw7oc10,0.02": ("f32/f32/f32", "float32", 2 * 512 * 49 * 10),
    "sum,jit,undef,src:f32::blocked:acdb::f0 src:f32::blocked:acdb::f0 "
    "dst:f32::blocked:acdb::f0,,,2x64x56x56,0.01": ("f32/f32", None, 0),
    "convolution,ref:any,forward_inference,src:f16::blocked:acdb::f0 wei:f16::blocked:acdb::f0 "
    "bia:undef::undef::: dst:f16::blocked:acdb::f0,,alg:convolution_direct,"
    "mb1_ic2oc2_iw3ow3kw1sw1dw0pw0,0.1": ("f16/f16/f16", None, 12),
}


@pytest.mark.parametrize(("line", "told"), LINES.items())
def test_a_line_is_a_primitive(line: str, told: tuple[str, str | None, int]) -> None:
    """Kernel, types and problem are oneDNN's own; multiply-adds follow from the problem alone."""
    (primitive,), notes = primitives_of([BEGIN + line])
    fields = line.split(",")
    assert (primitive.operator, primitive.implementation) == (fields[0], fields[1])
    assert primitive.shape == fields[-2]
    assert (primitive.types, primitive.precision, primitive.multiply_adds) == told
    assert notes == ()


BYTES = {
    "convolution in groups": (
        "convolution,jit:avx2,forward_training,src:f32:a:blocked:aBcd8b::f0 "
        "wei:f32:a:blocked:ABcd8b8a::f0 bia:undef::undef::: dst:f32:a:blocked:aBcd8b::f0,"
        "attr-scratchpad:user,alg:convolution_direct,"
        "mb2_g32ic64oc128_ih16oh8kh3sh2dh0ph1_iw16ow8kw3sw2dw0pw1,0.3",
        4 * (2 * 64 * 16 * 16 + 128 * 2 * 9 + 2 * 128 * 8 * 8),
    ),
    "convolution with a sum": (
        next(iter(LINES)),
        8 * 64 * 56 * 56 + 256 * 64 + 2 * 8 * 256 * 56 * 56,
    ),
    "convolution with another's sum": (
        next(iter(LINES)).replace("sum:0.0562301:136", "binary_add:u8:15:acdb"),
        8 * 64 * 56 * 56 + 256 * 64 + 2 * 8 * 256 * 56 * 56,
    ),
    "matmul": (
        "matmul,brg_matmul:avx512_core_bf16,undef,src:bf16::blocked:ab::f0 "
        "wei:bf16::blocked:ba::f0 dst:bf16::blocked:ab::f0,attr-scratchpad:user,,"
        "2x2048:2048x15,0.03",
        2 * (2 * 2048 + 2048 * 15 + 2 * 15),
    ),
    "sum of two": (
        "sum,jit,undef,src:f32::blocked:acdb::f0 src:f32::blocked:acdb::f0 "
        "dst:f32::blocked:acdb::f0,,,2x64x56x56,0.01",
        3 * 4 * 2 * 64 * 56 * 56,
    ),
    "reorder to other types": (
        "reorder,jit:uni,undef,src:f32::blocked:abcd::f0 dst:u8::blocked:acdb::f0,,,8x3x64x64,0.01",
        5 * 8 * 3 * 64 * 64,
    ),
    "pooling": (
        "pooling_v2,jit:avx512_core,forward_inference,src:f32::blocked:acdb::f0 "
        "dst:f32::blocked:acdb::f0,,alg:pooling_max,"
        "mb2ic64_ih112oh56kh3sh2dh0ph1_iw112ow56kw3sw2dw0pw1,0.1",
        4 * 2 * 64 * (112 * 112 + 56 * 56),
    ),
    "sizes not known": (
        "matmul,brg_matmul:avx2,undef,src:f32::blocked:ab::f0 wei:f32::blocked:ab::f0 "
        "dst:f32::blocked:ab::f0,runtime_dims_masks:1:0,,*x8:8x16,0.01",
        None,
    ),
}


@pytest.mark.parametrize(("line", "num_bytes"), BYTES.values(), ids=BYTES)
def test_a_primitive_reads_and_writes_its_tensors(line: str, num_bytes: int | None) -> None:
    """Input, weights and output, and once more the output that it adds to."""
    (primitive,), _ = primitives_of([BEGIN + line])
    assert primitive.num_bytes == num_bytes
    assert primitive.seconds == float(line.split(",")[-1]) / 1e3


def test_other_lines_tell_nothing() -> None:
    """Headers, what was only created, and a library's own noise are no primitive that ran."""
    lines = [
        "onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost",
        "onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,"
        "prop_kind,memory_descriptors,attributes,auxiliary,problem_desc,exec_time",
        "onednn_verbose,v1,primitive,create:cache_miss,cpu,matmul,brg,undef,a,b,,2x2:2x2,0.1",
        "noise",
    ]
    assert primitives_of(lines) == ((), ())
    older = BEGIN.replace(",v1", "") + next(iter(LINES))
    stamped = BEGIN.replace("v1,", "v1,1693533460193.34,") + next(iter(LINES))
    assert [len(primitives_of([line])[0]) for line in (older, stamped)] == [1, 1]


def reorder(source: str, target: str, shape: str, ms: float) -> str:
    """Return the line of a reorder of int8."""
    return (
        f"{BEGIN}reorder,simple:any,undef,src:s8::blocked:{source}::f0 "
        f"dst:s8:a:blocked:{target}::f0,attr-scratchpad:user,,{shape},{ms}"
    )


def test_weights_that_a_warm_call_repacks_are_said() -> None:
    """How many, and in how long: those that the next convolution reads, and not its photographs."""
    convolution = BEGIN + next(iter(LINES))
    repacks = reorder("AcdB48a4b", "AcdB64a4b", "256x64x1x1", 9.5)
    photographs = reorder("abcd", "acdb", "8x64x56x56", 1.0)
    other_layout = reorder("abcd", "AcdB48a4b", "256x64x1x1", 1.0)
    lines = [repacks, photographs, convolution, repacks, other_layout, convolution, repacks]
    executed, notes = primitives_of(lines)
    assert len(executed) == len(lines)
    assert notes == ("2 weights are repacked in every call, 19 ms (reorder simple:any)",)


def node(number: int, parent: int, name: str, *shapes: list[int], **about: Any) -> dict[str, Any]:
    """Return a node of a trace: its inputs and, last, its output; float32 on the CPU as a rule."""
    kind, device = about.get("kind", "float"), about.get("device", "cpu")
    *inputs, output = shapes or ([],)
    tensors = [[f"Tensor({kind})", s, [0, 0, 0, 0, 4, device]] for s in inputs]
    if about.get("packed"):
        tensors[1] = ["Object", [], "<Object>"]
    return {
        "id": number,
        "ctrl_deps": parent,
        "name": name,
        "inputs": {
            "types": [t[0] for t in tensors],
            "shapes": [t[1] for t in tensors],
            "values": [t[2] for t in tensors],
        },
        "outputs": {"types": [f"Tensor({kind})"], "shapes": [output]},
    }


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        pytest.param(
            [
                node(1, 1, "process"),
                node(4, 3, "aten::thnn_conv2d", [2, 8, 4, 4], [16, 4, 3, 3], [2, 16, 2, 2]),
                node(3, 2, "aten::_convolution", [2, 8, 4, 4], [16, 4, 3, 3], [2, 16, 2, 2]),
                node(2, 1, "indoor layer layer1.0.conv1"),
            ],
            Executed(
                operator="aten::thnn_conv2d",
                types="f32/f32/f32",
                shape="2x8x4x4:16x4x3x3:2x16x2x2",
                layer="layer1.0.conv1",
                precision="float32",
                multiply_adds=2 * 16 * 2 * 2 * 4 * 9,
                num_bytes=4 * (2 * 8 * 4 * 4 + 16 * 4 * 9 + 2 * 16 * 2 * 2),
            ),
            id="a convolution in groups",
        ),
        pytest.param(
            [node(5, 1, "aten::addmm", [15], [2, 64], [64, 15], [2, 15], kind="c10::BFloat16")],
            Executed(
                operator="aten::addmm",
                types="bf16/bf16/bf16",
                shape="2x64:64x15:2x15",
                precision="bfloat16",
                multiply_adds=2 * 64 * 15,
                num_bytes=2 * (2 * 64 + 64 * 15 + 2 * 15),
            ),
            id="a product with its bias",
        ),
        pytest.param(
            [
                node(2, 1, "indoor layer fc"),
                node(3, 2, "quantized::linear", [2, 64], [], [2, 15], kind="c10::quint8", packed=1),
            ],
            Executed(
                operator="quantized::linear",
                types="u8/s8/u8",
                shape="2x64:15x64:2x15",
                layer="fc",
                precision="int8",
                multiply_adds=2 * 64 * 15,
                num_bytes=2 * 64 + 15 * 64 + 2 * 15,
            ),
            id="packed weights",
        ),
        pytest.param(
            [node(5, 1, "aten::mm", [2, 4], [4, 3], [2, 3], device="cuda:0")],
            Executed(
                operator="aten::mm",
                types="f32/f32/f32",
                shape="2x4:4x3:2x3",
                multiply_adds=24,
                num_bytes=4 * (8 + 12 + 6),
            ),
            id="a GPU, which may round",
        ),
    ],
)
def test_an_operator_of_a_trace(nodes: list[dict[str, Any]], told: Executed) -> None:
    """Shapes and types are torch's own; the layer is what the trace was told, where it was."""
    assert operators_of(nodes, {"fc": ((15, 64), "torch.qint8")}) == (told,)


def test_what_onednn_computed_is_not_counted_twice() -> None:
    """An operator gives its layer's name to its primitive; one that says oneDNN's comes first."""

    def operator(name: str, layer: str, size: int) -> Executed:
        return Executed(operator=name, types="", shape="", layer=layer, multiply_adds=size)

    def primitive(name: str, size: int, layer: str | None = None) -> Executed:
        return Executed(
            operator=name, types="", shape="", implementation="jit", layer=layer, multiply_adds=size
        )

    operators = (
        operator("aten::thnn_conv2d", "a", 7),
        operator("aten::mkldnn_convolution", "b", 7),
        operator("aten::addmm", "c", 9),
        operator("aten::addmm", "d", 9),
    )
    primitives = (
        primitive("reorder", 0),
        primitive("convolution", 7),
        primitive("matmul", 9),
        primitive("reorder", 0),
    )
    assert merged(primitives, operators) == (
        operators[0],
        primitives[0],
        primitive("convolution", 7, "b"),
        primitive("matmul", 9, "c"),
        operators[3],
        primitives[3],
    )
    assert merged(primitives, ()) == primitives
    assert merged((), operators) == operators
    assert merged(primitives[3:], operators) == (primitives[3], *operators)


LAYERS = [name for name, m in network(noise(2)).named_modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_layer_of_eager_float32_is_told_once(layout: torch.memory_format) -> None:
    """Its convolutions in float32 by their names and its linear layer, whoever computed them."""
    model = network(noise(2)).to(memory_format=layout)
    ran = EagerNetwork(model).ran(noise(2))
    assert told(ran) == [*LAYERS, "fc"]
    assert sum(one.multiply_adds for one in ran.executed) == 2 * multiply_adds("resnet18", 3, 64)
    assert {one.precision for one in ran.executed if one.multiply_adds} == {"float32"}
    assert ran.precision == "float32"
    assert not ran.kernels


def told(ran: Ran) -> list[str | None]:
    """Return the layers of what multiplied, in the order of the forward pass."""
    order = {name: place for place, name in enumerate([*LAYERS, "fc"])}
    layers = [one.layer for one in ran.executed if one.multiply_adds]
    return sorted(layers, key=lambda layer: order.get(str(layer), -1))


@pytest.mark.parametrize("engine", supported_engines())
def test_every_layer_of_eager_int8_is_told_once(engine: str, tmp_path: Path) -> None:
    """By oneDNN's lines where the engine is oneDNN's, and by torch's operators elsewhere."""
    chosen = config(engine=engine)
    path = tmp_path / "int8.safetensors"
    save_int8(path, quantize(network(noise(8)), chosen, [noise(8)]), manifest(chosen))
    ran = EagerNetwork(load_int8(path).model).ran(noise(2))
    assert told(ran) == [*LAYERS, "fc"]
    assert sum(one.multiply_adds for one in ran.executed) == 2 * multiply_adds("resnet18", 3, 64)
    assert {one.types for one in ran.executed if one.multiply_adds} == {"u8/s8/u8"}
    assert ran.precision == "int8"


def test_a_call_that_multiplies_nothing_has_no_precision() -> None:
    """Where nothing can be told, nothing is."""
    assert what_ran(lambda: torch.zeros(2) + 1) == Ran(precision=None)


def test_what_is_told_leaves_the_model_and_the_streams_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No hook stays, what comes next is printed again, and a call's own error is raised."""
    model = nn.Sequential(nn.Linear(4, 3))
    what_ran(lambda: model(torch.zeros(2, 4)), model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        what_ran(lambda: model(torch.zeros(2, 5)), model)
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    os.write(1, b"heard\n")
    os.write(2, b"told\n")
    assert capfd.readouterr() == ("heard\n", "told\n")
