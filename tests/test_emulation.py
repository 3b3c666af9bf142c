"""Emulated boards without an emulator: packages, downloads, identity, and what a missing tool is answered with."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.emulation import counting, debian, place, sysroot
from ddtasnet_edge.benchmarks.emulation.boards import BOARDS, board_named, write_identity
from ddtasnet_edge.benchmarks.emulation.debian import closure, read_index, unpack
from ddtasnet_edge.benchmarks.emulation.download import download
from ddtasnet_edge.benchmarks.emulation.place import EmulatedPlace, emulated_place, find_emulator
from ddtasnet_edge.benchmarks.machine import PI_MODELS, describe_machine
from ddtasnet_edge.benchmarks.place_parity import parity_at
from ddtasnet_edge.benchmarks.process import ProcessDiedError
from ddtasnet_edge.errors import DeviceError, EdgeError
from tests.bundles import Workshop
from tests.sshd import until

CONTENT = bytes(range(256)) * 4000


class Mirror:
    """A web server on loopback. files: by path; limit: bytes at which answers break off; asked: the Range headers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.limit: int | None = None
        self.asked: list[str | None] = []

    def url(self, path: str) -> str:
        return f"{self.root}/{path}"

    def start(self) -> ThreadingHTTPServer:
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                mirror.asked.append(wanted)
                content = mirror.files.get(self.path.lstrip("/"))
                if content is None:
                    self.send_error(404)
                    return
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start : mirror.limit])

            def log_message(self, *arguments: object) -> None:
                """Tests are silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    made = Mirror()
    with made.start() as server:
        yield made
        server.shutdown()


def fetch(mirror: Mirror, target: Path, content: bytes = CONTENT) -> None:
    mirror.files["file"] = content
    download(mirror.url("file"), target, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_a_cut_download_is_continued_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    target = tmp_path / "file"
    mirror.limit = 300_000
    with pytest.raises(DeviceError, match="run again"):
        fetch(mirror, target)
    assert not target.exists()
    mirror.limit = None
    fetch(mirror, target)
    assert target.read_bytes() == CONTENT
    assert mirror.asked == [None, "bytes=300000-"]


def test_what_is_there_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    fetch(mirror, tmp_path / "file")
    fetch(mirror, tmp_path / "file")
    assert len(mirror.asked) == 1


def test_a_file_that_is_not_what_its_index_says_is_refused_and_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is not what its index says"):
        fetch(mirror, tmp_path / "file", content=CONTENT[::-1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("path", "reason"), [("absent", "HTTP status 404"), (None, "refused")])
def test_an_unreachable_mirror_is_said_in_a_line(mirror: Mirror, tmp_path: Path, path: str | None, reason: str) -> None:
    url = "http://127.0.0.1:9/file" if path is None else mirror.url(path)
    with pytest.raises(DeviceError, match=f"cannot fetch {url}: .*{reason}.*; check the network"):
        download(url, tmp_path / "file")


INDEX = """\
Package: python
Version: 3.11
Depends: libc (>= 2.36), libssl | libtls, virtual-thing
Pre-Depends: tar
Filename: pool/python.deb
Size: 3
SHA256: aa

Package: libc
Depends: libgcc:any
Filename: pool/libc.deb
Size: 4
SHA256: bb

Package: libgcc
Depends: libc
Filename: pool/libgcc.deb
Size: 5
SHA256: cc

Package: libssl
Filename: pool/libssl.deb
Size: 6
SHA256: dd

Package: tar
Filename: pool/tar.deb
Size: 7
SHA256: ee

Package: unrelated
Filename: pool/unrelated.deb
Size: 8
SHA256: ff
"""


def test_the_closure_has_what_roots_depend_on_and_nothing_else() -> None:
    found = closure(read_index(INDEX), ["python"])
    assert [(package.name, package.size) for package in found] == [
        ("libc", 4),
        ("libgcc", 5),
        ("libssl", 6),
        ("python", 3),
    ]


def test_a_mirror_without_a_root_is_refused() -> None:
    with pytest.raises(DeviceError, match="has no python9 in bookworm"):
        closure(read_index(INDEX), ["python", "python9"])


def a_deb(files: dict[str, bytes]) -> bytes:
    """A Debian package as dpkg-deb writes it: an ar archive of a version, control files and files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    packed = b"!<arch>\n"
    for name, content in members.items():
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        packed += b"\n" * (len(content) % 2)
    return packed


