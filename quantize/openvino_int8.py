"""INT8 for OpenVINO: NNCF, restricted to the chosen products, with the state kept explicit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nncf
import openvino as ov
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from ddtasnet_edge.export.facts import MatrixProduct
from ddtasnet_edge.export.openvino_exporter import FILES
from ddtasnet_edge.export.trace import converter_output_captured
from ddtasnet_edge.quantize.calibration import Feeds
from ddtasnet_edge.quantize.recipe import Recipe


def quantize_graph(folder: Path, recipe: Recipe, products: Sequence[MatrixProduct], feeds: Feeds | None) -> None:
    """Quantize these products of the IR in place."""
    graph = ov.Core().read_model(folder / FILES[0])
    ignored = _everything_but(graph, {product.node for product in products})
    with converter_output_captured("nncf"):
        if recipe.needs_calibration:
            assert feeds is not None, "a calibrated recipe comes with feeds"
            graph = nncf.quantize(
                graph,
                nncf.Dataset(feeds),
                # Asymmetric activations: features after relu and sqrt have one sign.
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(feeds),
                # By default NNCF averages the ranges of all hops, and every loud one would be clipped.
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
                ),
                ignored_scope=ignored,
            )
        else:
            graph = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=ignored)
        # Saved beside and moved: the float weights are memory-mapped from the file that is about to be replaced.
        ov.save_model(graph, folder / "quantized.xml", compress_to_fp16=False)
    del graph
    for name in FILES:
        (folder / f"quantized{Path(name).suffix}").replace(folder / name)


def _everything_but(graph: ov.Model, chosen: set[str]) -> nncf.IgnoredScope:
    """NNCF quantizes whatever it can; only the chosen products shall be."""
    skipped = ("Constant", "Parameter", "Result")
    nodes = [node for node in graph.get_ordered_ops() if node.get_type_name() not in skipped]
    return nncf.IgnoredScope(names=[node.friendly_name for node in nodes if node.friendly_name not in chosen])
