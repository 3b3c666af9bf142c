"""Configurations: presets by name, JSON round trip, and one line for everything that cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ddtasnet_edge.config import (
    MUSDB_SOURCES,
    PRESETS,
    config_from_dict,
    nearest,
    preset,
    read_config,
)
from ddtasnet_edge.errors import ConfigError

GOOD = PRESETS["tiny"]


def test_defaults_are_musdb18_at_44100_hz() -> None:
    assert GOOD.sources == MUSDB_SOURCES == ("drums", "bass", "other", "vocals")
    assert (GOOD.sample_rate, GOOD.channels, GOOD.window_length, GOOD.hop_length) == (44100, 2, 1024, 512)
    assert (GOOD.cell, GOOD.bins) == ("gru", 513)


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str, tmp_path: Path) -> None:
    config = replace(preset(name), sources=("voice", "rest"), cell="lstm", hop_length=128)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(config.to_dict()))
    assert read_config(path) == config
    assert json.loads(path.read_text())["architecture"] == "ddtasnet"


def test_sources_become_a_tuple() -> None:
    assert replace(GOOD, sources=["a", "b"]).sources == ("a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize("hop", [1, 128, 256, 512, 1024])
def test_any_divisor_of_the_window_is_a_hop(hop: int) -> None:
    assert replace(GOOD, hop_length=hop).hop_length == hop


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 0}, "units is 0: expected a positive whole number"),
        ({"units": -3}, "units is -3"),
        ({"bases": 2.5}, "bases is 2.5"),
        ({"bases": True}, "bases is True"),
        ({"bases": "many"}, "bases is 'many'"),
        ({"channels": 0}, "channels is 0"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"cell": "gruu"}, "cell is 'gruu': expected one of gru, lstm; did you mean 'gru'?"),
        ({"hop_length": 300}, "hop_length is 300 with window_length 1024"),
        ({"hop_length": 2048}, "hop_length is 2048"),
        ({"window_length": 1023, "hop_length": 1023}, "the window must be even"),
        ({"attention_frames": 1}, "attention_frames is 1"),
        ({"cbam_taps": 1}, "cbam_taps is 1"),
        ({"sources": ()}, "give at least one name"),
        ({"sources": ("vocals", "vocals")}, "each once"),
        ({"sources": ("../vocals",)}, "names become file names"),
        ({"sources": ("",)}, "names become file names"),
        ({"sources": (1, 2)}, "expected a list of names"),
        ({"pooling_rate": 0.0}, "pooling_rate is 0.0"),
        ({"pooling_rate": 1.5}, "pooling_rate is 1.5"),
        ({"pooling_rate": float("nan")}, "pooling_rate is nan"),
        ({"pooling_rate": "slow"}, "pooling_rate is slow"),
    ],
    ids=str,
)
def test_an_impossible_value_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(GOOD, **changes)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sources", ["drums", 5, [["drums"]], None], ids=repr)
def test_sources_that_are_no_list_of_names_are_refused(sources: object) -> None:
    with pytest.raises(ConfigError, match="sources"):
        config_from_dict({**GOOD.to_dict(), "sources": sources})


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'smal': .* did you mean 'small'\?$"):
        preset("smal")


def test_nearest_makes_no_wild_guess() -> None:
    assert nearest("zebra", ("tiny", "small")) == "expected one of tiny, small"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"units": 1, "bases": 1, "hop_lenght": 2}, "unknown model setting 'hop_lenght': .*did you mean 'hop_length'"),
        ({"units": 1}, "model setting 'bases' is missing"),
        ({"architecture": "ddtasnett"}, "unknown architecture 'ddtasnett': .*did you mean 'ddtasnet'"),
        ([1, 2], "a model configuration is a JSON object, got list"),
        (None, "got NoneType"),
    ],
    ids=str,
)
def test_a_dictionary_that_is_no_configuration_is_refused(values: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_dict(values)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"units: 3"], ids=repr)
def test_a_file_that_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read model configuration .*model\.json"):
        read_config(path)


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        read_config(tmp_path / "nowhere.json")
