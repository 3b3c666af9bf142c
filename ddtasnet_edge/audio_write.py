"""Stems out: one file per source, written while a song is separated, in place only when all are whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddtasnet_edge.errors import AudioError
from ddtasnet_edge.spec import FloatArray

# Format of libsndfile and sample type: float in wav keeps what exceeds full scale, flac has integers only.
FORMATS = {"wav": ("WAV", "FLOAT"), "flac": ("FLAC", "PCM_24")}
# A wav counts its bytes in 32 bits; its header takes less than this much of them.
_WAV_BYTES = 2**32 - 4096


class StemWriter:
    """Appends stems to open files; `writing_stems` makes one."""

    def __init__(self, files: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
        self.paths = dict(paths)
        self._files = files
        self._written = 0
        self._peaks = np.zeros(len(files), dtype=np.float32)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each stem that did not fit into its file."""
        return tuple(
            f"{source} peaks at {peak:.2f} and is clipped at 1: flac holds no more, wav does"
            for (source, path), peak in zip(self.paths.items(), self._peaks, strict=True)
            if peak > 1.0 and path.suffix == ".flac"
        )

    def write(self, stems: FloatArray) -> None:
        """Append float32 [sources, channels, n], n >= 0. Raises AudioError when the disk does not take it."""
        self._written += stems.shape[-1]
        for (source, path), stem in zip(self.paths.items(), stems, strict=True):
            if path.suffix == ".wav" and self._written * stem.shape[0] * stem.itemsize > _WAV_BYTES:
                raise AudioError(f"{path} would exceed the 4 GiB of a wav file; use --format flac")
            with _writable(path):
                self._files[source].write(stem.T)
        self._peaks = np.maximum(self._peaks, np.abs(stems).max(axis=(1, 2), initial=0.0))

    def check(self, folder: Path) -> None:
        """Raise AudioError unless the closed files in `folder` hold every sample: libsndfile may fail in silence."""
        import soundfile

        for path in self.paths.values():
            with _writable(path):
                held = soundfile.info(str(folder / path.name)).frames
            if held != self._written:
                raise AudioError(f"cannot write {path}: {self._written} samples given, {held} kept; is the disk full?")


@contextmanager
def writing_stems(
    folder: Path, sources: Sequence[str], sample_rate: int, channels: int, suffix: str = "wav", *, replace: bool = False
) -> Iterator[StemWriter]:
    """Open `folder`/<source>.<suffix> for each source; the files appear there when the block ends without an error.

    suffix: "wav" (32-bit float) or "flac" (24 bit). On an error or Ctrl-C nothing is left behind. Raises AudioError
    when a file exists and `replace` is false, or when the place cannot be written.
    """
    paths = {source: _stem_path(folder, source, suffix) for source in sources}
    existing = [path for path in paths.values() if path.exists()]
    if existing and not replace:
        raise AudioError(f"{existing[0]} exists already; choose another --out or replace it with --force")
    with _temporary_folder(folder) as temporary, ExitStack() as stack:
        with _writable(folder):
            writer = StemWriter(_open_files(stack, temporary, paths, sample_rate, channels), paths)
        yield writer
        with _writable(folder):
            stack.close()
        writer.check(temporary)
        for path in paths.values():
            with _writable(path):
                (temporary / path.name).replace(path)


def _open_files(
    stack: ExitStack, temporary: Path, paths: Mapping[str, Path], sample_rate: int, channels: int
) -> dict[str, Any]:
    import soundfile

    opened = {}
    for source, path in paths.items():
        container, subtype = FORMATS[path.suffix[1:]]
        place = temporary / path.name
        opened[source] = stack.enter_context(
            soundfile.SoundFile(place, "w", sample_rate, channels, subtype=subtype, format=container)
        )
    return opened


def _stem_path(folder: Path, source: str, suffix: str) -> Path:
    # Source names come from a manifest that anyone may have written.
    if not source.isidentifier():
        raise AudioError(f"source '{source}' cannot name a file; expected letters, digits and _")
    return folder / f"{source}.{suffix}"


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A folder inside `folder`, on its file system; both are removed afterwards if there was no `folder` before."""
    new = not folder.exists()
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".stems.", dir=folder))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Turn the errors of the system and of libsndfile into one line."""
    import soundfile

    try:
        yield
    except OSError as error:
        raise AudioError(_refusal(path, error.strerror or str(error))) from error
    except soundfile.LibsndfileError as error:
        raise AudioError(_refusal(path, error.error_string)) from error


def _refusal(path: Path, reason: str) -> str:
    return f"cannot write {path}: {reason.rstrip('.')}; free space or choose another place"
