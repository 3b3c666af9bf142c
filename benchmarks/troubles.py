"""What about a machine disturbs a figure that is taken on it, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from ddtasnet_edge.benchmarks.machine import UNKNOWN, Machine

GOVERNOR = "performance"
GOVERNOR_FIX = f"echo {GOVERNOR} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
# In degrees Celsius; a Raspberry Pi slows down from here on.
HOT = 80.0
# Flags of a Raspberry Pi's firmware by bit; 16 bits further up they say that it happened since the machine started.
UNDER_VOLTAGE = {0x1: "under-voltage"}
SLOWED = {0x2: "clock capped", 0x4: "throttled", 0x8: "soft temperature limit"}
SINCE_START = 16


@dataclass(frozen=True)
class Trouble:
    """what is wrong, why it matters, and the fix."""

    what: str
    fix: str


def governor_trouble(machine: Machine) -> Trouble | None:
    """A clock that follows the load."""
    if machine.governor in (UNKNOWN, GOVERNOR):
        return None
    return Trouble(f"governor {machine.governor}: the clock follows the load", GOVERNOR_FIX)


def power_trouble(machine: Machine) -> Trouble | None:
    """Too little voltage, for which the firmware lowers the clock."""
    seen = _flags(machine, UNDER_VOLTAGE)
    return (
        Trouble(f"{seen}: the clock is lowered", "use a power supply and a cable made for this board") if seen else None
    )


def throttling_trouble(machine: Machine) -> Trouble | None:
    """A clock that the firmware holds down."""
    seen = _flags(machine, SLOWED)
    return (
        Trouble(f"{seen}: the clock is held down", "cool the board, and start it again to clear this") if seen else None
    )


def heat_trouble(machine: Machine) -> Trouble | None:
    """A processor about to slow down."""
    if machine.temperature is None or machine.temperature < HOT:
        return None
    return Trouble(f"{machine.temperature:.0f} °C: processors slow down from {HOT:.0f} °C", "add a heat sink or a fan")


#: All of them; each says None where the system does not tell.
CHECKS = (governor_trouble, power_trouble, throttling_trouble, heat_trouble)


def machine_notes(machine: Machine, device: str) -> list[str]:
    """What stands beside figures, a line each: the machine, under the name it is measured by, and what disturbs it."""
    found = (check(machine) for check in CHECKS)
    warnings = [f"warning: {one.what}; {one.fix}" for one in found if one is not None]
    return [machine.note(device), *warnings]


def _flags(machine: Machine, names: dict[int, str]) -> str:
    """Which of these flags are set, in words; empty when none is or nobody knows."""
    word = machine.throttled or 0
    now = [name for bit, name in names.items() if word & bit]
    before = [name for bit, name in names.items() if word & bit << SINCE_START and name not in now]
    return ", ".join([f"{name} now" for name in now] + [f"{name} since the machine started" for name in before])
