"""The benchmark on a board: a real light install behind a real sshd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.benchmarks import cli, modes
from ddtasnet_edge.benchmarks.remote.bench import bench_arguments, bench_on
from ddtasnet_edge.benchmarks.remote.connection import Patience
from ddtasnet_edge.benchmarks.remote.install import check_extra, extra_for, pip_failure
from ddtasnet_edge.benchmarks.remote.jobs import JobFailedError
from ddtasnet_edge.benchmarks.remote.look import Board, Interpreter
from ddtasnet_edge.benchmarks.remote.place import SshPlace, open_board
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import Options
from ddtasnet_edge.bundle import Bundle, read_bundle
from ddtasnet_edge.errors import ConfigError, EdgeError
from tests import sshd
from tests.bundles import Workshop
from tests.test_cli_bench import make_bundle

QUICK = Patience(total=30.0, first=0.1, longest=0.5)
HOPS = 30


@dataclass
class Installed:
    """One light install for the tests of this file: it takes a minute."""

    board: sshd.Board
    place: SshPlace
    notes: list[str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with sshd.running_board(tmp_path_factory.mktemp("remote") / "board") as board:
        with open_board(board.address, "tflite", patience=QUICK) as place:
            yield Installed(board, place, place.setup.notes())
        assert board.leftovers() == []


@pytest.fixture(scope="module")
def bundle(tiny: Workshop) -> Bundle:
    return tiny.bundle("tflite", "float32")


def test_the_install_says_what_it_is_and_takes(installed: Installed) -> None:
    setup = installed.place.setup
    assert installed.notes == setup.notes()
    assert installed.notes[0].startswith(f"board: board, {setup.board.machine}, 64-bit Python 3.")
    assert f"ddtasnet-edge[tflite] takes {setup.size_bytes / 1e6:.0f} MB on its disk" in installed.notes[1]
    (environment,) = installed.board.temporary.glob("*/venv")
    files = {(path.lstat().st_ino, path.lstat().st_blocks) for path in environment.rglob("*")}
    assert setup.size_bytes == pytest.approx(512 * sum(blocks for _, blocks in files), rel=0.02)


def test_the_install_is_light(installed: Installed) -> None:
    (packages,) = installed.board.temporary.glob("*/venv/lib/python3*/site-packages")
    assert (packages / "ddtasnet_edge").is_dir()
    assert (packages / "ai_edge_litert").is_dir()
    heavy = ("torch", "matplotlib", "scipy", "onnx", "onnxruntime", "openvino", "ddtasnet_edge/weights")
    assert not [name for name in heavy if (packages / name).exists()]


def test_bundles_are_timed_there(installed: Installed, bundle: Bundle) -> None:
    report = bench_on(installed.place, [bundle], Options(hops=HOPS))
    (result,) = report.results
    assert (report.device, report.hops, result.bundle, result.digest) == (
        "host",
        HOPS,
        bundle.path.name,
        bundle.digest,
    )
    assert len(result.hop_times.times_us) == HOPS
    assert result.runtime.startswith("ai-edge-litert")


def test_the_music_that_is_timed_there_is_that_of_a_run_here(
    installed: Installed, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The light install has no clip; what it reads from ours is held against what a run here would feed."""
    sent: list[Path] = []
    send = installed.place.send
    monkeypatch.setattr(installed.place, "send", lambda path: sent.append(path) or send(path))
    report = bench_on(installed.place, [bundle], Options(hops=HOPS))
    here = load_sound(bundle.manifest.spec, 1_000_000)
    assert report.input == here.description
    assert "Falcon 69" in report.input
    song = next(installed.board.temporary.glob(f"*/sent/*/{sent[0].name}"))
    assert np.array_equal(load_sound(bundle.manifest.spec, 1_000_000, song).hops, here.hops)


