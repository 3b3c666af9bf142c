"""One runtime in a process of its own, which it may break: imported, and given a product of four numbers to compute.

`python -m ddtasnet_edge.benchmarks.doctor.probe JOB` takes {"subject": a key of PROBES, or REALTIME} as JSON and
prints on stdout what happened. `graphs/` holds the same graph in three formats, made by tests/doctor_graphs.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.benchmarks.process import keep_stdout
from ddtasnet_edge.benchmarks.realtime import enter_realtime
from ddtasnet_edge.dependencies import import_backend
from ddtasnet_edge.native import native_messages_hidden
from ddtasnet_edge.spec import FloatArray

GRAPHS = Path(__file__).parent / "graphs"
#: The graph multiplies a row by a matrix with 1 to 4 on its diagonal.
GIVEN, EXPECTED = (1.0, 2.0, 3.0, 4.0), (1.0, 4.0, 9.0, 16.0)
REALTIME = "realtime"


@dataclass(frozen=True)
class Outcome:
    """How far a runtime came. error: class and text of what it raised, None when it did not; missing: a module."""

    imported: bool
    answer: tuple[float, ...] | None
    error: str | None = None
    missing: str | None = None


def _run_tflite(module: Any, row: FloatArray) -> Any:
    with native_messages_hidden():
        interpreter = module.Interpreter(model_path=str(GRAPHS / "product.tflite"), num_threads=1)
        interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _run_onnx(module: Any, row: FloatArray) -> Any:
    session = module.InferenceSession(str(GRAPHS / "product.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": row})[0]


def _run_openvino(module: Any, row: FloatArray) -> Any:
    options = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = module.Core().compile_model(str(GRAPHS / "product.xml"), "CPU", options)
    return compiled([row])[0]


#: By distribution: the module to import, and what runs the graph with it.
PROBES: dict[str, tuple[str, Callable[[Any, FloatArray], Any]]] = {
    "ai-edge-litert": ("ai_edge_litert.interpreter", _run_tflite),
    "tflite-runtime": ("tflite_runtime.interpreter", _run_tflite),
    "onnxruntime": ("onnxruntime", _run_onnx),
    "openvino": ("openvino", _run_openvino),
}


def probe(distribution: str) -> Outcome:
    """Import a runtime and run the graph; whatever it raises is a result."""
    name, run = PROBES[distribution]
    module = None
    try:
        module = import_backend(name)
        answer = np.asarray(run(module, np.array([GIVEN], dtype=np.float32)))
    except Exception as error:  # noqa: BLE001 - of a broken package nobody knows what it raises
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        return Outcome(module is not None, None, f"{type(error).__name__}: {error}", missing)
    return Outcome(True, tuple(float(value) for value in answer.ravel()))


if __name__ == "__main__":
    print_result = keep_stdout()
    subject = json.loads(sys.argv[1])["subject"]
    print_result(asdict(enter_realtime() if subject == REALTIME else probe(subject)))
