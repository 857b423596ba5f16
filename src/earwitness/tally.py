"""From the scores of windows to one score: what is kept of a recording while it is examined, and its means.

Windows count by their share of speech, so that a silent hour says nothing about a spoken minute.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earwitness.finding import Stretch, WindowScore

NOTABLE_SPEECH_SHARE = 0.25  # a second of a 4 s window: what stands on less is not pointed at


@dataclass(slots=True)
class Tally:
    """A few numbers a window, whatever the recording's length."""

    windows: list[WindowScore] = field(default_factory=list)
    _speech_weight: float = 0.0
    _embedding_sum: NDArray[np.float64] | None = None

    def add(self, window: WindowScore, embedding: NDArray[np.float32]) -> None:
        self.windows.append(window)
        self._speech_weight += window.speech_share
        weighted = embedding.astype(np.float64) * window.speech_share
        self._embedding_sum = weighted if self._embedding_sum is None else self._embedding_sum + weighted

    def score(self) -> float | None:
        """Mean over the windows, weighted by their share of speech; a plain mean where nobody speaks at all."""
        if not self.windows:
            return None
        scores = np.array([window.score for window in self.windows])
        if self._speech_weight == 0.0:
            return float(scores.mean())
        weights = np.array([window.speech_share for window in self.windows])
        return float((scores * weights).sum() / weights.sum())

    def embedding(self) -> NDArray[np.float32] | None:
        """Weighted mean of the embeddings, shape (dim,); None where nobody speaks."""
        if self._embedding_sum is None or self._speech_weight == 0.0:
            return None
        return (self._embedding_sum / self._speech_weight).astype(np.float32)

    def most_suspicious(self) -> Stretch | None:
        """The window with the highest p_fake among those with a fair amount of speech; the earliest of equals."""
        most_speech = max((window.speech_share for window in self.windows), default=0.0)
        enough = min(NOTABLE_SPEECH_SHARE, most_speech)
        candidates = [window for window in self.windows if window.speech_share >= enough > 0.0]
        worst = max(candidates, key=lambda window: window.score, default=None)
        return None if worst is None or worst.p_fake is None else Stretch(worst.start_s, worst.end_s, worst.p_fake)
