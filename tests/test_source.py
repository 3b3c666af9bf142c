"""What may be named as a model, and what its weights are said to be."""

from __future__ import annotations

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
    save_checkpoint(trained, tmp_path / "tiny.safetensors", training={"data": "songs"})
    found = find_model("tiny")
    assert (found.name, found.weights, found.training) == ("tiny", "trained", {"data": "songs"})
    assert "trained" in found.describe()
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), trained.parameters(), strict=True))


def test_a_preset_without_weights_says_that_it_is_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WEIGHTS", tmp_path)
    found = find_model("tiny")
    assert found.weights == "random"
    assert "random weights of seed 0 (none are shipped)" in found.describe()


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_what_is_shipped_is_a_preset_below_its_size_limit_and_says_where_it_comes_from(path: Path) -> None:
    found = find_model(path.stem)
    assert found.model.config == PRESETS[path.stem]
    assert found.weights == "trained"
    assert path.stat().st_size < 20e6
    assert {"data", "settings", "step"} <= set(found.training)


def test_a_configuration_is_random_and_a_checkpoint_trained(tmp_path: Path) -> None:
    model = create_model(small_config(), 3)
    save_checkpoint(model, tmp_path / "mine.safetensors", training={"data": "mine"})
    found = find_model(tmp_path / "mine.safetensors")
    assert (found.name, found.weights, found.training) == ("mine", "trained", {"data": "mine"})


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
