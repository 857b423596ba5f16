"""Windows: a stream of blocks cut into the overlapping stretches that the network scores.

    for window in iter_windows(stream, WindowPlan(window_s=4.0, hop_s=2.0)):
        window.samples      # float32, 4 s; the only window of a shorter recording is shorter

Constant memory: never more than one window and one block are held. Every sample of the recording is in at
least one window: the last one is moved back so that it ends with the recording. A long recording is cut without
overlap (`plan_for`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from earwitness.waveform import Samples, sample_count, seconds

LONG_RECORDING_S = 30.0
"""From here on the mean over windows is steady without overlap, at half the cost (docs/adr/0061)."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    window_s: float = 4.0
    hop_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.window_s:
            raise ValueError(f"need 0 < hop_s <= window_s, not hop {self.hop_s} s and window {self.window_s} s")


def plan_for(plan: WindowPlan, declared_s: float | None, long_s: float = LONG_RECORDING_S) -> WindowPlan:
    """`plan`, without overlap where the container declares a recording of at least `long_s`.

    What it declares decides, since the length is not known before the end; one that declares none keeps the overlap.
    """
    return plan if declared_s is None or declared_s < long_s else replace(plan, hop_s=plan.window_s)


@dataclass(frozen=True, slots=True)
class Window:
    index: int
    start_s: float
    samples: Samples

    @property
    def end_s(self) -> float:
        return self.start_s + seconds(self.samples.size)


def iter_windows(blocks: Iterable[Samples], plan: WindowPlan) -> Iterator[Window]:
    """Cut `blocks` (waveforms of any lengths, in order) into windows.

    Yields nothing for an empty stream, one shorter window for a recording below `plan.window_s`.
    """
    size = sample_count(plan.window_s)
    hop = sample_count(plan.hop_s)
    held = np.zeros(0, dtype=np.float32)
    held_from = 0  # position of held[0] in the recording
    index = 0
    for block in blocks:
        held = np.concatenate((held, block)) if held.size else block
        while held.size >= size + hop:  # a full window, and the next one is certain to be full too
            yield Window(index, seconds(held_from), held[:size].copy())
            index += 1
            held = held[hop:]
            held_from += hop
    if held.size == 0:
        return
    yield Window(index, seconds(held_from), held[:size].copy())
    if held.size > size:
        start = held.size - size
        yield Window(index + 1, seconds(held_from + start), held[start:].copy())
