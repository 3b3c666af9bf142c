"""INT8 for LiteRT: ai-edge-quantizer, restricted to the chosen FULLY_CONNECTED operators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update

from ddtasnet_edge.export.facts import MatrixProduct
from ddtasnet_edge.export.tflite_exporter import FILES
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.quantize.calibration import Feeds
from ddtasnet_edge.quantize.recipe import Recipe

SIGNATURE = "serving_default"


def quantize_graph(folder: Path, recipe: Recipe, products: Sequence[MatrixProduct], feeds: Feeds | None) -> None:
    """Quantize these products of `model.tflite` in place."""
    path = folder / FILES[0]
    with converter_output_captured("ai-edge-quantizer"):
        manager = _recipe_manager(recipe, products)
        quantizer = Quantizer(str(path), manager.get_quantization_recipe())
        ranges = _calibrate(path, manager, feeds) if feeds is not None else None
        quantized = quantizer.quantize(ranges, enable_progress_report=False)
    path.write_bytes(quantized.quantized_model)
    _restore_outputs(path)


def _recipe_manager(recipe: Recipe, products: Sequence[MatrixProduct]) -> RecipeManager:
    manager = RecipeManager()
    for product in products:
        # An operator's scope is the names of its outputs, each followed by a semicolon.
        scope = f"^{re.escape(product.node)};$"
        if recipe.needs_calibration:
            bits = {"activation_num_bits": recipe.activation_bits, "weight_num_bits": recipe.weight_bits}
            manager.add_static_config(scope, TFLOperationName.FULLY_CONNECTED, **bits)
        else:
            manager.add_dynamic_config(scope, TFLOperationName.FULLY_CONNECTED, num_bits=recipe.weight_bits)
    return manager


def _calibrate(path: Path, manager: RecipeManager, feeds: Feeds) -> Any:
    # The quantizer's own `calibrate` averages ranges over time, so a quiet ending would narrow them; here the
    # range of a tensor covers every hop.
    calibrator = Calibrator(str(path), num_threads=1, qsv_update_func=min_max_update)
    calibrator.calibrate({SIGNATURE: feeds}, manager)
    return calibrator.get_model_qsvs()


def _restore_outputs(path: Path) -> None:
    """Make the graph outputs those of the signature again.

    Where a state slot also feeds a quantized product, ai-edge-quantizer 0.10 hands out the INT8 copy made for
    that product and leaves the float tensor, to which the signature still points, unallocated.
    """
    model = flatbuffer_utils.read_model(str(path))
    model.subgraphs[0].outputs = [output.tensorIndex for output in model.signatureDefs[0].outputs]
    flatbuffer_utils.write_model(model, str(path))
