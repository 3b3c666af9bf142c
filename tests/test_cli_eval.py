"""`ddtasnet-eval` from its arguments to its tables, files and exit codes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ddtasnet_edge import dependencies
from ddtasnet_edge.config import MUSDB_SOURCES
from ddtasnet_edge.evaluation import cli, museval_v4, separator
from ddtasnet_edge.spec import FloatArray
from tests.evaluation import damage, fake_separator, quarters, spec, write_config, write_songs


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return write_songs(tmp_path / "songs", 2, 1.0)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_config(tmp_path))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; returns its last line of explanation."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    line = said.err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_tables(model: str, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([model, "--songs", str(songs)]) == 0
    out = capsys.readouterr().out
    rows = {cells[0]: cells[1:] for line in out.splitlines() if (cells := line.replace("│", " ").split())}
    assert all(len(rows[name]) == 6 for name in (*MUSDB_SOURCES, "mean"))
    floor, found, ceiling = (float(cell) for cell in rows["mean"][:3])
    assert floor < found < ceiling
    assert {"song-0", "song-1"} <= set(rows)
    for fact in ("random weights", "on 2 tracks", "ideal ratio mask", "uSDR: mean over tracks"):
        assert fact in out
    assert "SIR" not in out
    assert "Drift" not in out


def test_one_track_needs_no_table_of_tracks(model: str, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([model, "--songs", str(songs), "--tracks", "song-1"]) == 0
    out = capsys.readouterr().out
    assert "on 1 track\n" in "\n".join(line.rstrip() for line in out.splitlines()) + "\n"
    assert "song-1" not in out


def test_json_alone_on_stdout(model: str, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([model, "--songs", str(songs), "--excerpt", "0.5", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["weights"], report["museval"]) == ("little", "random", False)
    assert [track["track"] for track in report["tracks"]] == ["song-0", "song-1"]
    first = report["tracks"][0]
    assert first["seconds"] == 0.5
    assert len(first["sha256"]) == 64
    assert [stem["source"] for stem in first["stems"]] == list(MUSDB_SOURCES)
    assert isinstance(first["stems"][0]["ceiling"]["csdr"], float)
    assert first["stems"][0]["model"]["sir"] is None
    assert report["summary"][-1]["source"] == "mean"
    assert report["drift"] is None


def test_quiet_says_nothing(model: str, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([model, "--songs", str(songs), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_museval_files_imply_museval(
    model: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(museval_v4, "TAPS", 16)
    out = tmp_path / "scores"
    arguments = [model, "--songs", str(songs), "--tracks", "song-0", "--excerpt", "0.3", "--museval-json", str(out)]
    assert cli.main(arguments) == 0
    assert "ISR ceiling" in capsys.readouterr().out
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.json")] == ["test/song-0.json"]
    assert len(json.loads((out / "test" / "song-0.json").read_text())["targets"]) == 4


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plot(model: str, songs: Path, tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"boxes{suffix}"
    assert cli.main([model, "--songs", str(songs), "--plot", str(path), "--quiet"]) == 0
    assert path.read_bytes().startswith(start)


def test_a_corrupt_song_costs_only_itself(model: str, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(songs / "test" / "song-0")
    assert cli.main([model, "--songs", str(songs)]) == 0
    said = capsys.readouterr()
    assert "skipped 'song-0': " in said.err
    assert "tracks left out because they cannot be read: 1" in said.out
    damage(songs / "test" / "song-1")
    assert "none of 2 tracks could be read" in refused([model, "--songs", str(songs)], capsys)


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_missing_folder_is_refused_before_any_work(
    option: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "report.png"
    assert cli.main([model, option, str(path)]) == 2
    assert f"cannot write {path}: there is no folder {path.parent}; make it first" in capsys.readouterr().err


def test_drift_passes_and_is_in_the_report(
    model: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    assert cli.main([model, "--songs", str(songs), "--drift", "3", "--json", str(path)]) == 0
    assert "stable" in capsys.readouterr().out
    report = json.loads(path.read_text())["drift"]
    assert len(report["minutes"]) == 3
    assert report["failures"] == []
    assert report["recovery"] <= 1


def test_a_stream_that_drifts_fails_the_gate(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        memory += np.float32(index)
        return quarters(mix, index, memory)

    monkeypatch.setattr(cli, "open_separator", lambda _: fake_separator(rule, spec(hop=2000)))
    path = tmp_path / "report.json"
    assert cli.main(["any", "--songs", str(songs), "--drift", "3", "--json", str(path)]) == 1
    said = capsys.readouterr()
    assert "UNSTABLE: 1 verdicts missed" in said.out
    assert "error: fake is not stable: state slot 'memory' grew from" in said.err
    assert json.loads(path.read_text())["drift"]["failures"]


def test_against_shows_what_changed(
    model: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    assert cli.main([model, "--songs", str(songs), "--against", model, "--json", str(path)]) == 0
    said = capsys.readouterr()
    assert "\nagainst " in said.err
    for fact in ("Changes", "before: little; after: little", "leakage: energy of the estimate", "song-0"):
        assert fact in said.out
    assert "HAAQI" not in said.out
    report = json.loads(path.read_text())
    assert report["against"] == "little"
    assert [row["source"] for row in report["changes"]] == list(MUSDB_SOURCES)
    assert all(row["usdr_change"] == row["dsdr_lowest"] == 0.0 for row in report["changes"])
    assert report["changes"][0]["leakage_before"] is None  # no stem is silent in these songs
    first = report["tracks"][0]["changes"][0]
    assert (first["dsdr"], first["leakage"]["seconds"]) == (0.0, 0)


def test_against_another_stream_format_is_refused(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused([model, "--against", "tiny"], capsys)
    assert line == (
        "error: --against tiny streams 44100 Hz, 2 channels, drums bass other vocals, little streams 8000 Hz, "
        "2 channels, drums bass other vocals; compare separators of one stream format"
    )
    assert "unknown preset 'smal'" in refused([model, "--against", "smal"], capsys)
    assert "--drift is 2 minutes" in refused([model, "--against", model, "--drift", "2"], capsys)


@pytest.mark.parametrize(("late", "code"), [(1.0, 0), (0.7, 1)])
def test_the_gate_on_a_difference_that_grows(
    late: float,
    code: int,
    songs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rule(mix: FloatArray, index: int, memory: FloatArray) -> FloatArray:
        return quarters(mix, index, memory) * (late if index >= 2 * 60 * 4 else 1.0)  # four hops a second

    form = spec(hop=2000)
    monkeypatch.setattr(cli, "open_separator", lambda _: fake_separator(rule, form))
    monkeypatch.setattr(separator, "open_separator", lambda _: fake_separator(form=form))
    path = tmp_path / "report.json"
    arguments = ["any", "--against", "other", "--songs", str(songs), "--drift", "3", "--json", str(path)]
    assert cli.main(arguments) == code
    said = capsys.readouterr()
    assert "Against fake, minute by minute" in said.out
    assert "SNR memory, dB" in said.out
    found = json.loads(path.read_text())["drift"]
    assert set(found["against"]["minutes"][0]["dsdr"]) == set(MUSDB_SOURCES)
    assert bool(found["failures"]) == bool(code)
    if code:
        assert "error: fake is not stable: dSDR of drums went from +0.000 dB in minute 1 to -0.1" in said.err


@pytest.mark.skipif(importlib.util.find_spec("clarity") is None, reason="pip install --no-deps pyclarity")
def test_listening(model: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    arguments = [model, "--songs", str(songs), "--tracks", "song-0", "--excerpt", "0.6", "--json", str(path)]
    assert cli.main([*arguments, "--listening", "--audiogram", "mild"]) == 0
    out = capsys.readouterr().out
    for fact in ("Listening", "SI-SDR", "LSD", "HAAQI", "audiogram 'mild'"):
        assert fact in out
    report = json.loads(path.read_text())
    assert report["audiogram"] == "mild"
    assert [row["source"] for row in report["listening"]] == [*MUSDB_SOURCES, "mean"]
    assert 0.0 < report["listening"][0]["after"]["haaqi"] < 1.0
    assert report["listening"][0]["before"] is None


def test_listening_without_pyclarity(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "find_spec", lambda name: None if name == "clarity" else name)
    line = refused([model, "--listening"], capsys)
    assert line.endswith("; pip install 'ddtasnet-edge[listening]' and pip install --no-deps pyclarity")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--audiogram", "mild"], "--audiogram is mild without --listening; add --listening or leave it out"),
        (["--listening", "--audiogram", "mld"], "unknown audiogram 'mld'"),
        (["--plot", "boxes.jpg"], "--plot is boxes.jpg: expected one of .png, .svg, .pdf"),
        (["--drift", "1"], "--drift is 1 minutes, expected at least 3"),
        (["--songs", "nowhere"], "no songs in nowhere/test"),
        (["--musdb", "nowhere"], "no folder nowhere/test"),
        (["--musdb", "a", "--songs", "b"], "both --musdb and --songs are given"),
        (["--excerpt", "-1"], "excerpt is -1.0 s"),
        (["--tracks", "Nothing"], "no track 'Nothing' among 1"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused([model, *arguments], capsys)


def test_an_unknown_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown preset 'smal'" in refused(["smal"], capsys)
    assert "no bundle at nowhere.edge" in refused(["nowhere.edge"], capsys)
