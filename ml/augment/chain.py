"""The order of the augmentations: as a recording meets them, from the room to the last codec.

    worse = augment(samples, rng, AugmentConfig(), bank)

`STEPS` is the whole chain; a step runs with the probability in its part of the config.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from earwitness.waveform import Samples
from ml.augment import bitrate, channel, codecs, masking, noise, rawboost, rooms
from ml.augment.assets import NoiseBank
from ml.augment.config import AugmentConfig
from ml.augment.draws import chance

Apply: TypeAlias = Callable[[Samples, np.random.Generator, AugmentConfig, NoiseBank], Samples]

STEPS: tuple[tuple[str, Apply], ...] = (
    ("room", lambda x, rng, config, bank: rooms.place_in_room(x, rng, config.room, bank)),
    ("babble", lambda x, rng, config, bank: noise.add_babble(x, rng, config.babble, bank)),
    ("recorded_noise", lambda x, rng, config, bank: noise.add_recorded_noise(x, rng, config.recorded_noise, bank)),
    ("coloured_noise", lambda x, rng, config, _: noise.add_coloured_noise(x, rng, config.coloured_noise)),
    ("tilt", lambda x, rng, config, _: channel.apply_tilt(x, rng, config.tilt)),
    ("rawboost", lambda x, rng, config, _: rawboost.rawboost(x, rng, config.rawboost)),
    ("saturation", lambda x, rng, config, _: channel.saturate(x, rng, config.saturation)),
    ("clipping", lambda x, rng, config, _: channel.clip_peaks(x, rng, config.clipping)),
    ("gain", lambda x, rng, config, _: channel.apply_gain(x, rng, config.gain)),
    ("phone_band", lambda x, rng, config, _: channel.phone_band(x, rng, config.phone_band)),
    ("band_limit", lambda x, rng, config, _: channel.limit_band(x, rng, config.band_limit)),
    ("bit_rate", lambda x, rng, config, _: bitrate.reduce_bit_rate(x, rng, config.bit_rate)),
    ("codec", lambda x, rng, config, _: codecs.transcode(x, rng, config.codec)),
    ("packet_loss", lambda x, rng, config, _: channel.lose_packets(x, rng, config.packet_loss)),
    ("time_mask", lambda x, rng, config, _: masking.mask_time(x, rng, config.time_mask)),
    ("frequency_mask", lambda x, rng, config, _: masking.mask_bands(x, rng, config.frequency_mask)),
)
"""Name (the field of `AugmentConfig` that holds the step's probability and ranges) and function, in order."""


def augment(samples: Samples, rng: np.random.Generator, config: AugmentConfig, bank: NoiseBank) -> Samples:
    """A disturbed copy of `samples`: same length, float32, finite; the input is never written to.

    What is drawn depends on the length and not on the sound: two clips of one length (a recording and its
    copy-synthesis) with generators of one seed go through the same channel. Silence alone may draw less.

    Raises ValueError for an array that is not one-dimensional, is empty or holds NaN or infinity.
    """
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"a clip must be one-dimensional and not empty, not of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("a clip must hold finite samples")
    length = samples.size
    samples = samples.astype(np.float32)
    if chance(rng, config.untouched):
        return samples
    for name, apply in STEPS:
        if chance(rng, getattr(config, name).probability):
            samples = apply(samples, rng, config, bank)
    assert samples.size == length
    return samples.astype(np.float32, copy=False)
