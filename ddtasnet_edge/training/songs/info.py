"""What song.json says about a made song, beside its stems (song_folder.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.errors import AudioError

INFO = "song.json"
SAMPLE_RATE = 44100


@dataclass(frozen=True)
class SongInfo:
    """What song.json holds. tempo in quarter notes per minute; sections as (kind, first bar, stems that play)."""

    generator: int
    name: str
    seed: int
    seconds: float
    sample_rate: int
    key: str
    meter: str
    tempo: float
    swing: float
    sections: tuple[tuple[str, int, tuple[str, ...]], ...]


def read_info(path: Path) -> SongInfo:
    """The facts of a song. Raises AudioError when song.json is missing or is not one."""
    try:
        values = json.loads((path / INFO).read_text(encoding="utf-8"))
        sections = tuple((kind, bar, tuple(stems)) for kind, bar, stems in values.pop("sections"))
        return SongInfo(**values, sections=sections)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AudioError(f"{path / INFO} does not describe a song; delete {path} and run again") from error
