"""What others measured on these boards, as graphs of the same shape: how far off the model is.

A figure that a profile was fitted to is CALIBRATION and says nothing about the model. RELATED is one of the same
kind of network and board as a calibration: nothing was fitted to it, but it is hardly another question. SEEN is one
that an assumption of the model was made with at hand: that half is hidden by cores that run out of order, that four
streams are too many. VALIDATION would be a figure that shares neither network nor board with these; none is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ddtasnet_edge.benchmarks.estimate.cost import FLOAT, FLOAT_BYTES, StepCost, Work
from ddtasnet_edge.benchmarks.estimate.model import Estimate, estimate
from ddtasnet_edge.benchmarks.estimate.profile import load_profile

VALIDATION, RELATED, SEEN, CALIBRATION = "validation", "related", "seen", "calibration"
ROLES = (VALIDATION, RELATED, SEEN, CALIBRATION)
PUBLISHED_COLUMNS = ("board", "what", "published", "predicted", "from", "to", "error", "role", "source")
LEGEND = """\
published, predicted, from, to: ms per step; error: predicted / published - 1
validation: independent of all that is fitted or assumed
related: no figure of a profile comes from it, but it is of the same kind of network and board as a calibration
seen: no figure of a profile comes from it, but an assumption of the model was made with it at hand
calibration: a figure was fitted to it"""

# The kernel for floats of the interpreter of 2020 (tensorflow/lite/kernels/cpu_backend_gemm_custom_gemv.h) reads four
# rows of weights at once; a Cortex-A53 foresees two streams.
ROWS_AT_ONCE = 4
DTLN = "https://github.com/breizhn/DTLN"
PIDTLN = "https://github.com/SaneBow/PiDTLN"
LLAMA = "https://github.com/ggml-org/llama.cpp/issues/26484"
OLLAMA_4 = "https://github.com/aidatatools/ollama-benchmark/pull/9"
OLLAMA_5 = "https://github.com/geerlingguy/sbc-reviews/issues/21"
JUSTINE = "https://justine.lol/matmul/, in its copy at https://github.com/guevara/read-it-later/issues/11711"


@dataclass(frozen=True)
class Published:
    """A figure of somebody's board. measured_us: of one step; low_us, high_us: as rounded by who published it."""

    name: str
    device: str
    cost: StepCost
    measured_us: float
    low_us: float
    high_us: float
    role: str
    source: str
    cores: int = 1

    def predict(self) -> Estimate:
        """What the profile of the board says."""
        return estimate(load_profile(self.device), self.cost, self.cores)

    def check(self) -> PublishedCheck:
        """Beside what the profile of the board predicts."""
        return PublishedCheck(self, self.predict())


@dataclass(frozen=True)
class PublishedCheck:
    """A published figure and its prediction."""

    published: Published
    predicted: Estimate

    @property
    def error(self) -> float:
        """Predicted / measured - 1."""
        return self.predicted.us / self.published.measured_us - 1

    @property
    def inside(self) -> bool:
        """Whether the band of the prediction meets the figure as it was rounded."""
        return self.predicted.low_us <= self.published.high_us and self.published.low_us <= self.predicted.high_us

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "error": self.error, "inside": self.inside}

    def row(self) -> list[str]:
        """Cells under PUBLISHED_COLUMNS."""
        given, guess = self.published, self.predicted
        times = (given.measured_us, guess.us, guess.low_us, guess.high_us)
        return [
            *(given.device, given.name, *(f"{us / 1000:.2f}" for us in times)),
            *(f"{self.error:+.0%}", given.role, given.source),
        ]


def published() -> list[Published]:
    """All of them, the boards from small to large."""
    return [*_dtln(), *_language_models()]


def _dtln() -> list[Published]:
    """Two graphs of two LSTM of 128 units each, FFT of 512, 256 bases (DTLN_model.py of the repository)."""
    return [
        _speech("DTLN, float TFLite", _dtln_cost(FLOAT), 9.6, SEEN, DTLN),
        _speech("DTLN, dynamic INT8 TFLite", _dtln_cost("int8"), 2.2, RELATED, DTLN),
        _speech("DTLN in ns.py, dynamic INT8 TFLite", _dtln_cost("int8"), 2.56, CALIBRATION, PIDTLN),
        _speech("DTLN-aec 128, dynamic INT8 TFLite", _aec_cost(1_800_000), 4.43, RELATED, PIDTLN),
        _speech("DTLN-aec 256, dynamic INT8 TFLite", _aec_cost(3_900_000), 6.36, CALIBRATION, PIDTLN),
        _speech("DTLN-aec 512, dynamic INT8 TFLite", _aec_cost(10_400_000), 12.35, CALIBRATION, PIDTLN),
    ]


