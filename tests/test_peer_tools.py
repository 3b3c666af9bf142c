"""What each tool makes of the step, for `ddtasnet-bench --peers`: that it computes the step, whatever its speed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ddtasnet_edge.benchmarks.peers import torch as torch_peers
from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.registry import PEERS, REFERENCE
from ddtasnet_edge.benchmarks.peers.step import LibraryCell, PositionalStep, initial_tensors, use_library_cells
from ddtasnet_edge.benchmarks.peers.worker import PeerCheck, PeerJob, work
from ddtasnet_edge.benchmarks.timing import HopTimes
from ddtasnet_edge.clips import Clip
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.runtimes.parity import run_clip
from ddtasnet_edge.runtimes.torch_session import TorchSession
from ddtasnet_edge.spec import FloatArray
from tests.small import noise, small_config


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_library_cells_compute_the_step(cell: str) -> None:
    tensors = list(initial_tensors(create_model(small_config(cell=cell))))
    plain = PositionalStep(create_model(small_config(cell=cell)))
    library = PositionalStep(use_library_cells(create_model(small_config(cell=cell))))
    assert sum(isinstance(block, LibraryCell) for block in library.modules()) == 5
    with torch.inference_mode():
        for _ in range(3):
            tensors[0] = noise(*tensors[0].shape) * 0.1
            found, expected = library(*tensors), plain(*tensors)
            for mine, its in zip(found, expected, strict=True):
                torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)
            tensors[1:] = expected[1:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerPlace]:
    """A place with a small model, a third of a second of noise for music, and what the step made of it."""
    small = create_model(small_config())
    generator = np.random.default_rng(0)
    mix: FloatArray = generator.normal(0.0, 0.1, (2, 480 * 32)).astype(np.float32)
    clip = Clip("noise", mix, None, 44100, "made up")
    hops = mix.reshape(2, 480, 32).transpose(1, 0, 2)
    made = PeerPlace(tmp_path_factory.mktemp("peers"), threads=1)
    with TorchSession.from_model(small) as session:
        made.write(small, clip, run_clip(session, clip).stems, np.ascontiguousarray(hops))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(made.root / "inductor")
    yield made
    del os.environ["TORCHINDUCTOR_CACHE_DIR"]


# Name -> lowest SNR in dB: of float32 far above rounding to float16, of INT8 what the command itself asks for.
PARITY = {
    "torch-eager": 200.0,
    "onnx-gru": 100.0,
    "onnx-gru-int8": 15.0,
    "openvino": 20.0,
    "openvino-weights": 15.0,
    "litert": 100.0,
    "litert-int8-fc": 15.0,
    "executorch": 100.0,
    "executorch-int8": 15.0,
}


@pytest.mark.parametrize("name", PARITY)
def test_a_peer_computes_the_step(name: str, place: PeerPlace) -> None:
    peer = PEERS[name]
    if (missing := peer.missing()) is not None:
        pytest.skip(missing)
    root = str(place.root)
    place.folder(name).mkdir()
    work(PeerJob("build", name, root, 1))
    found = PeerCheck(**work(PeerJob("check", name, root, 1)))
    assert found.failure is None
    assert found.snr_db >= PARITY[name]
    assert found.hop_us > 0
    assert found.size_bytes > 0 or name == REFERENCE
    measured = work(PeerJob("measure", name, root, 1, hops=3, warmup=1))
    assert len(HopTimes.from_dict(measured).times_us) == 3


def test_a_compiled_step_is_given_the_strides_that_it_was_compiled_for(place: PeerPlace) -> None:
    def step(*tensors: torch.Tensor) -> list[torch.Tensor]:
        assert all(tensor.is_contiguous() for tensor in tensors)
        # As large as asked for, but every other number of something larger.
        shapes = place.spec().output_shapes().values()
        return [torch.ones(*shape[:-1], 2 * shape[-1])[..., ::2] for shape in shapes]

    session = torch_peers.CompiledSession(place.spec(), step)
    for hop in place.hops()[:2]:
        session.step(hop)


def test_a_window_hears_what_the_stream_hears_until_it_is_full(place: PeerPlace) -> None:
    model = place.model()
    hops = place.hops()[:4]
    with torch_peers.open_peer("torch-window", place) as window, torch.inference_mode():
        stems = [window.step(hop).copy() for hop in hops]
        length = window._window.shape[-1]
        heard = np.concatenate([np.zeros((2, length - 4 * 32), np.float32), *hops], axis=1)
        expected = model(torch.from_numpy(heard)[None])[0].numpy()
        window.reset()
        assert np.array_equal(window.step(hops[0]), stems[0])
    end = length - 32
    np.testing.assert_allclose(stems[-1], expected[..., end - 32 : end], atol=1e-6)
