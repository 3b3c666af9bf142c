"""LiteRT through its C interface, for the one thing that its Python interface lacks: the profiler.

The library is part of the Python package, the interface is not promised to stay; so versions that were not tried are
refused instead of called.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddtasnet_edge.errors import EdgeError, MissingDependencyError
from ddtasnet_edge.spec import FloatArray

TRIED_VERSIONS = ("2.3",)
LIBRARY = "libLiteRt.so"
CPU = 1
# Options are short texts; the library frees them.
PROFILING = (b"runtime_options_string", b"enable_profiling = true\n")
ONE_THREAD = (b"xnnpack", b"num_threads = 1\n")

Handle = ctypes.c_void_p


class _Layout(ctypes.Structure):
    _fields_ = (("rank", ctypes.c_uint32), ("dimensions", ctypes.c_int32 * 8), ("strides", ctypes.c_uint32 * 8))


class _TensorType(ctypes.Structure):
    _fields_ = (("element", ctypes.c_int), ("layout", _Layout))


#: One event. tag: address of its name; kind: one of the next two; index: of the operator.
EVENT = np.dtype(
    [
        *(("tag", np.uint64), ("kind", np.int32), ("", np.int32), ("start_us", np.uint64), ("elapsed_us", np.uint64)),
        *(("memory", np.int64, 6), ("index", np.uint64), ("subgraph", np.uint64), ("source", np.int32), ("", np.int32)),
    ]
)
OPERATOR, DELEGATED_OPERATORS = 2, (4, 8)


@dataclass(frozen=True, eq=False)
class _Tensor:
    """An input or output: its buffer with the memory in it. identity: equal for two that are one tensor."""

    name: str
    identity: int | None
    buffer: Handle
    array: FloatArray


class CompiledModel:
    """One graph on one thread, with the profiler compiled in. inputs and outputs: its own memory, flat, by name."""

    def __init__(self, path: Path, package: Path, version: str) -> None:
        """package: folder of the Python package.

        Raises MissingDependencyError for a version of it that was not tried, EdgeError when a call fails.
        """
        if not version.startswith(tuple(f"{tried}." for tried in TRIED_VERSIONS)):
            raise MissingDependencyError(
                f"the profiler of ai-edge-litert {version} has not been tried; "
                f"pip install 'ai-edge-litert=={TRIED_VERSIONS[-1]}.*'"
            )
        self._library = _load(package / LIBRARY)
        self._environment, self._model, self._compiled = Handle(), Handle(), Handle()
        self._profiler, signature = Handle(), Handle()
        self._call("CreateEnvironment", 0, None, ctypes.byref(self._environment))
        self._call("CreateModelFromFile", self._environment, str(path).encode(), ctypes.byref(self._model))
        self._compile()
        self._call("CompiledModelGetProfiler", self._compiled, ctypes.byref(self._profiler))
        self._call("GetModelSignature", self._model, ctypes.c_size_t(0), ctypes.byref(signature))
        inputs, outputs = self._tensors("Input", signature), self._tensors("Output", signature)
        self._input_buffers, self._output_buffers = _buffers(inputs), _buffers(outputs)
        # A tensor that is an input and an output (the hop, where it is the next left context) is read and written in
        # the memory of the output.
        shared = {tensor.identity: tensor.array for tensor in outputs}
        self.inputs = {tensor.name: shared.get(tensor.identity, tensor.array) for tensor in inputs}
        self.outputs = {tensor.name: tensor.array for tensor in outputs}

    def run(self) -> None:
        """One step from the inputs to the outputs."""
        buffers = (self._input_buffers, self._output_buffers)
        counted = [argument for each in buffers for argument in (ctypes.c_size_t(len(each)), each)]
        self._call("RunCompiledModel", self._compiled, ctypes.c_size_t(0), *counted)

    def start(self) -> None:
        """Keep events from here on, and none from before."""
        self._call("StartProfiler", self._profiler)

    def events(self) -> NDArray[np.void]:
        """The events kept so far, as EVENT."""
        count = ctypes.c_int()
        self._call("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = np.empty(count.value, dtype=EVENT)
        self._call("GetProfilerEvents", self._profiler, count, Handle(events.ctypes.data))
        return events

    def close(self) -> None:
        """Free everything; the arrays must not be used any more."""
        self.inputs, self.outputs = {}, {}
        for buffer in (*self._input_buffers, *self._output_buffers):
            self._library.LiteRtDestroyTensorBuffer(Handle(buffer))
        self._library.LiteRtDestroyCompiledModel(self._compiled)
        self._library.LiteRtDestroyModel(self._model)
        self._library.LiteRtDestroyEnvironment(self._environment)

    def _compile(self) -> None:
        options = Handle()
        self._call("CreateOptions", ctypes.byref(options))
        self._call("SetOptionsHardwareAccelerators", options, CPU)
        standard = ctypes.CDLL(None)
        standard.strdup.restype = Handle
        free = ctypes.cast(standard.free, Handle)
        for name, text in (PROFILING, ONE_THREAD):
            option = Handle()
            self._call("CreateOpaqueOptions", name, Handle(standard.strdup(text)), free, ctypes.byref(option))
            self._call("AddOpaqueOptions", options, option)
        self._call("CreateCompiledModel", self._environment, self._model, options, ctypes.byref(self._compiled))
        self._library.LiteRtDestroyOptions(options)

    def _tensors(self, kind: str, signature: Handle) -> list[_Tensor]:
        count = ctypes.c_size_t()
        self._call(f"GetNumSignature{kind}s", signature, ctypes.byref(count))
        return [self._tensor(kind, signature, ctypes.c_size_t(number)) for number in range(count.value)]

    def _tensor(self, kind: str, signature: Handle, index: ctypes.c_size_t) -> _Tensor:
        name, tensor, requirements, buffer = ctypes.c_char_p(), Handle(), Handle(), Handle()
        tensor_type = _TensorType()
        self._call(f"GetSignature{kind}Name", signature, index, ctypes.byref(name))
        self._call(f"GetSignature{kind}TensorByIndex", signature, index, ctypes.byref(tensor))
        self._call("GetRankedTensorType", tensor, ctypes.byref(tensor_type))
        where = (self._compiled, ctypes.c_size_t(0), index)
        self._call(f"GetCompiledModel{kind}BufferRequirements", *where, ctypes.byref(requirements))
        made = (ctypes.byref(tensor_type), requirements, ctypes.byref(buffer))
        self._call("CreateManagedTensorBufferFromRequirements", self._environment, *made)
        assert name.value is not None, "every input and output of a signature has a name"
        return _Tensor(name.value.decode(), tensor.value, buffer, self._memory(buffer))

    def _memory(self, buffer: Handle) -> FloatArray:
        address, size = Handle(), ctypes.c_size_t()
        self._call("GetTensorBufferHostMemory", buffer, ctypes.byref(address))
        self._call("GetTensorBufferPackedSize", buffer, ctypes.byref(size))
        assert address.value is not None, "a buffer of the CPU has an address"
        numbers = (ctypes.c_float * (size.value // 4)).from_address(address.value)
        return np.ctypeslib.as_array(numbers)

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, f"LiteRt{name}")(*arguments)
        if status != 0:
            raise EdgeError(f"LiteRt{name} failed with status {status}; try another version of ai-edge-litert")


def _load(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise EdgeError(f"cannot load {library.name}, which has the profiler: {error}; profile on Linux") from error


def _buffers(tensors: list[_Tensor]) -> ctypes.Array[Handle]:
    return (Handle * len(tensors))(*(tensor.buffer for tensor in tensors))
