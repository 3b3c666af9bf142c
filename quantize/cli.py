"""`ddtasnet-recipes`: what every recipe costs and saves, what every layer bears, how much music it takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddtasnet_edge import console
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.export.cli import DEFAULT_BUDGET
from ddtasnet_edge.export.registry import COMPILED_TARGETS
from ddtasnet_edge.figures import check_plot
from ddtasnet_edge.music_options import add_music_options, music_choice

if TYPE_CHECKING:
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.quantize import Recipe
    from ddtasnet_edge.quantize.compare import RecipeResult

EXAMPLES = """\
  ddtasnet-recipes --songs songs --plot recipes.png        # all fixed recipes and auto, small on three targets
  ddtasnet-recipes --model tiny small --target tflite --recipe static_wi8_ai8 dynamic_wi4b64_wi8_afp32
  ddtasnet-recipes --layers --model small --target tflite --plot layers.png
  ddtasnet-recipes --calibration-study --model small --target tflite --songs songs --subset validation
"""
LEGEND = (
    "MB/hop: weights that a hop reads. SNR: lowest of any clip, against PyTorch. mean dSDR: of the stem that changed "
    "most on average. worst dSDR: of any stem of any clip, in dB."
)
LAYERS_LEGEND = "Largest change of uSDR of any stem of any clip with that layer alone quantized, in dB, and SNR."

STUDY_LEGEND = "After so many seconds of calibration music: SNR, and changes of uSDR over all stems and clips, in dB."
# Clips to calibrate on in a study: two to four times the usual.
STUDY_PARTS = 16
AUTO_RECIPE = "auto"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 all within their thresholds, 1 one was missed, 2 usage or input."""
    return console.run_command(_run, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("ddtasnet-recipes", "Compare quantization recipes, or layers, by what they cost.", EXAMPLES)
    parser.add_argument("--model", nargs="+", default=["small"], metavar="PRESET|FILE", help="models (small)")
    parser.add_argument("--target", nargs="+", default=COMPILED_TARGETS, choices=COMPILED_TARGETS, help="targets (all)")
    parser.add_argument("--recipe", nargs="+", metavar="NAME|FILE|auto", help="recipes (all quantized ones and auto)")
    parser.add_argument("--layers", action="store_true", help="what each layer alone bears, by fake quantization")
    parser.add_argument(
        "--calibration-study", action="store_true", help="how much music to calibrate on, by fake quantization"
    )
    parser.add_argument("--max-sdr-drop", type=float, default=DEFAULT_BUDGET, metavar="DB", help="budget of auto (0.1)")
    parser.add_argument(
        "--out",
        default=Path("build/recipes"),
        type=Path,
        metavar="DIR",
        help="for bundles, which are replaced (build/recipes)",
    )
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="music to calibrate on")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it into a .png, .svg or .pdf")
    add_music_options(parser, "compare on", split="--subset")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    require(("torch", "safetensors"), "comparing recipes", "export")
    if arguments.plot is not None:
        check_plot(arguments.plot)
    if arguments.calibration_study:
        return _calibration_study(arguments)
    if arguments.layers:
        return _layers(arguments)
    return _recipes(arguments)


def _recipes(arguments: argparse.Namespace) -> int:
    from ddtasnet_edge.quantize.compare import COLUMNS, rows
    from ddtasnet_edge.quantize.plot import plot_recipes

    with console.activity(arguments.quiet) as begin:
        # Every name, file and folder is looked at before the first bundle is made.
        compilers = [(compiler, _recipes_for(arguments, compiler)) for compiler in _compilers(arguments)]
        results = [result for each in compilers for result in _compare(arguments, *each, begin)]
    if arguments.json != "-" and not arguments.quiet:
        console.print_table("Recipes", COLUMNS, rows(results), LEGEND)
    if arguments.json:
        console.write_json(arguments.json, [result.to_dict() for result in results])
    if arguments.plot is not None:
        plot_recipes(results, arguments.plot)
    return console.EXIT_OK if all(result.passed for result in results) else console.EXIT_GATE_FAILED


def _compilers(arguments: argparse.Namespace) -> Iterator[Compiler]:
    from ddtasnet_edge.compiler import Compiler

    choice = music_choice(arguments)
    for model in arguments.model:
        yield Compiler(model, choice, arguments.calibration)


def _recipes_for(arguments: argparse.Namespace, compiler: Compiler) -> list[Recipe | None]:
    """The recipes to compare, None for the one to be searched. Raises ConfigError for what cannot be compiled."""
    from ddtasnet_edge.auto_recipe import AutoRecipe
    from ddtasnet_edge.quantize import FLOAT32, RECIPES, recipe_named
    from ddtasnet_edge.quantize.recipe import AUTO

    names = arguments.recipe or [*(name for name in RECIPES if name != FLOAT32.name), AUTO]
    recipes = [None if name == AUTO else recipe_named(name) for name in names]
    for target in arguments.target:
        for recipe in recipes:
            compiler.place(target, recipe or FLOAT32, arguments.out, force=True)
    if None in recipes:
        AutoRecipe(compiler, arguments.max_sdr_drop, arguments.out)
    return recipes


