"""Precision: with how many bits one matrix product is stored and computed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ddtasnet_edge.errors import ConfigError

_NAME = re.compile(r"(?P<method>static|dynamic)_wi(?P<bits>4|8)(b(?P<block>\d+))?_a(?P<activations>i8|fp32)")
GRAMMAR = "float32, static_wi8_ai8, dynamic_wi8_afp32, dynamic_wi4_afp32 or dynamic_wi4b<block>_afp32"
# What the kernels of all three runtimes can do: a block is a power of two in this range.
BLOCKS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Precision:
    """How a product is computed: method 'float', 'static' or 'dynamic', and the bits of its weights.

    Weights are symmetric around zero with one scale per output, or, with `block`, one per output and block of so
    many inputs. static: activations are rounded to INT8 within ranges known in advance; dynamic: within ranges
    measured on every hop, or not at all, as the runtime has it.
    """

    method: str
    weight_bits: int
    block: int | None = None

    @property
    def name(self) -> str:
        """`<method>_wi<weight bits>[b<block>]_a<activations>`."""
        if self.is_float:
            return "float32"
        block = "" if self.block is None else f"b{self.block}"
        return f"{self.method}_wi{self.weight_bits}{block}_a{'i8' if self.is_static else 'fp32'}"

    @property
    def is_float(self) -> bool:
        """True when nothing is rounded."""
        return self.method == "float"

    @property
    def is_static(self) -> bool:
        """True when activation ranges are fixed in advance from music."""
        return self.method == "static"


FLOAT = Precision("float", 32)
STATIC8 = Precision("static", 8)
DYNAMIC8 = Precision("dynamic", 8)
DYNAMIC4 = Precision("dynamic", 4)
BLOCKWISE4 = Precision("dynamic", 4, block=64)


def precision_named(name: str) -> Precision:
    """The inverse of `Precision.name`. Raises ConfigError for anything else."""
    if name == FLOAT.name:
        return FLOAT
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"unknown precision '{name}': expected {GRAMMAR}")
    precision = Precision(match["method"], int(match["bits"]), None if match["block"] is None else int(match["block"]))
    if precision.name != name or (precision.is_static and precision != STATIC8) or _odd_block(precision):
        raise ConfigError(f"no kernel for precision '{name}': expected {GRAMMAR}, block one of {BLOCKS}")
    return precision


def _odd_block(precision: Precision) -> bool:
    return precision.block is not None and (precision.block not in BLOCKS or precision.weight_bits != 4)
