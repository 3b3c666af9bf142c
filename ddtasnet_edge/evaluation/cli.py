"""`ddtasnet-eval`: SDR of every stem between the mixture and the ideal mask, changes, and drift over minutes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ddtasnet_edge import console, files
from ddtasnet_edge.errors import ConfigError, GateError
from ddtasnet_edge.evaluation.changes import change_caption, change_table, summarize_changes
from ddtasnet_edge.evaluation.drift import check_minutes, common_second, measure_drift
from ddtasnet_edge.evaluation.drift_against import paired_caption, paired_table
from ddtasnet_edge.evaluation.drift_report import DriftReport, drift_caption, drift_table
from ddtasnet_edge.evaluation.evaluate import evaluate, first_minute
from ddtasnet_edge.evaluation.haaqi import AUDIOGRAMS, check_audiogram
from ddtasnet_edge.evaluation.listening import listening_caption, listening_table, summarize_listening
from ddtasnet_edge.evaluation.plot import plot_report
from ddtasnet_edge.evaluation.report import (
    MUSEVAL_METRICS,
    OWN_METRICS,
    EvalReport,
    museval_caption,
    stem_table,
    track_table,
)
from ddtasnet_edge.evaluation.separator import Separator, open_against, open_separator
from ddtasnet_edge.figures import check_plot
from ddtasnet_edge.music import Music, find_music
from ddtasnet_edge.music_options import add_music_options, music_choice

EXAMPLES = """\
  ddtasnet-eval small                                                   # on the real excerpt
  ddtasnet-eval build/small-tflite-static_wi8_ai8.edge --songs songs --plot boxes.png
  ddtasnet-eval my.safetensors --musdb MUSDB18 --museval --museval-json scores --json report.json
  ddtasnet-eval small --songs songs --drift 10                          # ten minutes as one stream
  ddtasnet-eval build/small-tflite-static_wi8_ai8.edge --against small --drift 10
  ddtasnet-eval build/small-tflite-static_wi8_ai8.edge --against small --listening --audiogram moderate"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 evaluated, 1 a verdict of --drift missed, 2 usage or input, 130 Ctrl-C."""
    return console.run_command(_evaluate, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("ddtasnet-eval", "Measure how well a model or a bundle separates.", EXAMPLES)
    parser.add_argument("source", metavar="SOURCE", help="bundle folder, preset, checkpoint or .json configuration")
    add_music_options(parser, "evaluate on")
    figures = parser.add_argument_group("figures")
    figures.add_argument("--museval", action="store_true", help="also SDR, SIR, SAR and ISR of BSS Eval v4; slow")
    figures.add_argument("--museval-json", type=Path, metavar="DIR", help="its frames as DIR/SPLIT/TRACK.json")
    figures.add_argument("--plot", type=Path, metavar="FILE", help="box plot over tracks: .png, .svg or .pdf")
    figures.add_argument("--drift", type=int, metavar="MINUTES", help="also stream the first minute MINUTES times")
    compared = parser.add_argument_group("comparison")
    compared.add_argument("--against", metavar="SOURCE", help="what changes from this one, say from the float preset")
    compared.add_argument("--listening", action="store_true", help="also SI-SDR, LSD and HAAQI of each stem; slow")
    compared.add_argument("--audiogram", metavar="NAME", help=f"who listens: {', '.join(AUDIOGRAMS)} (none)")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    audiogram = _check(arguments)
    choice = music_choice(arguments)
    separator = open_separator(arguments.source)
    against = None if arguments.against is None else open_against(arguments.against, separator)
    if arguments.drift is not None and against is not None:
        common_second([separator.spec, against.spec])
    music = find_music(separator.spec, choice)
    console.say(separator.source, arguments.quiet)
    if against is not None:
        console.say(f"against {against.source}", arguments.quiet)
    report = evaluate(
        separator,
        music,
        museval=arguments.museval,
        museval_json=arguments.museval_json,
        against=against,
        audiogram=audiogram,
        quiet=arguments.quiet,
    )
    if arguments.drift is not None:
        report = replace(report, drift=_drift(separator, against, music, arguments))
    _show(report, arguments)
    if report.drift is not None and report.drift.failures:
        raise GateError(f"{separator.name} is not stable: {'; '.join(report.drift.failures)}")
    return console.EXIT_OK


def _check(arguments: argparse.Namespace) -> str | None:
    """Refuse what cannot work before minutes are spent; returns the audiogram that is to listen, None for none."""
    if arguments.plot is not None:
        check_plot(arguments.plot)
    for path in (arguments.plot, arguments.json):
        if path not in (None, "-"):
            files.require_folder(Path(path))
    if arguments.drift is not None:
        check_minutes(arguments.drift)
    if arguments.audiogram is not None and not arguments.listening:
        raise ConfigError(f"--audiogram is {arguments.audiogram} without --listening; add --listening or leave it out")
    if not arguments.listening:
        return None
    audiogram: str = arguments.audiogram or "none"
    check_audiogram(audiogram)
    return audiogram


def _drift(separator: Separator, against: Separator | None, music: Music, arguments: argparse.Namespace) -> DriftReport:
    mix, stems = first_minute(separator, music)
    other = None if against is None else against.runner
    return measure_drift(separator.runner, mix, stems, arguments.drift, arguments.quiet, other)


def _show(report: EvalReport, arguments: argparse.Namespace) -> None:
    """The report as asked for; with `--json -` stdout holds the JSON and nothing else."""
    # Tables first: a disk that is full by now takes a file away, not the figures.
    if arguments.json != "-" and not arguments.quiet:
        _print_tables(report)
    if arguments.json is not None:
        console.write_json(arguments.json, report.to_dict())
    if arguments.plot is not None:
        plot_report(report, arguments.plot)


def _print_tables(report: EvalReport) -> None:
    if len(report.tracks) > 1:
        console.print_table("Mean uSDR over stems, dB", *track_table(report))
    if report.museval:
        console.print_table("BSS Eval v4", *stem_table(report, MUSEVAL_METRICS), caption=museval_caption())
    console.print_table(report.source, *stem_table(report, OWN_METRICS), caption=report.caption())
    if report.against is not None:
        table = change_table(summarize_changes(report.tracks))
        console.print_table("Changes", *table, caption=change_caption(report.against, report.name))
    if report.audiogram is not None:
        table = listening_table(summarize_listening(report.tracks))
        console.print_table("Listening", *table, caption=listening_caption(report.audiogram))
    if report.drift is not None:
        _print_drift(report.drift, report)


def _print_drift(drift: DriftReport, report: EvalReport) -> None:
    console.print_table("Drift, minute by minute", *drift_table(drift), caption=drift_caption(drift))
    if drift.against is not None and report.against is not None:
        caption = paired_caption(drift.against, report.name, report.against)
        console.print_table(
            f"Against {report.against}, minute by minute", *paired_table(drift.against), caption=caption
        )