def test_a_package_is_unpacked(tmp_path: Path) -> None:
    deb = tmp_path / "a.deb"
    deb.write_bytes(a_deb({"usr/lib/libodd.so": b"library"}))
    unpack(deb, tmp_path / "root")
    assert (tmp_path / "root/usr/lib/libodd.so").read_bytes() == b"library"


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"!<arch>\n", a_deb({"a": b"b"})[:200]])
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    deb = tmp_path / "a.deb"
    deb.write_bytes(content)
    with pytest.raises(DeviceError, match=r"a\.deb .*remove it and run again"):
        unpack(deb, tmp_path / "root")


def test_a_package_cannot_write_outside_of_the_system(tmp_path: Path) -> None:
    deb = tmp_path / "a.deb"
    deb.write_bytes(a_deb({"../../escaped": b""}))
    with pytest.raises(DeviceError, match="outside"):
        unpack(deb, tmp_path / "deep/root")
    assert not (tmp_path / "escaped").exists()


def test_a_half_downloaded_system_goes_on_where_it_stopped(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = a_deb({"usr/first": b"1"}), a_deb({"usr/second": b"2"})
    entries = {"one": first, "two": second}
    index = "\n\n".join(
        f"Package: {name}\nFilename: {name}.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}"
        for name, deb in entries.items()
    )
    mirror.files["dists/bookworm/main/binary-arm64/Packages.xz"] = lzma.compress(index.encode())
    mirror.files["one.deb"] = first
    monkeypatch.setattr(debian, "MIRROR", mirror.root)
    monkeypatch.setattr(debian, "ROOTS", tuple(entries))
    monkeypatch.setattr(debian, "closure", lambda known: closure(known, list(entries)))
    said: list[str] = []
    with pytest.raises(DeviceError, match=r"two\.deb: HTTP status 404"):
        sysroot.prepare_root(BOARDS["rpi4"], tmp_path, said.append)
    assert not list(tmp_path.glob("debian-*"))
    mirror.files["two.deb"] = second
    root = sysroot.prepare_root(BOARDS["rpi4"], tmp_path, said.append)
    assert (root / "usr/first").read_bytes() + (root / "usr/second").read_bytes() == b"12"
    # The index, the first package, the second that was missing; then a new index, and the second alone.
    assert len(mirror.asked) == 5
    assert any("2 packages" in line and "MB" in line for line in said)


def test_all_boards_that_can_be_measured_can_be_emulated() -> None:
    assert set(BOARDS) == set(PI_MODELS) - {"rpi"}


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_known_by_its_files(tmp_path: Path, name: str) -> None:
    write_identity(BOARDS[name], tmp_path)
    machine = describe_machine(tmp_path)
    assert machine.name.startswith(PI_MODELS[name])
    assert machine.cpu == BOARDS[name].processor.qemu.title()


def test_an_unknown_board_gets_the_nearest_name() -> None:
    with pytest.raises(DeviceError, match="rpi4"):
        board_named("rpi44")


def test_without_qemu_the_package_that_has_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"qemu-aarch64-static, .* apt-get install qemu-user-static"):
        find_emulator()


def fake(tmp_path: Path, script: str) -> EmulatedPlace:
    """A place whose emulator is a shell script."""
    emulator = tmp_path / "qemu"
    emulator.write_text(f"#!/bin/sh\n{script}\n")
    emulator.chmod(0o755)
    return EmulatedPlace(BOARDS["rpi5"], str(emulator), tmp_path / "root", (tmp_path / "site",), tmp_path)


def test_the_emulator_gets_the_core_and_the_root_of_the_board(tmp_path: Path) -> None:
    emulated = fake(tmp_path, f'echo "$@" > {tmp_path}/said; echo "$PYTHONPATH" >> {tmp_path}/said')
    emulated.run("trace_worker", ["a bundle"])
    said, path = (tmp_path / "said").read_text().splitlines()
    python = f"-cpu cortex-a76 -L {tmp_path}/root {tmp_path}/root/usr/bin/python3.11"
    assert said == f"{python} -m ddtasnet_edge.benchmarks.trace_worker a bundle"
    assert path == str(tmp_path / "site")


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo first >&2; echo last >&2; exit 2", "emulated.*: last"),
        ("kill -ILL $$", "died of SIGILL"),
        ("exit 3", "3"),
    ],
)
def test_what_fails_on_an_emulated_board_is_said_in_a_line(tmp_path: Path, script: str, line: str) -> None:
    with pytest.raises(EdgeError, match=line):
        fake(tmp_path, script).run("trace_worker", [])


