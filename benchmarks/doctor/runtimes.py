"""What became of each runtime in its process, in words, and what to do."""

from __future__ import annotations

import re

from ddtasnet_edge.benchmarks.doctor.finding import FAILURE, OK, WARNING, Finding
from ddtasnet_edge.benchmarks.doctor.packages import LITERT, PACKAGES, RuntimePackage, System, why_no_wheel
from ddtasnet_edge.benchmarks.doctor.probe import EXPECTED, PROBES, Outcome
from ddtasnet_edge.benchmarks.machine import Machine
from ddtasnet_edge.benchmarks.process import ProcessDiedError, run_module
from ddtasnet_edge.dependencies import installed_versions
from ddtasnet_edge.errors import EdgeError

# In seconds; a Pi Zero imports OpenVINO from an SD card within half of this.
PATIENCE = 120.0
#: Debian packages of shared libraries that wheels expect of the system.
APT = {
    "libatomic.so.1": "libatomic1",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libopenblas.so.0": "libopenblas0",
}
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_NEWER_LIBRARY = re.compile(r"version [`'](\w+_[\d.]+)' not found")


def examine_runtimes(machine: Machine, system: System) -> list[Finding]:
    """One finding for each runtime, each in a process of its own."""
    findings = [examine_runtime(package, machine, system) for package in PACKAGES]
    works = any(one.subject == LITERT and one.verdict == OK for one in findings)
    return [_unneeded(one) if works and one.subject == "tflite-runtime" else one for one in findings]


def examine_runtime(package: RuntimePackage, machine: Machine, system: System) -> Finding:
    """Import one runtime and run a graph."""
    name = package.distribution
    try:
        outcome = Outcome(**run_module("doctor.probe", {"subject": name}, patience=PATIENCE))
    except ProcessDiedError as died:
        return Finding(name, FAILURE, *_explain_death(str(died), name, machine))
    except EdgeError as error:
        return Finding(name, FAILURE, str(error), f"pip install --force-reinstall {name}")
    if outcome.missing == PROBES[name][0].partition(".")[0]:
        return Finding(name, WARNING, *(why_no_wheel(package, system) or ("not installed", package.install)))
    version = installed_versions([name]).get(name, "of unknown version")
    if outcome.error is not None:
        return Finding(name, FAILURE, *_explain_error(outcome, name))
    answer = tuple(outcome.answer or ())
    if answer != EXPECTED:
        wrong = f"{version} computes {answer}, expected {EXPECTED}"
        return Finding(name, FAILURE, wrong, f"try another version: pip install '{name}!={version}'")
    return Finding(name, OK, f"{version} works")


def _unneeded(finding: Finding) -> Finding:
    """tflite-runtime, where what took its place works."""
    return Finding(finding.subject, OK, f"not needed beside {LITERT}") if finding.verdict == WARNING else finding


def _explain_death(died: str, name: str, machine: Machine) -> tuple[str, str]:
    """What was found and what to do, of a process that a signal ended."""
    version = installed_versions([name]).get(name)
    another = f"try another version (pip install '{name}!={version}')" if version else "try another version"
    if "SIGILL" in died:
        features = " ".join(machine.features or ()) or "features unknown"
        found = f"illegal instruction (SIGILL) on {machine.cpu} ({features}): built for another processor"
        return found, f"{another}, or another runtime"
    if "SIGKILL" in died:
        return "killed from outside (SIGKILL), most likely for lack of memory", "end other programs, or add swap"
    return died, f"{another}, or another runtime"


def _explain_error(outcome: Outcome, name: str) -> tuple[str, str]:
    """What was found and what to do, of an exception."""
    text = str(outcome.error)
    line = text.splitlines()[0]
    again = f"pip install --force-reinstall {name}"
    if missing := _MISSING_LIBRARY.search(text):
        library = missing[1]
        search = f"find its package: apt-file search {library}"
        return f"{library} is missing", f"sudo apt install {APT[library]}" if library in APT else search
    if "undefined symbol: __atomic" in text:
        return "it was not linked with libatomic", "sudo apt install libatomic1; export LD_PRELOAD=libatomic.so.1"
    if newer := _NEWER_LIBRARY.search(text):
        return f"built for a newer system: {newer[1]} is missing", f"upgrade the system, or install an older {name}"
    if re.search("compiled using NumPy 1|_ARRAY_API|numpy.core.multiarray failed", text):
        return "built for NumPy 1", "pip install 'numpy<2'"
    if "ELF" in text:
        return f"built for another processor: {line}", again
    if outcome.missing is not None:
        return f"the module {outcome.missing} is missing", f"pip install {outcome.missing.partition('.')[0]}"
    return ("" if outcome.imported else "cannot be imported: ") + line, again
