"""The packages that bring runtimes, and for which machines and Pythons they are built (seen in November 2026)."""

from __future__ import annotations

import platform
import struct
import sys
from dataclasses import dataclass

# 64-bit ARM and x86, as Linux and macOS call them.
ORDINARY = ("x86_64", "aarch64", "arm64")
ARM_32 = "armv7l"
FIRST_PYTHON = (3, 10)


@dataclass(frozen=True)
class RuntimePackage:
    """install: what brings it; last_python: the newest with a wheel; machines: that it has wheels for."""

    distribution: str
    install: str
    last_python: tuple[int, int]
    machines: tuple[str, ...] = ORDINARY


LITERT = "ai-edge-litert"
PACKAGES = (
    RuntimePackage(LITERT, "pip install 'ddtasnet-edge[tflite]'", (3, 14)),
    RuntimePackage("tflite-runtime", "pip install tflite-runtime 'numpy<2'", (3, 11), ("x86_64", "aarch64", ARM_32)),
    RuntimePackage("onnxruntime", "pip install 'ddtasnet-edge[onnx]'", (3, 14)),
    RuntimePackage("openvino", "pip install 'ddtasnet-edge[openvino]'", (3, 13)),
)
#: The newest Python with wheels of every runtime of an ordinary machine, and of the one for 32-bit ARM.
LAST_PYTHON = min(package.last_python for package in PACKAGES if ARM_32 not in package.machines)
LAST_PYTHON_ARM_32 = max(package.last_python for package in PACKAGES if ARM_32 in package.machines)


@dataclass(frozen=True)
class System:
    """What pip goes by. machine: as the kernel says; bits: of this Python; libc: '' where it is not glibc."""

    machine: str
    bits: int
    python: tuple[int, int]
    libc: str
    name: str = "Linux"

    @classmethod
    def here(cls) -> System:
        """The one that this process runs on."""
        bits = 8 * struct.calcsize("P")
        return cls(platform.machine(), bits, sys.version_info[:2], platform.libc_ver()[0], platform.system())

    @property
    def is_mixed(self) -> bool:
        """A 32-bit Python on a 64-bit kernel, as older releases of Raspberry Pi OS have it."""
        return self.bits == 32 and "64" in self.machine

    @property
    def userland(self) -> str:
        """The machine that programs are built for."""
        return ARM_32 if self.is_mixed and self.machine in ("aarch64", "arm64") else self.machine


def why_no_wheel(package: RuntimePackage, system: System) -> tuple[str, str] | None:
    """Why pip finds no wheel of a package here, and what to do; None when there should be one."""
    if system.name == "Linux" and system.libc != "glibc":
        return "no wheel for a Linux without glibc", "use a distribution with glibc, such as Raspberry Pi OS"
    if system.userland not in package.machines:
        return f"no wheel for {system.userland}", _other_machine(system)
    python = _dotted(system.python)
    if system.python < FIRST_PYTHON:
        return f"no wheel for Python {python}", "use Python 3.10 or newer"
    if system.python > package.last_python:
        return f"no wheel for Python {python}", f"the last is for Python {_dotted(package.last_python)}; " + (
            _instead(package, system)
        )
    return None


def _instead(package: RuntimePackage, system: System) -> str:
    """What has a wheel where the Python is too new for this one."""
    if system.userland not in ORDINARY:
        return "there is no other on this machine"
    other = package.distribution != LITERT and system.python <= LAST_PYTHON
    return f"use {LITERT} instead" if other else f"use Python {_dotted(LAST_PYTHON)}"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _other_machine(system: System) -> str:
    if system.userland == ARM_32:
        return "install the 64-bit Raspberry Pi OS; on 32 bits there is tflite-runtime alone, for Python up to 3.11"
    return f"build it from source, or use a machine of {', '.join(ORDINARY[:2])}"
