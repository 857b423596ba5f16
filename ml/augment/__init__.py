"""Augmentation on waveforms: what happens to a recording between the mouth (or the synthesiser) and the evidence.

    bank = NoiseBank.from_folder(Path("../shared/corpus/noise"))
    worse = augment(samples, np.random.default_rng(7), AugmentConfig(), bank)

Float32 mono 16 kHz in, the same length out, finite; everything random is drawn from the generator passed in. Both
classes go through the same chain: what is done to one class only becomes a shortcut. Label-changing tools are
apart: `copy_synthesise` makes spoof out of bona fide speech, `splice` makes partial spoofs with frame labels.
No PyTorch here, and no canonical view: the caller applies that last.
"""

from ml.augment.assets import NoiseBank
from ml.augment.chain import augment
from ml.augment.config import AugmentConfig, with_probabilities
from ml.augment.copysynth import METHODS, copy_synthesise
from ml.augment.splice import SpliceConfig, splice

__all__ = [
    "METHODS",
    "AugmentConfig",
    "NoiseBank",
    "SpliceConfig",
    "augment",
    "copy_synthesise",
    "splice",
    "with_probabilities",
]
