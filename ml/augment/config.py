"""The whole chain's settings: a frozen dataclass for each kind, with its probability and ranges."""

from dataclasses import dataclass, field

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
    codec: CodecConfig = field(default_factory=CodecConfig)
    packet_loss: PacketLossConfig = field(default_factory=PacketLossConfig)
