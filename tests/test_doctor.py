"""`ddtasnet-bench --doctor`: what is broken is found in a process of its own, named, and comes with what to do."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks import cli
from ddtasnet_edge.benchmarks.doctor import report as reports
from ddtasnet_edge.benchmarks.doctor.checkup import examine_machine
from ddtasnet_edge.benchmarks.doctor.finding import FAILURE, OK, UNKNOWN, WARNING, Finding
from ddtasnet_edge.benchmarks.doctor.packages import PACKAGES, RuntimePackage, System, why_no_wheel
from ddtasnet_edge.benchmarks.doctor.probe import GRAPHS, PROBES
from ddtasnet_edge.benchmarks.doctor.report import DoctorReport, run_doctor
from ddtasnet_edge.benchmarks.doctor.runtimes import examine_runtime
from ddtasnet_edge.benchmarks.machine import describe_machine
from tests.boards import make_board, write
from tests.doctor_graphs import build_graphs

BOARD = System("aarch64", 64, (3, 11), "glibc")
BY_NAME = {package.distribution: package for package in PACKAGES}
NOT_THERE = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules come before those that are installed, in every process from here on."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    paths = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    return folder


def put(shelf: Path, distribution: str, code: str) -> None:
    """Let the module of a runtime be this code."""
    top, _, inner = PROBES[distribution][0].partition(".")
    if inner:
        write(shelf, f"{top}/__init__.py", "")
    write(shelf, f"{top}/{inner}.py" if inner else f"{top}.py", code)


def hide(shelf: Path, *distributions: str) -> None:
    """Let these not be installed."""
    for name in distributions:
        top = PROBES[name][0].partition(".")[0]
        write(shelf, f"{top}.py", NOT_THERE.format(top))


def examine(distribution: str, root: Path, system: System = BOARD) -> Finding:
    """What the doctor finds on a Raspberry Pi 4."""
    return examine_runtime(BY_NAME[distribution], describe_machine(make_board(root, "rpi4")), system)


# Runtimes


@pytest.mark.parametrize("distribution", ["ai-edge-litert", "onnxruntime", "openvino"])
def test_what_is_installed_here_works(distribution: str, tmp_path: Path) -> None:
    finding = examine(distribution, tmp_path)
    assert (finding.verdict, finding.fix) == (OK, "")
    assert finding.found.endswith(" works")


def test_the_graphs_are_what_their_script_makes() -> None:
    assert {path.name: path.read_bytes() for path in GRAPHS.iterdir()} == build_graphs()


@pytest.mark.parametrize("distribution", PROBES)
def test_what_is_not_installed_comes_with_its_pip_line(distribution: str, shelf: Path, tmp_path: Path) -> None:
    hide(shelf, distribution)
    finding = examine(distribution, tmp_path)
    assert (finding.verdict, finding.found) == (WARNING, "not installed")
    assert finding.fix == BY_NAME[distribution].install


LIBRARY = "{}: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("message", "found", "fix"),
    [
        (LIBRARY.format("libatomic.so.1"), "libatomic.so.1 is missing", "sudo apt install libatomic1"),
        (LIBRARY.format("libgomp.so.1"), "libgomp.so.1 is missing", "sudo apt install libgomp1"),
        (LIBRARY.format("libstdc++.so.6"), "libstdc++.so.6 is missing", "sudo apt install libstdc++6"),
        (
            LIBRARY.format("libodd-2.so.3"),
            "libodd-2.so.3 is missing",
            "find its package: apt-file search libodd-2.so.3",
        ),
        ("/x/y.so: undefined symbol: __atomic_load_8", "not linked with libatomic", "apt install libatomic1"),
        (
            "/lib/libm.so.6: version `GLIBC_2.38' not found (required by /x/y.so)",
            "newer system: GLIBC_2.38 is missing",
            "upgrade",
        ),
        ("numpy.core.multiarray failed to import", "built for NumPy 1", "pip install 'numpy<2'"),
        ("/x/y.so: wrong ELF class: ELFCLASS32", "built for another processor", "pip install --force-reinstall"),
        ("something new\nover two lines", "cannot be imported: ImportError: something new", "--force-reinstall"),
    ],
)
def test_what_cannot_be_imported(message: str, found: str, fix: str, shelf: Path, tmp_path: Path) -> None:
    put(shelf, "onnxruntime", f"raise ImportError({message!r})")
    finding = examine("onnxruntime", tmp_path)
    assert finding.verdict == FAILURE
    assert found in finding.found
    assert fix in finding.fix
    assert "\n" not in finding.found


def test_a_missing_library_behind_an_interpreter_inside_a_package(shelf: Path, tmp_path: Path) -> None:
    put(shelf, "ai-edge-litert", f"raise ImportError({LIBRARY.format('libatomic.so.1')!r})")
    assert examine("ai-edge-litert", tmp_path).fix == "sudo apt install libatomic1"


def test_a_package_that_lacks_another_one_is_installed(shelf: Path, tmp_path: Path) -> None:
    put(shelf, "onnxruntime", "import surely_not_there.inner")
    finding = examine("onnxruntime", tmp_path)
    assert finding.found == "the module surely_not_there is missing"
    assert (finding.verdict, finding.fix) == (FAILURE, "pip install surely_not_there")


@pytest.mark.parametrize(
    ("signal", "found", "fix"),
    [
        ("SIGILL", "illegal instruction (SIGILL) on Cortex-A72 (asimd): built for another", "try another version"),
        ("SIGSEGV", "the process died of SIGSEGV", "try another version"),
        ("SIGKILL", "killed from outside (SIGKILL)", "end other programs, or add swap"),
    ],
)
def test_what_dies_takes_nobody_along(signal: str, found: str, fix: str, shelf: Path, tmp_path: Path) -> None:
    put(shelf, "openvino", f"import os, signal\nos.kill(os.getpid(), signal.{signal})")
    finding = examine("openvino", tmp_path)
    assert finding.verdict == FAILURE
    assert found in finding.found
    assert finding.fix.startswith(fix)


ONNX = """
class InferenceSession:
    def __init__(self, path, providers): {opened}
    def run(self, names, inputs): {answered}
