"""Every streaming block keeps the contract: offline equals step by step equals any cut, in float32 and float64."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ddtasnet_edge.models
from ddtasnet_edge.models.attention import SkipAttention
from ddtasnet_edge.models.block import State, StreamBlock
from ddtasnet_edge.models.cbam import CBAM
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.framing import Framing, OverlapAdd
from ddtasnet_edge.models.memory import GRUMemory, LSTMMemory, make_memory
from tests.contract import assert_close, verify_contract
from tests.small import UNITS, default_dtype, noise, small_config

FRAMES = 6
WINDOW = 1024
HOPS = (128, 256, 512, 1024)
DTYPES = (torch.float32, torch.float64)
#: name -> (a new block, shape of one of its frames without the batch)
BLOCKS: dict[str, tuple[Callable[[], StreamBlock], tuple[int, ...]]] = {
    **{f"framing {hop}": (lambda hop=hop: Framing(WINDOW, hop, 2), (2, hop)) for hop in HOPS},
    **{f"overlap-add {hop}": (lambda hop=hop: OverlapAdd(WINDOW, hop, 3, 2), (3, 2, WINDOW)) for hop in HOPS},
    "gru": (lambda: GRUMemory(5, UNITS), (5,)),
    "lstm": (lambda: LSTMMemory(5, UNITS), (5,)),
    "attention": (lambda: SkipAttention(UNITS, FRAMES), (UNITS,)),
    # 1 / 0.15 lies between two whole ages: the age stops at 6.67.
    "cbam": (lambda: CBAM(UNITS, 2, 3, 0.15), (UNITS,)),
    "cbam that forgets at once": (lambda: CBAM(UNITS, 2, 3, 1.0), (UNITS,)),
}


def make_block(name: str, dtype: torch.dtype) -> StreamBlock:
    torch.manual_seed(1)
    return BLOCKS[name][0]().to(dtype).eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", BLOCKS)
def test_block_around_the_length_of_its_memory(name: str, batch: int, dtype: torch.dtype) -> None:
    """Lengths below, at and above: the attention window, the age limit, the frames that cover one sample."""
    block = make_block(name, dtype)
    for length in (1, 2, FRAMES - 1, FRAMES, FRAMES + 1, FRAMES + 2, 3 * FRAMES):
        verify_contract(block, noise(batch, length, *BLOCKS[name][1], dtype=dtype), cuts=range(1, length, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["attention", "cbam", "cbam that forgets at once", "gru", "lstm"])
def test_block_around_the_length_that_scan_handles_at_once(name: str, dtype: torch.dtype) -> None:
    """Attention and CBAM scan 256 frames at once (SCAN_BLOCK)."""
    block = make_block(name, dtype)
    for length in (255, 256, 257, 513):
        verify_contract(block, noise(1, length, *BLOCKS[name][1], dtype=dtype), cuts=(1, length // 2))


@settings(max_examples=100)
@given(name=st.sampled_from(sorted(BLOCKS)), length=st.integers(1, 20), data=st.data())
def test_block_on_any_cut(name: str, length: int, data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.integers(1, length - 1)) if length > 1 else st.just(set()))
    verify_contract(make_block(name, torch.float32), noise(2, length, *BLOCKS[name][1]), cuts=sorted(cuts))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("hop", [8, 16, 32, 64])
def test_model_as_a_block_over_hops(hop: int, cell: str, dtype: torch.dtype) -> None:
    """The whole network; the hops are an eighth, a quarter and a half of the window, and the window itself."""
    torch.manual_seed(1)
    with default_dtype(dtype):
        model = DDTasNet(small_config(hop_length=hop, cell=cell)).eval()
    for batch, length in ((1, 1), (3, 2), (2, 13)):
        verify_contract(model, noise(batch, length, 2, hop, dtype=dtype), cuts=range(2, length, 5))


@pytest.mark.parametrize("hop", [128, 256, 512, 1024])
def test_model_with_the_published_window(hop: int) -> None:
    torch.manual_seed(1)
    model = DDTasNet(small_config(window_length=WINDOW, hop_length=hop)).eval()
    verify_contract(model, noise(1, 10, 2, hop), cuts=(3, 4))


def stream_blocks_in_models() -> set[type[StreamBlock]]:
    """Every concrete StreamBlock that a module of ddtasnet_edge.models defines."""
    modules = [
        import_module(f"ddtasnet_edge.models.{module.name}") for module in iter_modules(ddtasnet_edge.models.__path__)
    ]
    classes = {value for module in modules for _, value in inspect.getmembers(module, inspect.isclass)}
    return {each for each in classes if issubclass(each, StreamBlock) and not inspect.isabstract(each)}


def test_every_block_is_covered_by_the_contract() -> None:
    covered = {type(make()) for make, _ in BLOCKS.values()} | {DDTasNet}
    assert stream_blocks_in_models() == covered, "add the new block to BLOCKS"


class Forgetful(StreamBlock):
    """A running sum; each subclass below breaks one clause of the contract."""

    def initial_state(self, like: Tensor) -> State:
        return {"sum": like.new_zeros(like.shape[0])}

    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = x.cumsum(dim=1) + state["sum"][:, None]
        return y, {"sum": y[:, -1]}

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = x + state["sum"]
        return y, {"sum": y}


class IgnoresState(Forgetful):
    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: ARG002
        return super().scan(x, self.initial_state(x))


class StepDiffers(Forgetful):
    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super().update(x * 1.001, state)


class WritesInPlace(Forgetful):
    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        state["sum"] += x
        return state["sum"].clone(), {"sum": state["sum"].clone()}


class WritesInput(Forgetful):
    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = super().update(x, state)
        x.zero_()
        return y, after


class HiddenState(Forgetful):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self.calls += 1
        return super().update(x, state)


class OtherLayout(Forgetful):
    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = super().update(x, state)
        return y, {"sum": after["sum"].double()}


class MixesBatch(Forgetful):
    def scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super().scan(x - x.mean(dim=0, keepdim=True), state)

    def update(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super().update(x - x.mean(dim=0, keepdim=True), state)


def test_the_contract_accepts_a_correct_block() -> None:
    verify_contract(Forgetful(), noise(2, 5), cuts=(2,))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (IgnoresState, "scan cut at"),
        (StepDiffers, "steps: error"),
        (WritesInPlace, "state was modified"),
        (WritesInput, "input was modified"),
        (HiddenState, "weight has changed"),
        (OtherLayout, "state became"),
        (MixesBatch, "alone: error"),
    ],
)
def test_the_contract_catches(broken: type[StreamBlock], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        verify_contract(broken(), noise(2, 5), cuts=(2,))


def test_make_memory_builds_the_named_cell() -> None:
    assert isinstance(make_memory("gru", 2, 3), GRUMemory)
    assert isinstance(make_memory("lstm", 2, 3), LSTMMemory)


@pytest.mark.parametrize("memory", [GRUMemory, LSTMMemory])
def test_memory_is_the_library_cell(memory: type[GRUMemory] | type[LSTMMemory]) -> None:
    """The weights of a torch.nn.GRU or LSTM can be loaded as they are."""
    torch.manual_seed(1)
    block, x = memory(5, UNITS), noise(2, 7, 5)
    assert_close(block(x), block.rnn(x)[0], "the library's own recurrence")
