"""Whatever is registered is covered: a new target or recipe fails here until it has thresholds and contract tests."""

from __future__ import annotations

import pytest

from ddtasnet_edge.export import EXPORTERS
from ddtasnet_edge.export.cli import COMPILED_TARGETS, TARGETS
from ddtasnet_edge.quantize import QUANTIZERS, RECIPES
from ddtasnet_edge.runtimes import RUNTIMES
from ddtasnet_edge.runtimes.thresholds import OWN, TFLITE_RUNTIME, read_thresholds
from tests.bundles import EVERY, FLOAT, QUANTIZED, RECIPES_OF
from tests.graphs import READERS

OLDER = f"tflite on {TFLITE_RUNTIME}"
# What a runtime refuses to open needs no threshold (runtimes/tflite_session.py).
REFUSED = {OLDER: {"dynamic_wi8_afp32", "dynamic_wi4b64_wi8_afp32", "mixed"}}


def registered() -> set[tuple[str, str]]:
    """Every target and recipe that can be compiled; recipes of one's own go by the name of `mixed`."""
    floats = {recipe.name for recipe in RECIPES.values() if recipe.is_float}
    return {(target, name) for target in EXPORTERS for name in ((*RECIPES, OWN) if target in QUANTIZERS else floats)}


def test_registries_agree() -> None:
    assert set(RUNTIMES) == set(EXPORTERS) == set(TARGETS)
    assert set(QUANTIZERS) == set(COMPILED_TARGETS) == set(EXPORTERS) - {"torch"}


def test_every_target_and_recipe_is_in_the_contract_tests() -> None:
    assert set(EVERY) == registered()
    assert len(EVERY) == len(set(EVERY))
    assert set(FLOAT) | set(QUANTIZED) == set(EVERY)
    assert {target for target, _ in FLOAT} == set(EXPORTERS)
    assert set(READERS) == set(COMPILED_TARGETS), "tests/graphs.py looks into every graph format"


@pytest.mark.parametrize("target", [*RECIPES_OF, OLDER])
def test_every_target_and_recipe_has_thresholds_that_can_fail(target: str) -> None:
    recipes = read_thresholds()[target]
    possible = {recipe for name, recipe in registered() if name == target.partition(" ")[0]}
    assert set(recipes) == possible - REFUSED.get(target, set())
    for recipe, kinds in recipes.items():
        assert set(kinds) == {"random", "trained"}, recipe
        # Random weights separate nothing: only SNR can judge them.
        assert kinds["random"].snr_db is not None, recipe
        assert kinds["trained"].snr_db is not None or kinds["trained"].dsdr_db is not None, recipe


def test_there_is_no_threshold_for_what_does_not_exist() -> None:
    assert set(read_thresholds()) == {*EXPORTERS, OLDER}


def test_the_recipes_of_the_options_exist() -> None:
    """`ddtasnet-export --int8` and `--int4` name them."""
    assert {"static_wi8_ai8", "dynamic_wi4b64_wi8_afp32"} <= set(RECIPES)