def _language_models() -> list[Published]:
    """One token is one step: every weight is read once. Bytes are those of the files, less tables of embeddings that
    a token looks up one row of."""
    quantized = [("Q2_K", 0.339, 30.39), ("Q3_K_M", 0.355, 28.39), ("Q4_K_M", 0.398, 25.77), ("Q5_K_M", 0.42, 23.23)]
    return [
        _decoder("Qwen 1.8B Q4_0, ollama", "rpi4", 0.945, 1.53, "int4", (3.05, 2.94, 3.17), OLLAMA_4),
        _decoder("Gemma 2B Q4_0, ollama", "rpi4", 1.68, 2.51, "int4", (1.83, 1.82, 1.84), OLLAMA_4),
        _decoder("TinyLlama 1.1B Q8_0, llamafile", "rpi4", 1.10, 1.03, "int8", (3, 2.5, 3.5), JUSTINE),
        _decoder("TinyLlama 1.1B Q8_0, llamafile", "rpi5", 1.10, 1.03, "int8", (9, 8.5, 9.5), JUSTINE),
        *(
            _decoder(f"0.5B {name}, llama.cpp", "rpi5", size, 0.494, "int4", (rate, rate, rate), LLAMA)
            for name, size, rate in quantized
        ),
        _decoder("0.5B Q8_0, llama.cpp", "rpi5", 0.531, 0.494, "int8", (19.87, 19.87, 19.87), LLAMA),
        _decoder("Llama 3.2 3B Q4_K_M, ollama", "rpi5", 2.02, 3.21, "int4", (4.88, 4.88, 5.55), OLLAMA_5),
        _decoder("Llama 3.1 8B Q4_K_M, ollama", "rpi5", 4.63, 7.5, "int4", (2.17, 2.17, 2.17), OLLAMA_5),
        _decoder("Llama 2 13B Q4_0, ollama", "rpi5", 7.27, 12.85, "int4", (1.36, 1.36, 1.36), OLLAMA_5),
    ]


def _speech(name: str, cost: StepCost, milliseconds: float, role: str, source: str) -> Published:
    digit = 50.0 if round(milliseconds, 1) == milliseconds else 5.0
    us = milliseconds * 1e3
    return Published(name, "rpi3", cost, us, us - digit, us + digit, role, source)


def _dtln_cost(dtype: str) -> StepCost:
    """Weights by layer; biases are read with them."""
    units, bins, bases, window = 128, 257, 256, 512
    cells = sum(4 * units * (size + units + 1) for size in (bins, units, bases, units))
    masks = (units + 1) * (bins + bases)
    convolutions = 2 * window * bases
    return _tflite(dtype, cells + masks, convolutions, operators=105)


def _aec_cost(weights: int) -> StepCost:
    """By the number of weights in the README of DTLN-aec: two encoders and a decoder of 512 bases, the rest as DTLN."""
    convolutions = 3 * 512 * 512
    return _tflite("int8", weights - convolutions, convolutions, operators=115)


def _tflite(dtype: str, weights: int, convolutions: int, operators: int) -> StepCost:
    size = FLOAT_BYTES if dtype == FLOAT else 1
    conv = FLOAT if dtype == FLOAT else "int8_convolution"
    return StepCost(
        model="DTLN",
        target="tflite-runtime",
        recipe=dtype,
        hop_us=8000.0,
        work=(Work(dtype, weights * size, weights), Work(conv, convolutions * size, convolutions)),
        operators=operators,
        state_bytes=0,
        size_bytes=(weights + convolutions) * size,
        streams=ROWS_AT_ONCE if dtype == FLOAT else 1,
    )


def _decoder(
    name: str,
    device: str,
    gigabytes: float,
    billions: float,
    dtype: str,
    rates: tuple[float, float, float],
    source: str,
) -> Published:
    """rates: tokens per second, the middle first; on all four cores."""
    size = round(gigabytes * 1e9)
    middle, slowest, fastest = (1e6 / rate for rate in rates)
    cost = StepCost(
        model=name,
        target="llamacpp",
        recipe=dtype,
        hop_us=middle,
        work=(Work(dtype, size, round(billions * 1e9)),),
        operators=0,
        state_bytes=0,
        size_bytes=size,
    )
    return Published(name, device, cost, middle, fastest, slowest, SEEN, source, cores=4)


#: A separator with known weights and unknown layers, as if each weight were used once: no validation.
UNKNOWN_SEPARATOR = Published(
    name="termtv student",
    device="rpi4",
    cost=StepCost(
        model="termtv student",
        target="onnx",
        recipe=FLOAT,
        hop_us=23_200.0,
        work=(Work(FLOAT, 860_000 * FLOAT_BYTES, 860_000),),
        operators=100,
        state_bytes=0,
        size_bytes=860_000 * FLOAT_BYTES,
    ),
    measured_us=15_500.0,
    low_us=15_450.0,
    high_us=15_550.0,
    role="not reproduced",
    source="second-hand",
)


def published_notes(checks: Sequence[PublishedCheck]) -> list[str]:
    """The errors in sum, by what the figures were to the profiles."""
    return [_in_sum(role, [check for check in checks if check.published.role == role]) for role in ROLES]


def _in_sum(role: str, checks: Sequence[PublishedCheck]) -> str:
    if not checks:
        return f"{role}: none of these figures"
    errors = [abs(check.error) for check in checks]
    inside = sum(check.inside for check in checks)
    return (
        f"{role}: mean error {sum(errors) / len(errors):.0%}, largest {max(errors):.0%}, over {len(errors)} figures, "
        f"{inside} of them inside the band"
    )
