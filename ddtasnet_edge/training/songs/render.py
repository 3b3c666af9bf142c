"""Parts become sound: a MIDI file and FluidSynth, one process per stem, with the FluidR3 General MIDI sound font."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.errors import AudioError, MissingDependencyError
from ddtasnet_edge.spec import FloatArray
from ddtasnet_edge.training.songs.form import Form
from ddtasnet_edge.training.songs.info import SAMPLE_RATE
from ddtasnet_edge.training.songs.score import Part

SOUND_FONTS = (
    Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    Path("/usr/share/soundfonts/FluidR3_GM.sf2"),
    Path("/usr/local/share/soundfonts/FluidR3_GM.sf2"),
)
# MIDI time is written in seconds: at the default tempo of 120 this makes 2000 ticks.
_TICKS_PER_QUARTER = 1000
_TICKS_PER_SECOND = 2 * _TICKS_PER_QUARTER
_DRUM_CHANNEL = 9
_CHANNELS = tuple(channel for channel in range(16) if channel != _DRUM_CHANNEL)
_PAN, _VOLUME = 10, 7


def require_program(name: str, package: str) -> None:
    """Raise MissingDependencyError unless a program is on the path; package: what brings it on Debian."""
    if shutil.which(name) is None:
        raise MissingDependencyError(f"making songs needs the program {name}; sudo apt-get install {package}")


def find_sound_font() -> Path:
    """The FluidR3 sound font. Raises MissingDependencyError when it is in none of the usual places."""
    for path in SOUND_FONTS:
        if path.is_file():
            return path
    raise MissingDependencyError(
        f"making songs needs the sound font {SOUND_FONTS[0]}; sudo apt-get install fluid-soundfont-gm"
    )


def run_program(command: Sequence[str]) -> bytes:
    """Run a program and return its standard output. Raises AudioError with its last line when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise AudioError(f"{command[0]} failed with status {done.returncode}: {complaint[-1]}")
    return done.stdout


def render(parts: Sequence[Part], form: Form, samples: int) -> FloatArray:
    """The sound of parts that play together: float32 [2, samples], dry. Raises AudioError when FluidSynth fails."""
    import soundfile

    if not any(part.notes for part in parts):
        return np.zeros((2, samples), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="ddtasnet-songs-") as folder:
        score, sound = Path(folder, "stem.mid"), Path(folder, "stem.wav")
        midi_file(parts, form).save(score)
        run_program(_command(score, sound))
        try:
            rendered, _ = soundfile.read(sound, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"fluidsynth wrote no sound: {error.error_string}; is the disk full?") from error
    stem = np.zeros((2, samples), dtype=np.float32)
    length = min(samples, len(rendered))
    stem[:, :length] = rendered[:length].T
    return stem


def midi_file(parts: Sequence[Part], form: Form) -> Any:
    """A mido.MidiFile with one track and one channel per part; swing and tempo are in the times of its notes."""
    import mido

    file = mido.MidiFile(ticks_per_beat=_TICKS_PER_QUARTER)
    for part, channel in zip(parts, _CHANNELS[: len(parts)], strict=True):
        file.tracks.append(_track(part, _DRUM_CHANNEL if part.percussion else channel, form))
    return file


def _track(part: Part, channel: int, form: Form) -> Any:
    import mido

    track = mido.MidiTrack()
    track.append(mido.Message("program_change", channel=channel, program=part.program))
    track.append(mido.Message("control_change", channel=channel, control=_PAN, value=part.pan))
    track.append(mido.Message("control_change", channel=channel, control=_VOLUME, value=part.volume))
    # At the same tick a note ends before the next begins, or a repeated pitch would be cut off at once.
    events = sorted(
        event
        for note in part.notes
        for event in (
            (_tick(form, note.start), 1, note.pitch, note.velocity),
            (max(_tick(form, note.end), _tick(form, note.start) + 1), 0, note.pitch, 0),
        )
    )
    now = 0
    for tick, begins, pitch, velocity in events:
        kind = "note_on" if begins else "note_off"
        track.append(mido.Message(kind, channel=channel, note=pitch, velocity=velocity, time=tick - now))
        now = tick
    return track


def _tick(form: Form, quarters: float) -> int:
    return round(form.seconds(quarters) * _TICKS_PER_SECOND)


def _command(score: Path, sound: Path) -> list[str]:
    """FluidSynth without its own reverb and chorus: the mix adds rooms, the same ones for all stems."""
    return [
        "fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-o", "synth.cpu-cores=1",
        "-O", "float", "-T", "wav", "-r", str(SAMPLE_RATE), "-F", str(sound), str(find_sound_font()), str(score),
    ]  # fmt: skip