def _compare(
    arguments: argparse.Namespace, compiler: Compiler, recipes: Sequence[Recipe | None], begin: console.Begin
) -> Iterator[RecipeResult]:
    from ddtasnet_edge.auto_recipe import AutoRecipe
    from ddtasnet_edge.quantize.compare import summarize

    auto = AutoRecipe(compiler, arguments.max_sdr_drop, arguments.out) if None in recipes else None
    for recipe in recipes:
        for target in arguments.target:
            if recipe is not None:
                bundle, report = compiler.compile(target, recipe, arguments.out, force=True, begin=begin)
            else:
                assert auto is not None, "made when a recipe is to be searched"
                bundle, report = auto.compile(target, force=True, begin=begin)
            yield summarize(bundle, report, compiler.float_bytes(target))


def _layers(arguments: argparse.Namespace) -> int:
    from ddtasnet_edge.auto_recipe import AutoRecipe
    from ddtasnet_edge.quantize.plot import plot_sensitivity

    target, compiler = _the_one(arguments, "--layers")
    with console.activity(arguments.quiet) as begin:
        found = AutoRecipe(compiler, arguments.max_sdr_drop, arguments.out).sensitivity(target, begin)
    precisions = list(next(iter(found.effects.values())))
    if arguments.json != "-" and not arguments.quiet:
        cells = [
            (layer, str(found.weights[layer]), *(_cell(effects[name]) for name in precisions))
            for layer, effects in found.effects.items()
        ]
        title = f"{compiler.source.name} on {target}"
        console.print_table(title, ("layer", "weights", *precisions), cells, LAYERS_LEGEND)
    if arguments.json:
        console.write_json(arguments.json, found.to_dict())
    if arguments.plot is not None:
        plot_sensitivity(found, f"{compiler.source.name}, arithmetic of {target}", arguments.plot)
    return console.EXIT_OK


def _calibration_study(arguments: argparse.Namespace) -> int:
    from ddtasnet_edge.music import has_stems
    from ddtasnet_edge.quantize import FLOAT32, RECIPES, quantizer_for, recipe_named
    from ddtasnet_edge.quantize.calibration import calibration_clips
    from ddtasnet_edge.quantize.calibration_study import COLUMNS, rows, study_calibration
    from ddtasnet_edge.quantize.listen import Listener

    _check_study(arguments)
    target, compiler = _the_one(arguments, "--calibration-study")
    if not has_stems(compiler.source.model.config):
        raise ConfigError(f"the study needs true stems, and none are known of {compiler.source.model.config.sources}")
    names = arguments.recipe or [name for name in RECIPES if name != FLOAT32.name]
    recipes = [recipe_named(name) for name in names]
    remarks: list[str] = []
    with console.activity(arguments.quiet) as begin:
        begin("listening to the float model")
        model = compiler.source.model
        listener = Listener(model, compiler.clips)
        music = calibration_clips(model.config, arguments.calibration, remarks.append, parts=STUDY_PARTS)
        results = study_calibration(model, listener, quantizer_for(target).ARITHMETIC, recipes, music, begin)
    for remark in remarks:
        console.say(remark, arguments.quiet)
    if arguments.json != "-" and not arguments.quiet:
        console.print_table(f"{compiler.source.name} on {target}", COLUMNS, rows(results), STUDY_LEGEND)
    if arguments.json:
        console.write_json(arguments.json, [result.to_dict() for result in results])
    return console.EXIT_OK


def _check_study(arguments: argparse.Namespace) -> None:
    if arguments.layers or arguments.plot is not None or AUTO_RECIPE in (arguments.recipe or ()):
        raise ConfigError(
            "--calibration-study takes fixed recipes and prints a table; leave out --layers, --plot and auto"
        )
    if arguments.songs is None and arguments.musdb is None:
        raise ConfigError("--calibration-study judges on other music than it calibrates on; give --songs or --musdb")


def _the_one(arguments: argparse.Namespace, option: str) -> tuple[str, Compiler]:
    """Target and compiler of an option that looks at one model on one target."""
    if len(arguments.model) > 1 or len(arguments.target) > 1:
        raise ConfigError(f"{option} looks at one model on one target; name them with --model and --target")
    (compiler,) = _compilers(arguments)
    return arguments.target[0], compiler


def _cell(effect: object) -> str:
    from ddtasnet_edge.quantize.listen import Effect

    assert isinstance(effect, Effect)
    return f"{effect.worst_dsdr:+.3f} ({effect.snr_db:.0f})"
