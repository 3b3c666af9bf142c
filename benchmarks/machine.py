"""What machine this is, and whether a device name may be used on it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

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

# Cores of these devices by the "CPU part" of /proc/cpuinfo, which has no model name on 64-bit ARM.
ARM_PARTS = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}


@dataclass(frozen=True)
class Machine:
    """The facts a timing depends on; 'unknown' where the system does not tell."""

    name: str
    cpu: str
    logical_cores: int
    governor: str
    system: str
    python: str

    def note(self, device: str) -> str:
        """These facts in a line; device: the name under which it is measured."""
        return (
            f"machine: {self.name}, {self.cpu}, {self.logical_cores} logical cores, governor {self.governor}, "
            f"{self.system}, Python {self.python} (device {device})"
        )


def describe_machine(root: Path = Path("/")) -> Machine:
    """This machine, from the files Linux shows below `root`."""
    return Machine(
        name=_board_name(root),
        cpu=_cpu_name(root / "proc/cpuinfo"),
        logical_cores=os.cpu_count() or 1,
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or UNKNOWN,
        system=platform.platform(),
        python=platform.python_version(),
    )


def check_device(device: str, root: Path = Path("/")) -> None:
    """Raise DeviceError unless this machine is what `device` names; `host` is any machine."""
    if device == HOST:
        return
    if device not in PI_MODELS:
        raise DeviceError(f"unknown device '{device}': {nearest(device, (HOST, *PI_MODELS))}")
    name = _board_name(root)
    if not name.startswith(PI_MODELS["rpi"]):
        raise DeviceError(
            f"device '{device}' is asked for, but this machine is not a Raspberry Pi, and measuring one from here "
            "is not there yet; run this command on the Pi itself, or leave out --device"
        )
    if not name.startswith(PI_MODELS[device]):
        raise DeviceError(f"device '{device}' is asked for, but this machine is a {name}; use --device rpi")


def _board_name(root: Path) -> str:
    dmi = root / "sys/class/dmi/id"
    maker_and_product = f"{_read(dmi / 'sys_vendor')} {_read(dmi / 'product_name')}".strip()
    return _read(root / "proc/device-tree/model") or maker_and_product or UNKNOWN


def _cpu_name(cpuinfo: Path) -> str:
    fields = dict(_split(line) for line in reversed(_read(cpuinfo).splitlines()) if ":" in line)
    part = fields.get("CPU part", UNKNOWN)
    return fields.get("model name") or ARM_PARTS.get(part) or (f"ARM part {part}" if part != UNKNOWN else UNKNOWN)


def _split(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _read(path: Path) -> str:
    """The text of a small system file without its closing NUL or newline; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
