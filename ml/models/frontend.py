"""Spectrogram front-ends, inside the graph: a waveform goes in, so training and inference can't differ.

The short-time Fourier transform is two products of matrices, which ONNX Runtime runs several times faster than its own
STFT operator. About the middle of a window a cosine is even and a sine odd: what lies as far before it as after it is
added for the one and subtracted for the other, and each product has half as many terms. In training it is a fast
Fourier transform.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.waveform import SAMPLE_RATE_HZ

SLANEY_LINEAR_HZ = 200.0 / 3.0  # a mel, below 1 kHz
SLANEY_TURN_HZ = 1_000.0
SLANEY_TURN_MEL = SLANEY_TURN_HZ / SLANEY_LINEAR_HZ
SLANEY_LOG_STEP = math.log(6.4) / 27.0  # a mel, above
SPREAD_FLOOR = 0.25
"""Added to the variance of the log power of a bin (speech has about 4 to 16) before a clip is divided by its root."""


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    kind: str = "linear"
    """`linear`: log power spectrogram, fft/2+1 bins; `mel`: log-mel; `constant_q`: bands whose width grows with their
    frequency, `bands_per_octave` of them an octave and none narrower than the transform's bins."""
    fft: int = 512
    window: int = 400
    hop: int = 160
    margin: int = 0
    """Samples left out at either end, so that the windows of several front-ends are centred at the same times and
    give as many frames for every length."""
    mels: int = 80
    bands_per_octave: int = 16
    band_hz: tuple[float, float] = (60.0, 7600.0)
    """Bins outside are left out: the canonical view has removed what lay there, and bins without variance would
    enter the network with a huge gain."""
    floor_power: float = 1e-9
    """Added to the power before the logarithm (a full-scale sine has 1): a canonical clip has its strong bins at 1e-3
    and half of its bins under 1e-7, so the floor lies some 60 dB under the strong ones and above the dither of
    16 bits."""
    instance_norm: float = 0.0
    """Share of normalisation by the clip's own mean and spread of each bin, which takes away the channel and the
    long-term spectrum of the voice; the rest by running statistics of the training clips (relaxed instance
    frequency-wise normalisation, Kim et al., 2022)."""

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "mel", "constant_q"):
            raise ValueError(f"frontend kind must be linear, mel or constant_q, not {self.kind!r}")
        if self.kind == "constant_q" and self.band_hz[0] <= 0.0:
            raise ValueError("octaves need a band_hz that begins above 0 Hz")
        if not self.hop <= self.window <= self.fft:
            raise ValueError("need hop <= window <= fft")
        if self.window % 2:
            raise ValueError("window must be even: it is folded about the sample in its middle")
        if self.margin < 0:
            raise ValueError("margin must be 0 or more")
        if not 0.0 <= self.band_hz[0] < self.band_hz[1] <= SAMPLE_RATE_HZ / 2:
            raise ValueError("band_hz must rise, within 0 Hz and half the sample rate")
        if self.floor_power <= 0.0:
            raise ValueError("floor_power must be above 0: digital silence has no logarithm")
        if not 0.0 <= self.instance_norm <= 1.0:
            raise ValueError("instance_norm must lie in [0, 1]")

    @property
    def bins(self) -> int:
        if self.kind == "mel":
            return self.mels
        if self.kind == "constant_q":
            return round(self.bands_per_octave * math.log2(self.band_hz[1] / self.band_hz[0]))
        return self.bin_range[1] - self.bin_range[0]

    @property
    def bin_range(self) -> tuple[int, int]:
        """First bin of the Fourier transform inside the band, and the one after the last."""
        low, high = self.band_hz
        spacing = SAMPLE_RATE_HZ / self.fft
        return math.ceil(low / spacing), math.floor(high / spacing) + 1


