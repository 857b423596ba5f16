"""How far the recording lies from everything that the detector was trained on."""

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import Context

DISTANCE_REFERENCE = "Mahalanobis distance of the embedding to the nearer class: Lee et al., 2018, NeurIPS"


class Distance:
    """Nothing to hear: the network's embedding tells."""

    def push(self, frames: Frames) -> None:
        pass

    def signals(self, context: Context) -> tuple[Signal, ...]:
        return (
            Signal("ood_distance", "Distance to the training data", context.ood_distance, "1", DISTANCE_REFERENCE),
        )
