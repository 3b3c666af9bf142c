"""How many instructions a hop takes, counted by a plugin of the emulator: independent of how fast this machine is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from ddtasnet_edge.benchmarks.emulation.place import EmulatedPlace
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.errors import DeviceError

#: The build of qemu that loads plugins; a static one cannot.
EMULATOR = "qemu-aarch64"
# Versions of the plugin interface that have what the plugin uses; qemu refuses those that it is too old or new for.
INTERFACES = range(1, 8)
HOPS = 8
_MARK = "instructions "


class InstructionCounter:
    """Counts on a place until it is closed. Raises DeviceError where this machine cannot, saying what it lacks."""

    def __init__(self, place: EmulatedPlace) -> None:
        emulator, compiler = shutil.which(EMULATOR), shutil.which("cc")
        if emulator is None or compiler is None:
            missing = f"{EMULATOR} (apt-get install qemu-user)" if emulator is None else "a C compiler (cc)"
            raise DeviceError(f"counting instructions needs {missing}, which is not on the path")
        self._place = replace(place, emulator=emulator)
        self._plugin = _find_plugin(self._place, compiler)

    def per_hop(self, bundles: Sequence[Bundle], hops: int = HOPS) -> list[float]:
        """Instructions of one hop of each bundle, all threads together. Raises DeviceError."""
        paths = [str(bundle.path.resolve()) for bundle in bundles]
        marks = _run(self._place, self._plugin, ["-m", "ddtasnet_edge.benchmarks.step_worker", str(hops), *paths])
        if len(marks) != 2 * len(bundles):
            raise DeviceError(f"{len(marks)} marks were counted, 2 for each of {len(bundles)} bundles expected")
        return [(after - before) / hops for before, after in zip(marks[::2], marks[1::2], strict=True)]


def _run(place: EmulatedPlace, plugin: Path, python_arguments: list[str]) -> list[int]:
    """What was counted at each mark that a Python program sets. Raises DeviceError when it fails."""
    command = [*place.python("-plugin", str(plugin)), *python_arguments]
    status, said = place.processes.run(command, place.environment())
    lines = said.strip().splitlines()
    if status:
        raise DeviceError(f"no instructions were counted: {lines[-1] if lines else f'ended with {status}'}")
    return [int(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]


def _find_plugin(place: EmulatedPlace, compiler: str) -> Path:
    """The plugin, compiled for the interface that this qemu has."""
    said = ""
    for version in INTERFACES:
        plugin = place.scratch / f"counter-{version}.so"
        _compile(compiler, version, plugin)
        try:
            _run(place, plugin, ["-c", ""])
        except DeviceError as error:
            said = str(error)
        else:
            return plugin
    raise DeviceError(f"this {EMULATOR} loads no plugin: {said}")


def _compile(compiler: str, version: int, plugin: Path) -> None:
    with as_file(files("ddtasnet_edge.benchmarks.emulation") / "counter.c") as source:
        command = [compiler, "-shared", "-fPIC", "-O2", f"-DAPI={version}", "-o", str(plugin), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise DeviceError(f"the compiler refused the counting plugin: {lines[-1] if lines else 'it said nothing'}")
