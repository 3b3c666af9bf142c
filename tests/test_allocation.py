"""A step of a graph session makes no array: everything that it needs was made when the bundle was opened."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.tflite_session import TFLiteSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray
from tests.bundles import Workshop

HOPS = 200
# Python's own small change, such as the frames of calls and single numbers: less than a hop of samples, 4096 bytes.
SMALL_CHANGE = 4000
RECIPES = ("float32", "static_wi8_ai8")
TARGETS = ("onnx", "openvino", "tflite")


@pytest.fixture(params=[(target, recipe) for target in TARGETS for recipe in RECIPES], ids="-".join)
def session(request: pytest.FixtureRequest, tiny: Workshop) -> Iterator[Session]:
    with open_session(tiny.bundle(*request.param)) as opened:
        yield opened


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def allocated(session: Session, hop: FloatArray, out: FloatArray) -> tuple[int, int]:
    """Bytes that are left after many steps, and the most that there were on the way."""
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for _ in range(HOPS):
        session.step_into(hop, out)
    after, peak = tracemalloc.get_traced_memory()
    return after - before, peak - before


@pytest.mark.usefixtures("traced")
def test_steps_allocate_nothing(session: Session) -> None:
    hop = np.zeros(session.spec.mix_shape[1:], dtype=np.float32)
    out = np.empty(session.spec.stems_shape[1:], dtype=np.float32)
    allocated(session, hop, out)
    left, most = allocated(session, hop, out)
    # Less than a byte per hop: the number that tracemalloc returned takes 32 itself.
    assert left < HOPS
    assert most <= SMALL_CHANGE


@pytest.mark.usefixtures("traced")
def test_an_array_per_hop_would_be_seen(session: Session) -> None:
    hop = np.zeros(session.spec.mix_shape[1:], dtype=np.float32)
    stems = [session.step(hop)]
    before, _ = tracemalloc.get_traced_memory()
    stems.append(session.step(hop).copy())
    assert tracemalloc.get_traced_memory()[0] - before > SMALL_CHANGE


def test_tensors_of_the_interpreter_stay_where_they_are(tiny: Workshop) -> None:
    with open_session(tiny.bundle("tflite", "float32")) as session:
        assert isinstance(session, TFLiteSession)
        interpreter = session._interpreter
        details = [*interpreter.get_input_details(), *interpreter.get_output_details()]

        def addresses() -> list[int]:
            return [interpreter.tensor(detail["index"])().ctypes.data for detail in details]

        before = addresses()
        for _ in range(HOPS):
            session.step(np.zeros(session.spec.mix_shape[1:], dtype=np.float32))
        assert addresses() == before
