"""What may be named as a model, and what its weights are said to be."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch

from ddtasnet_edge.config import PRESETS, preset
from ddtasnet_edge.errors import CheckpointError, ConfigError
from ddtasnet_edge.models import source
from ddtasnet_edge.models.checkpoint import save_checkpoint
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.models.source import WEIGHTS, find_model
from tests.small import small_config


def test_a_preset_has_the_weights_that_are_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WEIGHTS", tmp_path)
    trained = create_model(preset("tiny"), 5)
    save_checkpoint(trained, tmp_path / "plain.safetensors", training={"data": "songs"})
    (tmp_path / "tiny.safetensors.xz").write_bytes(lzma.compress((tmp_path / "plain.safetensors").read_bytes()))
    found = find_model("tiny")
    assert (found.name, found.weights, found.training) == ("tiny", "trained", {"data": "songs"})
    assert "trained" in found.describe()
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), trained.parameters(), strict=True))


def test_a_preset_without_weights_says_that_it_is_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WEIGHTS", tmp_path)
    found = find_model("tiny")
    assert found.weights == "random"
    assert "random weights of seed 0 (none are shipped)" in found.describe()


def test_what_is_shipped_is_compressed_and_trained() -> None:
    """The light install carries these files too, to no use, so they are small and nothing else lies beside them."""
    assert sorted(path.name for path in WEIGHTS.iterdir()) == [
        "README.md", "small.safetensors.xz", "tiny.safetensors.xz",
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 4e6


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_what_is_shipped_is_a_preset_and_says_where_it_comes_from(name: str) -> None:
    found = find_model(name)
    assert found.model.config == PRESETS[name]
    assert found.weights == "trained"
    assert {"data", "settings", "step"} <= set(found.training)


def test_a_configuration_is_random_and_a_checkpoint_trained(tmp_path: Path) -> None:
    model = create_model(small_config(), 3)
    save_checkpoint(model, tmp_path / "mine.safetensors", training={"data": "mine"})
    (tmp_path / "its.safetensors.xz").write_bytes(lzma.compress((tmp_path / "mine.safetensors").read_bytes()))
    for name in ("mine.safetensors", "its.safetensors.xz"):
        found = find_model(tmp_path / name)
        assert (found.name, found.weights, found.training) == (name[: name.index(".")], "trained", {"data": "mine"})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("smal", ConfigError, "unknown preset 'smal': .*did you mean 'small'"),
        ("song.wav", CheckpointError, "song.wav is no model"),
        ("missing.safetensors", CheckpointError, "no checkpoint file"),
    ],
)
def test_what_is_no_model(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_model(name)
