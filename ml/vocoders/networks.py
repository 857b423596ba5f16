"""Ways from sound to sound through a network: smallest versions of what is in use, and one of full size.

    network = build(VocoderConfig(name="a", kind="upsampling", strides=(8, 8, 4)))
    copy = network(waveforms)       # (batch, samples) -> (batch, samples), samples a multiple of network.hop

`spectral` predicts amplitude and phase of each frame (as Vocos does, Siuzdak, 2023), `upsampling` makes samples out of
mel frames by transposed convolutions (as HiFi-GAN does, Kong et al., 2020), `codec` squeezes the waveform through
quantised codes (as EnCodec does, Défossez et al., 2022; the quantiser is that of Mentzer et al., 2023). `hifigan` is
HiFi-GAN itself, version 1, for published weights.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.waveform import SAMPLE_RATE_HZ
from ml.models.frontend import mel_filters, slaney_filters
from ml.vocoders.config import VocoderConfig

MEL_FLOOR = 1e-5  # under the amplitude before the logarithm, as vocoders use it
HIFIGAN_RATE_HZ = 22_050
HIFIGAN_KERNELS = (3, 7, 11)
HIFIGAN_DILATIONS = (1, 3, 5)
PLAYED_AT_HZ = (14_400, 16_000, 17_600, 20_000, 22_000)
"""As which rate our own networks are given the sound. 22,000 is what a vocoder at 22 kHz would be given; more would
leave the network less than the 8 kHz of band that it was trained on."""
AMPLITUDE_MAX = 6.0  # of a predicted log amplitude: an untrained network must not overflow
LEAK = 0.1


class Vocoder(nn.Module):
    """(batch, samples) to (batch, samples): encode, decode."""

    def __init__(
        self,
        hop: int,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        played_at_hz: tuple[int, ...] = PLAYED_AT_HZ,
        published: bool = False,
    ) -> None:
        super().__init__()
        self.hop = hop
        self.played_at_hz = played_at_hz
        self.published = published
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, waveforms: Tensor) -> Tensor:
        """Raises ValueError for a length that is no multiple of the hop."""
        if waveforms.shape[1] % self.hop:
            raise ValueError(f"{waveforms.shape[1]} samples are no multiple of the hop of {self.hop}")
        copied: Tensor = self.decoder(self.encoder(waveforms))
        return copied


def build(config: VocoderConfig) -> Vocoder:
    if config.kind == "spectral":
        return Vocoder(config.hop, MelEncoder(config), SpectralDecoder(config))
    if config.kind == "upsampling":
        return Vocoder(config.hop, MelEncoder(config), Upsampler(config.mels, config.channels, config.strides))
    if config.kind == "hifigan":
        generator = HifiganGenerator(config.mels, config.channels, config.strides)
        return Vocoder(
            config.hop, HifiganEncoder(config), generator, played_at_hz=(HIFIGAN_RATE_HZ,), published=True
        )
    decoder = Upsampler(config.code, config.channels, config.strides)
    return Vocoder(config.hop, CodeEncoder(config), decoder)


class MelEncoder(nn.Module):
    """(batch, samples) to log-mel amplitudes (batch, mels, samples / hop)."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.hop, self.fft = config.hop, 4 * config.hop
        filters = mel_filters(config.mels, self.fft, 0.0, min(config.mel_high_hz, SAMPLE_RATE_HZ / 2))
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        self.register_buffer("window", torch.hann_window(self.fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        spectrum = _stft(waveforms, self.fft, self.hop, self.get_buffer("window"))[:, :, :-1]
        return torch.log(self.get_buffer("filters") @ spectrum.abs() + MEL_FLOOR)


class SpectralDecoder(nn.Module):
    """Log-mel frames to amplitude and phase of every bin, and by the inverse transform to sound."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.hop, self.fft = config.hop, 4 * config.hop
        self.enter = nn.Conv1d(config.mels, config.channels, 7, padding=3)
        self.blocks = nn.Sequential(*(FrameBlock(config.channels) for _ in range(4)))
        self.leave = nn.Conv1d(config.channels, self.fft + 2, 1)
        self.register_buffer("window", torch.hann_window(self.fft), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        amplitude, phase = self.leave(self.blocks(self.enter(mel))).chunk(2, dim=1)
        spectrum = torch.polar(amplitude.clamp(max=AMPLITUDE_MAX).exp(), phase)
        spectrum = F.pad(torch.view_as_real(spectrum), (0, 0, 0, 1))  # the transform ends with a frame at the edge
        length = mel.shape[2] * self.hop
        sound: Tensor = torch.istft(
            torch.view_as_complex(spectrum.contiguous()),
            self.fft,
            self.hop,
            window=self.get_buffer("window"),
            length=length,
        )
        return sound


class FrameBlock(nn.Module):
    """ConvNeXt's block over frames (Liu et al., 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.GroupNorm(1, channels)
        self.widen = nn.Conv1d(channels, 3 * channels, 1)
        self.narrow = nn.Conv1d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.narrow(F.gelu(self.widen(self.norm(self.depthwise(x)))))
        return mixed


class Upsampler(nn.Module):
    """(batch, features, frames) to samples by transposed convolutions, channels halved by each."""

    def __init__(self, features: int, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(features, channels, 7, padding=3)]
        for stride in strides:
            layers += [nn.LeakyReLU(LEAK), _upsample(channels, channels // 2, stride)]
            channels //= 2
            layers += [DilatedBlock(channels)]
        layers += [nn.LeakyReLU(LEAK), nn.Conv1d(channels, 1, 7, padding=3), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        sound: Tensor = self.layers(frames).squeeze(1)
        return sound


class DilatedBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, dilation=dilation, padding=dilation) for dilation in (1, 3, 9)
        )

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = x + convolution(F.leaky_relu(x, LEAK))
        return x


class CodeEncoder(nn.Module):
    """(batch, samples) to quantised codes (batch, code, samples / hop), gradients passed straight through."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        width = config.channels // 2 ** len(config.strides)
        layers: list[nn.Module] = [nn.Conv1d(1, width, 7, padding=3)]
        for stride in reversed(config.strides):
            odd = stride % 2
            layers += [
                DilatedBlock(width),
                nn.LeakyReLU(LEAK),
                nn.Conv1d(width, 2 * width, 2 * stride + odd, stride, padding=(stride + odd) // 2),
            ]
            width *= 2
        layers += [nn.LeakyReLU(LEAK), nn.Conv1d(width, config.code, 3, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.half_levels = (config.levels - 1) / 2

    def forward(self, waveforms: Tensor) -> Tensor:
        bounded = torch.tanh(self.layers(waveforms.unsqueeze(1))) * self.half_levels
        return (bounded + (bounded.round() - bounded).detach()) / self.half_levels


class HifiganEncoder(nn.Module):
    """(batch, samples) at 22.05 kHz to log-mel amplitudes (batch, mels, samples / hop) as HiFi-GAN was trained on.

    Mel scale and area normalisation of Slaney's Auditory Toolbox (1998), which librosa made usual.
    """

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.hop, self.fft = config.hop, 4 * config.hop
        filters = slaney_filters(config.mels, self.fft, HIFIGAN_RATE_HZ, config.mel_high_hz)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        edge = (self.fft - self.hop) // 2
        padded = F.pad(waveforms[:, None], (edge, edge), mode="reflect")[:, 0]
        window = self.get_buffer("window")
        spectrum = torch.stft(padded, self.fft, self.hop, window=window, center=False, return_complex=True).abs()
        return torch.log((self.get_buffer("filters") @ spectrum).clamp(min=MEL_FLOOR))


class HifiganGenerator(nn.Module):
    """Version 1 of Kong et al. (2020); its parts have the names that published weights have."""

    def __init__(self, mels: int, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(mels, channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for stride in strides:
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, 2 * stride, stride, padding=stride // 2))
            channels //= 2
            self.resblocks.extend(HifiganBlock(channels, kernel) for kernel in HIFIGAN_KERNELS)
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.conv_pre(mel)
        count = len(HIFIGAN_KERNELS)
        for number, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, LEAK))
            blocks = self.resblocks[number * count : (number + 1) * count]
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)
        sound: Tensor = torch.tanh(self.conv_post(F.leaky_relu(x))).squeeze(1)
        return sound


def load_generator(path: Path) -> dict[str, Tensor]:
    """The generator's weights, those of weight normalisation (Salimans and Kingma, 2016) multiplied out."""
    found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["generator"]
    weights = {}
    for name, value in found.items():
        if name.endswith("weight_v"):
            norm = value.flatten(1).norm(dim=1).reshape(-1, *(1 for _ in value.shape[1:]))
            weights[name.removesuffix("_v")] = found[name.removesuffix("v") + "g"] * value / norm
        elif not name.endswith("weight_g"):
            weights[name] = value
    return weights


class HifiganBlock(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()

        def convolutions(dilations: tuple[int, ...]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel // 2))
                for dilation in dilations
            )

        self.convs1 = convolutions(HIFIGAN_DILATIONS)
        self.convs2 = convolutions((1,) * len(HIFIGAN_DILATIONS))

    def forward(self, x: Tensor) -> Tensor:
        for wide, narrow in zip(self.convs1, self.convs2, strict=True):
            x = x + narrow(F.leaky_relu(wide(F.leaky_relu(x, LEAK)), LEAK))
        return x


def _upsample(channels: int, out: int, stride: int) -> nn.Module:
    odd = stride % 2
    return nn.ConvTranspose1d(
        channels, out, 2 * stride + odd, stride, padding=(stride + odd) // 2
    )  # exactly stride times longer


def _stft(waveforms: Tensor, fft: int, hop: int, window: Tensor) -> Tensor:
    """(batch, samples) to complex (batch, fft/2 + 1, samples // hop + 1)."""
    return torch.stft(waveforms, fft, hop, window=window, return_complex=True)
