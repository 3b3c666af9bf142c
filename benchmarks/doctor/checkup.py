"""Whether the machine is fit to run bundles and to be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddtasnet_edge.benchmarks.doctor.finding import FAILURE, OK, UNKNOWN, WARNING, Finding
from ddtasnet_edge.benchmarks.doctor.packages import System
from ddtasnet_edge.benchmarks.doctor.probe import REALTIME
from ddtasnet_edge.benchmarks.machine import PI_MODELS, Machine
from ddtasnet_edge.benchmarks.machine import UNKNOWN as NOT_TOLD
from ddtasnet_edge.benchmarks.process import run_module
from ddtasnet_edge.benchmarks.realtime import RealTime, check_support
from ddtasnet_edge.benchmarks.system_files import CPUFREQ, memory_bytes
from ddtasnet_edge.benchmarks.troubles import (
    Trouble,
    governor_trouble,
    heat_trouble,
    power_trouble,
    throttling_trouble,
)
from ddtasnet_edge.errors import DeviceError, EdgeError

# Twice what separating a song with `small` on LiteRT takes (README); other runtimes and larger presets take more.
NEEDED_BYTES = 200e6
PATIENCE = 30.0
NOT_SHOWN = "not shown by this system"
# What would show it: files of the kernel, which virtual machines and containers often leave out.
GOVERNOR_SHOWN_BY = f"/{CPUFREQ}/scaling_governor"
FLAGS_SHOWN_BY = "vcgencmd get_throttled, which Raspberry Pis alone have"
HEAT_SHOWN_BY = "/sys/class/thermal/thermal_zone*/temp of the processor"


def examine_machine(machine: Machine, system: System, root: Path) -> list[Finding]:
    """All checks; what this system does not show is unknown, which says nothing against it and nothing for it."""
    governor = None if machine.governor == NOT_TOLD else machine.governor
    heat = machine.temperature
    return [
        _examine_name(machine),
        _examine_userland(system),
        _judge("governor", machine, governor_trouble, governor, GOVERNOR_SHOWN_BY),
        *_examine_flags(machine, system),
        _judge("temperature", machine, heat_trouble, None if heat is None else f"{heat:.0f} °C", HEAT_SHOWN_BY),
        _examine_memory(machine, root),
        *_examine_realtime(),
    ]


def _judge(
    subject: str, machine: Machine, check: Callable[[Machine], Trouble | None], fine: str | None, shown_by: str
) -> Finding:
    """fine: what was found if it is no trouble, None where the system does not show it."""
    trouble = check(machine)
    if trouble is not None:
        return Finding(subject, WARNING, trouble.what, trouble.fix)
    return _unknown(subject, shown_by) if fine is None else Finding(subject, OK, fine)


def _unknown(subject: str, shown_by: str) -> Finding:
    return Finding(subject, UNKNOWN, NOT_SHOWN, shown_by=shown_by)


def _examine_name(machine: Machine) -> Finding:
    if machine.name == NOT_TOLD and machine.cpu == NOT_TOLD:
        return _unknown("machine", "/proc/device-tree/model, /proc/cpuinfo")
    return Finding("machine", OK, ", ".join(fact for fact in (machine.board, machine.cpu) if fact != NOT_TOLD))


def _examine_userland(system: System) -> Finding:
    if system.is_mixed:
        found = f"{system.bits}-bit programs on a 64-bit kernel ({system.machine}): most runtimes have no wheel"
        return Finding("system", WARNING, found, "install the 64-bit Raspberry Pi OS")
    return Finding("system", OK, f"{system.machine}, {system.bits} bits, Python {'.'.join(map(str, system.python))}")


def _examine_flags(machine: Machine, system: System) -> list[Finding]:
    """What the firmware of a Raspberry Pi tells; left out of what is known to be another machine, which cannot."""
    flags = machine.throttled
    if flags is None and not _may_be_a_pi(machine, system):
        return []
    voltage, throttling = "no under-voltage since the machine started", "none since the machine started"
    return [
        _judge("power", machine, power_trouble, None if flags is None else voltage, FLAGS_SHOWN_BY),
        _judge("throttling", machine, throttling_trouble, None if flags is None else throttling, FLAGS_SHOWN_BY),
    ]


def _may_be_a_pi(machine: Machine, system: System) -> bool:
    """A container may hide the name of the board, not the kind of the processor."""
    if machine.name == NOT_TOLD:
        return system.machine.startswith(("aarch64", "arm"))
    return machine.name.startswith(PI_MODELS["rpi"])


def _examine_memory(machine: Machine, root: Path) -> Finding:
    total, free = machine.memory_bytes, memory_bytes(root, "MemAvailable")
    if total is None or free is None:
        return _unknown("memory", "/proc/meminfo")
    found = f"{free / 1e6:.0f} MB free of {total / 1e6:.0f}"
    if free >= NEEDED_BYTES:
        return Finding("memory", OK, found)
    fix = "use a board with more" if total < NEEDED_BYTES else "end other programs, or add swap"
    verdict = FAILURE if total < NEEDED_BYTES else WARNING
    return Finding("memory", verdict, f"{found}, at least {NEEDED_BYTES / 1e6:.0f} expected", fix)


def _examine_realtime() -> list[Finding]:
    """In a process of its own: what is granted would stay."""
    try:
        check_support()
        granted = RealTime.from_dict(run_module("doctor.probe", {"subject": REALTIME}, patience=PATIENCE))
    except DeviceError:
        return [Finding("real time", WARNING, "--realtime is for Linux alone", "measure without it")]
    except EdgeError as error:
        return [Finding("real time", WARNING, str(error), "measure without --realtime")]
    if not granted.refused:
        return [Finding("real time", OK, "SCHED_FIFO and locked memory are permitted")]
    refusals = (refusal.partition(": ") for refusal in granted.refused)
    return [Finding("real time", WARNING, what, fix) for what, _, fix in refusals]
