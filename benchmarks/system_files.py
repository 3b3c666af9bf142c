"""What Linux tells about a machine in small files. Everything is read below a root, which tests put elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
# How the thermal zone of a processor is called: by drivers of Raspberry Pis of all years, and by Intel's.
THERMAL_ZONES = ("cpu-thermal", "cpu_thermal", "bcm2835_thermal", "soc-thermal", "x86_pkg_temp")
# In seconds; it asks the firmware and answers at once or never.
VCGENCMD_PATIENCE = 5


def read(path: Path) -> str:
    """The text of a small system file without its closing NUL or newline; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """The whole number in a file; None when there is none."""
    try:
        return int(read(path))
    except ValueError:
        return None


def read_fields(path: Path) -> dict[str, str]:
    """The lines "key : value" of a file; of a key that comes again, as with several cores, the first."""
    fields: dict[str, str] = {}
    for line in read(path).splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def count_cores(root: Path) -> int:
    """Logical cores."""
    lines = read(root / "proc/cpuinfo").splitlines()
    return sum(line.partition(":")[0].strip() == "processor" for line in lines) or os.cpu_count() or 1


def clock_mhz(root: Path) -> float | None:
    """What the first core runs at, as far as the kernel knows: where firmware throttles a Raspberry Pi, it does not."""
    kilohertz = read_number(root / CPUFREQ / "scaling_cur_freq")
    if kilohertz is not None:
        return kilohertz / 1000
    try:
        return float(read_fields(root / "proc/cpuinfo")["cpu MHz"])
    except (KeyError, ValueError):
        return None


def max_clock_mhz(root: Path) -> float | None:
    """What the first core can run at."""
    kilohertz = read_number(root / CPUFREQ / "cpuinfo_max_freq")
    return None if kilohertz is None else kilohertz / 1000


def temperature(root: Path) -> float | None:
    """Of the processor, in degrees Celsius."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        if read(zone / "type") in THERMAL_ZONES:
            thousandths = read_number(zone / "temp")
            return None if thousandths is None else thousandths / 1000
    return None


def memory_bytes(root: Path, which: str = "MemTotal") -> int | None:
    """Memory by a name of /proc/meminfo, which counts in kB."""
    words = read_fields(root / "proc/meminfo").get(which, "").split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else None


def throttled(root: Path) -> int | None:
    """The flags of a Raspberry Pi's firmware, from the file of its kernel or else from vcgencmd; None elsewhere."""
    files = sorted((root / "sys/devices/platform").glob("soc*/soc*firmware/get_throttled"))
    text = read(files[0]) if files else _ask_vcgencmd(root / "usr/bin/vcgencmd")
    try:
        return int(text, 16)
    except ValueError:
        return None


def _ask_vcgencmd(program: Path) -> str:
    """What it says behind "throttled="; empty where it is missing or may not ask."""
    if not os.access(program, os.X_OK):
        return ""
    try:
        done = subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, check=False, timeout=VCGENCMD_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("throttled=")[2]
