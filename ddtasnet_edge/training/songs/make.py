"""Songs with known stems, made from seeds: composed, rendered, sung, mixed, and kept as 16-bit FLAC.

The same seed and length give the same samples as long as FluidSynth, the sound font, espeak-ng, pyworld and numpy
stay the same.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

from ddtasnet_edge import console, files
from ddtasnet_edge.config import MUSDB_SOURCES, nearest
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import AudioError, ConfigError, EdgeError
from ddtasnet_edge.training.songs.composition import Composition, compose
from ddtasnet_edge.training.songs.info import INFO, SAMPLE_RATE, SongInfo, read_info
from ddtasnet_edge.training.songs.mixing import to_pcm
from ddtasnet_edge.training.songs.performance import make_stems
from ddtasnet_edge.training.songs.render import find_sound_font, require_program

# Raise it when the same seed begins to give another song.
GENERATOR = 1

# The first seed of each split; no split can reach the next.
SEEDS_PER_SPLIT = 10**9
SPLITS = {"train": 0, "validation": SEEDS_PER_SPLIT, "test": 2 * SEEDS_PER_SPLIT}
_SHORTEST, _LONGEST = 1.0, 300.0  # seconds


@dataclass(frozen=True)
class SongsReport:
    """What `make_songs` did: songs made now, songs that were there already."""

    folder: str
    split: str
    seconds: float
    made: int
    kept: int


def song_seed(split: str, index: int) -> int:
    """The seed of song `index` of a split. Raises ConfigError for an unknown split or an index beyond its seeds."""
    if split not in SPLITS:
        raise ConfigError(f"unknown split '{split}': {nearest(split, tuple(SPLITS))}")
    if not 0 <= index < SEEDS_PER_SPLIT:
        raise ConfigError(f"song {index} is outside of a split; expected 0 to {SEEDS_PER_SPLIT - 1}")
    return SPLITS[split] + index


def make_songs(
    folder: Path, split: str, count: int, seconds: float, *, jobs: int = 1, quiet: bool = False
) -> SongsReport:
    """Make the first `count` songs of a split, `seconds` long, in `jobs` processes; whole songs are kept.

    Raises MissingDependencyError before any work when a program, package or the sound font is missing, ConfigError
    for a number out of range or a folder with songs of another kind, AudioError when a song cannot be made.
    """
    _check(count, seconds, jobs)
    seeds = {f"{split}-{index:05d}": song_seed(split, index) for index in range(count)}
    require_song_tools()
    home = folder / split
    wanted = {name: seed for name, seed in seeds.items() if not _is_made(home / name, seconds)}
    tasks = [(home / name, seed, seconds) for name, seed in wanted.items()]
    for _ in console.progress(_run(tasks, jobs), len(tasks), "making songs", quiet):
        pass
    return SongsReport(str(folder), split, seconds, len(tasks), count - len(tasks))


def require_song_tools() -> None:
    """Raise MissingDependencyError unless everything that makes songs is installed."""
    # pyworld imports pkg_resources, which setuptools has dropped; the extra asks for one that still has it.
    require(("mido", "pyworld", "pkg_resources"), "making songs", "train")
    require_program("fluidsynth", "fluidsynth")
    require_program("espeak-ng", "espeak-ng")
    find_sound_font()


def _check(count: int, seconds: float, jobs: int) -> None:
    if count < 1:
        raise ConfigError(f"count is {count}: expected at least 1 song")
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigError(f"seconds is {seconds}: expected {_SHORTEST:g} to {_LONGEST:g} for each song")
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}: expected at least 1 process")


def _is_made(path: Path, seconds: float) -> bool:
    """Is the song there? Raises ConfigError when it is, but as another length or generator would make it."""
    if not path.exists():
        return False
    info = read_info(path)
    if (info.seconds, info.generator) != (seconds, GENERATOR):
        raise ConfigError(
            f"{path} has {info.seconds:g} s from generator {info.generator}, asked for {seconds:g} s from "
            f"{GENERATOR}; choose another --out or delete it"
        )
    return True


def _run(tasks: list[tuple[Path, int, float]], jobs: int) -> Iterator[Path]:
    """Make songs, several at a time; yields each when it is whole."""
    if min(jobs, len(tasks)) <= 1:
        for task in tasks:
            yield _make_song(*task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), context, _leave_interrupts_to_the_parent) as pool:
        try:
            for future in as_completed([pool.submit(_make_song, *task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise EdgeError("a process that made songs was killed; free memory or give fewer --jobs") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    """On Ctrl-C the songs in work are finished and no new one is begun."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_song(path: Path, seed: int, seconds: float) -> Path:
    """Make one song and return its folder, whole."""
    import soundfile

    composition = compose(seed, seconds)
    stems = make_stems(composition, seconds)
    with files.writing_folder(path, replace=False) as temporary:
        for source, stem in zip(MUSDB_SOURCES, stems, strict=True):
            try:
                soundfile.write(temporary / f"{source}.flac", to_pcm(stem).T, SAMPLE_RATE, subtype="PCM_16")
            except soundfile.LibsndfileError as error:
                raise AudioError(f"cannot write {path}: {error.error_string} free space") from error
        info = json.dumps(asdict(_describe(path.name, composition, seconds)), indent=2)
        files.write_text(temporary / INFO, info + "\n")
    return path


def _describe(name: str, composition: Composition, seconds: float) -> SongInfo:
    form = composition.form
    return SongInfo(
        generator=GENERATOR,
        name=name,
        seed=form.seed,
        seconds=seconds,
        sample_rate=SAMPLE_RATE,
        key=form.key.name,
        meter=form.meter.name,
        tempo=form.tempo,
        swing=form.swing,
        sections=tuple(
            (bar.section.kind, index, tuple(sorted(bar.section.stems)))
            for index, bar in enumerate(form.bars)
            if bar.opens
        ),
    )
