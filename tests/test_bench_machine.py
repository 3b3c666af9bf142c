"""A figure is labelled with the machine it was taken on, and with no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.machine import PI_MODELS, check_device, describe_machine
from ddtasnet_edge.errors import DeviceError


def pretend_board(root: Path, model: str, part: str = "0xd08") -> Path:
    """A root folder that looks like a board with this device-tree model."""
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_text(model + "\0")
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nCPU part\t: {part}\n\nprocessor\t: 1\nCPU part\t: {part}\n")
    governor = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("ondemand\n")
    return root


def test_a_pi_describes_itself(tmp_path: Path) -> None:
    machine = describe_machine(pretend_board(tmp_path, "Raspberry Pi 4 Model B Rev 1.4"))
    assert machine.name == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.cpu == "Cortex-A72"
    assert machine.governor == "ondemand"
    assert machine.logical_cores >= 1


def test_a_pc_describes_itself(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nmodel name : Some CPU: fast\n\npower management:\n")
    (tmp_path / "sys/class/dmi/id").mkdir(parents=True)
    (tmp_path / "sys/class/dmi/id/sys_vendor").write_text("Maker\n")
    (tmp_path / "sys/class/dmi/id/product_name").write_text("Book 3\n")
    machine = describe_machine(tmp_path)
    assert (machine.name, machine.cpu, machine.governor) == ("Maker Book 3", "Some CPU: fast", "unknown")


def test_what_a_machine_does_not_tell_is_unknown(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert (machine.name, machine.cpu, machine.governor) == ("unknown", "unknown", "unknown")


def test_a_core_without_a_known_name_is_given_by_its_number(tmp_path: Path) -> None:
    assert describe_machine(pretend_board(tmp_path, "Some Board", part="0xabc")).cpu == "ARM part 0xabc"


@pytest.mark.parametrize(
    ("device", "model"),
    [
        ("rpi-zero2w", "Raspberry Pi Zero 2 W Rev 1.0"),
        ("rpi3", "Raspberry Pi 3 Model B Plus Rev 1.3"),
        ("rpi4", "Raspberry Pi 4 Model B Rev 1.4"),
        ("rpi5", "Raspberry Pi 5 Model B Rev 1.0"),
        ("rpi", "Raspberry Pi Compute Module 4 Rev 1.0"),
    ],
)
def test_a_device_name_is_accepted_on_that_device_alone(tmp_path: Path, device: str, model: str) -> None:
    root = pretend_board(tmp_path, model)
    for accepted in ("host", "rpi", device):
        check_device(accepted, root)
    for other in set(PI_MODELS) - {device, "rpi"}:
        with pytest.raises(DeviceError, match=f"'{other}' is asked for, but this machine is a {model}"):
            check_device(other, root)


def test_a_pi_400_is_not_a_pi_4(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"this machine is a Raspberry Pi 400 Rev 1\.0; use --device rpi"):
        check_device("rpi4", pretend_board(tmp_path, "Raspberry Pi 400 Rev 1.0"))


@pytest.mark.parametrize("device", list(PI_MODELS))
def test_a_pi_name_is_refused_elsewhere(tmp_path: Path, device: str) -> None:
    with pytest.raises(
        DeviceError, match=r"not a Raspberry Pi, and .* not there yet; run this command on the Pi itself"
    ):
        check_device(device, tmp_path)


def test_an_unknown_device_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'rpi-4'.*did you mean 'rpi4'"):
        check_device("rpi-4", tmp_path)
