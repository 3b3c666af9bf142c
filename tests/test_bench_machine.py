"""A figure is labelled with the machine it was taken on, and with no other."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.machine import ALIASES, PI_MODELS, Machine, check_device, describe_machine, device_named
from ddtasnet_edge.benchmarks.peers.report import PeersReport
from ddtasnet_edge.benchmarks.report import BenchReport
from ddtasnet_edge.benchmarks.troubles import GOVERNOR_FIX, machine_notes
from ddtasnet_edge.errors import DeviceError
from tests.boards import BOARDS, make_board, make_pc, write

PAGES = Path(__file__).parent.parent / "docs" / "performance"
MODEL = "proc/device-tree/model"


@pytest.mark.parametrize(
    ("device", "cpu", "soc", "features", "clock"),
    [
        ("rpi-zero2w", "Cortex-A53", "BCM2837", ("asimd",), 1000.0),
        ("rpi3", "Cortex-A53", "BCM2837", ("asimd",), 1400.0),
        ("rpi4", "Cortex-A72", "BCM2711", ("asimd",), 1800.0),
        ("rpi5", "Cortex-A76", "BCM2712", ("asimd", "asimddp", "fphp", "asimdhp"), 2400.0),
    ],
)
def test_a_pi_describes_itself(
    tmp_path: Path, device: str, cpu: str, soc: str, features: tuple[str, ...], clock: float
) -> None:
    machine = describe_machine(make_board(tmp_path, device))
    assert (machine.name, machine.cpu, machine.soc) == (BOARDS[device].model, cpu, soc)
    assert (machine.features, machine.logical_cores) == (features, 4)
    assert (machine.clock_mhz, machine.max_clock_mhz, machine.governor) == (600.0, clock, "ondemand")
    assert (machine.temperature, machine.throttled) == (48.312, 0)
    assert machine.memory_bytes == BOARDS[device].memory * 1024
    assert machine.kernel == "6.6.51+rpt-rpi-v8"


def test_a_pc_describes_itself(tmp_path: Path) -> None:
    machine = describe_machine(make_pc(tmp_path))
    assert (machine.name, machine.cpu, machine.governor) == ("Maker Book 3", "Some CPU: fast", "unknown")
    assert (machine.features, machine.logical_cores) == (("avx2", "avx_vnni"), 2)
    assert (machine.clock_mhz, machine.max_clock_mhz) == (2304.123, None)
    assert machine.temperature == 61.0, "that of the processor, not of the first sensor"
    assert (machine.soc, machine.throttled, machine.memory_bytes) == ("unknown", None, None)


def test_what_a_machine_does_not_tell_is_unknown(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert (machine.name, machine.cpu, machine.governor, machine.soc) == ("unknown",) * 4
    assert machine.logical_cores >= 1
    others = ("features", "clock_mhz", "max_clock_mhz", "temperature", "throttled", "memory_bytes")
    assert [getattr(machine, name) for name in others] == [None] * len(others)
    assert machine.note("host").startswith("machine: unknown, unknown, ")


@pytest.mark.parametrize("path", ["temp", "clock", "memory", "throttled"])
def test_a_file_of_words_where_a_number_should_be_is_unknown(tmp_path: Path, path: str) -> None:
    root = make_board(tmp_path, "rpi4")
    write(root, "sys/class/thermal/thermal_zone0/temp", "hot" if path == "temp" else "1000")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "<unknown>" if path == "clock" else "1000")
    write(root, "proc/meminfo", "MemTotal: none kB\n" if path == "memory" else "MemTotal: 1 kB\n")
    write(root, "sys/devices/platform/soc/soc:firmware/get_throttled", "no!" if path == "throttled" else "0")
    machine = describe_machine(root)
    found = {
        "temp": machine.temperature,
        "clock": machine.clock_mhz,
        "memory": machine.memory_bytes,
        "throttled": machine.throttled,
    }
    assert [name for name, value in found.items() if value is None] == [path]


def test_a_core_without_a_known_name_is_given_by_its_number(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nCPU part\t: 0xabc\n")
    assert describe_machine(tmp_path).cpu == "ARM part 0xabc"


def test_a_32_bit_kernel_names_no_processor(tmp_path: Path) -> None:
    cpuinfo = (
        "processor\t: 0\nmodel name\t: ARMv7 Processor rev 4 (v7l)\nFeatures\t: half neon vfpv4\nCPU part\t: 0xd03\n"
    )
    write(tmp_path, "proc/cpuinfo", cpuinfo)
    machine = describe_machine(tmp_path)
    assert (machine.cpu, machine.features) == ("Cortex-A53", ("neon",))


def test_a_container_on_a_pi_is_on_a_pi(tmp_path: Path) -> None:
    """Docker hides the device tree."""
    root = make_board(tmp_path, "rpi4")
    (root / MODEL).unlink()
    check_device("rpi4", root)


# Throttling


@pytest.mark.parametrize("place", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_throttling_is_told_by_the_kernel(tmp_path: Path, place: str) -> None:
    root = make_board(tmp_path, "rpi5", throttled=None)
    write(root, f"sys/devices/platform/{place}/get_throttled", "50005\n")
    assert describe_machine(root).throttled == 0x50005


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo throttled=0x50000", 0x50000),
        ("echo VCHI initialization failed; exit 255", None),
        ("echo 'throttled=x'", None),
        ("kill -9 $$", None),
    ],
)
def test_throttling_is_told_by_vcgencmd_where_the_kernel_does_not(
    tmp_path: Path, script: str, found: int | None
) -> None:
    root = make_board(tmp_path, "rpi5", throttled=None)
    program = write(root, "usr/bin/vcgencmd", f'#!/bin/sh\n[ "$1" = get_throttled ] || exit 2\n{script}\n')
    assert describe_machine(root).throttled is None, "it may not be run"
    program.chmod(0o755)
    assert describe_machine(root).throttled == found


# Beside figures


def test_the_note_is_a_line(tmp_path: Path) -> None:
    machine = replace(describe_machine(make_board(tmp_path, "rpi5")), system="Linux", python="3.11")
    assert machine.note("rpi5") == (
        "machine: Raspberry Pi 5 Model B Rev 1.0 (BCM2712), Cortex-A76, asimd asimddp fphp asimdhp, 4 logical cores, "
        "600 MHz of 2400, governor ondemand, 48 °C, 7.9 GiB, Linux, Python 3.11 (device rpi5)"
    )


def test_nothing_disturbs_a_cool_board_at_full_clock(tmp_path: Path) -> None:
    machine = describe_machine(make_board(tmp_path, "rpi4", governor="performance", clock=1_800_000))
    assert machine_notes(machine, "rpi4") == [machine.note("rpi4")]
    assert machine_notes(describe_machine(tmp_path / "unknown"), "host")[1:] == []


@pytest.mark.parametrize(
    ("state", "warning"),
    [
        ({"governor": "ondemand"}, f"warning: governor ondemand: the clock follows the load; {GOVERNOR_FIX}"),
        ({"throttled": "1"}, "warning: under-voltage now: the clock is lowered; use a power supply and a cable"),
        ({"throttled": "10000"}, "warning: under-voltage since the machine started: the clock is lowered"),
        ({"throttled": "60006"}, "warning: clock capped now, throttled now: the clock is held down; cool the board"),
        ({"throttled": "80000"}, "warning: soft temperature limit since the machine started: the clock is held down"),
        ({"temperature": 80_000}, "warning: 80 °C: processors slow down from 80 °C; add a heat sink or a fan"),
    ],
)
def test_what_disturbs_a_figure_stands_beside_it(tmp_path: Path, state: dict[str, str], warning: str) -> None:
    machine = describe_machine(make_board(tmp_path, "rpi4", **{"governor": "performance", **state}))  # type: ignore[arg-type]
    _, *warnings = machine_notes(machine, "rpi4")
    assert len(warnings) == 1
    assert warnings[0].startswith(warning)


def test_a_board_can_have_all_troubles_at_once(tmp_path: Path) -> None:
    machine = describe_machine(make_board(tmp_path, "rpi4", throttled="50005", temperature=85_500))
    assert len(machine_notes(machine, "rpi4")) == 5


# In files


@pytest.mark.parametrize("device", BOARDS)
def test_a_machine_survives_a_file(tmp_path: Path, device: str) -> None:
    machine = describe_machine(make_board(tmp_path, device))
    assert json.loads(json.dumps(machine.to_dict())) == machine.to_dict()
    assert Machine.from_dict(machine.to_dict()) == Machine.from_dict(asdict(machine)) == machine


def test_reports_that_know_less_are_still_read() -> None:
    bench = BenchReport.from_dict(json.loads((PAGES / "bench.json").read_text()))
    assert (bench.machine.cpu, bench.machine.soc, bench.machine.temperature) == ("AMD EPYC", "unknown", None)
    assert bench.notes()[0].startswith("machine: unknown, AMD EPYC, 2 logical cores, governor unknown, ")
    assert PeersReport.from_dict(json.loads((PAGES / "peers.json").read_text())).machine == bench.machine


# Device names


@pytest.mark.parametrize(
    ("device", "model"),
    [
        *((device, board.model) for device, board in BOARDS.items()),
        ("rpi", "Raspberry Pi Compute Module 4 Rev 1.0"),
    ],
)
def test_a_device_name_is_accepted_on_that_device_alone(tmp_path: Path, device: str, model: str) -> None:
    write(tmp_path, MODEL, f"{model}\0")
    aliases = [alias for alias, name in ALIASES.items() if name == device]
    for accepted in ("host", "rpi", device, *aliases):
        check_device(accepted, tmp_path)
    for other in {*PI_MODELS, *ALIASES} - {device, "rpi", *aliases}:
        with pytest.raises(DeviceError, match=f"'{other}' is asked for, but this machine is a {model}"):
            check_device(other, tmp_path)


def test_a_pi_400_is_not_a_pi_4(tmp_path: Path) -> None:
    write(tmp_path, MODEL, "Raspberry Pi 400 Rev 1.0\0")
    with pytest.raises(DeviceError, match=r"this machine is a Raspberry Pi 400 Rev 1\.0; use --device rpi"):
        check_device("rpi4", tmp_path)


@pytest.mark.parametrize("device", [*PI_MODELS, *ALIASES])
def test_a_pi_name_is_refused_elsewhere_with_the_three_ways(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError) as caught:
        check_device(device, tmp_path)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"device '{device}' is asked for, but this machine is not a Raspberry Pi")
    assert [way for way in ("on the Pi itself", "--host user@pi", "--emulate") if way not in message] == []


def test_a_device_has_one_name_in_reports() -> None:
    assert [device_named(name) for name in ("host", "zero2w", "rpi-zero2w")] == ["host", "rpi-zero2w", "rpi-zero2w"]


@pytest.mark.parametrize(("name", "nearest"), [("rpi-4", "rpi4"), ("zero2", "zero2w"), ("hots", "host")])
def test_an_unknown_device_suggests_the_nearest(tmp_path: Path, name: str, nearest: str) -> None:
    with pytest.raises(DeviceError, match=rf"unknown device '{name}'.*did you mean '{nearest}'"):
        check_device(name, tmp_path)