def test_a_song_of_the_user_is_timed_there(installed: Installed, bundle: Bundle, tmp_path: Path) -> None:
    song = tmp_path / "my song.wav"
    soundfile.write(song, np.random.default_rng(0).uniform(-0.5, 0.5, (96_000, 2)), 48_000)
    report = bench_on(installed.place, [bundle], Options(hops=HOPS, song=song))
    assert report.input == "2.0 s of my song.wav (audio supplied by the user)"


def test_a_benchmark_survives_killed_connections(installed: Installed, bundle: Bundle) -> None:
    """Killed twice while it runs, and no fewer hops for that."""
    jobs = next(installed.board.temporary.iterdir()) / "jobs"
    before, kills = set(jobs.iterdir()), []

    def kill() -> None:
        for _ in sshd.until():
            if any((job / "pid").exists() for job in set(jobs.iterdir()) - before):
                break
        for _ in range(2):
            installed.board.drop_sessions()
            kills.append(1)

    thread = Thread(target=kill)
    thread.start()
    report = bench_on(installed.place, [bundle], Options(hops=HOPS, paced=True))
    thread.join()
    assert len(kills) == 2
    assert report.mode == "paced"
    assert [len(result.hop_times.times_us) for result in report.results] == [HOPS]
    # One job, however often its connection was lost.
    assert len(set(jobs.iterdir()) - before) == 1


def test_a_board_that_is_another_one_refuses(installed: Installed, bundle: Bundle) -> None:
    with pytest.raises(EdgeError, match=r"^board: device 'rpi5' is asked for, but this machine is not a Raspberry Pi"):
        bench_on(installed.place, [bundle], Options(hops=HOPS, device="rpi5"))


def test_what_the_benchmark_there_refuses_is_said_here(installed: Installed, tmp_path: Path) -> None:
    broken = read_bundle(make_bundle(tmp_path / "broken-tflite-float32.edge"))
    with pytest.raises(EdgeError, match=r"^board: ") as error:
        bench_on(installed.place, [broken], Options(hops=HOPS))
    assert len(str(error.value).splitlines()) == 1


def opened(board: sshd.Board, extra: str = "tflite") -> str:
    """The line with which a board is not opened."""
    with pytest.raises(EdgeError) as error, open_board(board.address, extra, quiet=True):
        pass
    assert board.leftovers() == []
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--device", "rpi5"], "device 'rpi5' is asked for, but board is "),
        (["--threads", "4096"], "--threads is 4096, board has "),
    ],
)
def test_what_the_board_is_not_is_said_before_any_work(
    tmp_path: Path,
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with sshd.running_board(tmp_path / "board") as board:
        # What makes our folder there: it would fail with another line.
        board.program("mkdir", "echo asked for a folder >&2; exit 1")
        config = str(board.address.config)
        assert cli.main(["--host", sshd.HOST, "--ssh-config", config, "--quiet", *options]) == 2
        assert says in capsys.readouterr().err
        assert board.leftovers() == []
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


def test_no_wheel_for_that_board(tmp_path: Path) -> None:
    with sshd.running_board(tmp_path / "board", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path)) as board:
        line = opened(board)
    assert line.startswith("pip on board finds no wheel of ")
    assert "64-bit Python 3." in line
    assert "another target, or an index that has it" in line


def test_no_index_within_reach(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "https://nowhere.invalid/simple", "PIP_RETRIES": "1", "PIP_FIND_LINKS": str(tmp_path)}
    with sshd.running_board(tmp_path / "board", PIP_CONFIG_FILE="/dev/null", **nowhere) as board:
        assert opened(board).startswith("pip on board reaches no package index; check the network")


def test_a_venv_that_cannot_be_made(tmp_path: Path) -> None:
    with sshd.running_board(tmp_path / "board") as board:
        board.program("python3", 'case "$*" in *venv\\ /*) echo no luck >&2; exit 1;; *) echo 3.11.2 64 venv;; esac')
        assert opened(board) == "board: no luck"


def test_a_disk_without_room_for_the_install(tmp_path: Path) -> None:
    with sshd.running_board(tmp_path / "board") as board:
        board.program("df", "echo header; echo disk 100000 50000 50000 50% /")
        assert "board has 51 MB free in" in opened(board)


