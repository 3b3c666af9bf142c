"""Checkpoints: the round trip, PyTorch files without their code, and one line for every damage."""

from __future__ import annotations

import json
import lzma
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ddtasnet_edge.errors import CheckpointError, MissingDependencyError
from ddtasnet_edge.models.checkpoint import load_checkpoint, read_training, save_checkpoint
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model
from tests.small import noise, small_config

CONFIG = small_config(cell="lstm", sources=("voice", "rest"))


@pytest.fixture
def model() -> DDTasNet:
    return create_model(CONFIG, seed=7)


def refusal(path: Path) -> str:
    """The one line with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_same_model(one: DDTasNet, other: DDTasNet) -> None:
    assert one.config == other.config
    weights, others = one.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_safetensors_round_trip(model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    loaded = load_checkpoint(path)
    assert_same_model(loaded, model)
    assert not loaded.training
    mix = noise(1, 2, 100)
    with torch.no_grad():
        assert torch.equal(loaded(mix), model(mix))


def test_a_compressed_file_is_the_same_checkpoint(model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path, training={"data": "songs"})
    packed = pack(path)
    path.unlink()
    assert_same_model(load_checkpoint(packed), model)
    assert read_training(packed) == {"data": "songs"}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: b"no xz" + data,
        lambda data: lzma.compress(lzma.decompress(data)[:-1000]),
        lambda _: lzma.compress(b"words"),
        lambda _: b"",
    ],
    ids=["cut", "one bit", "other start", "cut inside", "other contents", "empty"],
)
def test_a_damaged_compressed_file(change: Callable[[bytes], bytes], model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    packed = pack(path)
    damage(packed, change)
    assert "is damaged" in refusal(packed)


def pack(path: Path) -> Path:
    """What `xz` makes of a file, beside it."""
    packed = path.with_name(f"{path.name}.xz")
    packed.write_bytes(lzma.compress(path.read_bytes()))
    return packed


def test_weights_are_saved_as_float32(model: DDTasNet, tmp_path: Path) -> None:
    save_checkpoint(model.double(), tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert_same_model(loaded, model.float())


def test_the_same_model_gives_the_same_bytes(model: DDTasNet, tmp_path: Path) -> None:
    """Bundles name their files by hash; safetensors orders its metadata at random, hence several tries."""
    path = tmp_path / "model.safetensors"
    seen = set()
    for _ in range(20):
        save_checkpoint(model, path)
        seen.add(path.read_bytes())
    assert len(seen) == 1


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_file_with_its_configuration(suffix: str, model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    torch.save({"state_dict": model.state_dict(), "config": CONFIG.to_dict()}, path)
    assert_same_model(load_checkpoint(path), model)


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_torch_state_dict_with_a_configuration_beside_it(wrapped: bool, model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    weights = model.state_dict()
    torch.save({"state_dict": weights} if wrapped else weights, path)
    assert "put the model's configuration beside it as model.json" in refusal(path)
    (tmp_path / "model.json").write_text(json.dumps(CONFIG.to_dict()))
    assert_same_model(load_checkpoint(path), model)


def test_half_precision_weights_are_read_as_float32(model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": create_model(CONFIG, seed=7).half().state_dict(), "config": CONFIG.to_dict()}, path)
    loaded = load_checkpoint(path)
    assert_same_model(loaded, model.half().float())


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_missing_file(name: str, tmp_path: Path) -> None:
    assert "no checkpoint file at" in refusal(tmp_path / name)


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    assert "no checkpoint file at" in refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["model.onnx", "model", "model.safetensor"])
def test_an_unknown_suffix(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert "expected one of .safetensors, .safetensors.xz, .pt, .pth" in refusal(tmp_path / name)


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda data: data[:1],
    "cut in the header": lambda data: data[:100],
    "cut in the weights": lambda data: data[:-1],
    "longer than it says": lambda data: data + b"x",
    "huge header": lambda data: b"\xff" * 8 + data[8:],
    "text": lambda _: b"these are not the weights",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_safetensors(kind: str, model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    damage(path, DAMAGES[kind])
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize("kind", ["empty", "one byte", "cut in the header", "cut in the weights", "text"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("error")
def test_damaged_torch_file(kind: str, zipped: bool, model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    contents = {"state_dict": model.state_dict(), "config": CONFIG.to_dict()}
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    damage(path, DAMAGES[kind])
    assert "damaged" in refusal(path)


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch"])
@pytest.mark.filterwarnings("error")
def test_a_pickle_with_code_is_refused_and_not_run(plain: bool, model: DDTasNet, tmp_path: Path) -> None:
    path, trap = tmp_path / "model.pt", tmp_path / "trap"
    contents = {"state_dict": model.state_dict(), "config": Code(trap)}
    if plain:
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path)
    message = refusal(path)
    assert "could run code" in message
    assert "save the weights as .safetensors" in message
    assert not trap.exists()


def test_a_pickled_model_is_refused(model: DDTasNet, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "model.pt")
    assert "save the weights as .safetensors" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([1, 2], "holds a list, expected a state dict"),
        (torch.zeros(3), "holds a Tensor, expected a state dict"),
        ({"config": CONFIG.to_dict(), "state_dict": [1]}, "holds more than tensors"),
        ({"config": CONFIG.to_dict(), "state_dict": {"epoch": 3}}, "holds more than tensors"),
        ({"config": {"units": 8}, "state_dict": {}}, "model setting 'bases' is missing"),
        ({"config": "small", "state_dict": {}}, "a model configuration is a JSON object, got str"),
    ],
    ids=["list", "tensor", "state list", "state of numbers", "half a configuration", "text as configuration"],
)
def test_a_torch_file_of_something_else(contents: object, message: str, tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "model.pt")
    assert message in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "has no 'ddtasnet_edge' in its metadata"),
        ({"format": "pt"}, "has no 'ddtasnet_edge' in its metadata"),
        ({"ddtasnet_edge": "{"}, "has unusable metadata"),
        ({"ddtasnet_edge": "3"}, "has unusable metadata"),
        ({"ddtasnet_edge": "{}"}, "has unusable metadata: 'format'"),
        ({"ddtasnet_edge": '{"format": 3}'}, "has format 3, this version reads format 2"),
        ({"ddtasnet_edge": '{"format": 2}'}, "has unusable metadata: 'config'"),
        ({"ddtasnet_edge": '{"format": 2, "config": {"units": 8}}'}, "model setting 'bases' is missing"),
        ({"ddtasnet_edge": '{"format": 2, "config": {"units": 8, "bases": 8, "cell": "rnn"}}'}, "cell is 'rnn'"),
    ],
    ids=str,
)
def test_safetensors_without_usable_metadata(
    metadata: dict[str, str] | None, message: str, model: DDTasNet, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path, metadata=metadata)
    assert message in refusal(path)


def save_with(model: DDTasNet, path: Path, **changes: torch.Tensor | None) -> None:
    """A PyTorch checkpoint with tensors replaced, added or, with None, left out."""
    weights = {**model.state_dict(), **changes}
    kept = {name: value for name, value in weights.items() if value is not None}
    torch.save({"state_dict": kept, "config": model.config.to_dict()}, path)


def test_one_tensor_that_differs_is_named(model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_with(model, path, **{"time_mask.bias": None})
    assert "does not fit its configuration: time_mask.bias is missing; give" in refusal(path)
    save_with(model, path, **{"extra.bias": torch.zeros(1)})
    assert "does not fit its configuration: extra.bias is unexpected; give" in refusal(path)
    save_with(model, path, **{"time_mask.bias": torch.zeros(3)})
    assert "time_mask.bias has shape [3], expected [48]; give" in refusal(path)
    save_with(model, path, **{"time_mask.bias": torch.zeros(48, dtype=torch.int8)})
    assert "time_mask.bias is torch.int8, expected a floating-point type; give" in refusal(path)


def test_another_configuration_names_five_differences_and_counts_the_rest(model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": model.state_dict(), "config": replace(CONFIG, cell="gru").to_dict()}, path)
    message = refusal(path)
    assert message.count("has shape") == 5
    # Five memories with two matrices and two biases each are wider in an LSTM.
    assert "time_memory1.rnn.weight_ih_l0 has shape [32, 24], expected [24, 24]" in message
    assert "and 15 more; give the configuration that it was trained with" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers(value: float, model: DDTasNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with torch.no_grad():
        model.time_mask.bias[3] = value
    save_checkpoint(model, path)
    assert "holds NaN or infinity in time_mask.bias; train or save it again" in refusal(path)
    with torch.no_grad():
        model.time_skip.bias[0] = value
    save_checkpoint(model, path)
    assert "holds NaN or infinity in time_mask.bias and 1 more tensors" in refusal(path)


def test_a_place_that_cannot_be_written(model: DDTasNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*free space or choose another place"):
        save_checkpoint(model, tmp_path / "nowhere" / "model.safetensors")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_an_interrupted_save_keeps_the_old_file(
    error: BaseException, model: DDTasNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    before = path.read_bytes()

    def half(_: object, filename: Path, **__: object) -> None:
        filename.write_bytes(before[:100])
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises((CheckpointError, KeyboardInterrupt)):
        save_checkpoint(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_safetensors_the_error_says_what_to_install(
    model: DDTasNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for use in (lambda: save_checkpoint(model, path), lambda: load_checkpoint(path)):
        with pytest.raises(MissingDependencyError, match=r"pip install 'ddtasnet-edge\[export\]'"):
            use()


def test_facts_about_the_training_stay_with_the_weights(model: DDTasNet, tmp_path: Path) -> None:
    facts = {"data": "songs of mine", "step": 12}
    save_checkpoint(model, tmp_path / "a.safetensors", training=facts)
    assert read_training(tmp_path / "a.safetensors") == facts
    save_checkpoint(model, tmp_path / "b.safetensors")
    assert read_training(tmp_path / "b.safetensors") == {}
    assert read_training(tmp_path / "c.pt") == {}


def test_half_precision_halves_the_file_and_is_read_as_float32(model: DDTasNet, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "full.safetensors")
    save_checkpoint(model, tmp_path / "half.safetensors", dtype=torch.float16)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (tmp_path / "full.safetensors").stat().st_size
    read = load_checkpoint(tmp_path / "half.safetensors").state_dict()
    for name, value in model.state_dict().items():
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], value.to(torch.float16).to(torch.float32))
