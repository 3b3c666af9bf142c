"""The folder in which peers are built: what all of them start from, and one folder for each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddtasnet_edge.clips import Clip
from ddtasnet_edge.runtimes.parity import Trace
from ddtasnet_edge.spec import FloatArray, StreamSpec

if TYPE_CHECKING:
    from ddtasnet_edge.models.ddtasnet import DDTasNet


@dataclass(frozen=True)
class PeerPlace:
    """Paths below `root`. Files, not arguments: every peer is built, checked and timed in processes of its own.

    threads: for all of them.
    """

    root: Path
    threads: int

    def write(self, model: DDTasNet, clip: Clip, stems: FloatArray, hops: FloatArray) -> None:
        """Put down the model, the clip for parity with the stems that PyTorch makes of it, and the hops to feed.

        stems: float32 [sources, channels, samples]; hops: float32 [n, channels, hop].
        """
        from ddtasnet_edge.models.checkpoint import save_checkpoint

        save_checkpoint(model, self.root / "model.safetensors")
        (self.root / "spec.json").write_text(json.dumps(model.spec().to_dict()), encoding="utf-8")
        arrays: dict[str, Any] = {"mix": clip.mix} | ({} if clip.stems is None else {"stems": clip.stems})
        np.savez(self.root / "clip.npz", **arrays)
        np.save(self.root / "reference.npy", stems, allow_pickle=False)
        np.save(self.root / "hops.npy", hops, allow_pickle=False)

    def folder(self, name: str) -> Path:
        """The folder of one peer."""
        return self.root / name

    def model(self) -> DDTasNet:
        """The model, in evaluation mode."""
        from ddtasnet_edge.models.checkpoint import load_checkpoint

        return load_checkpoint(self.root / "model.safetensors")

    def spec(self) -> StreamSpec:
        """The stream contract of the model; needs no torch."""
        return StreamSpec.from_dict(json.loads((self.root / "spec.json").read_text(encoding="utf-8")))

    def hops(self) -> FloatArray:
        """Consecutive hops of real music, float32 [n, channels, hop]."""
        hops: FloatArray = np.load(self.root / "hops.npy", allow_pickle=False)
        return hops

    def clip(self) -> Clip:
        """The clip for parity."""
        with np.load(self.root / "clip.npz", allow_pickle=False) as arrays:
            return Clip("clip", arrays["mix"], arrays.get("stems"), self.spec().sample_rate, "")

    def reference(self) -> Trace:
        """The stems that PyTorch makes of that clip, without the state: not every peer has one."""
        return Trace(np.load(self.root / "reference.npy", allow_pickle=False), {})
