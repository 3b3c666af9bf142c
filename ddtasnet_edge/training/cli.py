"""The command `ddtasnet-train`."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddtasnet_edge import console, files
from ddtasnet_edge.clips import MUSDB_NOTE
from ddtasnet_edge.config import DDTasNetConfig, preset, read_config
from ddtasnet_edge.dependencies import require
from ddtasnet_edge.errors import ConfigError, DeviceError, EdgeError
from ddtasnet_edge.song_folder import SONG_NOTE
from ddtasnet_edge.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from ddtasnet_edge.models.ddtasnet import DDTasNet
    from ddtasnet_edge.training.history import Row
    from ddtasnet_edge.training.trainer import Music

EXAMPLES = """\
  ddtasnet-train --preset tiny --minutes 3
  ddtasnet-songs --out songs --count 400 --jobs 2 && ddtasnet-train --preset small --songs songs --hours 2
  ddtasnet-train --preset small --musdb /data/musdb18 --hours 48 --device cuda --batch 32
  ddtasnet-train --preset small --songs songs --hours 2 --out runs/small --resume
  ddtasnet-train --qat dynamic_wi4b64_wi8_afp32 --from runs/small/best.safetensors --songs songs --steps 300 --rate 3e-4
"""

# Songs made when no music is given: (train, validation), and their seconds.
OWN_SONGS, OWN_SECONDS = (24, 4), 16.0
_DEFAULT = TrainSettings(steps=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return console.run_command(_train, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("ddtasnet-train", "Train a separation model on music with known stems.", EXAMPLES)
    model = parser.add_argument_group("model")
    model.add_argument("--preset", help="a preset, freshly initialised (default: small)")
    model.add_argument("--config", type=Path, metavar="FILE", help="a model configuration as JSON")
    model.add_argument(
        "--from", dest="start_from", type=Path, metavar="FILE|PRESET", help="begin with these trained weights"
    )
    music = parser.add_argument_group("music (without: a few songs are made in OUT/songs)")
    music.add_argument("--songs", type=Path, metavar="DIR", help="songs of ddtasnet-songs, train and validation")
    music.add_argument("--musdb", type=Path, metavar="ROOT", help="MUSDB18 or MUSDB18-HQ, its training set")
    length = parser.add_argument_group("length (one of them)").add_mutually_exclusive_group(required=True)
    length.add_argument("--hours", type=float)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int, help="optimizer steps; the only length that gives the same run twice")
    run = parser.add_argument_group("run")
    run.add_argument("--qat", metavar="RECIPE", help="train with the weights rounded as this recipe stores them")
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    run.add_argument("--resume", action="store_true", help="go on with the run in --out")
    run.add_argument("--material", type=Path, metavar="DIR", help="where decoded music is kept (default: OUT/material)")
    run.add_argument("--seed", type=int, default=0)
    for option, value, what in (
        ("--batch", _DEFAULT.batch, "passages in a batch"),
        ("--segment-hops", _DEFAULT.segment_hops, "hops in a segment"),
        ("--segments", _DEFAULT.segments, "segments the state is carried over"),
        ("--rate", _DEFAULT.learning_rate, "highest learning rate"),
    ):
        run.add_argument(option, type=type(value), default=value, help=f"{what} (default: {value})")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    run.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    return parser


def _train(arguments: argparse.Namespace) -> int:
    require(("torch", "safetensors", "soxr", "scipy", "matplotlib"), "training", "train")
    import torch

    from ddtasnet_edge.training.allocator import keep_freed_memory
    from ddtasnet_edge.training.qat import RoundedWeights
    from ddtasnet_edge.training.snapshot import check_snapshot
    from ddtasnet_edge.training.trainer import BEST, SNAPSHOT, Trainer, plan

    keep_freed_memory()
    given = os.cpu_count() or 1 if arguments.threads is None else arguments.threads
    torch.set_num_threads(_at_least_one("threads", given))
    device = _device(arguments.device)
    settings = _settings(arguments, device)
    name, model, ancestor = _model(arguments)
    folder = arguments.out or Path("runs", name)
    # What cannot be is refused before any music is made or decoded.
    if settings.qat is not None:
        RoundedWeights(model, settings.qat)
    if arguments.resume:
        check_snapshot(folder / SNAPSHOT, plan(model, settings))
    else:
        _claim(folder)
    music = _music(arguments, folder, model.config)
    trainer = Trainer(model, settings, music, folder, device, ancestor)
    if arguments.resume:
        trainer.resume()
    console.say(_describe(name, model, music, settings, device), arguments.quiet)
    try:
        with console.percentage(f"training {name}", arguments.quiet) as show:
            rows = trainer.run(lambda position, loss: show(trainer.progress, position.describe(loss)))
    except KeyboardInterrupt:
        saved = f"saved at step {trainer.saved}; go on with the same command and --resume"
        console.say("stopped before anything was saved" if trainer.saved is None else f"stopped; {saved}")
        raise
    if arguments.json != "-" and not arguments.quiet:
        _print_rows(f"training of {name}", rows)
        if trainer.position.best > -math.inf:
            print(f"best weights: {folder / BEST}, {trainer.position.best:.2f} dB")
    if arguments.json is not None:
        console.write_json(arguments.json, [row.flat() for row in rows])
    return console.EXIT_OK


def _settings(arguments: argparse.Namespace, device: torch.device) -> TrainSettings:
    minutes = arguments.hours * 60.0 if arguments.hours is not None else arguments.minutes
    precision = arguments.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    return TrainSettings(
        steps=arguments.steps,
        minutes=minutes,
        seed=arguments.seed,
        batch=arguments.batch,
        segments=arguments.segments,
        segment_hops=arguments.segment_hops,
        learning_rate=arguments.rate,
        precision=precision,
        qat=arguments.qat,
    )


def _device(name: str) -> torch.device:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device is usable by this PyTorch; give --device cpu, or install a CUDA build")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _model(arguments: argparse.Namespace) -> tuple[str, DDTasNet, dict[str, Any]]:
    """Name of the run, the model that it starts from, and the facts about the training of that model so far."""
    from ddtasnet_edge.models.registry import create_model
    from ddtasnet_edge.models.source import find_model

    given = [option for option in ("preset", "config", "start_from") if getattr(arguments, option) is not None]
    if len(given) > 1:
        options = " and ".join(f"--{option.removeprefix('start_')}" for option in given)
        raise ConfigError(f"{options} each name a model; give one of them")
    if arguments.start_from:
        found = find_model(arguments.start_from)
        if found.weights != "trained":
            raise ConfigError(f"--from names trained weights, {found.source} is not; give --preset or --config instead")
        return found.name, found.model, dict(found.training)
    if arguments.config:
        return arguments.config.stem, create_model(read_config(arguments.config), arguments.seed), {}
    name = arguments.preset or "small"
    return name, create_model(preset(name), arguments.seed), {}


def _claim(folder: Path) -> None:
    """A run never writes over another."""
    from ddtasnet_edge.training.trainer import SNAPSHOT

    if (folder / SNAPSHOT).exists():
        raise EdgeError(f"{folder} holds a run already; go on with --resume, or choose another --out")
    files.make_folder(folder)


def _music(arguments: argparse.Namespace, folder: Path, config: DDTasNetConfig) -> Music:
    from ddtasnet_edge.training.material import Track, gather, musdb_split, song_tracks
    from ddtasnet_edge.training.trainer import Music

    train: list[Track] = []
    validation: list[Track] = []
    notes = []
    if arguments.musdb:
        train, validation = musdb_split(arguments.musdb, config)
        notes.append(MUSDB_NOTE)
    songs = arguments.songs
    if songs is None and arguments.musdb is None:
        songs = _make_own_songs(folder / "songs", arguments.quiet)
    if songs is not None:
        train += song_tracks(songs, "train", config)
        validation += song_tracks(songs, "validation", config)
        notes.append(SONG_NOTE)
    kept = arguments.material or folder / "material"
    return Music(
        gather(train, kept, config, arguments.quiet),
        gather(validation, kept, config, arguments.quiet),
        "; ".join(notes),
    )


def _make_own_songs(folder: Path, quiet: bool) -> Path:
    from ddtasnet_edge.training.songs.make import make_songs

    train, validation = OWN_SONGS
    console.say(f"no --songs or --musdb: making {train + validation} songs in {folder}", quiet)
    jobs = os.cpu_count() or 1
    make_songs(folder, "train", train, OWN_SECONDS, jobs=jobs, quiet=quiet)
    make_songs(folder, "validation", validation, OWN_SECONDS, jobs=jobs, quiet=quiet)
    return folder


def _describe(name: str, model: DDTasNet, music: Music, settings: TrainSettings, device: torch.device) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"{name}: {weights / 1e6:.2f} M weights on {device.type} in {settings.precision}; "
        f"{len(music.train.names)} tracks ({music.train.seconds / 60:.0f} min) to train on, "
        f"{len(music.validation.names)} to validate"
    )


def _print_rows(title: str, rows: list[Row]) -> None:
    columns = ["step", "minutes", "loss", "audio s/s", "waits", *rows[0].usdr, "mean uSDR"]
    cells = [
        [
            row.step,
            f"{row.minutes:.1f}",
            f"{row.loss:.5f}",
            f"{row.audio_per_second:.1f}",
            f"{row.data_wait:.0%}",
            *(f"{value:.2f}" for value in row.usdr.values()),
            f"{row.mean:.2f}",
        ]
        for row in rows
    ]
    console.print_table(title, columns, cells, "uSDR in dB on the validation tracks, with averaged weights")


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"{name} is {value}: expected at least 1")
    return value
