"""`ddtasnet-export`: a model becomes verified bundles."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from ddtasnet_edge import console
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError
from ddtasnet_edge.export.registry import COMPILED_TARGETS
from ddtasnet_edge.music import MusicChoice
from ddtasnet_edge.music_options import add_music_options, music_choice

if TYPE_CHECKING:
    from ddtasnet_edge.bundle import Bundle
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.quantize import Recipe
    from ddtasnet_edge.runtimes.parity import ParityReport, StemParity

TARGETS = (*COMPILED_TARGETS, "torch")
#: Options that --explain, which builds nothing, has no use for.
OF_BUNDLES = ("int8", "int4", "recipe", "max_sdr_drop", "force", "calibration", "songs", "musdb", "tracks")

EXAMPLES = """\
  ddtasnet-export --target tflite --int8             # the default model, INT8, into build/
  ddtasnet-export --target all --recipe dynamic_wi8_afp32 --model tiny
  ddtasnet-export --target onnx --model my.safetensors --musdb ~/musdb18 --tracks "AM Contra - Heart Peripheral"
  ddtasnet-export --target all --int8 --songs songs  # how much each stem changes, over all test songs
  ddtasnet-export --target tflite --recipe auto --max-sdr-drop 0.1  # the fastest precision of every layer within 0.1 dB
  ddtasnet-export --target tflite --int8 --calibration ~/songs --out bundles --force
"""

COLUMNS = ("bundle", "clip", "SNR", "max error", "parity", "stem", "uSDR torch", "uSDR", "cSDR torch", "cSDR", "dSDR")
LEGEND = (
    "dB. SNR: against the stems of PyTorch. uSDR, cSDR: against the true stems. dSDR: change, the larger of the two."
)
# With more clips than this the table shows the spread over them, and --json each of them.
SHOWN_CLIPS = 3
SPREAD_COLUMNS = (
    "bundle", "clips", "lowest SNR", "parity", "stem", "uSDR torch", "uSDR", "mean dSDR", "from", "to", "worst clip",
)  # fmt: skip
SPREAD_LEGEND = "dB over all clips. uSDR: mean, against the true stems. dSDR: change, the larger of uSDR's and cSDR's."
# dB, for --recipe auto.
DEFAULT_BUDGET = 0.1
EXPORT_PACKAGES = ("torch", "safetensors")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 all bundles verified, 1 a parity threshold was missed, 2 usage or input."""
    return console.run_command(_export, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("ddtasnet-export", "Compile a model into bundles and verify how they sound.", EXAMPLES)
    parser.add_argument("--target", required=True, choices=(*TARGETS, "all"), help="all: onnx, openvino and tflite")
    parser.add_argument("--model", default="small", metavar="PRESET|FILE", help="preset, checkpoint or .json (small)")
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--int8", action="store_true", help="the calibrated INT8 recipe, static_wi8_ai8")
    precision.add_argument("--int4", action="store_true", help="the INT4 recipe, dynamic_wi4b64_wi8_afp32")
    precision.add_argument("--recipe", metavar="NAME|FILE|auto", help="recipe, or a .json file of one (float32)")
    parser.add_argument(
        "--max-sdr-drop", type=float, metavar="DB", help="with --recipe auto: allowed change of any stem (0.1 dB)"
    )
    parser.add_argument(
        "--explain", action="store_true", help="show what each pass does to the step, and build nothing"
    )
    parser.add_argument("--out", default=Path("build"), type=Path, metavar="DIR", help="folder for bundles (build)")
    parser.add_argument("--force", action="store_true", help="replace bundles that are there already")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="music to calibrate on: folder of songs, or MUSDB18 root (default: the real excerpt)",
    )
    add_music_options(parser, "verify on", split="--subset")
    return parser