def test_what_runs_on_a_board_ends_with_it(tmp_path: Path) -> None:
    emulated = fake(tmp_path, f"touch {tmp_path}/started-$$; exec sleep 600")
    works = [partial(emulated.run, "trace_worker", []) for _ in range(2)]
    ended: list[BaseException | None] = []
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work) for work in works]
        for _ in until():
            if len(list(tmp_path.glob("started-*"))) == 2:
                break
        emulated.processes.end()
        ended += [future.exception(timeout=30) for future in futures]
    assert [type(error) for error in ended] == [ProcessDiedError, ProcessDiedError]
    with pytest.raises(DeviceError, match="the emulated board is gone"):
        emulated.run("trace_worker", [])


#: Seconds; whoever waits for a sleeper is found out by the time.
NAP = 120
SLEEP = f'touch "$(dirname "$0")/started-$$"; exec sleep {NAP}'


def sleepers(folder: Path) -> list[int]:
    """The processes of the fake emulator there that live, or that nobody has waited for."""
    started = [int(path.name.partition("-")[2]) for path in folder.glob("started-*")]
    return [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Path]:
    """A folder for a fake emulator whose processes sleep; those left over do not outlive the test."""
    folder = tmp_path / "bed"
    folder.mkdir()
    yield folder
    for pid in sleepers(folder):
        os.kill(pid, signal.SIGKILL)


def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made from now on."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_who_leaves_an_emulated_board_leaves_nothing_running(
    bed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator, wheel = fake(bed, SLEEP).emulator, tmp_path / "a.whl"
    zipfile.ZipFile(wheel, "w").close()
    monkeypatch.setattr(place, "find_emulator", lambda: emulator)
    monkeypatch.setattr(place, "prepare_root", lambda *_: tmp_path)
    monkeypatch.setattr(place, "prepare_site", lambda *_: tmp_path)
    temporary, pool = temporary_folder(tmp_path, monkeypatch), ThreadPoolExecutor(2)

    def work() -> None:
        with emulated_place(BOARDS["rpi4"], ["tflite"], wheel, tmp_path / "cache", print) as emulated:
            for _ in range(2):
                pool.submit(emulated.run, "trace_worker", [])
            for _ in until():
                if len(sleepers(bed)) == 2:
                    break
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert sleepers(bed) == []
    assert list(temporary.iterdir()) == []
    pool.shutdown()


