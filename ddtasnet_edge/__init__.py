"""ddtasnet_edge: a streaming music separator in PyTorch goes in, a small verified bundle comes out.

    import ddtasnet_edge as de
    bundle = de.compile("small", target="tflite", recipe="static_wi8_ai8", out="build")
    runner = de.load(bundle, num_threads=1)
    stems = runner.feed(samples)        # float32 [channels, n] -> [sources, channels, m]
    rest = runner.flush()

Importing this package imports neither torch nor any runtime.
"""

from ddtasnet_edge.api import compile, load

__version__ = "0.1.0"
__all__ = ["__version__", "compile", "load"]
