"""The step becomes a graph: one exporter per target, all with the same three functions."""

from ddtasnet_edge.export.registry import EXPORTERS, exporter_for

__all__ = ["EXPORTERS", "exporter_for"]
