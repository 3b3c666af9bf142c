"""The benchmark where the bundles are going to run, not here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ddtasnet_edge.audio_write import writing_stems
from ddtasnet_edge.benchmarks.places import Place
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.benchmarks.sound import Music, load_music
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import EdgeError

REPORT = "bench.json"
MUSIC = "music"


def bench_on(place: Place, bundles: Sequence[Bundle], options: Options) -> BenchReport:
    """Time bundles in a place; the report is that of `ddtasnet-bench` there, machine and all.

    The music goes along: the song of the options, or the default clip, which no light install has. options.device is
    checked there too: a board that is another one refuses. Raises EdgeError with its line.
    """
    # What suits the widest of the bundles; the others have it resampled, or mixed down, there.
    spec = max((bundle.manifest.spec for bundle in bundles), key=lambda each: (each.channels, each.sample_rate))
    music = load_music(spec, options.song)
    with tempfile.TemporaryDirectory() as folder:
        song = Path(place.send(_write(music, spec.sample_rate, Path(folder))))
        paths = [place.send(bundle.path) for bundle in bundles]
        there, here = place.make_path(REPORT), Path(folder, REPORT)
        arguments = bench_arguments(replace(options, song=song))
        place.run("remote.command", [*arguments, "--quiet", "--json", there, *paths])
        place.fetch(there, here)
        try:
            report = BenchReport.from_dict(json.loads(here.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EdgeError(f"{place.name} sent a report that cannot be read ({error}); start again") from error
    # There it is a file among others; what is in it is known here.
    return replace(report, input=music.description)


def _write(music: Music, sample_rate: int, folder: Path) -> Path:
    """A file of float32 samples, which every install reads, to the same bits."""
    channels = music.samples.shape[0]
    with writing_stems(folder, (MUSIC,), sample_rate, channels) as writer:
        writer.write(music.samples[None])
    return writer.paths[MUSIC]


def bench_arguments(options: Options) -> list[str]:
    """The same options on the command line."""
    length = ["--hops", str(options.hops)] if options.minutes is None else ["--minutes", repr(options.minutes)]
    switches = [f"--{name}" for name in ("paced", "hog", "realtime") if getattr(options, name)]
    song = [] if options.song is None else ["--song", str(options.song)]
    return ["--device", options.device, *length, "--threads", str(options.threads), *switches, *song]
