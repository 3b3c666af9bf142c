"""Whether the machine is fit to run bundles and to be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddtasnet_edge.benchmarks.doctor.finding import FAILURE, OK, WARNING, Finding
from ddtasnet_edge.benchmarks.doctor.packages import System
from ddtasnet_edge.benchmarks.doctor.probe import REALTIME
from ddtasnet_edge.benchmarks.machine import UNKNOWN, Machine
from ddtasnet_edge.benchmarks.process import run_module
from ddtasnet_edge.benchmarks.realtime import RealTime, check_support
from ddtasnet_edge.benchmarks.system_files import memory_bytes
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


def examine_machine(machine: Machine, system: System, root: Path) -> list[Finding]:
    """All checks; what this system does not tell is left out, except the governor."""
    governor = "not told" if machine.governor == UNKNOWN else machine.governor
    findings = [
        Finding("machine", OK, f"{machine.board}, {machine.cpu}"),
        _examine_userland(system),
        _judge("governor", machine, governor_trouble, governor),
    ]
    if machine.throttled is not None:
        findings += [
            _judge("power", machine, power_trouble, "no under-voltage since the machine started"),
            _judge("throttling", machine, throttling_trouble, "none since the machine started"),
        ]
    if machine.temperature is not None:
        findings.append(_judge("temperature", machine, heat_trouble, f"{machine.temperature:.0f} °C"))
    return [*findings, *_examine_memory(machine, root), *_examine_realtime()]


def _judge(subject: str, machine: Machine, check: Callable[[Machine], Trouble | None], fine: str) -> Finding:
    trouble = check(machine)
    return Finding(subject, OK, fine) if trouble is None else Finding(subject, WARNING, trouble.what, trouble.fix)


def _examine_userland(system: System) -> Finding:
    if system.is_mixed:
        found = f"{system.bits}-bit programs on a 64-bit kernel ({system.machine}): most runtimes have no wheel"
        return Finding("system", WARNING, found, "install the 64-bit Raspberry Pi OS")
    return Finding("system", OK, f"{system.machine}, {system.bits} bits, Python {'.'.join(map(str, system.python))}")


def _examine_memory(machine: Machine, root: Path) -> list[Finding]:
    total, free = machine.memory_bytes, memory_bytes(root, "MemAvailable")
    if total is None or free is None:
        return []
    found = f"{free / 1e6:.0f} MB free of {total / 1e6:.0f}"
    if free >= NEEDED_BYTES:
        return [Finding("memory", OK, found)]
    fix = "use a board with more" if total < NEEDED_BYTES else "end other programs, or add swap"
    verdict = FAILURE if total < NEEDED_BYTES else WARNING
    return [Finding("memory", verdict, f"{found}, at least {NEEDED_BYTES / 1e6:.0f} expected", fix)]


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
