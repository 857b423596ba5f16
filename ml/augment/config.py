"""The whole chain's settings: a frozen dataclass for each kind, with its probability and ranges."""

from dataclasses import dataclass, field, fields, replace

from ml.augment.bitrate import BitRateConfig
from ml.augment.channel import (
    BandLimitConfig,
    ClippingConfig,
    GainConfig,
    PacketLossConfig,
    PhoneBandConfig,
    SaturationConfig,
    TiltConfig,
)
from ml.augment.codecs import CodecConfig
from ml.augment.draws import Range
from ml.augment.masking import FrequencyMaskConfig, TimeMaskConfig
from ml.augment.noise import BabbleConfig, ColouredNoiseConfig, RecordedNoiseConfig
from ml.augment.rawboost import RawBoostConfig
from ml.augment.rooms import RoomConfig


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    untouched: float = 0.1
    """Share of clips that pass as they are: the network must know undisturbed speech too."""
    room: RoomConfig = field(default_factory=RoomConfig)
    babble: BabbleConfig = field(default_factory=BabbleConfig)
    recorded_noise: RecordedNoiseConfig = field(default_factory=RecordedNoiseConfig)
    coloured_noise: ColouredNoiseConfig = field(default_factory=ColouredNoiseConfig)
    tilt: TiltConfig = field(default_factory=TiltConfig)
    rawboost: RawBoostConfig = field(default_factory=RawBoostConfig)
    saturation: SaturationConfig = field(default_factory=SaturationConfig)
    clipping: ClippingConfig = field(default_factory=ClippingConfig)
    gain: GainConfig = field(default_factory=GainConfig)
    phone_band: PhoneBandConfig = field(default_factory=PhoneBandConfig)
    band_limit: BandLimitConfig = field(default_factory=BandLimitConfig)
    bit_rate: BitRateConfig = field(default_factory=BitRateConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    packet_loss: PacketLossConfig = field(default_factory=PacketLossConfig)
    time_mask: TimeMaskConfig = field(default_factory=TimeMaskConfig)
    frequency_mask: FrequencyMaskConfig = field(default_factory=FrequencyMaskConfig)

    def __post_init__(self) -> None:
        _check_probability("untouched", self.untouched)
        for name in step_names():
            kind = getattr(self, name)
            _check_probability(f"{name}.probability", kind.probability)
            for parameter in fields(kind):
                value = getattr(kind, parameter.name)
                if parameter.type in (Range, tuple[int, int]) and value[0] > value[1]:
                    raise ValueError(f"{name}.{parameter.name}: the lower end {value[0]} is above {value[1]}")


def step_names() -> tuple[str, ...]:
    """The fields of `AugmentConfig` that are a kind of augmentation each."""
    return tuple(f.name for f in fields(AugmentConfig) if f.name != "untouched")


def with_probabilities(config: AugmentConfig, untouched: float = 0.0, **probabilities: float) -> AugmentConfig:
    """`config` with only the named kinds left on, at the probabilities given; none named: the chain is off."""
    if unknown := probabilities.keys() - set(step_names()):
        raise ValueError(f"unknown kinds {sorted(unknown)}; there are {', '.join(step_names())}")
    changed = {
        name: replace(getattr(config, name), probability=probabilities.get(name, 0.0)) for name in step_names()
    }
    return replace(config, untouched=untouched, **changed)


def _check_probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, not {value}")