def _export(arguments: argparse.Namespace) -> int:
    require(EXPORT_PACKAGES, "exporting", "export")
    if arguments.explain:
        return _explain(arguments)
    verification = _verification(arguments)
    from ddtasnet_edge.compiler import STAGES, Compiler

    recipe = _recipe(arguments)
    if recipe is None:
        return _export_auto(arguments, verification)
    if arguments.max_sdr_drop is not None:
        raise ConfigError("--max-sdr-drop is the budget of a search; add --recipe auto or leave it out")
    if arguments.calibration is not None and not recipe.needs_calibration:
        raise ConfigError(f"--calibration has no use for recipe {recipe.name}; add --int8 or leave it out")
    targets = COMPILED_TARGETS if arguments.target == "all" else (arguments.target,)
    compiler = Compiler(arguments.model, verification, arguments.calibration)
    for target in targets:
        compiler.place(target, recipe, arguments.out, force=arguments.force)
    console.say(compiler.source.describe(), arguments.quiet)
    results = []
    with console.stages(STAGES * len(targets), arguments.quiet) as begin:
        for target in targets:
            results.append(compiler.compile(target, recipe, arguments.out, force=arguments.force, begin=begin))
    _report(arguments, compiler, results)
    return console.EXIT_OK if all(report.passed for _, report in results) else console.EXIT_GATE_FAILED


def _explain(arguments: argparse.Namespace) -> int:
    """The passes of each target, with the step before and after."""
    from ddtasnet_edge.export.explain import COLUMNS, LEGEND, explain, rows
    from ddtasnet_edge.export.passes import passes_of
    from ddtasnet_edge.models.source import find_model

    useless = [f"--{name.replace('_', '-')}" for name in OF_BUNDLES if getattr(arguments, name)]
    if useless:
        raise ConfigError(f"--explain builds no bundle and has no use for {', '.join(useless)}; leave that out")
    if arguments.target not in (*COMPILED_TARGETS, "all"):
        raise ConfigError(f"--explain is about {', '.join(COMPILED_TARGETS)}; {arguments.target} has no passes")
    targets = COMPILED_TARGETS if arguments.target == "all" else (arguments.target,)
    source = find_model(arguments.model)
    console.say(source.describe(), arguments.quiet)
    count = sum(1 + len(passes_of(target)) for target in targets)
    with console.stages(count, arguments.quiet) as begin:
        explained = [each for target in targets for each in explain(source.model, target, begin)]
    if not arguments.quiet and arguments.json != "-":
        console.print_table(f"Passes of the step, {source.name}, float32", COLUMNS, rows(explained))
        print(LEGEND)
    if arguments.json:
        console.write_json(arguments.json, {"model": source.name, "passes": [asdict(each) for each in explained]})
    return console.EXIT_OK


def _export_auto(arguments: argparse.Namespace, verification: MusicChoice) -> int:
    """Search a recipe for each target."""
    from ddtasnet_edge.auto_recipe import AutoRecipe, check_budget
    from ddtasnet_edge.compiler import Compiler
    from ddtasnet_edge.quantize import Recipe
    from ddtasnet_edge.quantize.precision import FLOAT
    from ddtasnet_edge.quantize.recipe import AUTO

    budget = DEFAULT_BUDGET if arguments.max_sdr_drop is None else arguments.max_sdr_drop
    check_budget(budget)
    compiler = Compiler(arguments.model, verification, arguments.calibration)
    targets = COMPILED_TARGETS if arguments.target == "all" else (arguments.target,)
    for target in targets:
        compiler.place(target, Recipe(AUTO, FLOAT, ""), arguments.out, force=arguments.force)
    console.say(compiler.source.describe(), arguments.quiet)
    auto = AutoRecipe(compiler, budget, arguments.out)
    with console.activity(arguments.quiet) as begin:
        results = [auto.compile(target, force=arguments.force, begin=begin) for target in targets]
    _report(arguments, compiler, results)
    return console.EXIT_OK if all(report.passed for _, report in results) else console.EXIT_GATE_FAILED


