"""Whether the parts of the recording say the same: how many of the network's 160 ms frames point the same way."""

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import Context

AGREEMENT_REFERENCE = (
    "Share of the frames of speech on the side of their majority; partly synthetic speech as a problem of its own: "
    "Zhang, Wang, Yamagishi et al., 2023, IEEE/ACM TASLP 31 (PartialSpoof)"
)


class Agreement:
    """Nothing to hear: the network's frame scores tell."""

    def push(self, frames: Frames) -> None:
        pass

    def signals(self, context: Context) -> tuple[Signal, ...]:
        share = context.frame_agreement_share
        return (Signal("frame_agreement_share", "Agreement of the frames", share, "share", AGREEMENT_REFERENCE),)
