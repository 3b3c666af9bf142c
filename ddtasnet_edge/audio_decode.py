"""Audio files as they are, and refused when damaged: by PyAV, or on a device without it by libsndfile."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ddtasnet_edge.audio_track import AudioTrack


def probe(path: Path, index: int = 0) -> AudioTrack:
    """Look at audio stream `index` of a file and decode its first samples.

    Raises AudioError when the file is missing, unreadable, not audio, cut short or holds no samples, and
    MissingDependencyError for a format that only PyAV reads, where that is not installed.
    """
    if find_spec("av") is None:
        from ddtasnet_edge.audio_soundfile import probe_soundfile

        return probe_soundfile(path, index)
    from ddtasnet_edge.audio_av import probe_av

    return probe_av(path, index)