def _recipe(arguments: argparse.Namespace) -> Recipe | None:
    """The recipe that was asked for; None when it is to be searched."""
    from ddtasnet_edge.quantize import FLOAT32, INT4, INT8, recipe_named
    from ddtasnet_edge.quantize.recipe import AUTO

    if arguments.recipe == AUTO:
        return None
    if arguments.recipe is not None:
        return recipe_named(arguments.recipe)
    return INT8 if arguments.int8 else INT4 if arguments.int4 else FLOAT32


def _verification(arguments: argparse.Namespace) -> MusicChoice:
    """The music of the parity gate. Raises ConfigError for options that choose from a folder when none is given."""
    choice = music_choice(arguments)
    if choice.musdb is None and choice.songs is None and choice != MusicChoice():
        raise ConfigError(
            "--tracks, --excerpt and --subset choose from a set of tracks; name its folder with --musdb or --songs"
        )
    return choice


def _report(arguments: argparse.Namespace, compiler: Compiler, results: Sequence[tuple[Bundle, ParityReport]]) -> None:
    for remark in compiler.remarks:
        console.say(remark, arguments.quiet)
    if not arguments.quiet and arguments.json != "-":
        if len(results[0][1].clips) > SHOWN_CLIPS:
            rows = [row for result in results for row in _spread(*result)]
            console.print_table("Parity with PyTorch", SPREAD_COLUMNS, rows, SPREAD_LEGEND)
        else:
            rows = [row for result in results for row in _rows(*result)]
            console.print_table("Parity with PyTorch", COLUMNS, rows, LEGEND)
    for bundle, report in results:
        for failure in report.failures:
            console.say(f"parity failed: {bundle.path.name}: {failure}")
    if arguments.json:
        console.write_json(arguments.json, {str(bundle.path): report.to_dict() for bundle, report in results})
    if arguments.json != "-":
        for bundle, _ in results:
            print(bundle.path)


def _rows(bundle: Bundle, report: ParityReport) -> Iterator[tuple[str, ...]]:
    """A row per stem; what belongs to the bundle or the clip stands in its first row only."""
    verdict = "ok" if report.passed else "FAILED"
    for clip in report.clips:
        facts: tuple[str, ...] = (
            bundle.path.stem,
            clip.clip,
            f"{clip.snr_db:.1f}",
            f"{clip.max_abs_error:.1e}",
            verdict,
        )
        for stem in clip.stems or (None,):
            yield (*facts, *_stem_cells(stem))
            facts = ("",) * len(facts)


def _spread(bundle: Bundle, report: ParityReport) -> Iterator[tuple[str, ...]]:
    """A row per stem over all clips; what belongs to the bundle stands in its first row only."""
    lowest = min(clip.snr_db for clip in report.clips)
    verdict = "ok" if report.passed else "FAILED"
    facts: tuple[str, ...] = (bundle.path.stem, str(len(report.clips)), f"{lowest:.1f}", verdict)
    for source in bundle.manifest.spec.sources:
        heard = [(clip.clip, stem) for clip in report.clips for stem in clip.stems if stem.source == source]
        if not heard:
            continue
        changes = [stem.dsdr for _, stem in heard]
        worst = max(heard, key=lambda pair: abs(pair[1].dsdr))[0]
        before, after = fmean(stem.reference_usdr for _, stem in heard), fmean(stem.usdr for _, stem in heard)
        spread = (fmean(changes), min(changes), max(changes))
        yield (*facts, source, f"{before:.2f}", f"{after:.2f}", *(f"{value:+.3f}" for value in spread), worst)
        facts = ("",) * len(facts)


def _stem_cells(stem: StemParity | None) -> tuple[str, ...]:
    if stem is None:
        return ("-",) * 6
    values = (stem.reference_usdr, stem.usdr, stem.reference_csdr, stem.csdr)
    return (stem.source, *(f"{value:.2f}" for value in values), f"{stem.dsdr:+.3f}")
