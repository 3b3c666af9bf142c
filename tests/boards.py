"""Folders that look like the root of a Raspberry Pi, or of another computer, to whatever reads /proc and /sys there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# What the 64-bit kernels of these boards list; only the Pi 5 has dot products and half precision.
OLD_FEATURES = "fp asimd evtstrm crc32 cpuid"
NEW_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Board:
    """model as in the device tree, compatible likewise; clock: maximum in kHz; memory: MemTotal in kB."""

    model: str
    compatible: tuple[str, str]
    part: str
    features: str
    clock: int
    memory: int


BOARDS = {
    "rpi-zero2w": Board(
        "Raspberry Pi Zero 2 W Rev 1.0",
        ("raspberrypi,model-zero-2-w", "brcm,bcm2837"),
        "0xd03",
        OLD_FEATURES,
        1_000_000,
        426_000,
    ),
    "rpi3": Board(
        "Raspberry Pi 3 Model B Plus Rev 1.3",
        ("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
        "0xd03",
        OLD_FEATURES,
        1_400_000,
        930_000,
    ),
    "rpi4": Board(
        "Raspberry Pi 4 Model B Rev 1.5",
        ("raspberrypi,4-model-b", "brcm,bcm2711"),
        "0xd08",
        OLD_FEATURES,
        1_800_000,
        3_880_000,
    ),
    "rpi5": Board(
        "Raspberry Pi 5 Model B Rev 1.0",
        ("raspberrypi,5-model-b", "brcm,bcm2712"),
        "0xd0b",
        NEW_FEATURES,
        2_400_000,
        8_240_000,
    ),
}


def write(root: Path, path: str, text: str) -> Path:
    """One file below the root."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def make_board(
    root: Path,
    device: str,
    *,
    governor: str = "ondemand",
    clock: int = 600_000,
    temperature: int = 48_312,
    throttled: str | None = "0",
) -> Path:
    """The files of a board at rest.

    clock in kHz, temperature in thousandths of a degree, throttled as its kernel writes it: hexadecimal, no prefix.
    """
    board = BOARDS[device]
    core = (
        "processor\t: {}\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        "CPU variant\t: 0x0\nCPU part\t: {}\nCPU revision\t: 3\n\n"
    )
    cores = "".join(core.format(index, board.features, board.part) for index in range(4))
    closing = f"Revision\t: d03115\nSerial\t\t: 0000000000000000\nModel\t\t: {board.model}\n"
    write(root, "proc/cpuinfo", cores + closing)
    write(root, "proc/device-tree/model", f"{board.model}\0")
    write(root, "proc/device-tree/compatible", "".join(f"{name}\0" for name in board.compatible))
    free = board.memory * 7 // 10
    memory = f"MemTotal:{board.memory:>15} kB\nMemFree:{free:>16} kB\nMemAvailable:{free:>11} kB\n"
    write(root, "proc/meminfo", memory)
    write(root, "proc/sys/kernel/osrelease", "6.6.51+rpt-rpi-v8\n")
    cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"
    write(root, f"{cpufreq}/scaling_governor", f"{governor}\n")
    write(root, f"{cpufreq}/scaling_cur_freq", f"{clock}\n")
    write(root, f"{cpufreq}/cpuinfo_max_freq", f"{board.clock}\n")
    write(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(root, "sys/class/thermal/thermal_zone0/temp", f"{temperature}\n")
    if throttled is not None:
        write(root, "sys/devices/platform/soc/soc:firmware/get_throttled", f"{throttled}\n")
    return root


def make_pc(root: Path) -> Path:
    """A notebook with two Intel cores, without a device tree."""
    core = (
        "processor\t: {}\nvendor_id\t: GenuineIntel\nmodel\t\t: 154\nmodel name\t: Some CPU: fast\n"
        "cpu MHz\t\t: 2304.123\nflags\t\t: fpu sse sse2 avx avx2 avx_vnni\nbogomips\t: 4608.00\n\npower management:\n\n"
    )
    write(root, "proc/cpuinfo", "".join(core.format(index) for index in range(2)))
    write(root, "sys/class/dmi/id/sys_vendor", "Maker\n")
    write(root, "sys/class/dmi/id/product_name", "Book 3\n")
    write(root, "sys/class/thermal/thermal_zone0/type", "acpitz\n")
    write(root, "sys/class/thermal/thermal_zone0/temp", "27800\n")
    write(root, "sys/class/thermal/thermal_zone1/type", "x86_pkg_temp\n")
    write(root, "sys/class/thermal/thermal_zone1/temp", "61000\n")
    return root
