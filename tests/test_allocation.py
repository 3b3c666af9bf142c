"""A step of a graph session makes no array: everything that it needs was made when the bundle was opened."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.tflite_session import TFLiteSession
from ddtasnet_edge.session import Session
from ddtasnet_edge.spec import FloatArray
from tests.bundles import Workshop

HOPS = 100
ROUNDS = 5
# Python's own small change, such as frames of calls and single numbers, is 1100 bytes. Not seen beside it are arrays of
# a few numbers, and what a runtime allocates on its own.
SMALL_CHANGE = 1500
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
    rounds = [allocated(session, hop, out) for _ in range(ROUNDS)]
    # Less than a byte per hop: the number that tracemalloc returned takes 32 itself. The least of all rounds: what
    # happens once in a while, in the first round or by itself, is not made on every hop.
    assert min(left for left, _ in rounds) < HOPS
    assert min(most for _, most in rounds) <= SMALL_CHANGE


def copies_memories(session: Session) -> None:
    for _, value in session._read_state().items():
        value.copy()


def names_memories(session: Session) -> None:
    _ = {f"{slot.name}_in": slot for slot in session.spec.slots}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("waste", [copies_memories, names_memories])
def test_waste_would_be_seen(tiny: Workshop, waste: Callable[[Session], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(tiny.bundle("onnx", "float32")) as session:
        hop = np.zeros(session.spec.mix_shape[1:], dtype=np.float32)
        out = np.empty(session.spec.stems_shape[1:], dtype=np.float32)
        step_into = session.step_into
        monkeypatch.setattr(session, "step_into", lambda hop, out: (waste(session), step_into(hop, out)))
        assert min(allocated(session, hop, out)[1] for _ in range(ROUNDS)) > SMALL_CHANGE


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
