"""What a program sees of a Raspberry Pi: its name, its processor, and the system files that describe them.

Runtimes choose their kernels by these files, and crash without them. Sources: Arm's technical reference manuals for
the part numbers, boards' own /proc/cpuinfo for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.config import nearest
from ddtasnet_edge.errors import DeviceError

_ARMV8_0 = "fp asimd evtstrm crc32 cpuid"
_ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Processor:
    """A core as qemu and Linux name it. midr: main identification register; features: those that Linux lists."""

    qemu: str
    midr: int
    features: str

    @property
    def part(self) -> int:
        """The part number within the identification."""
        return self.midr >> 4 & 0xFFF


_A53 = Processor("cortex-a53", 0x410FD034, _ARMV8_0)
_A72 = Processor("cortex-a72", 0x410FD083, _ARMV8_0)
_A76 = Processor("cortex-a76", 0x414FD0B1, _ARMV8_2)


@dataclass(frozen=True)
class Board:
    """A board that can be emulated. model and compatible are what its device tree says."""

    name: str
    model: str
    compatible: tuple[str, ...]
    processor: Processor
    cores: int = 4


BOARDS = {
    board.name: board
    for board in (
        Board("rpi-zero2w", "Raspberry Pi Zero 2 W Rev 1.0", ("raspberrypi,model-zero-2-w", "brcm,bcm2837"), _A53),
        Board("rpi3", "Raspberry Pi 3 Model B Plus Rev 1.3", ("raspberrypi,3-model-b-plus", "brcm,bcm2837"), _A53),
        Board("rpi4", "Raspberry Pi 4 Model B Rev 1.4", ("raspberrypi,4-model-b", "brcm,bcm2711"), _A72),
        Board("rpi5", "Raspberry Pi 5 Model B Rev 1.0", ("raspberrypi,5-model-b", "brcm,bcm2712"), _A76),
    )
}


def board_named(name: str) -> Board:
    """The board of that name. Raises DeviceError with the nearest name for an unknown one."""
    if name not in BOARDS:
        raise DeviceError(f"cannot emulate '{name}': {nearest(name, tuple(BOARDS))}")
    return BOARDS[name]


def write_identity(board: Board, root: Path) -> None:
    """Write the files below `root` that name the board and its cores, in the places where Linux shows them."""
    for path, content in _identity(board).items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")


def _identity(board: Board) -> dict[str, str]:
    cpus, last = "sys/devices/system/cpu", board.cores - 1
    cores = f"0-{last}\n"
    cpuinfo = "".join(_core(board.processor, core) for core in range(board.cores))
    midr = f"{board.processor.midr:#018x}\n"
    return {
        "proc/cpuinfo": f"{cpuinfo}Model\t\t: {board.model}\n",
        "proc/device-tree/model": board.model + "\0",
        "proc/device-tree/compatible": "".join(name + "\0" for name in board.compatible),
        **{f"{cpus}/{name}": cores for name in ("possible", "present", "online")},
        f"{cpus}/kernel_max": f"{last}\n",
        **{f"{cpus}/cpu{core}/regs/identification/midr_el1": midr for core in range(board.cores)},
        **{f"{cpus}/cpu{core}/topology/core_id": f"{core}\n" for core in range(board.cores)},
        **{f"{cpus}/cpu{core}/topology/physical_package_id": "0\n" for core in range(board.cores)},
    }


def _core(processor: Processor, core: int) -> str:
    midr = processor.midr
    return (
        f"processor\t: {core}\n"
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {processor.features}\n"
        f"CPU implementer\t: {midr >> 24:#x}\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: {midr >> 20 & 0xF:#x}\n"
        f"CPU part\t: {processor.part:#x}\n"
        f"CPU revision\t: {midr & 0xF}\n\n"
    )
