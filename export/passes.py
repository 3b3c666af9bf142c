"""Passes over the step: the same function in the operators that a target computes fastest.

A pass exchanges classes of the network for *forms*: subclasses that compute the same from the same weights. Some of
what makes the step fast is built into the network instead, because its weights and its state are laid out for it; such
a pass has no form to put in, but the plain form that it does away with. Either way the step can be had without it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from ddtasnet_edge.export.plain_forms import (
    STREAM_BY_STREAM,
    DenseDFT,
    GateByGate,
    GateByGateLSTM,
    SeparateAttention,
    SeparateEncoder,
)
from ddtasnet_edge.export.polynomial_phase import PolynomialAngle, PolynomialSine
from ddtasnet_edge.export.registry import COMPILED_TARGETS
from ddtasnet_edge.export.ring_attention import RingAttention
from ddtasnet_edge.models.attention import SkipAttention
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.dft import RealDFT
from ddtasnet_edge.models.memory import GRUMemory, LSTMMemory
from ddtasnet_edge.models.spectral import SpectralCodec
from ddtasnet_edge.models.time_codec import TimeEncoder

Forms = Mapping[type[nn.Module], type[nn.Module]]


@dataclass(frozen=True)
class Pass:
    """One thing that makes the step faster.

    targets: where it is measured to pay (docs/PERFORMANCE.md). forms: class of the network -> what the pass puts in its
    place. plain: class of the network -> what would be there without the pass.
    """

    name: str
    summary: str
    targets: tuple[str, ...] = COMPILED_TARGETS
    forms: Forms = field(default_factory=dict)
    plain: Forms = field(default_factory=dict)

    @property
    def keeps_products(self) -> bool:
        """Whether the step multiplies the same matrices without it, so that it can be quantized either way."""
        return not self.plain


PASSES = (
    Pass("stacked streams", "magnitude and phase in one batch, their weights read once", plain=STREAM_BY_STREAM),
    Pass(
        "stacked gates",
        "the gates of a memory in one product",
        plain={GRUMemory: GateByGate, LSTMMemory: GateByGateLSTM},
    ),
    Pass(
        "stacked maps",
        "query, key and value in one product, basis and gate in one",
        plain={SkipAttention: SeparateAttention, TimeEncoder: SeparateEncoder},
    ),
    Pass("short DFT", "two stages of small products for a dense matrix", plain={RealDFT: DenseDFT}),
    Pass("ring attention", "one row of keys and values written, none moved", forms={SkipAttention: RingAttention}),
    Pass(
        "polynomial angle",
        "atan2 in sums and products",
        targets=("openvino", "tflite"),
        forms={SpectralCodec: PolynomialAngle},
    ),
    Pass(
        "polynomial sine",
        "sine and cosine in sums and products",
        targets=("openvino",),
        forms={SpectralCodec: PolynomialSine},
    ),
)


def passes_of(target: str) -> tuple[Pass, ...]:
    """The passes that the steps of a target go through, in order."""
    return tuple(each for each in PASSES if target in each.targets)


def with_passes(model: DDTasNet, target: str, without: Pass | None = None) -> DDTasNet:
    """The model as it is converted for `target`: a copy with the same weights, in the same memory.

    without: a pass to leave out, to see what it does.
    """
    forms: dict[type[nn.Module], list[type[nn.Module]]] = defaultdict(list)
    for each in passes_of(target):
        for replaced, form in (each.plain if each is without else each.forms).items():
            forms[replaced].append(form)
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    passed = copy.deepcopy(model, shared)
    for module in passed.modules():
        chosen = forms.get(type(module))
        if chosen:
            # Forms have no weights of their own: a module keeps its own and changes its class.
            module.__class__ = type(chosen[0].__name__, tuple(chosen), {})
            if isinstance(module, DenseDFT):
                module.settle()
    return passed
