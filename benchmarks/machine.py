"""What machine this is, and whether a device name may be used on it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ddtasnet_edge.benchmarks import system_files
from ddtasnet_edge.benchmarks.system_files import read, read_fields
from ddtasnet_edge.config import nearest
from ddtasnet_edge.errors import DeviceError

UNKNOWN = "unknown"
HOST = "host"

# Device name -> how /proc/device-tree/model begins there. The blanks keep a Pi 400 from passing as a Pi 4.
PI_MODELS = {
    "rpi": "Raspberry Pi ",
    "rpi-zero2w": "Raspberry Pi Zero 2 ",
    "rpi3": "Raspberry Pi 3 ",
    "rpi4": "Raspberry Pi 4 ",
    "rpi5": "Raspberry Pi 5 ",
}
ALIASES = {"zero2w": "rpi-zero2w"}

# Cores of these devices by the "CPU part" of /proc/cpuinfo, which has no model name on 64-bit ARM.
ARM_PARTS = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
# What decides which kernels a runtime takes, as the kernel calls it: vectors, dot products of bytes (asimddp, VNNI),
# half precision (fphp, asimdhp), products of byte matrices (i8mm).
FEATURES = (
    *("neon", "asimd", "asimddp", "fphp", "asimdhp", "i8mm"),
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni"),
)


@dataclass(frozen=True)
class Machine:
    """The facts a timing depends on; 'unknown' or None where the system does not tell.

    governor: of the clock; features: those of FEATURES that the processor has; clocks in MHz, temperature in degrees
    Celsius, at the time of asking; throttled: the flags of a Raspberry Pi's firmware; memory in bytes.
    """

    name: str
    cpu: str
    logical_cores: int
    governor: str
    system: str
    python: str
    soc: str = UNKNOWN
    features: tuple[str, ...] | None = None
    clock_mhz: float | None = None
    max_clock_mhz: float | None = None
    temperature: float | None = None
    throttled: int | None = None
    memory_bytes: int | None = None
    kernel: str = UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "features": None if self.features is None else list(self.features)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Machine:
        """The inverse of `to_dict` and of `dataclasses.asdict`, and for reports that know less."""
        features = values.get("features")
        return cls(**{**values, "features": None if features is None else tuple(features)})

    @property
    def board(self) -> str:
        """Its name, with the chip where that is known."""
        return self.name if self.soc == UNKNOWN else f"{self.name} ({self.soc})"

    def note(self, device: str) -> str:
        """These facts in a line; device: the name under which it is measured."""
        facts = (
            *(self.board, self.cpu, " ".join(self.features or ()), f"{self.logical_cores} logical cores"),
            *(self.clock, f"governor {self.governor}"),
            "" if self.temperature is None else f"{self.temperature:.0f} °C",
            "" if self.memory_bytes is None else f"{self.memory_bytes / 2**30:.1f} GiB",
            *(self.system, f"Python {self.python} (device {device})"),
        )
        return f"machine: {', '.join(fact for fact in facts if fact)}"

    @property
    def clock(self) -> str:
        """Clock and what it can be, in words; empty when unknown."""
        if self.clock_mhz is None:
            return ""
        return f"{self.clock_mhz:.0f} MHz" + ("" if self.max_clock_mhz is None else f" of {self.max_clock_mhz:.0f}")


def describe_machine(root: Path = Path("/")) -> Machine:
    """This machine, from the files Linux shows below `root`."""
    cpuinfo = read_fields(root / "proc/cpuinfo")
    return Machine(
        name=_board_name(root, cpuinfo),
        cpu=_cpu_name(cpuinfo),
        logical_cores=system_files.count_cores(root),
        governor=read(root / system_files.CPUFREQ / "scaling_governor") or UNKNOWN,
        system=platform.platform(),
        python=platform.python_version(),
        soc=_soc_name(root),
        features=_features(cpuinfo),
        clock_mhz=system_files.clock_mhz(root),
        max_clock_mhz=system_files.max_clock_mhz(root),
        temperature=system_files.temperature(root),
        throttled=system_files.throttled(root),
        memory_bytes=system_files.memory_bytes(root),
        kernel=read(root / "proc/sys/kernel/osrelease") or UNKNOWN,
    )


def device_named(name: str) -> str:
    """The name of a device by one of its names. Raises DeviceError, with the nearest, for one that is unknown."""
    known = ALIASES.get(name, name)
    if known not in (HOST, *PI_MODELS):
        raise DeviceError(f"unknown device '{name}': {nearest(name.lower(), (HOST, *PI_MODELS, *ALIASES))}")
    return known


def check_device(device: str, root: Path = Path("/")) -> None:
    """Raise DeviceError unless this machine is what `device` names; `host` is any machine."""
    known = device_named(device)
    if known == HOST:
        return
    name = _board_name(root, read_fields(root / "proc/cpuinfo"))
    if not name.startswith(PI_MODELS["rpi"]):
        raise DeviceError(
            f"device '{device}' is asked for, but this machine is not a Raspberry Pi; there are three ways: run this "
            "command on the Pi itself, measure it from here with --host user@pi, or add --emulate to a board's name "
            "(--device rpi4 --emulate) for parity and an estimate"
        )
    if not name.startswith(PI_MODELS[known]):
        raise DeviceError(f"device '{device}' is asked for, but this machine is a {name}; use --device rpi")


def _board_name(root: Path, cpuinfo: Mapping[str, str]) -> str:
    dmi = root / "sys/class/dmi/id"
    maker_and_product = f"{read(dmi / 'sys_vendor')} {read(dmi / 'product_name')}".strip()
    # Containers hide the device tree, but not the last line of cpuinfo.
    return read(root / "proc/device-tree/model") or cpuinfo.get("Model") or maker_and_product or UNKNOWN


def _soc_name(root: Path) -> str:
    """The last of the names a board is compatible with, such as "brcm,bcm2711", is that of its chip."""
    last = read(root / "proc/device-tree/compatible").split("\0")[-1]
    return last.partition(",")[2].upper() or UNKNOWN


def _cpu_name(cpuinfo: Mapping[str, str]) -> str:
    part = cpuinfo.get("CPU part", UNKNOWN)
    # A 32-bit kernel has a model name too, which says no more than ARMv7.
    return ARM_PARTS.get(part) or cpuinfo.get("model name") or (f"ARM part {part}" if part != UNKNOWN else UNKNOWN)


def _features(cpuinfo: Mapping[str, str]) -> tuple[str, ...] | None:
    listed = cpuinfo.get("Features", cpuinfo.get("flags"))
    return None if listed is None else tuple(name for name in FEATURES if name in listed.split())
