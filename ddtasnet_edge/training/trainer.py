"""The training loop: streams of music through the model, segment after segment, with the state carried along."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.errors import TrainingError
from ddtasnet_edge.models.block import State
from ddtasnet_edge.models.checkpoint import save_checkpoint
from ddtasnet_edge.models.ddtasnet import DDTasNet
from ddtasnet_edge.training.augment import Batch, make_batch
from ddtasnet_edge.training.averaging import AveragedModel
from ddtasnet_edge.training.feeding import made_ahead
from ddtasnet_edge.training.history import Row, write_history
from ddtasnet_edge.training.interrupts import noted_interrupts
from ddtasnet_edge.training.loss import separation_loss
from ddtasnet_edge.training.material import Material
from ddtasnet_edge.training.optimizer import make_optimizer
from ddtasnet_edge.training.qat import RoundedWeights
from ddtasnet_edge.training.settings import TrainSettings
from ddtasnet_edge.training.snapshot import Learner, Position, load_snapshot, save_snapshot
from ddtasnet_edge.training.validation import validate

SNAPSHOT, BEST, LAST = "snapshot.safetensors", "best.safetensors", "last.safetensors"
SNAPSHOT_SECONDS = 180.0

Watch = Callable[[Position, float], None]


@dataclass(frozen=True)
class Music:
    """What a run hears. note: where it comes from and under which licence."""

    train: Material
    validation: Material
    note: str


class Trainer:
    """One run in one folder; `run` leaves best.safetensors, last.safetensors, the log and a snapshot there."""

    def __init__(
        self,
        model: DDTasNet,
        settings: TrainSettings,
        music: Music,
        folder: Path,
        device: torch.device,
        ancestor: Mapping[str, Any] | None = None,
    ) -> None:
        """ancestor: the facts that came with the weights of `model`, when they have been trained before."""
        self.model, self.settings, self.music, self.folder, self.device = model, settings, music, folder, device
        self.ancestor = dict(ancestor or {})
        model.to(device).train()
        self.learner = Learner(model, AveragedModel(model, settings.average), make_optimizer(model, settings))
        self._rounding = None if settings.qat is None else RoundedWeights(model, settings.qat)
        self.position = Position()
        self.stream: State = {}
        #: Step of the snapshot in the folder, None when there is none.
        self.saved: int | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with this one."""
        music = {"train": self.music.train.digest(), "validation": self.music.validation.digest()}
        return {**plan(self.model, self.settings), "music": music}

    def resume(self) -> None:
        """Go on from the snapshot in the folder. Raises CheckpointError when it is missing or of another run."""
        stream, self.position = load_snapshot(self.folder / SNAPSHOT, self.learner, self.identity)
        self.stream = _plain({name: value.to(self.device) for name, value in stream.items()})
        self.saved = self.position.step

    def run(self, watch: Watch) -> list[Row]:
        """Train to the end of the settings' steps or minutes. `watch` is called with every step's loss.

        Raises TrainingError when the loss is not finite or memory runs out, KeyboardInterrupt when asked to stop
        (after a snapshot), CheckpointError when the disk is full.
        """
        try:
            return self._run(watch)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            settings = self.settings
            raise TrainingError(
                f"no memory for a batch of {settings.batch} x {settings.segment_hops} hops; "
                "give a smaller --batch, or shorter segments with --segment-hops"
            ) from error

    def _run(self, watch: Watch) -> list[Row]:
        with noted_interrupts() as stop, made_ahead(self._make_batch, self._next_batch()) as batches:
            saved = time.monotonic()
            while self.progress < 1.0:
                for segment in self._segments(batches):
                    watch(self.position, self._step(*segment))
                    if self._validation_due():
                        self._validate()
                    if stop() or time.monotonic() - saved > SNAPSHOT_SECONDS:
                        self.save()
                        saved = time.monotonic()
                    if stop():
                        raise KeyboardInterrupt
                    if self.progress >= 1.0:
                        break
            if self.position.steps_summed:
                self._validate()
            self.save()
            self._save_weights(LAST)
        return self.position.rows

    def save(self) -> None:
        """Write the snapshot."""
        save_snapshot(self.folder / SNAPSHOT, self.learner, self.stream, self.position, self.identity)
        self.saved = self.position.step

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1."""
        return self.settings.progress(self.position.step, self.position.seconds)

    def _next_batch(self) -> int:
        return self.position.step // self.settings.segments

    def _make_batch(self, index: int) -> Batch:
        settings = self.settings
        length = settings.segments * settings.segment_hops * self.model.config.hop_length
        return make_batch(self.music.train, settings.augmentation, settings.seed, index, settings.batch, length)

    def _segments(self, batches: Iterator[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
        """Hops [batch, time, channels, hop] and the stems [batch, sources, channels, n] due at their output."""
        started = time.monotonic()
        batch = next(batches)
        self._spend(time.monotonic() - started, waited=True)
        mix, stems = torch.from_numpy(batch.mix).to(self.device), torch.from_numpy(batch.stems).to(self.device)
        spec = self.model.spec()
        delayed = F.pad(stems, (spec.algorithmic_latency, -spec.algorithmic_latency))
        length = self.settings.segment_hops * spec.hop_length
        first = self.position.step % self.settings.segments
        if first == 0 or not self.stream:
            self.stream = self.model.initial_state(mix)
        for index in range(first, self.settings.segments):
            part = slice(index * length, (index + 1) * length)
            hops = torch.unflatten(mix[..., part], -1, (-1, spec.hop_length)).transpose(1, 2)
            yield hops, delayed[..., part]

    def _step(self, hops: Tensor, stems: Tensor) -> float:
        started = time.monotonic()
        position, settings = self.position, self.settings
        for group in self.learner.optimizer.param_groups:
            group["lr"] = settings.rate_at(position.step, position.seconds) * group["share"]
        loss, norm, self.stream = self._descend(hops, stems)
        position.step += 1
        self.learner.average.update(self.model, position.step)
        position.loss_sum += loss
        position.norm_sum += norm
        position.steps_summed += 1
        self._spend(time.monotonic() - started)
        return loss

    def _descend(self, hops: Tensor, stems: Tensor) -> tuple[float, float, State]:
        """One optimizer step; returns the loss, the norm of the gradient and the state after the segment."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            estimate, stream = self._scan(hops)
        loss = separation_loss(
            estimate.float().movedim(1, -2).flatten(-2), stems, self.settings.stft_weight, self.position.step
        )
        self.learner.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_norm))
        value = float(loss.detach())
        # Before the weights change: what is in memory is still the last good model.
        if not (math.isfinite(value) and math.isfinite(norm)):
            self.save()
            self._save_weights(LAST)
            raise TrainingError(
                f"loss {value} with gradient norm {norm} at step {self.position.step}: the run diverged; the weights "
                f"before that step are {self.folder / LAST}; start again with a smaller --rate and another --out"
            )
        self.learner.optimizer.step()
        return value, norm, _plain(stream)

    def _scan(self, hops: Tensor) -> tuple[Tensor, State]:
        if self._rounding is None:
            return self.model.scan(hops, self.stream)
        return self._rounding.scan(self.model, hops, self.stream)

    def _validation_due(self) -> bool:
        return self.progress * self.settings.validations >= self.position.validations + 1

    def _validate(self) -> None:
        started = time.monotonic()
        position = self.position
        spent = max(position.seconds - position.seconds_at_row, 1e-9)
        config, settings = self.model.config, self.settings
        audio = settings.batch * settings.segment_hops * config.hop_length / config.sample_rate
        scores = validate(self._kept_model(), self.music.validation, self.device)
        row = Row(
            step=position.step,
            minutes=position.seconds / 60.0,
            audio_hours=position.step * audio / 3600.0,
            learning_rate=settings.rate_at(position.step, position.seconds),
            loss=position.loss_sum / max(position.steps_summed, 1),
            gradient_norm=position.norm_sum / max(position.steps_summed, 1),
            audio_per_second=position.steps_summed * audio / spent,
            data_wait=position.waited / spent,
            usdr=scores,
        )
        position.rows.append(row)
        # Those that a pause (a laptop that slept) has skipped are not made up for, one after the other.
        position.validations = max(position.validations + 1, int(self.progress * settings.validations))
        if row.mean > position.best:
            position.best = row.mean
            self._save_weights(BEST)
        self._spend(time.monotonic() - started)
        position.loss_sum = position.norm_sum = position.waited = 0.0
        position.steps_summed = 0
        position.seconds_at_row = position.seconds
        facts = {**self.identity, "tracks": [len(self.music.train.names), len(self.music.validation.names)]}
        write_history(self.folder, position.rows, facts)

    def _save_weights(self, name: str) -> None:
        """The averaged weights, with what they were trained on, now and before."""
        music, rows = self.music, self.position.rows
        facts = {
            "data": self._heard(),
            "tracks": len(music.train.names),
            "minutes_of_music": round(music.train.seconds / 60.0, 1),
            "settings": self.settings.to_dict(),
            "step": self.position.step,
            "validation_usdr_db": {name: round(value, 3) for name, value in rows[-1].usdr.items()} if rows else {},
        }
        if self.ancestor:
            facts["started_from"] = self.ancestor
        save_checkpoint(self._kept_model(), self.folder / name, training=facts)

    def _kept_model(self) -> DDTasNet:
        """The averaged weights; rounded when they are trained for that, so that a bundle stores just these values."""
        average = self.learner.average.model
        return average if self._rounding is None else self._rounding.copy(average)

    def _heard(self) -> str:
        """Origin and licence of all the music that the weights have heard, each named once."""
        notes = "; ".join([str(self.ancestor.get("data", "")), self.music.note]).split("; ")
        return "; ".join(dict.fromkeys(filter(None, notes)))

    def _spend(self, seconds: float, *, waited: bool = False) -> None:
        self.position.seconds += seconds
        if waited:
            self.position.waited += seconds


def plan(model: DDTasNet, settings: TrainSettings) -> dict[str, Any]:
    """What a resumed run must share with this one, the music apart."""
    return {"model": model.config.to_dict(), "settings": settings.to_dict()}


def _plain(state: State) -> State:
    """Copies in float32 with the usual strides: the last bits of a matrix product depend on how its operands lie.

    What comes out of a segment and what comes out of a snapshot are then the same to the arithmetic.
    """
    return {
        name: slot.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
        for name, slot in state.items()
    }


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch has a type for this on CUDA alone; on a CPU it is a RuntimeError, with other words on each system.
    words = ("can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(each in str(error) for each in words)
