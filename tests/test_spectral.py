"""The spectral codec: a real DFT, perfect reconstruction, and the hazards of the phase."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddtasnet_edge.clips import default_clip
from ddtasnet_edge.models.framing import Framing, OverlapAdd
from ddtasnet_edge.models.spectral import PHASE_FADE, PHASE_SCALE, SpectralCodec
from tests.contract import TOLERANCE, assert_close
from tests.small import noise

WINDOW, SAMPLE_RATE = 1024, 44100


@pytest.fixture(params=[torch.float32, torch.float64])
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """The default type of new modules and tensors, one after the other."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def cosine(bin_index: int, phase: Tensor) -> Tensor:
    """Frames [len(phase), window] of a cosine in the middle of a bin: its phase there is `phase`."""
    return torch.cos(2.0 * math.pi * bin_index / WINDOW * torch.arange(WINDOW) + phase[:, None])


@pytest.mark.parametrize("window", [2, 22, 64, 882, WINDOW])
def test_both_faces_agree(window: int, dtype: torch.dtype) -> None:
    codec = SpectralCodec(window, window // 2, SAMPLE_RATE)
    frames, (magnitude, phase) = noise(3, 2, window, dtype=dtype), noise(2, 3, 4, window // 2 + 1, dtype=dtype)
    step, sequence = codec.analyse(frames), codec.analyse(frames, fft=True)
    assert_close(step.magnitude, sequence.magnitude, "magnitude")
    assert_close(step.magnitude * torch.cos(step.phase), sequence.magnitude * torch.cos(sequence.phase), "real part")
    assert_close(codec.synthesise(magnitude, phase), codec.synthesise(magnitude, phase, fft=True), "frames")


@pytest.mark.parametrize("hop", [128, 256, 512, 1024])
def test_open_masks_reconstruct_the_delayed_input(hop: int, dtype: torch.dtype) -> None:
    x = noise(2, 12, 2, hop, dtype=dtype)
    codec = SpectralCodec(WINDOW, hop, SAMPLE_RATE)
    spectrum = codec.analyse(Framing(WINDOW, hop, 2)(x))
    frames = codec.synthesise(spectrum.magnitude, spectrum.phase).unsqueeze(2)
    y = OverlapAdd(WINDOW, hop, 1, 2)(frames).squeeze(2)
    delayed = F.pad(x, (0, 0, 0, 0, WINDOW // hop - 1, 0))[:, : x.shape[1]]
    assert_close(y, delayed, f"hop {hop}")


def test_magnitude_and_phase_are_those_of_the_windowed_frame() -> None:
    frames = noise(3, WINDOW)
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(frames)
    window = torch.hamming_window(WINDOW, periodic=True, dtype=torch.float64)
    expected = torch.fft.rfft(frames.double() * window, norm="ortho")
    assert_close(spectrum.magnitude, expected.abs().float(), "magnitude")
    rebuilt = torch.polar(spectrum.magnitude, spectrum.phase)
    assert_close(torch.view_as_real(rebuilt), torch.view_as_real(expected.to(torch.complex64)), "polar form")


def test_phase_feature_is_continuous_around_the_circle() -> None:
    """Also across the cut at +-pi, where the plain angle jumps by 2 pi."""
    step = 1e-3
    phases = torch.arange(-4.0, 4.0, step)
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(cosine(100, phases))
    jumps = spectrum.phase_feature[:, 100].diff().abs()
    assert spectrum.phase[:, 100].diff().abs().max() > 6.0, "the plain angle was expected to jump"
    # Steepest slope of phase * (pi - phase) / PHASE_FADE is pi / PHASE_FADE + 1 < 33; a tenth for rounding.
    assert jumps.max() < 1.1 * step * (math.pi / PHASE_FADE + 1.0)


def test_phase_feature_is_the_angle_away_from_the_cut() -> None:
    phases = torch.linspace(-math.pi + 1.01 * PHASE_FADE, math.pi - 1.01 * PHASE_FADE, 50)
    feature = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(cosine(100, phases)).phase_feature[:, 100]
    # The bin holds nearly all of its frame: RELATIVE_FLOOR takes about 1e-7 of the angle away.
    assert_close(feature, PHASE_SCALE * phases, "phase feature")


def test_magnitude_features_of_music_have_one_size_at_all_frequencies() -> None:
    """Near mean 0 and deviation 1 up to 8 kHz, where the roots of the magnitudes fall fivefold."""
    frames = torch.from_numpy(default_clip().mix).unfold(-1, WINDOW, 512)
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(frames, fft=True)
    bins = slice(1, round(8000 * WINDOW / SAMPLE_RATE))
    root, feature = spectrum.magnitude.sqrt()[..., bins], spectrum.magnitude_feature[..., bins]
    assert root.std(dim=(0, 1)).max() > 5.0 * root.std(dim=(0, 1)).min(), "music was expected to fall with frequency"
    assert feature.std(dim=(0, 1)).min() > 0.4
    assert feature.std(dim=(0, 1)).max() < 2.5
    assert feature.mean(dim=(0, 1)).abs().max() < 2.5


def test_features_of_a_bin_without_signal_are_silent() -> None:
    """The phase of rounding noise is arbitrary; the network must not hear it."""
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(cosine(100, torch.tensor([0.3, 1.0, 2.0])))
    empty = [*range(1, 90), *range(110, 512)]
    assert spectrum.phase[:, empty].abs().max() > 1.0, "rounding noise was expected to have a phase"
    # Noise of a float32 DFT is about 140 dB below its frame, the floor 70 dB: a thousandth of the angle is ample.
    assert spectrum.phase_feature[:, empty].abs().max() < 1e-3 * PHASE_SCALE * math.pi


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("edge", [0, -1], ids=["dc", "nyquist"])
def test_dc_and_nyquist_have_a_fixed_angle(edge: int, sign: float, dtype: torch.dtype) -> None:
    """0 or +pi, never -pi: the imaginary part is +0 by construction, not a zero of either sign."""
    frames = sign * cosine([0, WINDOW // 2][edge], torch.zeros(1))
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(frames)
    assert spectrum.phase[0, edge].item() == pytest.approx(0.0 if sign > 0 else math.pi, rel=TOLERANCE[dtype], abs=0)
    assert spectrum.phase_feature[0, edge].item() == 0.0


def test_dc_and_nyquist_angles_of_noise(dtype: torch.dtype) -> None:
    phase = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(noise(200, WINDOW, dtype=dtype)).phase[:, [0, -1]]
    pi = torch.tensor(math.pi)
    assert bool(((phase == 0.0) | (phase == pi)).all())


def test_silence_has_no_spectrum() -> None:
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(torch.zeros(1, WINDOW))
    for name in ("magnitude", "phase", "phase_feature"):
        assert torch.equal(getattr(spectrum, name), torch.zeros(1, 513)), name
    assert spectrum.magnitude_feature.isfinite().all()


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-12, 1e-9, 1e-6, 1.0])
def test_gradient_is_finite_down_to_silence(level: float) -> None:
    """Around TINY_POWER and POWER_FLOOR, and where everything is zero."""
    frames = (level * noise(4, WINDOW)).requires_grad_()
    spectrum = SpectralCodec(WINDOW, 512, SAMPLE_RATE).analyse(frames)
    total = sum(value.sum() for value in vars(spectrum).values())
    (gradient,) = torch.autograd.grad(total, frames)
    assert gradient.isfinite().all()