class PowerSpectrum(nn.Module):
    """The power of every bin of the band in every frame (`power`), before bands and logarithm; a full-scale sine has 1.

    frames = (samples - 2 * margin - window) // hop + 1; no padding at the edges.
    """

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        # The transform's matrices are made out of these in the graph, each time in training and once when ONNX Runtime
        # loads it: they themselves would be a quarter of the exported file.
        turn = 2 * np.pi * np.arange(config.fft) / config.fft
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.window) / config.window)
        waves = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
        self.register_buffer("waves", torch.from_numpy(waves), persistent=False)
        self.register_buffer("bin_numbers", torch.arange(*config.bin_range), persistent=False)
        self.register_buffer("places", torch.arange(config.window // 2), persistent=False)
        # Scaled so that a full-scale sine has power 1.
        taper = (hann * 2.0 / hann.sum()).astype(np.float32)
        self.register_buffer("taper", torch.from_numpy(taper), persistent=False)
        # From the middle on. The sample in the middle is its own mirror image and would count twice; the first one of
        # the window, which has none, weighs nothing.
        folded = taper[config.window // 2 :].copy()
        folded[0] /= 2.0
        self.register_buffer("folded_taper", torch.from_numpy(folded), persistent=False)

    def power(self, waveforms: Tensor) -> Tensor:
        """(batch, samples) to (batch, bins, frames)"""
        trimmed = self.trimmed(waveforms)
        return self._power_by_fft(trimmed) if self.training else self._power(trimmed)

    def trimmed(self, waveforms: Tensor) -> Tensor:
        """Without the margin at either end."""
        margin = self.config.margin
        return waveforms[:, margin:-margin] if margin else waveforms

    def _power(self, waveforms: Tensor) -> Tensor:
        """(batch, bins, frames)"""
        after, before = self.folded(waveforms)
        cosines, sines = self.fourier_matrices()
        real, imaginary = torch.matmul(after + before, cosines), torch.matmul(after - before, sines)
        return (real.square() + imaginary.square()).transpose(1, 2)

    def folded(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, window / 2) each: what lies so far after the middle of a window, and before it."""
        frames, middle = self.frames(waveforms), self.config.window // 2
        return frames[..., middle:], frames[..., 1 : middle + 1].flip(-1)

    def frames(self, waveforms: Tensor) -> Tensor:
        """(batch, samples) to (batch, frames, window), by whole hops: the exporter would gather sample by sample."""
        hop, window = self.config.hop, self.config.window
        hops = -(-window // hop)  # that a window reaches into
        whole = F.pad(waveforms, (0, hops * hop - window))
        rows = whole[:, : whole.shape[1] // hop * hop].reshape(whole.shape[0], -1, hop)
        count = rows.shape[1] - hops + 1
        reached = [rows[:, first : first + count] for first in range(hops)]
        return torch.cat(reached, dim=-1)[..., :window]

    def _power_by_fft(self, waveforms: Tensor) -> Tensor:
        """The same to rounding, and several times faster in PyTorch: for training, which is never exported."""
        frames = waveforms.unfold(-1, self.config.window, self.config.hop) * self.get_buffer("taper")
        spectrum = torch.fft.rfft(frames, n=self.config.fft)[..., slice(*self.config.bin_range)]
        power: Tensor = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
        return power

    def fourier_matrices(self) -> Tensor:
        """(2, window / 2, bins of the band): cosines, then sines, of what lies so far from the middle of the window,
        tapered by half of Hann's window; a full-scale sine has power 1."""
        angle = torch.outer(self.get_buffer("places"), self.get_buffer("bin_numbers")) % self.config.fft
        matrices: Tensor = self.get_buffer("waves")[:, angle] * self.get_buffer("folded_taper").unsqueeze(1)
        return matrices


class LogSpectrogram(PowerSpectrum):
    """(batch, samples) to (batch, 1, bins, frames), log power, normalised per bin by running statistics."""

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__(config)
        if config.kind != "linear":
            first, end = config.bin_range
            make = mel_filters if config.kind == "mel" else constant_q_filters
            filters = make(config.bins, config.fft, *config.band_hz)[:, first:end]
            self.register_buffer("bands", torch.from_numpy(filters), persistent=False)
        self.normalise = nn.BatchNorm1d(config.bins, affine=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        power = self.power(waveforms)
        if self.config.kind != "linear":
            power = torch.matmul(self.get_buffer("bands"), power)
        # log(power + floor), but with 1 added in the place of the floor: the exporter takes 1e-9 for 0 and drops it.
        logarithm = torch.log(power / self.config.floor_power + 1.0) + math.log(self.config.floor_power)
        normalised: Tensor = self.normalise(logarithm)
        if share := self.config.instance_norm:
            mean = logarithm.mean(-1, keepdim=True)
            spread = (logarithm - mean).square().mean(-1, keepdim=True).add(SPREAD_FLOOR).sqrt()
            normalised = (1 - share) * normalised + share * (logarithm - mean) / spread
        return normalised.unsqueeze(1)


def mel_filters(mels: int, fft: int, low_hz: float, high_hz: float) -> NDArray[np.float32]:
    """Triangular filters on the mel scale of O'Shaughnessy (1987), shape (mels, fft/2 + 1), each of peak 1."""

    def to_mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))

    edges_mel = np.linspace(to_mel(low_hz), to_mel(high_hz), mels + 2)
    return _triangles(700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0), fft)


def constant_q_filters(bands: int, fft: int, low_hz: float, high_hz: float) -> NDArray[np.float32]:
    """Triangular filters evenly spaced in octaves, shape (bands, fft/2 + 1), each of peak 1 and at least two bins wide.

    A constant-Q transform (Brown, 1991) out of one Fourier transform: at the bottom its bands are as wide as the
    transform's bins allow.
    """
    edges_hz = np.geomspace(low_hz, high_hz, bands + 2)
    return _triangles(edges_hz, fft, narrowest_hz=SAMPLE_RATE_HZ / fft)


def _triangles(edges_hz: NDArray[np.float64], fft: int, narrowest_hz: float = 0.0) -> NDArray[np.float32]:
    """Filter i rises from edge i to edge i + 1, or over `narrowest_hz`, and falls to edge i + 2."""
    bins_hz = np.arange(fft // 2 + 1) * SAMPLE_RATE_HZ / fft
    centre = edges_hz[1:-1, None]
    lower = np.minimum(edges_hz[:-2, None], centre - narrowest_hz)
    upper = np.maximum(edges_hz[2:, None], centre + narrowest_hz)
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    return np.clip(np.minimum(rising, falling), 0.0, None).astype(np.float32)


def slaney_filters(mels: int, fft: int, rate_hz: int, high_hz: float) -> Tensor:
    """Triangles of equal area on Slaney's mel scale from 0 to `high_hz`, shape (mels, fft / 2 + 1)."""
    edges_hz = _slaney_hz(torch.linspace(0.0, float(_slaney_mel(torch.tensor(high_hz))), mels + 2))
    bins_hz = torch.arange(fft // 2 + 1) * (rate_hz / fft)
    low, centre, high = (edges_hz[i : i + mels, None] for i in range(3))
    triangles = torch.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)).clamp(min=0)
    return triangles * 2 / (high - low)


def _slaney_mel(hz: Tensor) -> Tensor:
    above = SLANEY_TURN_MEL + torch.log(hz.clamp(min=SLANEY_TURN_HZ) / SLANEY_TURN_HZ) / SLANEY_LOG_STEP
    return torch.where(hz < SLANEY_TURN_HZ, hz / SLANEY_LINEAR_HZ, above)


def _slaney_hz(mel: Tensor) -> Tensor:
    above = SLANEY_TURN_HZ * torch.exp((mel - SLANEY_TURN_MEL).clamp(min=0.0) * SLANEY_LOG_STEP)
    return torch.where(mel < SLANEY_TURN_MEL, mel * SLANEY_LINEAR_HZ, above)
