"""What the full report needs of the sound itself: its outline, its hash, and the robustness panel. One pass.

    outline, second_look = look_again(path, output, scorer)

The recording is decoded once more, in constant memory: of the sound only the panel's few windows are kept.
"""

from pathlib import Path

import numpy as np

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.detector import DetectorOutput
from earwitness.finding import WindowScore
from earwitness.media import MediaLimits, open_media
from earwitness.reporting.contents import Derived, SecondLook
from earwitness.reporting.outline import Outline, Outliner
from earwitness.robustness import Piece, choose_windows, rescore
from earwitness.scorer import Scorer
from earwitness.waveform import Samples, sample_count

NO_SOUND = "No panel: there is no sound to score."
ABSTAINED = "No panel: the detector abstained, and there is no verdict that could change."
NO_MODEL = (
    "No panel: the model of this run is not on the shelf now, and another one's scores would not be comparable."
)
DECODED = "the sound track decoded to mono, 16 kHz, float32 little-endian, header-less"


def look_again(
    path: Path,
    output: DetectorOutput,
    scorer: Scorer | None,
    prior: float = DEFAULT_PRIOR,
    limits: MediaLimits | None = None,
) -> tuple[Outline | None, SecondLook]:
    """`output` is what the run found; `scorer` is None where its model is not at hand, then there is no panel.

    Raises `earwitness.errors.InputError` for a recording that can't be read (any more).
    """
    if not output.duration_s:
        return None, SecondLook(panel_absent=NO_SOUND)
    absent = ABSTAINED if output.abstentions else NO_MODEL if scorer is None else None
    wanted = () if absent else choose_windows(output.windows)
    outliner, cutter = Outliner(output.duration_s), _Cutter(wanted)
    with open_media(path, limits) as media:
        for block in media:
            outliner.push(block)
            cutter.push(block)
    outline = outliner.finish()
    derived = (Derived("decoded sound", outline.waveform_sha256, DECODED),)
    if scorer is None or not wanted:
        return outline, SecondLook(panel_absent=absent or NO_SOUND, derived=derived)
    return outline, SecondLook(panel=rescore(cutter.pieces(), scorer, prior), derived=derived)


class _Cutter:
    """Keeps the sound of some windows while the blocks go by; `wanted` is in the order of time."""

    def __init__(self, wanted: tuple[WindowScore, ...]) -> None:
        self._wanted = wanted
        self._parts: list[list[Samples]] = [[] for _ in wanted]
        self._position = 0

    def push(self, block: Samples) -> None:
        end = self._position + block.size
        for window, parts in zip(self._wanted, self._parts, strict=True):
            first, last = sample_count(window.start_s), sample_count(window.end_s)
            if first < end and last > self._position:
                parts.append(block[max(first - self._position, 0) : last - self._position].copy())
        self._position = end

    def pieces(self) -> list[Piece]:
        return [
            Piece(np.concatenate(parts), window.speech_share)
            for window, parts in zip(self._wanted, self._parts, strict=True)
        ]
