"""`ddtasnet-run`: separate a song hop by hop with a bundle, in memory that does not grow with the song."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ddtasnet_edge import bundle as bundles
from ddtasnet_edge import console
from ddtasnet_edge.audio_read import AudioSource, open_audio
from ddtasnet_edge.audio_write import FORMATS, StemWriter, writing_stems
from ddtasnet_edge.session import Session
from ddtasnet_edge.stream import StreamRunner

EXAMPLES = """\
  ddtasnet-run build/small-tflite-static_wi8_ai8.edge song.mp3 --out stems
  ddtasnet-run build/small-onnx-float32.edge song.wav --out stems --format flac --force
  ddtasnet-run build/small-onnx-float32.edge song.wav --out stems --json - --quiet"""


@dataclass(frozen=True)
class RunReport:
    """What a run did. duration and wall_time in seconds; rtf = wall_time / duration, reading and writing included."""

    song: str
    bundle: str
    digest: str
    runtime: str
    out: str
    stems: tuple[str, ...]
    duration: float
    wall_time: float
    rtf: float
    notes: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `ddtasnet-run`. Returns 0 when the stems are written, 2 on bad input, 130 on Ctrl-C."""
    return console.run_command(_run, _parser().parse_args(argv))


def separate(session: Session, song: AudioSource, writer: StemWriter, quiet: bool = False) -> int:
    """Stream a song through a session into a writer. Returns the length of each stem in samples."""
    runner = StreamRunner(session)
    seconds = None if song.track.duration is None else math.ceil(song.track.duration)
    samples = 0
    for block in console.progress(song, seconds, "separating", quiet):
        writer.write(runner.feed(block))
        samples += block.shape[1]
    writer.write(runner.flush())
    return samples


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("ddtasnet-run", "Separate a song into stems, hop by hop, with a bundle.", EXAMPLES)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="folder made by ddtasnet-export")
    parser.add_argument("song", metavar="SONG", type=Path, help="wav, flac, ogg or mp3; m4a and others with [media]")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder that receives the stems")
    parser.add_argument("--format", choices=tuple(FORMATS), default="wav", help="32-bit float wav or 24-bit flac")
    parser.add_argument("--force", action="store_true", help="replace stems that are in DIR already")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from ddtasnet_edge.runtimes import open_session

    bundle = bundles.read_bundle(arguments.bundle)
    if bundle.manifest.status == bundles.FAILED:
        console.say(f"warning: {bundle.path} failed its parity check; its stems may be wrong, export it again")
    spec = bundle.manifest.spec
    song = open_audio(arguments.song, spec.sample_rate, spec.channels)
    with (
        open_session(bundle) as session,
        writing_stems(
            arguments.out,
            spec.sources,
            spec.sample_rate,
            spec.channels,
            arguments.format,
            replace=arguments.force,
        ) as writer,
    ):
        started = time.perf_counter()
        samples = separate(session, song, writer, arguments.quiet)
        wall_time = time.perf_counter() - started
    duration = samples / spec.sample_rate
    _show(
        RunReport(
            song=str(arguments.song),
            bundle=str(bundle.path),
            digest=bundle.digest,
            runtime=session.runtime,
            out=str(arguments.out),
            stems=tuple(str(path) for path in writer.paths.values()),
            duration=duration,
            wall_time=wall_time,
            rtf=wall_time / duration,
            notes=song.notes + writer.notes,
        ),
        arguments,
    )
    return console.EXIT_OK


def _show(report: RunReport, arguments: argparse.Namespace) -> None:
    """The report as asked for; with `--json -` stdout holds the JSON and nothing else."""
    if arguments.json is not None:
        console.write_json(arguments.json, asdict(report))
    if arguments.json == "-":
        return
    if not arguments.quiet:
        rows = [
            ("bundle", f"{Path(report.bundle).name}, {report.runtime}"),
            ("stems", ", ".join(Path(stem).name for stem in report.stems)),
            ("duration", f"{report.duration:.2f} s"),
            ("wall time", f"{report.wall_time:.2f} s"),
            ("RTF", f"{report.rtf:.3f}"),
            *(("note", note) for note in report.notes),
        ]
        console.print_table("separated", ("song", report.song), rows, caption="RTF < 1 is faster than real time")
    print(report.out)
