"""All signals of many clips, exactly as the library measures a user's recording.

rows = measure(clips, Path("models/audio/latest.onnx"), jobs=2, telephone_every=3)
rows[0].values["pitch_sd_semitones"]
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from earwitness.errors import InputError
from earwitness.media import read_waveform
from earwitness.pipeline import ExamineOptions, examine
from earwitness.scorer import Scorer, load_scorer
from earwitness.signals.usual import bandwidth_class
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.datasets.manifest import Clip, Label
from ml.processes import spread
from ml.wav import to_pcm16

TELEPHONE_RATE_HZ = 8_000


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one recording."""

    label: str
    """`human` or `synthetic`."""
    group: str
    """Its bandwidth class."""
    values: dict[str, float]
    """By the signal's name; what could not be measured is missing."""


def measure(
    clips: Sequence[Clip], graph_path: Path, *, jobs: int, telephone_every: int, quiet: bool = False
) -> list[Row]:
    """One row a clip in which speech was found, and one more for the telephone copy of every so-manieth.

    Corpora hold few recordings of a narrow band, so every `telephone_every`-th clip (0: none) is examined once more
    at 8 kHz. A clip that can't be read is left out, as is one without speech.
    """
    work = [(clip, False) for clip in clips]
    if telephone_every:
        work += [(clip, True) for clip in clips[::telephone_every]]
    answers = spread(_measure_one, work, jobs=jobs, initializer=_load, initargs=(graph_path,), chunksize=8)
    return [row for row in tqdm(answers, total=len(work), unit="clip", disable=quiet, mininterval=2.0) if row]


_loaded: list[Scorer] = []
"""Of this worker process."""


def _load(graph_path: Path) -> None:
    _loaded.append(load_scorer(graph_path))


def _measure_one(task: tuple[Clip, bool]) -> Row | None:
    clip, telephone = task
    options = ExamineOptions(usual_ranges=None, deletions=False)
    try:
        if not telephone:
            output = examine(clip.path, _loaded[-1], options)
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "telephone.wav"
                write_telephone_copy(path, read_waveform(clip.path)[0])
                output = examine(path, _loaded[-1], options)
    except InputError:
        return None
    group = bandwidth_class(output.signals.get("bandwidth_hz"))
    if group is None or output.grounds is None:
        return None
    values = {signal.name: signal.value for signal in output.grounds.signals if signal.value is not None}
    return Row("human" if clip.label is Label.BONAFIDE else "synthetic", group, values)


def write_telephone_copy(path: Path, samples: Samples) -> None:
    """`samples` at 8 kHz as a WAV file of 16 bits."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=TELEPHONE_RATE_HZ)
    frame = av.AudioFrame.from_ndarray(to_pcm16(samples)[np.newaxis], format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE_HZ
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=TELEPHONE_RATE_HZ, layout="mono")
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
