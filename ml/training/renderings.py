"""Speech by free synthesisers from before neural networks, rendered for the training part (`data.renderings`).

    clips = rendered_clips(400, Path("runs/cache"))     # needs espeak-ng and flite on PATH, once

Who tries a detector often begins with one of these, and hardly a recording of them is in the corpora. espeak-ng shapes
formants, in a hundred languages; flite joins diphones. What `python -m ml.evaluation.classical` says afterwards is of
known voices and unknown sentences, and of festival's, which are not heard here.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from earwitness.media import read_waveform
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count, seconds
from ml.config import ConfigError
from ml.datasets.manifest import UNKNOWN, Clip, Kind, Label
from ml.evaluation.classical import LIMIT_S, OUT, TEXT, Voice, speak
from ml.training.store import MIN_SAMPLES
from ml.wav import write_wav

RENDERINGS_VERSION = 1
FLITE_VOICES = ("kal", "kal16")  # its other voices are statistical: what corpora have of those is found
FLITE_SHARE = 0.25
SENTENCE_SHARE = (
    0.5  # of what espeak-ng's English voices say; all else is numbers, which it reads in each language
)
VARIANTS = (*(f"+m{i}" for i in range(1, 8)), *(f"+f{i}" for i in range(1, 6)), "+croak", "+whisper", "")
PITCH, WORDS_A_MINUTE, STRETCH = (20, 80), (110, 220), (0.8, 1.3)
ATTEMPTS = 5  # espeak-ng 1.51 crashes over long numbers in Greenlandic, and has a table entry without a voice
LONGEST_S = 3.0  # as the clips of the corpus
QUIET = 0.01  # of the peak: what lies before and after is the program's silence, which nothing should learn
SOURCE = "own-renderings"

SUBJECTS = (
    "the old bridge", "my younger sister", "a careful driver", "the evening train", "our neighbour's dog",
    "the new teacher", "a sudden storm", "the last visitor", "every honest merchant", "the small village",
    "a tired doctor", "the first report",
)  # fmt: skip
VERBS = (
    "has never seen", "will soon reach", "could not find", "usually follows", "has already left", "might still need",
    "often talks about", "was waiting for", "does not remember", "must have passed", "is looking at", "gave up",
)  # fmt: skip
OBJECTS = (
    "the river behind the mill", "a letter without a name", "the road to the harbour", "four hundred empty boxes",
    "that strange yellow house", "the end of the summer", "an answer to the question", "the keys of the church",
    "a place beside the window", "the price of fresh bread", "the noise of the market", "all of the other guests",
)  # fmt: skip


def rendered_clips(count: int, cache: Path, seed: int = 1) -> list[Clip]:
    """`count` clips, rendered into a folder of `cache` unless they lie there. ConfigError where a program lacks."""
    if not count:
        return []
    key = hashlib.sha256(f"{RENDERINGS_VERSION} {count} {seed}".encode()).hexdigest()[:16]
    folder = cache / f"renderings-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    languages = _languages()
    return [_rendered(number, seed, languages, folder) for number in range(count)]


def _rendered(number: int, seed: int, languages: list[str], folder: Path) -> Clip:
    for attempt in range(ATTEMPTS):
        voice, text = _drawn(np.random.default_rng([seed, number, attempt]), languages)
        path = folder / f"{number:05}-{attempt}.wav"
        if path.exists() or _render(voice, text, path):
            return _clip(voice, path)
    raise ConfigError(f"{voice.program} does not speak with the voice {voice.name}: set data.renderings to 0")


def _languages() -> list[str]:
    """Of espeak-ng's voices, in the order of its table."""
    for program in ("espeak-ng", "flite"):
        if shutil.which(program) is None:
            raise ConfigError(
                f"data.renderings needs {program}: install it (Debian: espeak-ng, flite), or set it to 0"
            )
    table = subprocess.run(
        ["espeak-ng", "--voices"],  # noqa: S607  found above
        check=True, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    return [line.split()[1] for line in table.stdout.splitlines()[1:] if line.strip()]


def _drawn(rng: np.random.Generator, languages: list[str]) -> tuple[Voice, str]:
    sentence = " ".join(str(rng.choice(words)) for words in (SUBJECTS, VERBS, OBJECTS)) + "."
    numbers = " ".join(str(int(rng.integers(10 ** rng.integers(1, 6)))) for _ in range(6))
    if rng.random() < FLITE_SHARE:
        name = str(rng.choice(FLITE_VOICES))
        stretch = f"duration_stretch={rng.uniform(*STRETCH):.2f}"
        return Voice(
            "flite", name, "diphones", ("-voice", name, "--setf", stretch, "-t", TEXT, "-o", OUT)
        ), sentence
    language = str(rng.choice(languages))
    settings = ("-p", str(rng.integers(*PITCH)), "-s", str(rng.integers(*WORDS_A_MINUTE)))
    name = language + str(rng.choice(VARIANTS))
    voice = Voice("espeak-ng", name, "formants", ("-v", name, *settings, "-w", OUT, TEXT))
    english = language.startswith("en")
    return voice, sentence if english and rng.random() < SENTENCE_SHARE else numbers


def _render(voice: Voice, text: str, path: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        spoken = Path(made, "spoken.wav")
        if not speak(voice, text, spoken):
            return False
        samples = _without_silence(read_waveform(spoken)[0])[: sample_count(LONGEST_S)]
        if samples.size < MIN_SAMPLES:
            return False
        partial = Path(made, path.name)
        write_wav(partial, samples)
        partial.replace(path)
    return True


def _without_silence(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > QUIET * np.abs(samples).max(initial=0.0))
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples


def _clip(voice: Voice, path: Path) -> Clip:
    # espeak-ng's tags begin with ISO 639-1 where there is a code of two letters, else with ISO 639-3.
    code = re.match(r"[a-z]{2}(?![a-z])", voice.name if voice.program == "espeak-ng" else "en")
    return Clip(
        path=path,
        label=Label.SPOOF,
        kind=Kind.TTS,
        system=f"{voice.program} {voice.name}",
        lineage=voice.program,
        speaker=UNKNOWN,
        source_set=f"{SOURCE}-{voice.program}",
        source_repo=SOURCE,
        language=code.group() if code else UNKNOWN,
        duration_s=seconds(path.stat().st_size // 2),  # 16 bits; the header is a millisecond
        sample_rate_hz=SAMPLE_RATE_HZ,
        codec="pcm_s16le",
        split="train",
        corpus=SOURCE,
    )
