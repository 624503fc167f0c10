"""One pass of calibration for all observers: what each would choose can be asked at any time."""

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization.observer import ObserverBase

from indoor.quantize import eager_flow
from indoor.quantize.config import qconfig_of, validate_config
from indoor.records import Observer, QuantizationConfig

_WATCHING: tuple[Observer, ...] = ("moving-average", "histogram")
"""Who sees the activations; every other observer chooses from the histogram and its two ends."""


class EveryObserver(ObserverBase):
    """Sees an activation once for all observers; which, and for which levels, is chosen later.

    Args:
        config: Any; its observer, range and weights count for nothing.
    """

    def __init__(self, config: QuantizationConfig) -> None:
        super().__init__(dtype=torch.quint8)
        self.watching = nn.ModuleDict({name: _observer(config, name) for name in _WATCHING})

    def forward(self, x: Tensor) -> Tensor:
        """Show the activation to each of them."""
        for observer in self.watching.values():
            observer(x)
        return x

    def calculate_qparams(self, **_: Any) -> None:
        """Fail: nobody has chosen an observer yet."""
        raise AssertionError("choose an observer before the conversion")

    def chosen(self, config: QuantizationConfig) -> nn.Module:
        """Return the configuration's observer, as if it alone had seen everything so far."""
        watching = config.observer if config.observer in _WATCHING else "histogram"
        observer = _observer(config, config.observer)
        own = dict(observer.named_buffers())
        for name, values in self.watching[watching].named_buffers():
            if name in own:
                setattr(observer, name, values.clone())
        return observer


def observe(model: nn.Module, config: QuantizationConfig, example: Tensor) -> nn.Module:
    """Return a fused copy that shows what it computes to every observer, as a flow's `observe`.

    Args:
        model: As in `quantize`; it is not changed.
        config: Any whose flow is eager.
        example: A batch of the photographs that it will see.

    Returns:
        A float32 module in eval mode, to be called on calibration batches without gradients.
    """
    observed = eager_flow.observe(model, config, example)
    chooses = type(_observer(config, config.observer))  # others, after a sigmoid, have no choice
    for module in observed.modules():
        if type(getattr(module, "activation_post_process", None)) is chooses:
            module.activation_post_process = EveryObserver(config)
    return observed


def choose(observed: nn.Module, config: QuantizationConfig) -> nn.Module:
    """Return a copy that holds the configuration's observers, which have seen the same.

    The eager flow's `convert_observed` makes it int8: the network that `quantize` makes of the
    batches which `observed` was shown. That stays as it is, may be shown more, and asked again.

    Args:
        observed: What `observe` returned, called on at least one batch.
        config: Any whose flow is eager; all observers, ranges and granularities share the pass.

    Raises:
        IndoorError: The configuration cannot be had on this machine.
    """
    validate_config(config)
    prepared, qconfig = copy.deepcopy(observed), qconfig_of(config)
    module: Any
    for module in prepared.modules():
        every = getattr(module, "activation_post_process", None)
        if isinstance(every, EveryObserver):
            module.activation_post_process = every.chosen(config)
        if getattr(module, "qconfig", None) is not None:
            module.qconfig = qconfig  # which says how weights are observed
    return prepared


def _observer(config: QuantizationConfig, name: Observer) -> nn.Module:
    made: nn.Module = qconfig_of(dataclasses.replace(config, observer=name)).activation()
    return made
