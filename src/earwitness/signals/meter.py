"""What a signal is to the examination: something that hears frames and has figures in the end.

    class Loudness:
        def push(self, frames: Frames) -> None: ...
        def signals(self, context: Context, /) -> tuple[Signal, ...]: ...

Types only. The meters are beside this file, one concern each; `earwitness.signals` lists them.
"""

from dataclasses import dataclass
from typing import Protocol

from earwitness.finding import MediaInfo
from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.suitability import Measurements

FEWEST_SPEECH_FRAMES = 30  # half a second, as little as the detector itself judges
FEWEST_PAUSE_FRAMES = 20  # a third of a second in all; a percentile of fewer is a coincidence


@dataclass(frozen=True, slots=True)
class Context:
    """What other steps found out about the same recording."""

    media: MediaInfo
    measured: Measurements
    ood_distance: float | None = None
    """Of the embedding from the training data."""
    frame_agreement_share: float | None = None
    """Part of the scored frames of speech that point the way most of them do, 0.5 to 1."""


class Meter(Protocol):
    def push(self, frames: Frames) -> None:
        """Hear the next piece."""
        ...

    def signals(self, context: Context, /) -> tuple[Signal, ...]:
        """Always the same signals in the same order; a value is None where it can't be measured."""
        ...
