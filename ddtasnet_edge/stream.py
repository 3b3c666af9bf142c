"""Chunks of any size in, aligned stems out."""

from __future__ import annotations

import numpy as np

from ddtasnet_edge.errors import StreamError
from ddtasnet_edge.session import Session, check_samples
from ddtasnet_edge.spec import FloatArray, StreamSpec


class StreamRunner:
    """Feeds a session whole hops, whatever the caller's chunk size, and removes the latency from the result.

    Output sample n belongs to input sample n: the algorithmic latency at the start is dropped and `flush`
    returns what is still inside, so the stems are exactly as long as the mix. The result does not depend on how
    the mix is cut into chunks. Real-time callers that must return one hop for each hop use `session.step`.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._hop = np.zeros((self.spec.channels, self.spec.hop_length), dtype=np.float32)
        self._restart()

    @property
    def spec(self) -> StreamSpec:
        """The stream contract: sample_rate, sources, hop_length, algorithmic_latency and more."""
        return self.session.spec

    def feed(self, samples: FloatArray) -> FloatArray:
        """Separate a chunk.

        samples: float32 [channels, n], any n >= 0, within about [-1, 1]. Returns float32
        [sources, channels, m], the stems that became complete, m >= 0. Raises StreamError before anything is
        consumed if the chunk has a wrong shape or dtype or holds NaN or infinity.
        """
        if isinstance(samples, np.ndarray) and (samples.ndim != 2 or len(samples) != self.spec.channels):
            raise StreamError(f"chunk has shape {list(samples.shape)}, expected [{self.spec.channels}, samples]")
        length = samples.shape[1] if isinstance(samples, np.ndarray) else 0
        check_samples(samples, (self.spec.channels, length), what="chunk")
        self._received += samples.shape[1]
        return self._push(samples)

    def flush(self) -> FloatArray:
        """End the stream: returns the stems [sources, channels, m] of all samples not yet returned, and resets."""
        missing = self.spec.hops_for(self._received) * self.spec.hop_length - self._received
        rest = self._push(np.zeros((self.spec.channels, missing), dtype=np.float32))
        owed = self._received - (self._returned - rest.shape[-1])
        self.reset()
        return rest[..., :owed]

    def reset(self) -> None:
        """Forget everything fed so far and start a new stream."""
        self.session.reset()
        self._restart()

    def close(self) -> None:
        """Close the session."""
        self.session.close()

    def _restart(self) -> None:
        self._filled = 0
        self._received = 0
        self._returned = 0
        self._to_drop = self.spec.algorithmic_latency

    def _push(self, samples: FloatArray) -> FloatArray:
        hop_length = self.spec.hop_length
        hops, left = divmod(self._filled + samples.shape[1], hop_length)
        stems = np.empty((len(self.spec.sources), self.spec.channels, hops * hop_length), dtype=np.float32)
        position = 0
        for index in range(hops):
            taken = hop_length - self._filled
            self._hop[:, self._filled :] = samples[:, position : position + taken]
            stems[..., index * hop_length : (index + 1) * hop_length] = self.session.step(self._hop)
            position += taken
            self._filled = 0
        self._hop[:, self._filled : left] = samples[:, position:]
        self._filled = left
        dropped = min(self._to_drop, stems.shape[-1])
        self._to_drop -= dropped
        self._returned += stems.shape[-1] - dropped
        return stems[..., dropped:]
