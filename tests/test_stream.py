"""StreamRunner and Session: any chunk size, exact length, reset, and refusals that leave the state alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.errors import StreamError
from ddtasnet_edge.session import Session, check_samples
from ddtasnet_edge.spec import FloatArray, Slot, StreamSpec
from ddtasnet_edge.stream import StreamRunner

CHANNELS = 2


def make_spec(window: int, hop: int) -> StreamSpec:
    overlap = window - hop
    return StreamSpec(
        sample_rate=44100,
        channels=CHANNELS,
        sources=("same", "inverted"),
        window_length=window,
        hop_length=hop,
        algorithmic_latency=overlap,
        slots=(Slot("context", (1, CHANNELS, overlap)), Slot("tail", (1, CHANNELS, overlap))),
    )


class PassThrough(Session):
    """Cuts overlapping frames, adds them up again, and returns the delayed mix and its inverse.

    Every sample is a sum of window / hop equal parts; with powers of two that is exact in float32. `heard` records
    the hops that arrive.
    """

    runtime = "numpy"

    def __init__(self, window: int = 32, hop: int = 8) -> None:
        super().__init__(make_spec(window, hop))
        self.heard: list[FloatArray] = []
        self.state = self.spec.initial_state()
        self.stems = np.zeros(self.spec.stems_shape[1:], dtype=np.float32)
        self.closings = 0

    def _run(self, hop: FloatArray) -> FloatArray:
        self.heard.append(hop.copy())
        length = self.spec.hop_length
        frame = np.concatenate([self.state["context"][0], hop], axis=1)
        total = frame * np.float32(length / self.spec.window_length)
        total[:, : -length or None] += self.state["tail"][0] if total.shape[1] > length else 0
        self.state = {"context": frame[None, :, length:], "tail": total[None, :, length:]}
        self.stems[0], self.stems[1] = total[:, :length], -total[:, :length]
        return self.stems

    def _read_state(self) -> Mapping[str, FloatArray]:
        return self.state

    def _write_state(self, state: Mapping[str, FloatArray]) -> None:
        self.state = {name: value.copy() for name, value in state.items()}

    def _close(self) -> None:
        self.closings += 1


def ramp(samples: int) -> FloatArray:
    """Distinct samples in both channels, exact in float32."""
    return np.arange(1, CHANNELS * samples + 1, dtype=np.float32).reshape(CHANNELS, samples) / 1024


def stems_of(mix: FloatArray) -> FloatArray:
    return np.stack([mix, -mix])


def separate(runner: StreamRunner, mix: FloatArray, cuts: list[int]) -> FloatArray:
    fed = [runner.feed(chunk) for chunk in np.split(mix, cuts, axis=1)]
    return np.concatenate([*fed, runner.flush()], axis=-1)


@pytest.mark.parametrize(("window", "hop"), [(32, 4), (32, 8), (32, 16), (32, 32)])
@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 9, 31, 100, 1000])
def test_any_chunk_size_reconstructs_the_mix(window: int, hop: int, chunk: int) -> None:
    mix = ramp(333)
    stems = separate(StreamRunner(PassThrough(window, hop)), mix, list(range(chunk, 333, chunk)))
    np.testing.assert_array_equal(stems, stems_of(mix))


@given(data=st.data(), length=st.integers(0, 120), hop=st.sampled_from([4, 8, 32]))
def test_the_cut_into_chunks_does_not_matter(data: st.DataObject, length: int, hop: int) -> None:
    """Sample for sample; equal cuts make empty chunks."""
    cuts = data.draw(st.lists(st.integers(0, length), max_size=12).map(sorted))
    stems = separate(StreamRunner(PassThrough(hop=hop)), ramp(length), cuts)
    np.testing.assert_array_equal(stems, stems_of(ramp(length)))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 24, 25, 160])
def test_flush_returns_what_is_owed_and_no_more(length: int) -> None:
    runner = StreamRunner(PassThrough())
    fed = runner.feed(ramp(length))
    assert fed.shape[-1] == max(0, length // 8 * 8 - runner.spec.algorithmic_latency)
    rest = runner.flush()
    assert fed.shape[-1] + rest.shape[-1] == length
    assert rest.dtype == np.float32
    assert rest.shape[:2] == (2, CHANNELS)


def test_the_session_hears_whole_hops_in_order_then_zeros() -> None:
    session = PassThrough(hop=8)
    runner = StreamRunner(session)
    mix = ramp(21)
    separate(runner, mix, [1, 1, 13])
    assert len(session.heard) == runner.spec.hops_for(21) == 6
    heard = np.concatenate(session.heard, axis=1)
    np.testing.assert_array_equal(heard[:, :21], mix)
    assert not heard[:, 21:].any()


def test_an_empty_chunk_changes_nothing() -> None:
    runner = StreamRunner(PassThrough())
    mix = ramp(100)
    stems = [runner.feed(mix[:, :50])]
    assert runner.feed(mix[:, :0]).shape == (2, CHANNELS, 0)
    stems += [runner.feed(mix[:, 50:]), runner.flush()]
    np.testing.assert_array_equal(np.concatenate(stems, axis=-1), stems_of(mix))


def test_flushing_an_empty_stream_runs_nothing() -> None:
    session = PassThrough()
    runner = StreamRunner(session)
    assert runner.flush().shape == (2, CHANNELS, 0)
    assert session.heard == []


def test_a_chunk_after_flush_starts_a_fresh_stream() -> None:
    runner = StreamRunner(PassThrough())
    separate(runner, ramp(45), [])
    mix = -3 * ramp(77)
    np.testing.assert_array_equal(separate(runner, mix, [5, 40]), stems_of(mix))


@pytest.mark.parametrize("fed_before", [1, 8, 13, 200])
def test_reset_forgets_everything(fed_before: int) -> None:
    runner = StreamRunner(PassThrough())
    runner.feed(ramp(fed_before))
    runner.reset()
    mix = -3 * ramp(77)
    np.testing.assert_array_equal(separate(runner, mix, [5, 40]), stems_of(mix))


def test_returned_stems_are_not_overwritten_by_the_next_chunk() -> None:
    runner = StreamRunner(PassThrough(hop=32))
    first = runner.feed(ramp(32))
    kept = first.copy()
    runner.feed(-ramp(32))
    np.testing.assert_array_equal(first, kept)


def test_the_chunk_of_the_caller_is_not_modified() -> None:
    mix = ramp(50)
    StreamRunner(PassThrough()).feed(mix)
    np.testing.assert_array_equal(mix, ramp(50))


def test_a_chunk_need_not_be_contiguous() -> None:
    mix = np.asfortranarray(ramp(100))[:, ::2]
    np.testing.assert_array_equal(separate(StreamRunner(PassThrough()), mix, [9]), stems_of(mix))


def with_value(value: float) -> FloatArray:
    chunk = ramp(20)
    chunk[1, 7] = value
    return chunk


BAD_CHUNKS: dict[str, tuple[object, str]] = {
    "one channel": (ramp(20)[:1], r"chunk has shape \[1, 20\], expected \[2, samples\]"),
    "seven channels": (np.zeros((7, 20), np.float32), r"chunk has shape \[7, 20\]"),
    "no channel axis": (ramp(20)[0], r"chunk has shape \[20\], expected \[2, samples\]"),
    "batch axis": (ramp(20)[None], r"chunk has shape \[1, 2, 20\]"),
    "time first": (ramp(20).T, r"chunk has shape \[20, 2\], expected \[2, samples\]"),
    "float64": (ramp(20).astype(np.float64), r"chunk is float64, expected a float32 array; .*astype\('float32'\)"),
    "int16": (ramp(20).astype(np.int16), "chunk is int16"),
    "list": (ramp(20).tolist(), "expected"),
    "None": (None, "expected"),
    "NaN": (with_value(np.nan), "chunk contains NaN or infinity"),
    "inf": (with_value(np.inf), "chunk contains NaN or infinity"),
    "-inf": (with_value(-np.inf), "chunk contains NaN or infinity"),
    "far too loud": (with_value(1.1e6), r"values above 1e\+06; full scale is 1"),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_bad_chunk_is_refused_and_leaves_the_stream_as_it_was(name: str) -> None:
    chunk, message = BAD_CHUNKS[name]
    mix, session = ramp(100), PassThrough()
    runner = StreamRunner(session)
    stems = [runner.feed(mix[:, :43])]
    hops = len(session.heard)
    with pytest.raises(StreamError, match=message) as caught:
        runner.feed(chunk)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert len(session.heard) == hops
    stems += [runner.feed(mix[:, 43:]), runner.flush()]
    np.testing.assert_array_equal(np.concatenate(stems, axis=-1), stems_of(mix))


@pytest.mark.parametrize(
    "hop",
    [ramp(7), ramp(9), ramp(8)[0], ramp(8).astype(np.float64), ramp(8).tolist(), np.full((2, 8), np.nan, np.float32)],
    ids=["short", "long", "one axis", "float64", "list", "NaN"],
)
def test_a_bad_hop_is_refused_before_the_runtime_is_called(hop: object) -> None:
    session = PassThrough(hop=8)
    session.step(ramp(8))
    before = session.get_state()
    with pytest.raises(StreamError):
        session.step(hop)  # type: ignore[arg-type]
    assert len(session.heard) == 1
    for name, value in session.get_state().items():
        np.testing.assert_array_equal(value, before[name])


def test_step_returns_one_hop_for_one_hop() -> None:
    session = PassThrough(window=32, hop=8)
    mix = ramp(80)
    stems = np.concatenate([session.step(hop).copy() for hop in np.split(mix, 10, axis=1)], axis=-1)
    np.testing.assert_array_equal(stems[..., 24:], stems_of(mix)[..., :-24])
    assert not stems[..., :24].any()


def test_reset_of_a_session_restores_the_initial_state() -> None:
    session = PassThrough()
    session.step(ramp(8))
    session.reset()
    for name, value in session.get_state().items():
        np.testing.assert_array_equal(value, session.spec.initial_state()[name])


def test_a_state_moves_a_stream_to_another_session() -> None:
    mix = ramp(80)
    hops = np.split(mix, 10, axis=1)
    first, second = PassThrough(), PassThrough()
    for hop in hops[:6]:
        first.step(hop)
    second.set_state(first.get_state())
    for hop in hops[6:]:
        np.testing.assert_array_equal(second.step(hop), first.step(hop))


def test_get_state_returns_copies() -> None:
    session = PassThrough()
    session.get_state()["context"][:] = 99.0
    assert not session.get_state()["context"].any()


def test_set_state_takes_copies() -> None:
    session = PassThrough()
    state = session.get_state()
    session.set_state(state)
    state["context"][:] = 99.0
    assert not session.get_state()["context"].any()


CONTEXT = np.ones((1, CHANNELS, 24), np.float32)
BAD_STATES: dict[str, tuple[dict[str, FloatArray], str]] = {
    "no slot": ({}, "'context' is missing or unknown"),
    "missing slot": ({"context": CONTEXT}, "'tail' is missing or unknown"),
    "unknown slot": ({"context": CONTEXT, "tail": CONTEXT, "zeal": CONTEXT}, "'zeal' is missing or unknown"),
    "shape": (
        {"context": CONTEXT, "tail": CONTEXT[0]},
        r"state slot 'tail' has shape \[2, 24\], expected \[1, 2, 24\]",
    ),
    "dtype": ({"context": CONTEXT.astype(np.float64), "tail": CONTEXT}, "state slot 'context' is float64"),
    "NaN": ({"context": CONTEXT, "tail": CONTEXT * np.float32(np.nan)}, "state slot 'tail' contains NaN"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_state_that_does_not_fit_is_refused(name: str) -> None:
    state, message = BAD_STATES[name]
    session = PassThrough()
    session.step(ramp(8))
    before = session.get_state()
    with pytest.raises(StreamError, match=message):
        session.set_state(state)
    for slot, value in session.get_state().items():
        np.testing.assert_array_equal(value, before[slot])


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.step(ramp(8)),
        lambda session: session.reset(),
        lambda session: session.get_state(),
        lambda session: session.set_state(session.spec.initial_state()),
        lambda session: StreamRunner(session).feed(ramp(8)),
        lambda session: StreamRunner(session).flush(),
    ],
    ids=["step", "reset", "get_state", "set_state", "feed", "flush"],
)
def test_a_closed_session_says_so(use: Callable[[Session], object]) -> None:
    session = PassThrough(hop=8)
    session.close()
    with pytest.raises(StreamError, match="the session is closed; open the bundle again"):
        use(session)


def test_closing_twice_frees_once() -> None:
    session = PassThrough()
    with session as opened:
        assert opened is session
    session.close()
    StreamRunner(session).close()
    assert session.closings == 1


def test_check_samples_accepts_what_it_should() -> None:
    check_samples(ramp(4), (CHANNELS, 4))
    check_samples(np.zeros((CHANNELS, 0), np.float32), (CHANNELS, 0))
