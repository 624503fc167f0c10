"""The network in a file: found by its tensors' names, whatever wraps it and lies beside it."""

import shlex
from argparse import Namespace
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from foreign import hugging_face, linear, moved, network, renamed
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.model import build_model, load_float, resolve_weights

STATE = network()
BACKBONE = network(head=False)
BLOCKS = ("conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4")
NUMBERED = {f"{name}.": f"{number}." for number, name in enumerate(BLOCKS) if name}


def same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    """Tell whether a network holds the values of a state dict."""
    mine = model.state_dict()
    return all(
        torch.equal(mine[name], tensor.float().to(mine[name].dtype))
        for name, tensor in state.items()
    )


def thop(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add what thop.profile leaves in every module."""
    modules = {name.rsplit(".", 1)[0] for name in state}
    counts = {f"{m}.{n}": torch.zeros(1) for m in modules for n in ("total_ops", "total_params")}
    return {"total_ops": torch.zeros(1), "total_params": torch.zeros(1), **state, **counts}


OPTIMIZER = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(64, 3, 7, 7)}},
    "param_groups": [{"lr": 0.1, "params": [0, 1]}],
}

WRAPPED: dict[str, Any] = {
    "plain-control": STATE,
    "state_dict-control": {"state_dict": STATE},
    "model_state_dict-control": {"model_state_dict": STATE},
    "model-control": {"model": STATE},
    "DataParallel-control": renamed(STATE, "module."),
    "compiled-control": renamed(STATE, "_orig_mod."),
    "compiled DataParallel-control": renamed(STATE, "_orig_mod.module."),
    "model and a criterion's weights": renamed(STATE, "model.")
    | {"criterion.pos_weight": torch.ones(3)},
    "AveragedModel": {"n_averaged": torch.tensor(5), **renamed(STATE, "module.")},
    "profiled by thop": thop(STATE),
    "PyTorch's ImageNet example-control": {
        "epoch": 5,
        "arch": "resnet18",
        "state_dict": renamed(STATE, "module."),
        "best_acc1": torch.tensor(71.0),
        "optimizer": OPTIMIZER,
        "scheduler": {"last_epoch": 5},
    },
    "net": {"net": STATE, "acc": 93.1, "epoch": 3},
    "network": {"network": STATE},
    "weights": {"weights": STATE},
    "params": {"params": STATE},
    "model_state": {"model_state": STATE, "optimizer_state": OPTIMIZER},
    "backbone": {"backbone": STATE},
    "a key of two levels": {"checkpoint": {"model": {"state_dict": STATE}}},
    "Lightning": {
        "epoch": 3,
        "global_step": 9,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": renamed(STATE, "model.") | {"criterion.weight": torch.ones(3)},
        "loops": {},
        "callbacks": {},
        "optimizer_states": [OPTIMIZER],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1},
    },
    "Lightning, compiled-control": {"state_dict": renamed(STATE, "model._orig_mod.")},
    "Lightning, net": {"state_dict": renamed(STATE, "net.")},
    "DDP of a compiled model-control": renamed(STATE, "module._orig_mod."),
    "a compiled DDP's model-control": renamed(STATE, "_orig_mod.module.model."),
    "FSDP": renamed(STATE, "_fsdp_wrapped_module."),
    "FSDP with activation checkpoints": {
        "model": renamed(STATE, "_fsdp_wrapped_module._checkpoint_wrapped_module.")
    },
    "DeepSpeed": {"module": STATE, "optimizer": None, "ds_version": "0.16"},
    "accelerate-control": {"model": renamed(STATE, "module."), "random_states": [1, 2]},
    "ignite-control": {"model": STATE, "trainer": {"epoch_length": 4}, "optimizer": OPTIMIZER},
    "a custom encoder": renamed(STATE, "encoder."),
    "a custom feature extractor": {"state_dict": renamed(STATE, "feature_extractor.resnet.")},
    "after a normalization": renamed(STATE, "1.") | {"0.mean": torch.zeros(1, 3, 1, 1)},
    "an OrderedDict-control": OrderedDict(STATE),
    "a defaultdict": defaultdict(dict, {"state_dict": STATE}),
    "a tuple with the epoch": (STATE, 17),
    "a list of one": [STATE],
    "Hugging Face": hugging_face(STATE),
    "Hugging Face's timm wrapper": renamed(STATE, "timm_model."),
    "torchvision's numbered children": moved(STATE, NUMBERED | {"fc.": "9."}),
    "MMPretrain": {
        "meta": {"epoch": 100, "CLASSES": ("a", "b", "c")},
        "state_dict": moved(renamed(STATE, "backbone."), {"backbone.fc.": "head.fc."}),
        "optimizer": OPTIMIZER,
    },
    "MMPretrain 1": {
        "meta": {},
        "message_hub": {},
        "state_dict": moved(renamed(STATE, "backbone."), {"backbone.fc.": "head.fc."})
        | {"data_preprocessor.mean": torch.full((3, 1, 1), 123.7)},
    },
    "a linear probe beside the encoder": moved(
        renamed(STATE, "encoder."), {"encoder.fc.": "classifier."}
    ),
    "a last layer named head": moved(STATE, {"fc.": "head."}),
    "a last layer named otherwise": moved(STATE, {"fc.": "scene_logits."}),
    "dropout before the last layer": moved(STATE, {"fc.": "fc.1."}),
    "dropout before a classifier": moved(
        renamed(STATE, "model."), {"model.fc.": "model.classifier.1."}
    ),
    "auxiliary heads": STATE | {f"aux_head.{k}": v for k, v in linear(3, 256).items()},
    "profiled under a wrapper": {"state_dict": renamed(thop(STATE), "module.")},
    "a metric's state": renamed(STATE, "model.") | {"train_acc.correct": torch.tensor(4)},
    "a layer that was compiled": moved(STATE, {"layer1.": "layer1._orig_mod."}),
    "layers sharded each": moved(
        renamed(STATE, "_fsdp_wrapped_module."),
        {
            f"{wrapper}layer{n}.": f"{wrapper}layer{n}.{wrapper}"
            for n in (1, 2, 3, 4)
            for wrapper in ("_fsdp_wrapped_module.",)
        },
    ),
    "a block that is computed again": moved(
        renamed(STATE, "model."),
        {"model.layer1.0.": "model.layer1.0._checkpoint_wrapped_module."},
    ),
    "a loss with a projection": renamed(STATE, "model.") | {"loss_fn.weight": torch.ones(9, 512)},
}


@pytest.mark.parametrize("content", WRAPPED.values(), ids=WRAPPED)
def test_the_network_is_found_by_its_names(content: object, tmp_path: Path) -> None:
    """Each tensor of the network comes back, from under any key and any prefix."""
    torch.save(content, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert same(loaded.model, STATE)
    assert loaded.has_head


SAFETENSORS = {
    "plain-control": STATE,
    "wrapped-control": renamed(STATE, "model."),
    "DataParallel-control": renamed(STATE, "module."),
    "with extras": renamed(STATE, "model.") | {"criterion.pos_weight": torch.ones(3)},
    "Hugging Face": hugging_face(STATE),
    "an AveragedModel": {"n_averaged": torch.tensor(5), **renamed(STATE, "module.")},
}


@pytest.mark.parametrize("state", SAFETENSORS.values(), ids=SAFETENSORS)
def test_the_network_is_found_in_safetensors_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    """What holds for torch.save holds for safetensors."""
    plain = {name: tensor.contiguous() for name, tensor in state.items()}
    safetensors.torch.save_file(plain, tmp_path / "x.safetensors")
    assert same(load_float(tmp_path / "x.safetensors").model, STATE)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_the_architecture_is_told_by_the_blocks(arch: str, tmp_path: Path) -> None:
    """Under a wrapper, too."""
    state = network(arch)
    torch.save({"net": renamed(state, "module.")}, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert loaded.manifest.arch == arch
    assert same(loaded.model, state)


def test_a_whole_pickled_module_is_read_as_its_state_dict(tmp_path: Path) -> None:
    """torch.save(model): the tensors come back; the class is neither imported nor called."""
    model = build_model("resnet18", 3, seed=3)
    torch.save({"model": model, "epoch": 4}, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert same(loaded.model, dict(model.state_dict()))
    assert loaded.manifest.epoch == 4


# Extras.


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    """The lines say where the weights were, and each thing beside them once."""
    torch.save(WRAPPED["PyTorch's ImageNet example-control"], tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").notes == (
        "x.pt: the weights are those of state_dict.module",
        "x.pt: left out: best_acc1, optimizer, arch, scheduler",
    )


LEFT_OUT: dict[str, tuple[Any, str]] = {
    "a criterion's weights": (WRAPPED["model and a criterion's weights"], "left out: criterion"),
    "n_averaged": (WRAPPED["AveragedModel"], "left out: n_averaged"),
    "what thop counted": (WRAPPED["profiled by thop"], "left out: total_ops, total_params"),
    "auxiliary heads": (WRAPPED["auxiliary heads"], "left out: aux_head"),
    "a preprocessor": (WRAPPED["MMPretrain 1"], "data_preprocessor"),
    "the optimizer": (WRAPPED["ignite-control"], "left out: optimizer, trainer"),
    "arguments": ({"model": STATE, "args": Namespace(lr=1)}, "left out: args"),
    "many": (
        {"model": STATE, **{f"extra_{n}": torch.ones(2) for n in range(20)}},
        "extra_7 and 12 more",
    ),
}


@pytest.mark.parametrize(("content", "words"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_extras_are_left_out_and_named(content: object, words: str, tmp_path: Path) -> None:
    """Nothing is left out in silence, and many are counted."""
    torch.save(content, tmp_path / "x.pt")
    assert words in "\n".join(load_float(tmp_path / "x.pt").notes)


def test_a_file_of_weights_alone_says_nothing(tmp_path: Path) -> None:
    """Where everything is used there is no note."""
    content = {"state_dict": STATE, "classes": ["a", "b", "c"], "epoch": 1}
    torch.save(content | {"mean": [0.5] * 3, "std": [0.5] * 3}, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").notes == ()


def test_weights_beside_the_network_stand_beside_the_figures(tmp_path: Path) -> None:
    """Layers at the network's own level could be a part of it, which every table must say."""
    attention = {"ca.fc1.weight": torch.ones(4, 64, 1, 1), "sa.conv.weight": torch.ones(1, 2, 7, 7)}
    torch.save(STATE | attention, tmp_path / "x.pt")
    assert (
        "has ca.fc1.weight, sa.conv.weight beside the network: no part of it"
        in load_float(tmp_path / "x.pt").manifest.weights.assumed
    )


# Averaged weights beside the others.

OTHER = network(first=5.0)
PARAMETERS = {k: v for k, v in OTHER.items() if "running" not in k and "batches" not in k}
EMA: dict[str, Any] = {
    "model_ema (torchvision)": {
        "model": STATE,
        "model_ema": {"n_averaged": torch.tensor(9), **renamed(OTHER, "module.")},
    },
    "model_ema first": {"model_ema": OTHER, "model": STATE},
    "state_dict_ema (timm)": {"state_dict": STATE, "state_dict_ema": OTHER, "arch": "resnet18"},
    "ema": {"ema": OTHER, "model": STATE, "updates": 9},
    "ema of parameters alone": {"model": STATE, "ema": PARAMETERS},
    "swa_model": {"swa_model": renamed(OTHER, "module."), "model": STATE},
    "averaged": {"net": STATE, "averaged_model": OTHER},
    "teacher and student (DINO)": {
        "teacher": renamed(OTHER, "backbone."),
        "student": renamed(STATE, "module.backbone."),
    },
    "MoCo": {
        "state_dict": renamed(OTHER, "module.encoder_k.")
        | renamed(STATE, "module.encoder_q.")
        | {"module.queue": torch.ones(128, 16)}
    },
    "MoCo 3": renamed(OTHER, "momentum_encoder.") | renamed(STATE, "base_encoder."),
    "BYOL": renamed(OTHER, "target_encoder.net.") | renamed(STATE, "online_encoder.net."),
    "Lightning's ema": {"state_dict": renamed(OTHER, "ema_model.") | renamed(STATE, "model.")},
}


@pytest.mark.parametrize("content", EMA.values(), ids=EMA)
def test_averaged_weights_are_not_taken_but_said(content: Any, tmp_path: Path) -> None:
    """The network that was trained is taken; the line that makes the other one a file works."""
    torch.save(content, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt", backbone=True)
    assert torch.equal(loaded.model.conv1.weight, STATE["conv1.weight"])
    notes = "\n".join(loaded.notes)
    assert "averaged weights beside them" in notes
    command = notes.split("to use the averaged weights, where it was made: ")[1].splitlines()[0]
    exec(shlex.split(command)[2], {})  # noqa: S102 - the line that the user would paste
    made = torch.load(tmp_path / "x-weights.pt")
    assert any(torch.equal(tensor, OTHER["conv1.weight"]) for tensor in made.values())


def test_of_two_equal_networks_the_first_is_taken_and_the_other_said(tmp_path: Path) -> None:
    """The order of the file decides where nothing else does."""
    torch.save({"generator": STATE, "critic": OTHER}, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert same(loaded.model, STATE)
    assert "x.pt: another network beside them, in critic: not used" in loaded.notes
    assert "has another network in critic: not used" in loaded.manifest.weights.assumed


# Backbones.

MLP = {f"fc.{n}.{k}": v for n in (0, 2) for k, v in linear(512, 512).items()}
BACKBONES: dict[str, tuple[Any, str]] = {
    "no fc": (BACKBONE, "it ends before its last layer"),
    "num_classes=0 of timm": ({"state_dict": BACKBONE}, "it ends before its last layer"),
    "children without the last": (moved(BACKBONE, NUMBERED), "it ends before its last layer"),
    "children without the last, wrapped": (
        renamed(moved(BACKBONE, NUMBERED), "features."),
        "it ends before its last layer",
    ),
    "a head of two layers (MoCo 2)": (
        {"state_dict": renamed(BACKBONE | MLP, "module.encoder_q.")},
        r"its last part has 2 layers: fc.0.weight, fc.2.weight",
    ),
    "a projector (SimCLR)": (
        renamed(BACKBONE, "backbone.")
        | renamed(
            {f"{n}.{k}": v for n in (0, 2) for k, v in linear(512, 512).items()}, "projector."
        ),
        "its last part has 2 layers",
    ),
    "fastai": (
        renamed(moved(BACKBONE, NUMBERED), "0.")
        | {"1.2.weight": torch.ones(1024), "1.4.weight": torch.ones(512, 1024)}
        | {f"1.8.{k}": v for k, v in linear(3, 512).items()},
        "its last part has 3 layers",
    ),
    "batch norm before the last layer": (
        BACKBONE
        | {f"fc.1.{k}": v for k, v in linear(3, 512).items()}
        | {"fc.0.weight": torch.ones(512), "fc.0.bias": torch.ones(512)},
        "its last part has 2 layers",
    ),
    "batch norm without weights before the last layer": (
        BACKBONE
        | {f"fc.1.{k}": v for k, v in linear(3, 512).items()}
        | {"fc.0.running_mean": torch.ones(512), "fc.0.running_var": torch.ones(512)},
        "fc.1.weight may be not all of its last part: fc.0.running_mean",
    ),
    "a neck of batch norm (re-identification)": (
        renamed(BACKBONE, "base.")
        | {f"bottleneck.{k}": torch.ones(512) for k in ("weight", "running_mean", "running_var")}
        | {"classifier.weight": torch.ones(3, 512)},
        "classifier.weight may be not all of its last part: bottleneck.running_mean",
    ),
    "batch norm after the last layer": (
        STATE | {f"bn_fc.{k}": torch.ones(3) for k in ("running_mean", "running_var")},
        "fc.weight may be not all of its last part: bn_fc.running_mean",
    ),
    "a cosine classifier": (
        BACKBONE | {"fc.weight": torch.ones(3, 512), "fc.sigma": torch.ones(1)},
        "fc.weight may be not all of its last part: fc.sigma",
    ),
    "a last layer with weight norm": (
        BACKBONE | {"fc.bias": torch.ones(3), "fc.weight_g": torch.ones(3, 1)},
        "its last layer has fc.weight_g in place of a weight",
    ),
    "a last layer with parametrized weight norm": (
        BACKBONE
        | {"fc.bias": torch.ones(3), "fc.parametrizations.weight.original0": torch.ones(3, 1)},
        "its last layer has fc.parametrizations.weight.original0 in place of a weight",
    ),
    "a last layer that was pruned": (
        BACKBONE
        | {f"fc.weight_{k}": torch.ones(3, 512) for k in ("orig", "mask")}
        | {"fc.bias": torch.ones(3)},
        "its last layer has fc.weight_orig, fc.weight_mask in place of a weight",
    ),
    "two heads": (
        BACKBONE | {f"{h}.{k}": v for h in ("scene", "objects") for k, v in linear(3, 512).items()},
        "several layers lie beside it: scene, objects",
    ),
    "a head of other features": (
        BACKBONE | {"fc.weight": torch.ones(3, 1024), "fc.bias": torch.ones(3)},
        r"fc.weight is \(3, 1024\) and not \(classes, 512\)",
    ),
    "DINO": (
        {
            "student": renamed(BACKBONE, "module.backbone.")
            | {f"module.head.mlp.{n}.weight": torch.ones(512, 512) for n in (0, 2, 4)}
        },
        "its last part has 3 layers",
    ),
    "MoCo's queue": (
        renamed(BACKBONE, "encoder.") | {"queue": torch.ones(128, 512)},
        "it ends before its last layer",
    ),
    "Hugging Face's ResNetModel": (
        {k.removeprefix("resnet."): v for k, v in hugging_face(BACKBONE).items()},
        "it ends before its last layer",
    ),
    "VISSL": (
        {
            "classy_state_dict": {
                "base_model": {
                    "model": {"trunk": renamed(BACKBONE, "_feature_blocks."), "heads": {}}
                }
            }
        },
        "it ends before its last layer",
    ),
}


@pytest.mark.parametrize(("content", "words"), BACKBONES.values(), ids=BACKBONES)
def test_without_one_last_layer_it_is_a_backbone(content: Any, words: str, tmp_path: Path) -> None:
    """Training takes it and says why; what needs classes refuses it in one line with the remedy."""
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(IndoorError, match=rf"is a backbone: .*{words}.*indoor train --weights"):
        load_float(path)
    result = resolve_weights(path, "resnet18")
    assert same(result.model, BACKBONE)
    assert (result.num_outputs, result.classes) == (0, None)
    assert "a backbone, as" in "\n".join(result.notes)


# Networks that look like it.


def cut(state: dict[str, Tensor], **changes: Tensor | None) -> dict[str, Tensor]:
    """Return the state dict with tensors changed, added, or left out (None)."""
    new = state | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in new.items() if value is not None}


RELATIVES: dict[str, tuple[dict[str, Tensor], str]] = {
    "resnet34": (network("resnet34"), "holds a resnet34, expected torchvision's resnet18, "),
    "resnet101": (network("resnet101"), "holds a resnet101, expected"),
    "resnet152": (network("resnet152"), "holds a resnet152, expected"),
    "resnet34 wrapped": (renamed(network("resnet34"), "module."), "holds a resnet34, expected"),
    "resnet34 of Hugging Face": (hugging_face(network("resnet34")), "holds a resnet34, expected"),
    "wide resnet50": (network("wide_resnet50_2"), "holds a wide resnet50, expected"),
    "resnext50": (network("resnext50_32x4d"), r"holds a resnext50 \(32 groups\), expected"),
    "squeeze and excitation": (
        cut(STATE, layer1__0__se__fc1__weight=torch.ones(4, 64, 1, 1)),
        r"it has layer1.0.se.fc1.weight besides \(squeeze and excitation\)",
    ),
    "anti-aliased": (
        cut(STATE, layer2__0__conv2__1__filt=torch.ones(128, 1, 3, 3)),
        r"layer2.0.conv2.1.filt besides \(anti-aliasing\)",
    ),
    "anti-aliased pool-control": (
        cut(STATE, maxpool__1__filt=torch.ones(64, 1, 3, 3)),
        "maxpool.1.filt",
    ),
    "resnet50d": (
        moved(network("resnet50"), {"conv1.": ""}) | {"conv1.0.weight": torch.ones(32, 3, 3, 3)},
        r"it has conv1.0.weight besides \(a stem of several convolutions\)",
    ),
    "for small pictures-control": (
        cut(STATE, conv1__weight=torch.ones(64, 3, 3, 3)),
        r"conv1.weight is \(64, 3, 3, 3\) and not \(64, 3, 7, 7\)",
    ),
    "grey input-control": (
        cut(STATE, conv1__weight=torch.ones(64, 1, 7, 7)),
        r"conv1.weight is \(64, 1, 7, 7\)",
    ),
    "no batch norm-control": (moved(STATE, {"bn1.": ""}), "it lacks bn1.weight"),
    "pruned": (
        moved(STATE, {"conv1.weight": "conv1.weight_orig"}) | {"conv1.weight_mask": torch.ones(1)},
        r"conv1.weight_mask besides \(pruning; torch.nn.utils.prune.remove ends it\)",
    ),
    "quantization-aware": (
        cut(STATE, conv1__weight_fake_quant__scale=torch.ones(1)),
        r"conv1.weight_fake_quant.scale besides \(quantization-aware training\)",
    ),
    "complex-control": (
        cut(STATE, conv1__weight=torch.ones(64, 3, 7, 7, dtype=torch.complex64)),
        "conv1.weight is torch.complex64 and not torch.float32",
    ),
    "a vision transformer": (
        {"cls_token": torch.ones(1, 1, 8), "pos_embed": torch.ones(1, 5, 8)},
        r"lacks conv1.weight; .*give other weights \(these have cls_token, pos_embed\)",
    ),
    "a layer of another block-control": (
        cut(STATE, layer1__0__conv1__weight=torch.ones(64, 64, 1, 1)),
        r"layer1.0.conv1.weight is \(64, 64, 1, 1\) and not \(64, 64, 3, 3\)",
    ),
}


@pytest.mark.parametrize(("state", "words"), RELATIVES.values(), ids=RELATIVES)
def test_another_network_is_named(state: dict[str, Tensor], words: str, tmp_path: Path) -> None:
    """A network that only looks like one of ours is refused: what it is, or what does not fit."""
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(IndoorError, match=words) as caught:
        load_float(tmp_path / "x.pt", backbone=True)
    assert "\n" not in str(caught.value)
    assert "damaged" not in str(caught.value)


# Classes.

CAB = ("c", "a", "b")
NAMED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "classes-control": ({"classes": ["a", "b", "c"]}, ("a", "b", "c")),
    "a tuple-control": ({"classes": ("c", "a", "b")}, ("c", "a", "b")),
    "class_names": ({"class_names": ["a", "b", "c"]}, ("a", "b", "c")),
    "class_to_idx": ({"class_to_idx": {"b": 2, "a": 0, "c": 1}}, ("a", "c", "b")),
    "CLASSES (MMPretrain)": ({"CLASSES": ("a", "b", "c")}, ("a", "b", "c")),
    "numbers to names": ({"classes": {0: "c", 1: "a", 2: "b"}}, CAB),
    "names to numbers": ({"classes": {"a": 1, "b": 2, "c": 0}}, CAB),
    "bytes": ({"classes": [b"c", b"a", b"b"]}, CAB),
    "a numpy array of objects": ({"classes": np.array(CAB, dtype=object)}, CAB),
    "a deque": ({"classes": deque(CAB)}, CAB),
    "numbers that are tensors": (
        {"class_to_idx": {n: torch.tensor(i) for i, n in enumerate(CAB)}},
        CAB,
    ),
    "names (Ultralytics)": ({"names": dict(enumerate(CAB)), "nc": 3}, CAB),
    "idx_to_class": ({"idx_to_class": dict(enumerate(CAB))}, CAB),
    "label_names": ({"label_names": CAB}, CAB),
    "labels": ({"labels": list(CAB)}, CAB),
    "categories": ({"categories": list(CAB)}, CAB),
    "vocab (fastai)": ({"dls": {"vocab": list(CAB)}}, CAB),
    "id2label and label2id (Hugging Face)": (
        {
            "config": {
                "id2label": {"0": "c", "1": "a", "2": "b"},
                "label2id": {"a": 1, "b": 2, "c": 0},
            }
        },
        CAB,
    ),
    "meta (MMClassification)": ({"meta": {"CLASSES": CAB, "seed": 0}}, CAB),
    "meta (MMPretrain 1)": ({"meta": {"dataset_meta": {"classes": CAB}}}, CAB),
    "hyper_parameters (Lightning)": ({"hyper_parameters": {"lr": 0.1, "classes": CAB}}, CAB),
    "args": ({"args": Namespace(lr=0.1, class_names=list(CAB))}, CAB),
    "two that differ": ({"labels": ["a", "b", "c"], "names": list(CAB)}, ()),
    "names of something else-control": ({"names": ["loss", "accuracy"]}, ()),
    "names under another key-control": ({"metrics": ["loss", "accuracy", "f1"]}, ()),
    "their number": ({"classes": 3}, ()),
    "numbers": ({"classes": [0, 1, 2]}, ()),
    "not in order-control": ({"class_to_idx": {"b": 5, "a": 0, "c": 1}}, ()),
}


@pytest.mark.parametrize(("said", "classes"), NAMED.values(), ids=NAMED)
def test_class_names_are_read_where_a_file_has_them(
    said: dict[str, Any], classes: tuple[str, ...], tmp_path: Path
) -> None:
    """Beside the state dict, under the keys that people use; what is no name is none."""
    torch.save({"state_dict": STATE} | said, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").manifest.classes == classes


def test_classes_that_are_named_in_two_ways_are_told(tmp_path: Path) -> None:
    """Which one is right is not guessed in silence."""
    said = {"labels": ["a", "b", "c"], "names": list(CAB)}
    torch.save({"state_dict": STATE} | said, tmp_path / "x.pt")
    clause = "names its classes in two ways (labels and names): neither was used"
    assert clause in load_float(tmp_path / "x.pt").manifest.weights.assumed


def test_where_the_classes_were_found_is_said(tmp_path: Path) -> None:
    """A key far from the weights is named."""
    torch.save({"state_dict": STATE, "meta": {"CLASSES": CAB}}, tmp_path / "x.pt")
    notes = load_float(tmp_path / "x.pt").notes
    assert "x.pt: the classes are those of meta.CLASSES" in notes