"""


@pytest.mark.parametrize(
    ("opened", "answered", "found"),
    [
        ("raise RuntimeError('no such operator')", "pass", "RuntimeError: no such operator"),
        ("pass", "import os, signal; os.kill(os.getpid(), signal.SIGILL)", "illegal instruction (SIGILL)"),
        ("pass", "return [[[1.0, 4.0, 9.0, 16.5]]]", "computes (1.0, 4.0, 9.0, 16.5), expected (1.0, 4.0, 9.0, 16.0)"),
        ("pass", "import sys; print('last words'); sys.exit(3)", "last words"),
    ],
)
def test_what_is_imported_but_does_not_compute(
    opened: str, answered: str, found: str, shelf: Path, tmp_path: Path
) -> None:
    put(shelf, "onnxruntime", ONNX.format(opened=opened, answered=answered))
    finding = examine("onnxruntime", tmp_path)
    assert finding.verdict == FAILURE
    assert found in finding.found
    assert finding.fix


# Wheels


@pytest.mark.parametrize(
    ("distribution", "system", "found", "fix"),
    [
        ("ai-edge-litert", System("armv7l", 32, (3, 11), "glibc"), "no wheel for armv7l", "64-bit Raspberry Pi OS"),
        ("onnxruntime", System("aarch64", 32, (3, 11), "glibc"), "no wheel for armv7l", "tflite-runtime alone"),
        ("openvino", System("riscv64", 64, (3, 11), "glibc"), "no wheel for riscv64", "build it from source"),
        ("tflite-runtime", replace(BOARD, python=(3, 13)), "no wheel for Python 3.13", "use ai-edge-litert instead"),
        ("tflite-runtime", System("armv7l", 32, (3, 12), "glibc"), "no wheel for Python 3.12", "there is no other"),
        ("ai-edge-litert", replace(BOARD, python=(3, 9)), "no wheel for Python 3.9", "use Python 3.10 or newer"),
        ("ai-edge-litert", replace(BOARD, libc=""), "no wheel for a Linux without glibc", "Raspberry Pi OS"),
    ],
)
def test_where_there_is_no_wheel(
    distribution: str, system: System, found: str, fix: str, shelf: Path, tmp_path: Path
) -> None:
    hide(shelf, distribution)
    finding = examine(distribution, tmp_path, system)
    assert (finding.verdict, finding.found) == (WARNING, found)
    assert fix in finding.fix


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.distribution)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_is_a_wheel_of_everything_for_python_3_11(package: RuntimePackage, machine: str) -> None:
    assert why_no_wheel(package, replace(BOARD, machine=machine)) is None


def test_the_system_that_tests_run_on_is_no_mixed_one() -> None:
    here = System.here()
    assert here.python == sys.version_info[:2]
    assert here.is_mixed == (sys.maxsize < 2**32 and "64" in here.machine)


# The machine


def checks(root: Path, system: System = BOARD) -> dict[str, Finding]:
    """Findings about the machine by subject; of two with one subject, the first."""
    found = examine_machine(describe_machine(root), system, root)
    return {one.subject: one for one in reversed(found)}


def test_a_board_at_full_clock_is_fit(tmp_path: Path) -> None:
    found = checks(make_board(tmp_path, "rpi5", governor="performance"))
    assert {name: one.verdict for name, one in found.items() if name != "real time"} == dict.fromkeys(
        ("machine", "system", "governor", "power", "throttling", "temperature", "memory"), OK
    )
    assert found["machine"].found == "Raspberry Pi 5 Model B Rev 1.0 (BCM2712), Cortex-A76"


HIDDEN = {
    "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "temperature": "sys/class/thermal/thermal_zone0/temp",
    "memory": "proc/meminfo",
}


@pytest.mark.parametrize(("subject", "path"), HIDDEN.items())
def test_what_a_system_does_not_show_is_unknown_and_not_ok(tmp_path: Path, subject: str, path: str) -> None:
    root = make_board(tmp_path, "rpi5", governor="performance")
    (root / path).unlink()
    found = checks(root)
    assert [name for name, one in found.items() if one.verdict == UNKNOWN] == [subject]
    assert found[subject].shown_by.startswith(f"/{Path(path).parts[0]}/")
    assert found[subject].fix == ""


def test_voltage_and_throttling_are_unknown_where_no_firmware_tells(tmp_path: Path) -> None:
    found = checks(make_board(tmp_path, "rpi5", governor="performance", throttled=None))
    assert {name for name, one in found.items() if one.verdict == UNKNOWN} == {"power", "throttling"}
    assert "vcgencmd get_throttled" in found["power"].shown_by


def test_what_raspberry_pis_alone_tell_is_not_asked_of_others(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "Some Maker")
    found = checks(tmp_path)
    assert found["machine"].found == "Some Maker"
    assert not {"power", "throttling"} & found.keys()


@pytest.mark.parametrize(("processor", "asked"), [("x86_64", False), ("aarch64", True), ("armv7l", True)])
def test_a_machine_without_a_name_may_be_a_raspberry_pi_by_its_processor(
    processor: str, asked: bool, tmp_path: Path
) -> None:
    found = checks(tmp_path, replace(BOARD, machine=processor))
    assert ({"power", "throttling"} <= found.keys()) == asked


def test_of_a_system_that_shows_nothing_nothing_is_called_ok(tmp_path: Path) -> None:
    found = checks(tmp_path)
    unknown = {name for name, one in found.items() if one.verdict == UNKNOWN}
    assert unknown == {"machine", "governor", "power", "throttling", "temperature", "memory"}
    assert all(one.shown_by and not one.fix for name, one in found.items() if name in unknown)


def test_a_machine_is_called_by_what_is_known_of_it(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\n")
    assert (checks(tmp_path)["machine"].verdict, checks(tmp_path)["machine"].found) == (OK, "Some CPU")


@pytest.mark.parametrize(
    ("state", "subject", "found", "fix"),
    [
        ({"governor": "powersave"}, "governor", "governor powersave", "echo performance | sudo tee /sys/devices"),
        ({"throttled": "50005"}, "power", "under-voltage now", "power supply"),
        ({"throttled": "50005"}, "throttling", "throttled now", "cool the board"),
        ({"temperature": 82_000}, "temperature", "82 °C", "heat sink"),
    ],
)
def test_what_disturbs_is_a_warning(tmp_path: Path, state: dict[str, str], subject: str, found: str, fix: str) -> None:
    finding = checks(make_board(tmp_path, "rpi4", **state))[subject]  # type: ignore[arg-type]
    assert finding.verdict == WARNING
    assert finding.found.startswith(found)
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("total", "free", "verdict"), [(430_000, 250_000, OK), (430_000, 90_000, WARNING), (190_000, 150_000, FAILURE)]
)
def test_memory(tmp_path: Path, total: int, free: int, verdict: str) -> None:
    write(tmp_path, "proc/meminfo", f"MemTotal: {total} kB\nMemAvailable: {free} kB\n")
    finding = checks(tmp_path)["memory"]
    assert finding.verdict == verdict
    assert bool(finding.fix) == (verdict != OK)


def test_32_bit_programs_on_a_64_bit_kernel(tmp_path: Path) -> None:
    finding = checks(tmp_path, System("aarch64", 32, (3, 11), "glibc"))["system"]
    assert finding.verdict == WARNING
    assert finding.fix == "install the 64-bit Raspberry Pi OS"


def test_real_time_is_what_a_process_is_granted(tmp_path: Path, shelf: Path) -> None:
    """With a system call that refuses, in the process that asks."""
    write(
        shelf,
        "sitecustomize.py",
        "import os\ndef refuse(*_): raise PermissionError(1, 'Operation not permitted')\n"
        "os.sched_setscheduler = refuse\n",
    )
    finding = checks(tmp_path)["real time"]
    assert finding.verdict == WARNING
    assert finding.found == "SCHED_FIFO was refused (Operation not permitted)"
    assert finding.fix.startswith("allow it with ulimit -r 1")


# The command


def test_one_runtime_that_works_is_enough(
    shelf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    hide(shelf, "tflite-runtime", "onnxruntime", "openvino")
    assert cli.main(["--doctor"]) == 0
    said = capsys.readouterr().out
    (row,) = [line for line in said.splitlines() if line.startswith("│ tflite-runtime")]
    assert "not needed beside ai-edge-litert" in row
    assert "  onnxruntime: pip install 'ddtasnet-edge[onnx]'\n" in said
    assert said.splitlines()[-1].startswith("verdict: fit to run bundles")


def test_no_runtime_at_all_is_a_failed_gate(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hide(shelf, *PROBES)
    assert cli.main(["--doctor", "--json", "-"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert values["healthy"] is False
    assert {one["verdict"] for one in values["runtimes"]} == {WARNING}
    assert json.loads(json.dumps(DoctorReport.from_dict(values).to_dict())) == values


def test_one_broken_runtime_is_a_failed_gate_even_beside_one_that_works(shelf: Path) -> None:
    hide(shelf, "tflite-runtime", "openvino")
    put(shelf, "onnxruntime", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    report = run_doctor(system=BOARD)
    assert [one.verdict for one in report.runtimes] == [OK, OK, FAILURE, WARNING]
    assert not report.healthy


@pytest.mark.parametrize(("works", "verdict"), [(OK, "fit"), (FAILURE, "not fit")])
def test_what_is_unknown_stands_beside_the_verdict_and_does_not_change_it(
    works: str, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = tuple(
        Finding(name, UNKNOWN, "no", shown_by=way) for name, way in [("governor", "/sys/file"), ("power", "a way")]
    )
    report = DoctorReport(describe_machine(tmp_path), (Finding("onnxruntime", works, "1.0"),), unknown)
    assert report.healthy == (works == OK)
    reports.print_doctor(report)
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == (
        f"verdict: {verdict} to run bundles; unknown, and it may disturb figures: governor, power"
    )
    assert "what would show the unknown:\n  governor: /sys/file\n  power: a way\n" in said
    assert "what to do" not in said


def test_nothing_else_goes_with_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(reports, "examine_runtimes")
    assert cli.main(["--doctor", "some.edge", "--hops", "3"]) == 2
    assert "--doctor has no use for bundles, --hops" in capsys.readouterr().err