# What goes there


@pytest.mark.parametrize(("extra", "says"), [("torch", "'torch' is not for boards"), ("", "'' is not for boards")])
def test_only_the_light_runtimes_go_there(extra: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"{says}, expected tflite, onnx, openvino"):
        check_extra(extra)


def test_bundles_tell_their_extras(tmp_path: Path) -> None:
    targets = ("tflite", "onnx", "tflite")
    bundles = [read_bundle(make_bundle(tmp_path / f"{n}.edge", target)) for n, target in enumerate(targets)]
    assert extra_for(bundles) == "onnx,tflite"
    with pytest.raises(ConfigError, match="'torch' is not for boards"):
        extra_for([read_bundle(make_bundle(tmp_path / "t.edge", "torch"))])


OPTIONS = st.builds(
    Options,
    hops=st.integers(1, 10**6),
    minutes=st.none() | st.floats(min_value=0.001, max_value=1000.0),
    threads=st.integers(1, 64),
    paced=st.booleans(),
    device=st.sampled_from(["host", "rpi", "rpi5"]),
    song=st.none() | st.just(Path("a song.wav")),
    hog=st.booleans(),
    realtime=st.booleans(),
)


@given(options=OPTIONS)
def test_options_survive_the_command_line(options: Options) -> None:
    parsed = modes._options(cli._parser().parse_args([*bench_arguments(options), "a.edge"]))
    expected = options if options.minutes is None else Options(**{**vars(options), "hops": Options.hops})
    assert parsed == expected


@dataclass
class PaperPlace:
    """A place that answers with what a test wrote."""

    answer: str
    name: str = "paper"
    ran: list[tuple[str, Sequence[str]]] = field(default_factory=list)

    def send(self, path: Path) -> str:
        return f"/sent/{path.name}"

    def make_path(self, name: str) -> str:
        return f"/made/{name}"

    def run(self, module: str, arguments: Sequence[str]) -> None:
        self.ran.append((module, arguments))

    def fetch(self, there: str, here: Path) -> None:
        assert there == "/made/bench.json"
        here.write_text(self.answer)


@pytest.mark.parametrize("answer", ["", "{}", '{"machine": 3}', "[1]"])
def test_a_report_that_cannot_be_read(answer: str, tmp_path: Path) -> None:
    place = PaperPlace(answer)
    with pytest.raises(EdgeError, match=r"^paper sent a report that cannot be read .*; start again$"):
        bench_on(place, [read_bundle(make_bundle(tmp_path / "a.edge"))], Options())
    ((module, arguments),) = place.ran
    assert (module, list(arguments[-3:])) == ("remote.command", ["--json", "/made/bench.json", "/sent/a.edge"])
    assert list(arguments)[list(arguments).index("--song") + 1] == "/sent/music.wav"


PYTHON = Interpreter("python3", "3.12.1", 64, True)
SSL = "WARNING: Could not fetch URL https://x/: There was a problem confirming the ssl certificate: not yet valid\n"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (
            SSL + "ERROR: No matching distribution found for numpy>=1.26\n",
            r"set the clock of the board \(timedatectl\)",
        ),
        ("ERROR: No matching distribution found for av>=14\n", "no wheel of av>=14 for aarch64, 64-bit Python 3.12.1"),
        ("ERROR: what nobody saw before\n", "^pip on pi: ERROR: what nobody saw before; correct its pip config"),
    ],
)
def test_what_pip_says_becomes_a_line(said: str, says: str) -> None:
    failed = JobFailedError(f"pi: {said.splitlines()[-1]}", said)
    with pytest.raises(EdgeError, match=says):
        raise pip_failure("pi", Board("aarch64", PYTHON), failed)


def test_what_failed_is_kept_whole_for_whoever_wants_to_know_more() -> None:
    assert JobFailedError("pi: last", "first\nlast\n").said == "first\nlast\n"