def test_after_an_error_no_bundle_is_held_against_pytorch_any_more(
    bed: Path, tmp_path: Path, tiny: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first fails while the second sleeps, and nobody waits until it has slept."""
    fail = 'while ! ls "$(dirname "$0")"/started-*; do sleep 0.1; done; echo no music >&2; exit 2'
    emulated = fake(bed, f'case "$*" in *float32*) {fail};; esac; {SLEEP}')
    monkeypatch.setattr(EmulatedPlace, "jobs", 2)
    bundles = [tiny.bundle("tflite", recipe) for recipe in ("float32", "static_wi8_ai8")]
    temporary, began = temporary_folder(tmp_path, monkeypatch), time.monotonic()
    with pytest.raises(EdgeError, match="no music"):
        parity_at(emulated, bundles, str(tiny.compiler.source.name), seconds=0.1, quiet=True)
    assert time.monotonic() - began < NAP
    assert list(bed.glob("started-*"))
    assert sleepers(bed) == []
    assert list(temporary.iterdir()) == []


def test_counting_ends_with_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = fake(tmp_path, "")
    monkeypatch.setattr(counting, "EMULATOR", emulated.emulator)
    monkeypatch.setattr(counting, "_compile", lambda *_: None)
    counter = counting.InstructionCounter(emulated)
    emulated.end()
    with pytest.raises(DeviceError, match="the emulated board is gone"):
        counter.per_hop([])


def test_files_come_back_whole(tmp_path: Path) -> None:
    emulated = fake(tmp_path, "")
    Path(emulated.make_path("result")).write_text("stems")
    emulated.fetch(emulated.make_path("result"), tmp_path / "here")
    assert (tmp_path / "here").read_text() == "stems"


def test_the_environment_of_this_machine_stays_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib")
    monkeypatch.setenv("PYTHONPATH", "/here")
    assert place.os.environ["LD_LIBRARY_PATH"] == "/usr/lib"
    environment = fake(tmp_path, "").environment()
    assert "LD_LIBRARY_PATH" not in environment
    assert environment["PYTHONPATH"] == str(tmp_path / "site")


def test_a_board_of_one_system_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysroot, "install", lambda root, *_: (root / "usr").mkdir())
    first = sysroot.prepare_root(BOARDS["rpi4"], tmp_path, print)
    made = first.stat().st_ino
    # Another process may be running on it.
    assert sysroot.prepare_root(BOARDS["rpi4"], tmp_path, print).stat().st_ino == made
    monkeypatch.setattr(sysroot, "SUITE", "later")
    assert sysroot.prepare_root(BOARDS["rpi4"], tmp_path, print) != first
    assert first.is_dir()


def test_two_processes_set_up_one_after_the_other(tmp_path: Path) -> None:
    said: list[str] = []
    with sysroot.locked(tmp_path, said.append):
        other = threading.Thread(target=lambda: sysroot.locked(tmp_path, said.append).__enter__(), daemon=True)
        other.start()
        other.join(1.0)
        assert other.is_alive()
        assert said == ["another process is setting up emulated boards; waiting for it"]
    other.join(10.0)
    assert not other.is_alive()


def test_a_cache_that_cannot_be_written_names_the_variable_that_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = sysroot.cache_folder()
    with (
        pytest.raises(EdgeError, match=rf"cannot write {cache}: Not a directory; set XDG_CACHE_HOME to a folder"),
        sysroot.locked(cache, print),
    ):
        pass


KILLED = """
import os, signal, sys
from pathlib import Path
from ddtasnet_edge.benchmarks.emulation import sysroot
from ddtasnet_edge.benchmarks.emulation.boards import BOARDS

def die(root, *_):
    (root / "half").write_bytes(bytes(2_000_000))
    os.kill(os.getpid(), signal.SIGKILL)

cache = Path(sys.argv[1])
with sysroot.locked(cache, print):
    sysroot.install = die
    sysroot.prepare_root(BOARDS["rpi4"], cache, print)
"""


def test_what_a_killed_set_up_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".debian-*/half"))
    (tmp_path / "boards" / ".rpi4-x.abc").mkdir(parents=True)
    monkeypatch.setattr(sysroot, "install", lambda root, *_: (root / "usr").mkdir())
    finished = sysroot.prepare_root(BOARDS["rpi5"], tmp_path, print)
    said: list[str] = []
    with sysroot.locked(tmp_path, said.append):
        assert [path.name for path in tmp_path.rglob(".*")] == []
        assert (finished / "usr").is_dir()
    assert said == ["removing what a killed set-up left (2 MB)"]


ORPHANED = """
import sys
from pathlib import Path
from ddtasnet_edge.benchmarks.emulation import sysroot

cache = Path(sys.argv[1])
sys.executable = str(cache / "pip")
with sysroot.locked(cache, print):
    sysroot._install("nothing", cache / ".site-late", cache / "constraints.txt")
"""


def test_a_pip_that_outlives_its_set_up_is_waited_for(tmp_path: Path) -> None:
    pip = tmp_path / "pip"
    hold = tmp_path / "hold"
    os.mkfifo(hold)
    # pip reads from it until it is closed, at the latest with the test.
    held = hold.open("r+b", buffering=0)
    pip.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nread line <{hold}\nmkdir {tmp_path}/.site-late\n")
    pip.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", ORPHANED, str(tmp_path)]) as process:
        for _ in until():
            if (tmp_path / "started").exists():
                break
        process.kill()
    waits = "another process is setting up emulated boards; waiting for it"
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line == waits:
            held.close()

    with sysroot.locked(tmp_path, hear):
        assert not (tmp_path / ".site-late").exists()
    assert said == [waits, "removing what a killed set-up left (0 MB)"]


def test_what_a_set_up_that_still_runs_has_made_stays(tmp_path: Path) -> None:
    half = tmp_path / ".site-tflite-0.abc"
    said: list[str] = []
    with sysroot.locked(tmp_path, said.append):
        half.mkdir()
        other = threading.Thread(target=lambda: sysroot.locked(tmp_path, said.append).__enter__(), daemon=True)
        other.start()
        other.join(1.0)
        assert half.is_dir()
    other.join(10.0)
    assert not half.exists()


@pytest.mark.parametrize("mirror", ["http://deb.debian.org/debian", "ftp://mirror", "mirror"])
def test_a_mirror_that_anybody_could_stand_in_for_is_refused(mirror: str) -> None:
    with pytest.raises(DeviceError, match=f"is {mirror}, expected an address that begins with https://"):
        debian.check_mirror(mirror)
