"""torch.export of the step: static shapes, named tensors."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ddtasnet_edge.errors import ExportError
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.step import StepGraph


def example_inputs(model: DDTasNet) -> dict[str, torch.Tensor]:
    """Zeros for every graph input, by name, in the order of the StreamSpec."""
    return {name: torch.zeros(shape) for name, shape in model.spec().input_shapes().items()}


def trace_step(model: DDTasNet) -> torch.export.ExportedProgram:
    """The step as an exported program; its inputs are keywords and its outputs dictionary entries."""
    with torch.no_grad():
        return torch.export.export(StepGraph(model).eval(), (), example_inputs(model), strict=False)


def output_nodes(program: torch.export.ExportedProgram) -> dict[str, str]:
    """Graph output name -> name of the node that computes it, read from the program's own output tree."""
    tree = program.call_spec.out_spec
    assert tree is not None, "an exported program has an output tree"
    return dict(zip(tree.context, (str(node) for node in program.graph_signature.user_outputs), strict=True))


@contextmanager
def converter_output_captured(tool: str) -> Iterator[None]:
    """Keep what a converter prints (from Python and from C++) off the terminal; show its end if it fails.

    Any failure inside becomes an ExportError: converters raise whatever they please.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as log:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                yield
        except Exception as error:
            raise ExportError(f"{tool} failed: {type(error).__name__}: {_last_line(str(error))}") from error
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, original in enumerate(saved, start=1):
                os.dup2(original, stream)
                os.close(original)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"
