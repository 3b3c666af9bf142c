"""The options with which a command lets a person choose music, the same in all that do."""

from __future__ import annotations

import argparse
from pathlib import Path

from ddtasnet_edge.music import MusicChoice


def add_music_options(parser: argparse.ArgumentParser, purpose: str, split: str = "--split") -> None:
    """Give a command its options for a MusicChoice, in a help group of their own.

    purpose: what the music is for, "evaluate on"; split: how this command spells the option for the split.
    """
    title = f"music to {purpose} (default: the real excerpt of MUSDB18 that stempeg brings)"
    music = parser.add_argument_group(title)
    music.add_argument("--musdb", type=Path, metavar="ROOT", help="MUSDB18 or MUSDB18-HQ; not with --songs")
    music.add_argument("--songs", type=Path, metavar="DIR", help="songs of ddtasnet-songs: DIR/SPLIT/NAME/STEM.flac")
    music.add_argument(
        split, dest="split", default="test", metavar="SPLIT", help="folder of --musdb or --songs (%(default)s)"
    )
    music.add_argument("--tracks", nargs="+", metavar="NAME", help="only these tracks")
    music.add_argument("--excerpt", type=float, metavar="SECONDS", help="only the middle of each track")


def music_choice(arguments: argparse.Namespace) -> MusicChoice:
    """What was chosen with these options. Raises ConfigError when both folders are given."""
    return MusicChoice(arguments.musdb, arguments.songs, arguments.split, arguments.tracks, arguments.excerpt)
