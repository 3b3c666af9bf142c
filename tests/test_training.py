"""Training: it learns, it resumes to the same bits, and what goes wrong loses nothing."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from ddtasnet_edge.config import DDTasNetConfig
from ddtasnet_edge.errors import CheckpointError, TrainingError
from ddtasnet_edge.models.checkpoint import load_checkpoint, read_training
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.models.registry import create_model
from ddtasnet_edge.training import snapshot, trainer
from ddtasnet_edge.training.history import Row
from ddtasnet_edge.training.material import gather, song_tracks
from ddtasnet_edge.training.optimizer import make_optimizer
from ddtasnet_edge.training.settings import TrainSettings
from ddtasnet_edge.training.snapshot import Position
from ddtasnet_edge.training.trainer import BEST, LAST, SNAPSHOT, Music, Trainer
from tests.songbook import write_songs

CPU = torch.device("cpu")
CONFIG = DDTasNetConfig(units=8, bases=8, window_length=256, hop_length=128, attention_frames=4)
SETTINGS = TrainSettings(steps=8, batch=2, segments=3, segment_hops=16, validations=4, warmup=2, learning_rate=0.01)

Watch = Callable[[Position, float], None]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Music:
    songs = write_songs(tmp_path_factory.mktemp("songs"))
    kept = tmp_path_factory.mktemp("material")
    train, validation = (
        gather(song_tracks(songs, split, CONFIG), kept, CONFIG, True) for split in ("train", "validation")
    )
    return Music(train, validation, "made for a test")


def make(music: Music, folder: Path, settings: TrainSettings = SETTINGS, config: DDTasNetConfig = CONFIG) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(create_model(config, 1), settings, music, folder, CPU)


def unwatched(position: Position, loss: float) -> None:
    """Nobody looks."""


def interrupt_at(step: int) -> Watch:
    def watch(position: Position, _: float) -> None:
        if position.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


def without_times(rows: list[Row]) -> list[dict[str, float]]:
    timed = {"minutes", "audio_per_second", "data_wait"}
    return [{name: value for name, value in row.flat().items() if name not in timed} for row in rows]


def weights(path: Path) -> dict[str, Tensor]:
    return dict(safetensors.torch.load_file(path))


def test_validation_rises(music: Music, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=60, segment_hops=64, batch=4)
    rows = make(music, tmp_path, settings).run(unwatched)
    means = [row.mean for row in rows]
    assert len(rows) == settings.validations
    assert [row.step for row in rows] == [15, 30, 45, 60]
    assert means == sorted(means)
    assert means[-1] > means[0] + 1.0
    assert rows[-1].loss < rows[0].loss


def test_a_run_that_stood_still_validates_once(music: Music, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=None, minutes=10.0, validations=20)

    def stand_still(position: Position, _: float) -> None:
        if position.step in (2, 5):
            position.seconds += 300.0

    rows = make(music, tmp_path, settings).run(stand_still)
    assert [row.step for row in rows] == [2, 5]


def test_a_step_of_the_optimizer_moves_wide_and_narrow_layers_alike() -> None:
    """Or the thousand inputs of the first memories would throw their gates into saturation within a few steps."""
    model = torch.nn.ModuleDict({str(inputs): torch.nn.Linear(inputs, 4) for inputs in (8, 32, 64, 1024)})
    optimizer = make_optimizer(model, SETTINGS)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * group["share"]
    before = {inputs: layer(torch.ones(int(inputs))) for inputs, layer in model.items()}
    # As small as gradients of quiet music: the epsilon of Adam must not hold such weights still.
    (1e-9 * sum(outputs.sum() for outputs in before.values())).backward()
    optimizer.step()
    for inputs, layer in model.items():
        moved = (before[inputs] - layer(torch.ones(int(inputs)))).detach()
        expected = 1e-3 * (min(int(inputs), SETTINGS.full_rate_inputs) + 1)  # the bias moves at the full rate
        assert moved.numpy() == pytest.approx(expected, rel=0.01), inputs


def test_an_interrupted_run_goes_on_to_the_same_bits(music: Music, tmp_path: Path) -> None:
    unbroken = make(music, tmp_path / "unbroken").run(unwatched)
    # Steps 2 and 7 lie inside a batch of three segments, where the recurrent state counts; 3 lies between two.
    for step in (2, 3, 7):
        run = make(music, tmp_path / "broken")
        if step > 2:
            run.resume()
        with pytest.raises(KeyboardInterrupt):
            run.run(interrupt_at(step))
        assert run.position.step == step
    resumed = make(music, tmp_path / "broken")
    resumed.resume()
    assert without_times(resumed.run(unwatched)) == without_times(unbroken)
    for name in (BEST, LAST):
        one, other = weights(tmp_path / "unbroken" / name), weights(tmp_path / "broken" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGHUP, signal.SIGHUP]])
def test_a_run_whose_terminal_is_closed_is_saved_too(
    music: Music, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    def close(position: Position, _: float) -> None:
        if position.step == 2:
            for number in signals:
                os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGHUP)
    run = make(music, tmp_path / "closed")
    with pytest.raises(KeyboardInterrupt):
        run.run(close)
    assert run.saved == 2
    assert (tmp_path / "closed" / SNAPSHOT).is_file()
    assert signal.getsignal(signal.SIGHUP) == before


def test_the_same_settings_give_the_same_run_and_another_seed_another(music: Music, tmp_path: Path) -> None:
    settings = [SETTINGS, SETTINGS, dataclasses.replace(SETTINGS, seed=1)]
    one, same, other = (
        without_times(make(music, tmp_path / str(index), each).run(unwatched)) for index, each in enumerate(settings)
    )
    assert one == same
    assert one != other


def test_the_state_is_carried_over_the_segments_of_a_batch(
    music: Music, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[dict[str, Tensor]] = []
    ended: list[dict[str, Tensor]] = []
    scan = DDTasNet.scan

    def spy(self: DDTasNet, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        stems, after = scan(self, x, state)
        if self.training:
            began.append(state)
            ended.append(after)
        return stems, after

    monkeypatch.setattr(DDTasNet, "scan", spy)
    make(music, tmp_path, dataclasses.replace(SETTINGS, steps=6)).run(unwatched)
    fresh = create_model(CONFIG).initial_state(torch.zeros(SETTINGS.batch))
    for step, state in enumerate(began):
        expected = fresh if step % SETTINGS.segments == 0 else ended[step - 1]
        assert all(torch.equal(state[name], expected[name]) for name in expected), f"step {step}"
        assert not any(value.requires_grad for value in state.values()), "one step must not reach into the last"


def test_segments_and_their_stems_are_aligned_as_the_stream_is(music: Music, tmp_path: Path) -> None:
    """A model that passes the mix through, late by the latency, has no loss on stems that are the mix."""
    run = make(music, tmp_path)
    latency = CONFIG.window_length - CONFIG.hop_length
    batch = run._make_batch(0)
    heard = torch.cat([hops.transpose(1, 2).flatten(2) for hops, _ in run._segments(iter([batch]))], dim=-1)
    due = torch.cat([stems.sum(dim=1) for _, stems in run._segments(iter([batch]))], dim=-1)
    assert torch.allclose(due[..., latency:], heard[..., :-latency], atol=1e-6)
    assert not due[..., :latency].any()


def test_resuming_another_run_is_refused(music: Music, tmp_path: Path) -> None:
    make(music, tmp_path, dataclasses.replace(SETTINGS, steps=2)).run(unwatched)
    before = (tmp_path / SNAPSHOT).read_bytes()
    for changed in (
        make(music, tmp_path, dataclasses.replace(SETTINGS, steps=2, learning_rate=0.5)),
        make(music, tmp_path, dataclasses.replace(SETTINGS, steps=2), dataclasses.replace(CONFIG, units=16)),
        make(Music(music.validation, music.train, ""), tmp_path, dataclasses.replace(SETTINGS, steps=2)),
    ):
        with pytest.raises(CheckpointError, match=r"was trained with (settings\.learning_rate|model\.units|music)"):
            changed.resume()
    assert (tmp_path / SNAPSHOT).read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no safetensors", "truncated"])
def test_a_missing_or_damaged_snapshot_is_one_line(music: Music, tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / SNAPSHOT
    if content == "truncated":
        make(music, tmp_path, dataclasses.replace(SETTINGS, steps=2)).run(unwatched)
        content = path.read_bytes()[:2000]
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"no run to resume|is damaged"):
        make(music, tmp_path).resume()


@pytest.mark.parametrize("step", [1, 5], ids=["before a validation", "after it"])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(
    music: Music, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    loss = trainer.separation_loss

    def diverge(estimate: Tensor, stems: Tensor, weight: float, now: int) -> Tensor:
        return loss(estimate, stems, weight, now) * (float("nan") if now == step else 1.0)

    monkeypatch.setattr(trainer, "separation_loss", diverge)
    run = make(music, tmp_path)
    with pytest.raises(TrainingError, match=rf"loss nan .* at step {step}: .*; start again with a smaller --rate"):
        run.run(unwatched)
    assert all(weight.isfinite().all() for weight in run.model.parameters())
    load_checkpoint(tmp_path / LAST)
    assert read_training(tmp_path / LAST)["step"] == step
    again = make(music, tmp_path)
    again.resume()
    assert again.position.step == step


def no_memory_on_cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("place", ["separation_loss", "make_batch", "validate"])
@pytest.mark.parametrize(
    "allocate",
    [no_memory_on_cuda, lambda: torch.empty(1 << 60), lambda: np.empty(1 << 50)],
    ids=["cuda", "cpu", "numpy"],
)
def test_a_batch_that_does_not_fit_is_one_line(
    music: Music, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, allocate: Callable[[], object]
) -> None:
    monkeypatch.setattr(trainer, place, lambda *_: allocate())
    with pytest.raises(TrainingError, match=r"no memory for a batch of 2 x 16 hops; give a smaller --batch"):
        make(music, tmp_path).run(unwatched)


def test_a_full_disk_keeps_the_snapshot_before(music: Music, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(music, tmp_path)
    run.save()
    before = (tmp_path / SNAPSHOT).read_bytes()

    def full(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left .*; the last good snapshot is kept"):
        run.save()
    assert (tmp_path / SNAPSHOT).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [SNAPSHOT]


def test_the_folder_of_a_run(music: Music, tmp_path: Path) -> None:
    rows = make(music, tmp_path).run(unwatched)
    assert {path.name for path in tmp_path.iterdir()} == {BEST, LAST, SNAPSHOT, "log.csv", "log.json", "curve.png"}
    with (tmp_path / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(row["step"]) for row in table] == [row.step for row in rows]
    assert float(table[-1]["usdr_mean"]) == rows[-1].mean
    assert float(table[-1]["audio_per_second"]) > 0.0
    assert 0.0 <= float(table[-1]["data_wait"]) <= 1.0
    log = json.loads((tmp_path / "log.json").read_text())
    assert log["settings"]["steps"] == SETTINGS.steps
    assert log["rows"][-1]["usdr_mean"] == rows[-1].mean
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    facts = read_training(tmp_path / BEST)
    assert facts["data"] == "made for a test"
    assert facts["step"] == max(rows, key=lambda row: row.mean).step


def test_weights_tell_what_they_have_heard_before(music: Music, tmp_path: Path) -> None:
    """The licence of the music that the first run heard stays with the weights of the second."""
    ancestor = {"data": "MUSDB18, non-commercial; made for a test", "step": 7}
    run = Trainer(create_model(CONFIG, 1), dataclasses.replace(SETTINGS, steps=2), music, tmp_path, CPU, ancestor)
    run.run(unwatched)
    facts = read_training(tmp_path / BEST)
    assert facts["data"] == "MUSDB18, non-commercial; made for a test"
    assert facts["started_from"] == ancestor


def test_a_snapshot_of_another_format_is_refused(music: Music, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(music, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "FORMAT", 1)
        run.save()
    with pytest.raises(CheckpointError, match=r"has format 1, this version reads format 2; start in another --out"):
        run.resume()


def test_the_best_weights_are_those_of_the_best_validation(
    music: Music, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 3.0, 2.0, 2.5])
    seen: list[DDTasNet] = []

    def score(model: DDTasNet, *_: object) -> dict[str, float]:
        value = next(scores)
        if value == 3.0:
            seen.append({name: weight.clone() for name, weight in model.state_dict().items()})  # type: ignore[arg-type]
        return dict.fromkeys(CONFIG.sources, value)

    monkeypatch.setattr(trainer, "validate", score)
    make(music, tmp_path).run(unwatched)
    best = weights(tmp_path / BEST)
    assert all(torch.equal(best[name], weight) for name, weight in seen[0].items())  # type: ignore[attr-defined]


def test_bfloat16_trains_too(music: Music, tmp_path: Path) -> None:
    rows = make(music, tmp_path, dataclasses.replace(SETTINGS, precision="bfloat16")).run(unwatched)
    assert all(weight.dtype == torch.float32 for weight in weights(tmp_path / LAST).values())
    assert math.isfinite(rows[-1].mean)
