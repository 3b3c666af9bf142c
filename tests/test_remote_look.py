"""What a board must have, asked over a real sshd, and the line for everything that it may lack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ddtasnet_edge.benchmarks.doctor.packages import PACKAGES
from ddtasnet_edge.benchmarks.machine import PI_MODELS, describe_machine
from ddtasnet_edge.benchmarks.remote.connection import open_connection
from ddtasnet_edge.benchmarks.remote.look import Board, Interpreter, check_asked, check_machine, choose_python, look
from ddtasnet_edge.errors import DeviceError, EdgeError
from tests import sshd


def refused(board: sshd.Board, extra: str = "tflite") -> str:
    """The line with which it is refused."""
    with open_connection(board.address, quiet=True) as connection, pytest.raises(DeviceError) as error:
        look(connection, extra)
    (line,) = str(error.value).splitlines()
    return line


def python_there(board: sshd.Board, name: str, facts: str) -> None:
    """A Python that says so of itself."""
    board.program(name, f"echo '{facts}'")


def test_a_board_says_what_it_is(board: sshd.Board) -> None:
    board.program("uname", 'if [ "$1" = -m ]; then echo aarch64; else echo Linux; fi')
    python_there(board, "python3", "3.13.5 64 venv")
    with open_connection(board.address) as connection:
        found = look(connection, "tflite")
    assert found.machine == "aarch64"
    assert found.python == Interpreter(str(board.bin / "python3"), "3.13.5", 64, True)
    # It is this machine.
    here = describe_machine()
    assert found.cores == here.logical_cores
    assert found.model == (here.name if here.name.startswith(PI_MODELS["rpi"]) else found.model)
    assert found.note() == "aarch64, 64-bit Python 3.13.5"


def test_what_the_start_up_files_of_a_login_print_is_not_an_answer(board: sshd.Board) -> None:
    (board.folder / "home" / ".bashrc").write_text("echo machine=toaster; echo Welcome\n")
    with open_connection(board.address) as connection:
        assert look(connection, "tflite").machine != "toaster"


def test_no_python(board: sshd.Board) -> None:
    (board.bin / "python3").unlink()
    assert refused(board) == "board has no python3; run there: sudo apt install python3 python3-venv"


@pytest.mark.parametrize("version", ["3.9.2", "2.7.18", "3.14.0"])
def test_a_python_of_the_wrong_age(board: sshd.Board, version: str) -> None:
    python_there(board, "python3", f"{version} 64 venv")
    line = refused(board)
    assert f"board has Python {version}" in line
    assert "3.10 to 3.13; install one of those" in line


def test_a_python_that_fits_beside_one_that_does_not(board: sshd.Board) -> None:
    python_there(board, "python3", "3.9.2 64 venv")
    python_there(board, "python3.11", "3.11.2 64 venv")
    with open_connection(board.address) as connection:
        assert look(connection, "tflite").python.path == str(board.bin / "python3.11")


def test_a_python_without_venv(board: sshd.Board) -> None:
    python_there(board, "python3", "3.11.2 64 bare")
    assert refused(board).endswith("makes no virtual environments; run there: sudo apt install python3-venv")


def test_a_python_that_does_not_run_is_none(board: sshd.Board) -> None:
    board.program("python3", "exit 1")
    assert "has no python3" in refused(board)


@pytest.mark.parametrize("tool", ["flock", "setsid", "tar", "sha256sum"])
def test_a_tool_is_missing(board: sshd.Board, tool: str) -> None:
    (board.bin / tool).unlink()
    assert refused(board) == f"board lacks {tool}; run there: sudo apt install util-linux coreutils tar"


def test_another_system(board: sshd.Board) -> None:
    board.program("uname", "echo Darwin")
    assert "board runs Darwin, expected Linux" in refused(board)


def test_a_32_bit_processor(board: sshd.Board) -> None:
    board.program("uname", 'if [ "$1" = -m ]; then echo armv6l; else echo Linux; fi')
    line = refused(board)
    assert line.startswith("board is armv6l, the runtimes have wheels for 64-bit ARM (aarch64);")
    assert "install the 64-bit Raspberry Pi OS" in line


def test_a_login_that_runs_no_commands(board: sshd.Board) -> None:
    board.program("sh", "echo This account is closed; exit 1")
    with (
        open_connection(board.address) as connection,
        pytest.raises(EdgeError, match="answers 'This account is closed'"),
    ):
        look(connection, "tflite")


def machine(name: str, bits: int, version: str) -> Board:
    return Board(name, Interpreter("python3", version, bits, True))


@pytest.mark.parametrize(
    ("board", "extra"),
    [
        (machine("aarch64", 64, "3.13.5"), "onnx,openvino,tflite"),
        (machine("x86_64", 64, "3.10.1"), "tflite"),
        (machine("armv7l", 32, "3.11.2"), "tflite"),
    ],
)
def test_boards_that_have_wheels(board: Board, extra: str) -> None:
    check_machine("pi", board, extra)


@pytest.mark.parametrize(
    ("board", "extra", "says"),
    [
        (machine("aarch64", 32, "3.11.2"), "tflite", r"64-bit processor \(aarch64\) with a 32-bit system"),
        (machine("armv7l", 32, "3.13.5"), "tflite", r"pi is armv7l.*on armv7l only \[tflite\] has, up to Python 3.11"),
        (machine("armv7l", 32, "3.11.2"), "onnx", "pi is armv7l, the runtimes have wheels for 64-bit ARM"),
        (machine("riscv64", 64, "3.13.5"), "tflite", "pi is riscv64"),
    ],
)
def test_boards_that_have_none(board: Board, extra: str, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        check_machine("pi", board, extra)


PI_4 = replace(machine("aarch64", 64, "3.11.2"), model="Raspberry Pi 4 Model B Rev 1.4", cores=4)
NO_PI = replace(PI_4, model="")


@pytest.mark.parametrize(("board", "device"), [(PI_4, "rpi4"), (PI_4, "rpi"), (PI_4, "host"), (NO_PI, "host")])
def test_a_board_that_is_what_is_asked_for(board: Board, device: str) -> None:
    check_asked("pi", board, device, threads=4)


@pytest.mark.parametrize(
    ("board", "device", "threads", "says"),
    [
        (
            PI_4,
            "rpi5",
            1,
            r"^device 'rpi5' is asked for, but pi is a Raspberry Pi 4 Model B Rev 1\.4; use --device rpi$",
        ),
        (NO_PI, "rpi", 1, "^device 'rpi' is asked for, but pi is not a Raspberry Pi; use --device host$"),
        (replace(PI_4, model="Raspberry Pi 400 Rev 1.0"), "rpi4", 1, "but pi is a Raspberry Pi 400"),
        (PI_4, "rpi4", 5, "^--threads is 5, pi has 4 logical cores; give at most that many$"),
        (PI_4, "pi", 1, "unknown device 'pi'"),
    ],
)
def test_another_board_or_too_small_a_one(board: Board, device: str, threads: int, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        check_asked("pi", board, device, threads)


def test_the_doctor_knows_the_same_wheels() -> None:
    """A Python that is turned away here is one that a runtime has no wheel for there, and the other way round."""
    newest = min(package.last_python for package in PACKAGES if "armv7l" not in package.machines)
    fitting = [Interpreter(f"3.{minor}", f"3.{minor}.0", 64, True) for minor in range(newest[1], newest[1] + 2)]
    assert choose_python("pi", fitting[:1]) == fitting[0]
    with pytest.raises(DeviceError, match=f"wheels for 3.10 to 3.{newest[1]}"):
        choose_python("pi", fitting[1:])
