"""The graphs that `ddtasnet-bench --doctor` gives to runtimes: `python -m tests.doctor_graphs` writes them.

A row of four numbers times a matrix with 1 to 4 on its diagonal, as ONNX, TFLite and OpenVINO IR. A product with a
constant is what bundles consist of, and what runtimes have kernels of their own for on every processor.
"""

from __future__ import annotations

from collections.abc import Mapping

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from ddtasnet_edge.benchmarks.doctor.probe import GRAPHS

WEIGHTS = np.diag(np.arange(1.0, 5.0)).astype("<f4")
ROW = (1, 4)
# The oldest that have all that is needed, so that old runtimes read them too.
ONNX_VERSION, OPSET, TFLITE_VERSION = 8, 13, 3

OPENVINO = """\
<?xml version="1.0"?>
<net name="product" version="11">
  <layers>
    <layer id="0" name="x" type="Parameter" version="opset1">
      <data shape="1,4" element_type="f32"/>
      <output><port id="0" precision="FP32" names="x"><dim>1</dim><dim>4</dim></port></output>
    </layer>
    <layer id="1" name="w" type="Const" version="opset1">
      <data element_type="f32" shape="4,4" offset="0" size="64"/>
      <output><port id="0" precision="FP32"><dim>4</dim><dim>4</dim></port></output>
    </layer>
    <layer id="2" name="y" type="MatMul" version="opset1">
      <data transpose_a="false" transpose_b="false"/>
      <input>
        <port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port>
        <port id="1" precision="FP32"><dim>4</dim><dim>4</dim></port>
      </input>
      <output><port id="2" precision="FP32" names="y"><dim>1</dim><dim>4</dim></port></output>
    </layer>
    <layer id="3" name="y/result" type="Result" version="opset1">
      <input><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port></input>
    </layer>
  </layers>
  <edges>
    <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
    <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
    <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
  </edges>
</net>
"""


def build_graphs() -> Mapping[str, bytes]:
    """All files by name."""
    return {
        "product.onnx": build_onnx(),
        "product.tflite": build_tflite(),
        "product.xml": OPENVINO.encode(),
        "product.bin": WEIGHTS.tobytes(),
    }


def build_onnx() -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, WEIGHTS.shape, WEIGHTS.tobytes(), raw=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ROW) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "product", [x], [y], [weights])
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, ir_version=ONNX_VERSION, opset_imports=opsets, producer_name="")
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def build_tflite() -> bytes:
    def tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name, list(shape), buffer, schema.TensorType.FLOAT32
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph = schema.SubGraphT()
    # The format holds the matrix transposed, which a diagonal one is to itself.
    graph.tensors = [tensor("x", ROW, 0), tensor("w", WEIGHTS.shape, 1), tensor("y", ROW, 0)]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    weights = schema.BufferT()
    weights.data = np.frombuffer(WEIGHTS.tobytes(), dtype=np.uint8)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = TFLITE_VERSION, [code], [graph]
    model.buffers = [schema.BufferT(), weights]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    for file, contents in build_graphs().items():
        GRAPHS.joinpath(file).write_bytes(contents)
