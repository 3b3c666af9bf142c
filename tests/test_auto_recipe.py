"""`--recipe auto` from end to end: it stays within the budget, says why, backs off, and goes on where it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddtasnet_edge import auto_recipe
from ddtasnet_edge.auto_recipe import CACHE, AutoRecipe
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.clips import Clip, default_clip
from ddtasnet_edge.compiler import Compiler
from ddtasnet_edge.config import DDTasNetConfig
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.export.passes import with_passes
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.quantize.plan import layers_of
from ddtasnet_edge.quantize.recipe import Recipe, is_kept_float, read_recipe
from ddtasnet_edge.quantize.search import Costs
from ddtasnet_edge.quantize.sensitivity import TRIED
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import ParityReport
from tests.bundles import RATE
from tests.test_compiler import write_config

Search = Callable[..., AutoRecipe]


def begun(heard: list[str]) -> Callable[[str], None]:
    return heard.append


@pytest.fixture
def compiler(tmp_path: Path, music: MusicChoice, calibration: Path) -> Compiler:
    return Compiler(write_config(tmp_path), music, calibration)


@pytest.fixture
def search(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """A search on little more than a second of music."""

    def short(form: DDTasNetConfig, _: MusicChoice) -> list[Clip]:
        clip = default_clip(form)
        assert clip.stems is not None
        cut = slice(2 * RATE, 2 * RATE + 45000)
        return [replace(clip, mix=clip.mix[:, cut], stems=clip.stems[..., cut])]

    # What is fast differs from machine to machine; here the fewer bits, the faster.
    costs = Costs(1000.0, {precision.name: 100.0 * precision.weight_bits for precision in TRIED})
    monkeypatch.setattr(AutoRecipe, "_costs", lambda *_: costs)
    monkeypatch.setattr(AutoRecipe, "_time", lambda _, __, recipes: [1.0, *[2.0] * (len(recipes) - 1)])
    monkeypatch.setattr(auto_recipe, "search_clips", short)
    return lambda budget: AutoRecipe(compiler, budget, tmp_path / "out")


def facts_of(bundle: Bundle) -> dict[str, Any]:
    assert bundle.manifest.quantization is not None
    return dict(bundle.manifest.quantization)


def test_it_times_the_float_model_and_every_precision(compiler: Compiler, tmp_path: Path) -> None:
    costs = AutoRecipe(compiler, 0.1, tmp_path)._costs("onnx", begun([]))
    assert costs.float_us > 0.0
    assert set(costs.uniform_us) == {precision.name for precision in TRIED}
    assert all(time > 0.0 for time in costs.uniform_us.values())


class TestAutoRecipe:
    def test_the_bundle_is_within_the_budget_and_says_why(
        self, search: Search, compiler: Compiler, tmp_path: Path
    ) -> None:
        bundle, report = search(0.5).compile("onnx", begin=begun([]))
        assert report.passed
        assert report.thresholds.dsdr_db == 0.5
        assert all(abs(clip.worst_dsdr) <= 0.5 for clip in report.clips)
        assert bundle.path == tmp_path / "out" / "few-onnx-auto.edge"
        facts = facts_of(bundle)
        found = facts["search"]
        assert found["max_sdr_drop_db"] == 0.5
        assert abs(found["simulated_change_db"]) <= 0.5
        assert facts["layers"], "nothing was quantized"
        assert set(found["measured_us"]) == {"float32", *(precision.name for precision in TRIED)}
        layers = {layer for layer in layers_of(compiler.source.model) if not is_kept_float(layer)}
        assert set(found["layers"]) == layers
        for layer, why in found["layers"].items():
            assert facts["layers"].get(layer, "float32") == why["chosen"]
            assert set(why["alone"]) == {precision.name for precision in TRIED}
        with open_session(bundle.path) as session:
            assert session.spec == with_passes(compiler.source.model, "onnx").spec()

    def test_its_recipe_can_be_used_again(self, search: Search, compiler: Compiler, tmp_path: Path) -> None:
        bundle, _ = search(0.5).compile("onnx", begin=begun([]))
        values = facts_of(bundle)["recipe"]
        path = tmp_path / "mine.json"
        path.write_text(auto_recipe_json(values))
        again, _ = compiler.compile("onnx", read_recipe(path), tmp_path / "out")
        assert facts_of(again)["layers"] == facts_of(bundle)["layers"]

    def test_a_budget_that_nothing_holds_leaves_everything_float(self, search: Search) -> None:
        bundle, report = search(1e-7).compile("onnx", begin=begun([]))
        assert report.passed
        assert facts_of(bundle)["layers"] == {}
        assert max(abs(clip.worst_dsdr) for clip in report.clips) < 1e-3

    def test_it_backs_off_when_the_runtime_finds_more(
        self, search: Search, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compile_really, tried = compiler.compile, []

        def strict(target: str, recipe: Recipe, *arguments: Any, **options: Any) -> tuple[Bundle, ParityReport]:
            bundle, report = compile_really(target, recipe, *arguments, **options)
            tried.append(options["search"]["predicted_change_db"])
            if len(tried) < 3:
                report = replace(report, thresholds=replace(report.thresholds, snr_db=1000.0))
            return bundle, report

        monkeypatch.setattr(compiler, "compile", strict)
        _, report = search(0.5).compile("onnx", begin=begun([]))
        assert report.passed
        assert len(tried) == 3
        assert tried == sorted(tried, reverse=True)
        assert tried[2] < tried[0]

    def test_a_plain_choice_is_taken_when_it_is_faster(self, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
        """A graph that changes between precisions may lose what its products save."""
        int8 = "dynamic_wi8_afp32"

        def time(_: AutoRecipe, __: str, recipes: list[Recipe]) -> list[float]:
            return [1.0 if {each.name for each in recipe.layers.values()} == {int8} else 2.0 for recipe in recipes]

        monkeypatch.setattr(AutoRecipe, "_time", time)
        # Enough for eight bits, far too little for the four bits that are fastest by prediction.
        bundle, report = search(0.012).compile("onnx", begin=begun([]))
        assert report.passed
        facts = facts_of(bundle)
        assert set(facts["layers"].values()) == {int8}
        first, *others = facts["search"]["contenders"]
        assert set(first["layers"]) != {int8}
        assert min(others, key=lambda each: each["us"])["layers"] == {int8: 18}
        assert all(abs(each["simulated_change_db"]) <= 0.012 for each in others)

    def test_a_choice_that_is_hardly_faster_does_not_count(
        self, search: Search, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(AutoRecipe, "_time", lambda _, __, recipes: [1.0, *[0.99] * (len(recipes) - 1)])
        found = facts_of(search(0.5).compile("onnx", begin=begun([]))[0])
        assert (
            dict(Counter(why["chosen"] for why in found["search"]["layers"].values()))
            == (found["search"]["contenders"][0]["layers"])
        )

    def test_a_model_without_true_stems_is_refused(self, tmp_path: Path) -> None:
        compiler = Compiler(write_config(tmp_path, sources=("voice", "rest")))
        with pytest.raises(ConfigError, match=r"the search needs true stems, .*choose a fixed recipe"):
            AutoRecipe(compiler, 0.1, tmp_path)

    def test_an_interrupted_search_goes_on_where_it_was(self, search: Search, tmp_path: Path) -> None:
        heard: list[str] = []

        def impatient(stage: str) -> None:
            heard.append(stage)
            if len(heard) == 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search(0.5).sensitivity("onnx", impatient)
        (path,) = (tmp_path / "out" / CACHE).iterdir()
        before = path.read_text()
        assert before.count("snr_db") == 5 * len(TRIED)
        search(0.5).sensitivity("onnx", begun([]))
        assert path.read_text().startswith(before[:-1])


def auto_recipe_json(values: dict[str, Any]) -> str:
    import json

    return json.dumps({**values, "name": "mine"})
