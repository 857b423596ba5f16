"""What a vocoder is trained by: spectra at several resolutions, and a small critic of spectrograms.

The critic (least-squares GAN, Mao et al., 2017, on log spectrograms as UnivNet's, Jang et al., 2021) gives the copies
the grain that spectral distances alone leave out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESOLUTIONS = (320, 800, 1600)
CRITIC_FFTS = (1024,)
FLOOR = 1e-5  # of an amplitude, before the logarithm
LEAK = 0.2


class SpectralDistance(nn.Module):
    """Multi-resolution distance of amplitudes, relative and in logarithm (Yamamoto et al., 2020)."""

    def forward(self, copies: Tensor, originals: Tensor) -> Tensor:
        distance = copies.new_zeros(())
        for fft in RESOLUTIONS:
            of_copy, of_original = amplitudes(copies, fft), amplitudes(originals, fft)
            relative = (of_copy - of_original).norm() / of_original.norm().clamp(min=FLOOR)
            logarithmic = F.l1_loss(torch.log(of_copy + FLOOR), torch.log(of_original + FLOOR))
            distance = distance + (relative + logarithmic) / len(RESOLUTIONS)
        return distance


class Critic(nn.Module):
    """One judge a resolution: (batch, samples) to maps that are 1 where sound looks original and 0 where copied."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.judges = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, channels, (5, 3), (2, 1), (2, 1)),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(channels, channels, (5, 3), (2, 2), (2, 1)),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(channels, 2 * channels, (5, 3), (2, 2), (2, 1)),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(2 * channels, 1, 3, 1, 1),
            )
            for _ in CRITIC_FFTS
        )

    def forward(self, waveforms: Tensor) -> list[Tensor]:
        return [
            judge(torch.log(amplitudes(waveforms, fft) + FLOOR).unsqueeze(1))
            for judge, fft in zip(self.judges, CRITIC_FFTS, strict=True)
        ]


def critic_loss(on_originals: Sequence[Tensor], on_copies: Sequence[Tensor]) -> Tensor:
    losses = [
        (real - 1).square().mean() + fake.square().mean()
        for real, fake in zip(on_originals, on_copies, strict=True)
    ]
    return torch.stack(losses).mean()


def deception_loss(on_copies: Sequence[Tensor]) -> Tensor:
    """How far the copies are from being taken for originals."""
    return torch.stack([(fake - 1).square().mean() for fake in on_copies]).mean()


def amplitudes(waveforms: Tensor, fft: int) -> Tensor:
    """(batch, fft/2 + 1, frames); the small term keeps the gradient finite at silence."""
    window = torch.hann_window(fft, device=waveforms.device)
    spectrum = torch.stft(waveforms, fft, fft // 4, window=window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + FLOOR**2).sqrt()
