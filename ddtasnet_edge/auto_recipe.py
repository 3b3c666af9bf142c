"""`--recipe auto`: the fastest precisions within a budget in dB, found by prediction, proved by the runtime."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ddtasnet_edge.benchmarks.machine import describe_machine
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import WARMUP_HOPS
from ddtasnet_edge.benchmarks.timing import measure_hops, pool
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.clips import Clip
from ddtasnet_edge.compiler import Compiler, describe_calibration, unheard
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.music import has_stems
from ddtasnet_edge.quantize import FLOAT32, RECIPES, Recipe, quantizer_for
from ddtasnet_edge.quantize.calibration import search_clips
from ddtasnet_edge.quantize.listen import Listener
from ddtasnet_edge.quantize.plan import quantize_layers
from ddtasnet_edge.quantize.precision import FLOAT, precision_named
from ddtasnet_edge.quantize.recipe import AUTO
from ddtasnet_edge.quantize.search import Choice, Costs, Search
from ddtasnet_edge.quantize.sensitivity import TRIED, EffectCache, Sensitivity, measure_sensitivity
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.runtimes.parity import ParityReport

CACHE = ".effects"
# Timing: so many hops of each uniform bundle in turn, so many rounds; noise of the machine hits all alike.
ROUNDS, ROUND_HOPS = 5, 100
# How often the search may be sent back, by fake quantization or by the runtime, before all stays float.
ATTEMPTS = 8
# Medians of times that differ by less are the same.
CLEARLY = 0.98
# What is then allowed, as a share of what was predicted for the choice that changed too much.
BACK_OFF = 0.7


def check_budget(max_sdr_drop: float) -> None:
    """Raise ConfigError unless a budget is a number of dB that something could stay within."""
    if not 0.0 < max_sdr_drop < 100.0:
        raise ConfigError(
            f"--max-sdr-drop is {max_sdr_drop:g} dB, expected more than 0 and less than 100; 0.1 is hardly audible"
        )


@dataclass(frozen=True)
class Contender:
    """A choice with its measured time of a hop and its change of SDR on the music of the search."""

    choice: Choice
    us: float
    change_db: float

    def to_dict(self) -> dict[str, Any]:
        """For a manifest: how many layers have which precision instead of all their names."""
        return {"layers": dict(Counter(self.choice.values())), "us": self.us, "simulated_change_db": self.change_db}


def _fastest(contenders: Sequence[Contender]) -> Choice:
    """The first one, unless another is clearly faster."""
    first, *others = contenders
    best = min(others, key=lambda each: each.us, default=first)
    return best.choice if best.us < CLEARLY * first.us else first.choice


class AutoRecipe:
    """Searches for one model; effects of layers are kept in `<out>/.effects` for the next search."""

    def __init__(self, compiler: Compiler, max_sdr_drop: float, out: Path) -> None:
        """The search listens to other music than the compiler verifies on. Raises ConfigError for an impossible budget,
        or a model whose true stems no music here has.
        """
        check_budget(max_sdr_drop)
        sources = compiler.source.model.config.sources
        if not has_stems(compiler.source.model.config):
            raise ConfigError(f"the search needs true stems, and none are known of {sources}; choose a fixed recipe")
        self._compiler, self._budget, self._out = compiler, max_sdr_drop, out
        self._heard: dict[tuple[object, ...], float] = {}

    def compile(
        self, target: str, *, force: bool = False, begin: Callable[[str], None] = unheard
    ) -> tuple[Bundle, ParityReport]:
        """Search, then write the bundle as `Compiler.compile` does; its gate is the budget.

        When the runtime finds more change than the budget allows, on music that the search did not hear, the search
        is repeated with a smaller one.
        """
        begin(f"{target}: listening to the float model")
        search = Search(self.sensitivity(target, begin), self._costs(target, begin))
        allowed, forced = self._budget, force
        refused: list[Choice] = []
        for attempt in range(ATTEMPTS):
            begin(f"{target}: searching, at most {allowed:.3f} dB")
            found = self._within_budget(target, search, allowed) if attempt < ATTEMPTS - 1 else search.all_float
            begin(f"{target}: timing it against plain recipes")
            contenders = self._contenders(target, found, refused)
            choice = _fastest(contenders)
            bundle, report = self._compiler.compile(
                target,
                _recipe(choice),
                self._out,
                force=forced,
                begin=begin,
                max_sdr_drop=self._budget,
                search=self._explain(target, search, choice, contenders),
            )
            if report.passed or choice == search.all_float:
                break
            refused.append(choice)
            allowed, forced = BACK_OFF * min(allowed, search.predict(choice)), True
        return bundle, report

    def _contenders(self, target: str, found: Choice, refused: Sequence[Choice]) -> list[Contender]:
        """What the search found first, then float32 and every plain choice within the budget, each with its time.

        Predicted times do not know what it costs a graph to change between precisions. refused: what the runtime has
        found to change too much.
        """
        plain = [dict.fromkeys(found, precision.name) for precision in TRIED]
        plain += [{layer: recipe.precision_of(layer).name for layer in found} for recipe in RECIPES.values()]
        choices = [found]
        for choice in plain:
            if choice not in (*choices, *refused) and abs(self._hear(target, choice)) <= self._budget:
                choices.append(choice)
        times = self._time(target, [_recipe(choice) for choice in choices])
        return [
            Contender(choice, time, self._hear(target, choice)) for choice, time in zip(choices, times, strict=True)
        ]

    def _within_budget(self, target: str, search: Search, allowed: float) -> Choice:
        """A choice that holds the budget on the search music when all its layers are quantized together.

        Predictions of many layers at once err; where they do, the search is repeated with less.
        """
        for _ in range(ATTEMPTS):
            choice = search.choose(allowed)
            if abs(self._hear(target, choice)) <= self._budget:
                return choice
            allowed = BACK_OFF * min(allowed, search.predict(choice))
        return search.all_float

    def _hear(self, target: str, choice: Choice) -> float:
        """Largest change of SDR on the music of the search, heard once for each choice."""
        key = (target, *sorted(choice.items()))
        if key not in self._heard:
            arithmetic, model = quantizer_for(target).ARITHMETIC, self._compiler.source.model
            layers = quantize_layers(model, _recipe(choice), arithmetic, self._compiler.observations)
            self._heard[key] = self._listener.hear([layers], arithmetic)[0].worst_dsdr
        return self._heard[key]

    def sensitivity(self, target: str, begin: Callable[[str], None]) -> Sensitivity:
        """What each layer of the model bears on a target, on the music of the search."""
        model, arithmetic = self._compiler.source.model, quantizer_for(target).ARITHMETIC
        cache = EffectCache(self._out / CACHE, model, self._clips, self._compiler.calibration)

        def heard(layer: str) -> None:
            begin(f"{target}: listening to {layer}")

        return measure_sensitivity(model, self._listener, arithmetic, self._compiler.observations, cache, heard)

    def _costs(self, target: str, begin: Callable[[str], None]) -> Costs:
        """Measured time of a hop with all layers in one precision, for each precision."""
        begin(f"{target}: timing each precision")
        recipes = [Recipe(f"all_{each.name}", each, "for timing") for each in TRIED]
        float_us, *others = self._time(target, [FLOAT32, *recipes])
        return Costs(float_us, {each.name: time for each, time in zip(TRIED, others, strict=True)})

    def _time(self, target: str, recipes: Sequence[Recipe]) -> list[float]:
        """Median time of a hop in microseconds with each recipe, in rounds that take turns."""
        hops = load_sound(self._compiler.source.model.spec(), ROUND_HOPS).hops
        with tempfile.TemporaryDirectory() as temporary, ExitStack() as opened:
            sessions = []
            for index, recipe in enumerate(recipes):
                folder = Path(temporary, str(index))
                folder.mkdir()
                self._compiler.build(folder, target, recipe)
                sessions.append(opened.enter_context(open_session(folder)))
            rounds = [
                [measure_hops(session, hops, ROUND_HOPS, warmup=WARMUP_HOPS, paced=False) for session in sessions]
                for _ in range(ROUNDS)
            ]
        return [pool(times).percentile_us(500) for times in zip(*rounds, strict=True)]

    def _explain(
        self, target: str, search: Search, choice: Choice, contenders: Sequence[Contender]
    ) -> Mapping[str, Any]:
        """For the manifest: what was allowed, predicted and timed, and why each layer has its precision."""
        return {
            "max_sdr_drop_db": self._budget,
            "predicted_change_db": search.predict(choice),
            "simulated_change_db": self._hear(target, choice),
            "predicted_us": search.predict_us(choice),
            "measured_us": search.costs.to_dict(),
            "contenders": [contender.to_dict() for contender in contenders],
            "machine": describe_machine().to_dict(),
            "searched_on": describe_calibration(self._clips),
            "layers": {layer: {"chosen": name, "alone": search.alone(layer)} for layer, name in choice.items()},
        }

    @cached_property
    def _clips(self) -> list[Clip]:
        return search_clips(self._compiler.source.model.config, self._compiler.verification)

    @cached_property
    def _listener(self) -> Listener:
        return Listener(self._compiler.source.model, self._clips)


def _recipe(choice: Choice) -> Recipe:
    layers = {layer: precision_named(name) for layer, name in choice.items()}
    return Recipe(AUTO, FLOAT, "found by --recipe auto", layers)
