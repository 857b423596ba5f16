"""Makes the recordings beside it and manifest.csv, from voices and synthesisers of Debian 12 that may be passed on.

    apt-get install alsa-utils asterisk-core-sounds-en-g722 asterisk-core-sounds-it-g722 espeak-ng flite
    make setup
    .venv/bin/python examples/make_examples.py    # from the repository's root

The recordings are committed; neither `make demo` nor `make test` runs this. With the same versions of the packages
and of FFmpeg it writes the same bytes again. README.md beside it tells sources and licences to the reader.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer

from earwitness.model_spec import file_sha256
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count
from ml.augment.copysynth import copy_synthesise
from ml.augment.spectrum import match_rms, rms

HERE = Path(__file__).resolve().parent
ALSA = Path("/usr/share/sounds/alsa")
ASTERISK = Path("/usr/share/asterisk/sounds")
ALLISON, CARLO = "en_US_f_Allison", "it_IT_m_Carlo"
PACKAGES = "alsa-utils asterisk-core-sounds-en-g722 asterisk-core-sounds-it-g722 espeak-ng flite"

SPEAKER_TEST = ("Front_Left", "Front_Right", "Rear_Center", "Side_Left", "Side_Right")
PAUSE_S = 0.12  # the words end in pauses of their own
FADE_S = 0.01  # the words are cut close; without a fade the joints click
SPLICE_FROM_S, SPLICE_TO_S = 2.6, 5.2  # two of the seven seconds and a half: a sentence of the announcement
LEVEL = 0.5  # peak of synthetic speech, about that of the human recordings
SEED = 20_261_122

PICTURE_HZ = 10
PICTURE_SIZE = (96, 128)  # rows, columns
BITEXACT = {"fflags": "+bitexact"}  # no version of the encoder and no random serial number in the file

ALSA_SOURCE = "Debian alsa-utils 1.2.8-1, voice of speaker-test"
ALLISON_SOURCE = "Debian asterisk-core-sounds-en-g722 1.6.1-1, read by Allison Smith"
CARLO_SOURCE = "Debian asterisk-core-sounds-it-g722 1.6.1-1, read by Carlo Flora"
ESPEAK_SOURCE = "espeak-ng 1.51+dfsg-10+deb12u2"
FLITE_SOURCE = "flite 2.2-5"
GPL, BY_SA, BY, OWN = "GPL-2.0-only", "CC-BY-SA-3.0", "CC-BY-3.0", "Apache-2.0"


@dataclass(frozen=True, slots=True)
class Sound:
    """How sound is kept: FFmpeg's encoder, rate, bits a second (0: lossless) and container."""

    encoder: str
    rate_hz: int
    bit_rate: int
    container: str


FLAC = Sound("flac", SAMPLE_RATE_HZ, 0, "flac")
MP3 = Sound("libmp3lame", 16_000, 48_000, "mp3")
OPUS = Sound("libopus", 48_000, 24_000, "ogg")
AAC = Sound("aac", 44_100, 64_000, "ipod")
AMR = Sound("libopencore_amrnb", 8_000, 12_200, "amr")
FILM = Sound("aac", 44_100, 64_000, "mp4")


@dataclass(frozen=True, slots=True)
class Example:
    file: str
    expected: str
    """`human`, `synthetic`, `partly synthetic` or `no sound`."""
    what: str
    source: str
    licence: str
    sound: Sound
    make: Callable[[], Samples | None]
    """The sound; None for a film without any."""
    film_s: float = 0.0
    """Length of the moving picture; 0 for none."""


def speaker_test() -> Samples:
    words = [_faded(decode(ALSA / f"{name}.wav")) for name in SPEAKER_TEST]
    pause = np.zeros(sample_count(PAUSE_S), np.float32)
    return np.concatenate([piece for word in words for piece in (word, pause)][:-1])


def allison() -> Samples:
    return decode(ASTERISK / ALLISON / "vm-intro.g722", "g722")


def announcement() -> Samples:
    return decode(ASTERISK / ALLISON / "queue-periodic-announce.g722", "g722")


def carlo() -> Samples:
    return decode(ASTERISK / CARLO / "vm-intro.g722", "g722")


def formant() -> Samples:
    text = "No person ever spoke this sentence. It was computed from a few formants and a table of sounds."
    return speak("espeak-ng", "-v", "en-gb", "-s", "155", "-w", "{out}", text)


def diphone() -> Samples:
    text = "This voice is glued together from pairs of half sounds that a man once read out in a studio."
    return speak("flite", "-voice", "kal16", "-t", text, "-o", "{out}")


def statistical() -> Samples:
    text = (
        "A statistical model has drawn the spectrum of every moment of this sentence, and a filter made it sound."
    )
    return speak("flite", "-voice", "slt", "-t", text, "-o", "{out}")


def world_copy() -> Samples:
    return copy_synthesise(speaker_test(), np.random.default_rng(SEED), "world")


def griffin_lim_copy() -> Samples:
    return copy_synthesise(allison(), np.random.default_rng(SEED), "griffin_lim")


def spliced() -> Samples:
    """A human announcement whose middle a formant synthesiser speaks, in as many samples, with short fades."""
    human = announcement().copy()
    text = "and please tell nobody about this. It is our little secret."
    spoken = speak("espeak-ng", "-v", "en-us+f3", "-s", "150", "-w", "{out}", text)
    here = slice(sample_count(SPLICE_FROM_S), sample_count(SPLICE_TO_S))
    stretch = np.zeros(here.stop - here.start, np.float32)
    spoken = spoken[np.flatnonzero(np.abs(spoken) > 0.01)[0] :][: stretch.size]
    stretch[: spoken.size] = spoken
    human[here] = _faded(match_rms(stretch, rms(human[here])))
    return human


EXAMPLES = (
    Example("human-speaker-test.flac", "human", "five words, joined", ALSA_SOURCE, GPL, FLAC, speaker_test),
    Example("human-voicemail.mp3", "human", "a woman reads an announcement; it went through G.722 and MP3",
            ALLISON_SOURCE, BY_SA, MP3, allison),
    Example("human-italian.opus", "human", "a man reads in Italian; it went through G.722 and Opus",
            CARLO_SOURCE, BY, OPUS, carlo),
    Example("human-telephone.amr", "human", "the five words through a mobile telephone's codec",
            ALSA_SOURCE, GPL, AMR, speaker_test),
    Example("synthetic-formant.flac", "synthetic", "formant synthesis", ESPEAK_SOURCE, OWN, FLAC, formant),
    Example("synthetic-diphone.m4a", "synthetic", "diphone concatenation, voice kal16, in AAC",
            FLITE_SOURCE, OWN, AAC, diphone),
    Example("synthetic-film.mp4", "synthetic",
            "statistical parametric synthesis, voice slt, under a moving picture",
            FLITE_SOURCE, OWN, FILM, statistical, film_s=6.0),
    Example("synthetic-world-copy.flac", "synthetic", "the five words, analysed and synthesised again by WORLD",
            ALSA_SOURCE, GPL, FLAC, world_copy),
    Example("synthetic-griffin-lim-copy.mp3", "synthetic",
            "the woman's announcement, its phase thrown away and guessed again from a mel spectrogram",
            ALLISON_SOURCE, BY_SA, MP3, griffin_lim_copy),
    Example("partly-synthetic.flac", "partly synthetic",
            f"another announcement of hers; from {SPLICE_FROM_S} s to {SPLICE_TO_S} s a formant synthesiser speaks",
            f"{ALLISON_SOURCE}; {ESPEAK_SOURCE}", BY_SA, FLAC, spliced),
    Example("film-without-sound.mp4", "no sound", "a moving picture alone",
            "make_examples.py", OWN, FILM, lambda: None, film_s=2.0),
)  # fmt: skip


def decode(path: Path, container: str | None = None) -> Samples:
    """Mono sound at 16 kHz. Not by `earwitness.media`, which takes no bare G.722."""
    if not path.is_file():
        sys.exit(f"{path} is missing: apt-get install {PACKAGES}")
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(path), format=container) as source:
        frames = [out for frame in source.decode(audio=0) for out in resampler.resample(_untimed(frame))]
    return np.concatenate([frame.to_ndarray()[0] for frame in (*frames, *resampler.resample(None))])


def speak(program: str, *arguments: str) -> Samples:
    """What a synthesiser says; `{out}` among the arguments is where it writes its WAV file."""
    found = shutil.which(program)
    if found is None:
        sys.exit(f"{program} is missing: apt-get install {PACKAGES}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "speech.wav")
        command = [found, *(argument.replace("{out}", str(out)) for argument in arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - the texts above, no shell
        samples = decode(out)
    return samples * np.float32(LEVEL / np.abs(samples).max())


def write(example: Example, folder: Path) -> Path:
    path = folder / example.file
    samples = example.make()
    with av.open(str(path), "w", format=example.sound.container, container_options=BITEXACT) as output:
        # Every stream has to be added before the first packet is written.
        pictures = picture_packets(output, example.film_s) if example.film_s else []
        sounds = [] if samples is None else sound_packets(output, samples, example.sound)
        output.mux([*pictures, *sounds])
    return path


def sound_packets(output: OutputContainer, samples: Samples, kept: Sound) -> list["av.Packet[av.AudioStream]"]:
    stream = output.add_stream(kept.encoder, rate=kept.rate_hz, layout="mono")
    assert isinstance(stream, av.AudioStream)
    if kept.bit_rate:
        stream.bit_rate = kept.bit_rate
    stream.codec_context.flags |= Flags.bitexact.value
    frames = (*in_frames(samples, stream), None)
    return [packet for frame in frames for packet in stream.encode(frame)]


def picture_packets(output: OutputContainer, duration_s: float) -> list["av.Packet[av.VideoStream]"]:
    stream = output.add_stream("libx264", rate=PICTURE_HZ, options={"threads": "1"})
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width = PICTURE_SIZE
    stream.pix_fmt = "yuv420p"
    frames = (*moving_pictures(duration_s), None)
    return [packet for frame in frames for packet in stream.encode(frame)]


def in_frames(samples: Samples, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """`samples` at the stream's rate and format, in frames as long as its encoder wants them."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[np.newaxis]), format="fltp", layout="mono")
    frame.sample_rate = SAMPLE_RATE_HZ
    resampler = av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate)
    fifo = av.AudioFifo()
    for resampled in (*resampler.resample(frame), *resampler.resample(None)):
        fifo.write(_untimed(resampled))
    while (piece := fifo.read(stream.codec_context.frame_size or stream.rate // 10, partial=True)) is not None:
        yield piece


def moving_pictures(duration_s: float) -> Iterator[av.VideoFrame]:
    """Colour bars that walk to the left, under a grey wedge."""
    rows, columns = PICTURE_SIZE
    bars = np.array([[(i >> 1 & 1) * 255, (i >> 2 & 1) * 255, (i & 1) * 255] for i in range(8)], np.uint8)
    for index in range(round(duration_s * PICTURE_HZ)):
        image = np.zeros((rows, columns, 3), np.uint8)
        image[:] = bars[(np.arange(columns) + 4 * index) // (columns // 8) % 8]
        image[-rows // 4 :] = np.linspace(0, 255, columns, dtype=np.uint8)[:, np.newaxis]
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, PICTURE_HZ)
        yield frame


def _untimed(frame: av.AudioFrame) -> av.AudioFrame:
    """So that resampler and encoder count samples themselves."""
    frame.pts = None
    return frame


def _faded(samples: Samples) -> Samples:
    ramp = np.linspace(0.0, 1.0, sample_count(FADE_S), dtype=np.float32)
    faded = samples.copy()
    faded[: ramp.size] *= ramp
    faded[-ramp.size :] *= ramp[::-1]
    return faded


def main() -> None:
    rows = []
    for example in EXAMPLES:
        path = write(example, HERE)
        rows.append(
            (example.file, example.expected, example.what, example.source, example.licence, file_sha256(path))
        )
        print(f"{example.file:<32} {path.stat().st_size / 1000:7.1f} kB")
    with (HERE / "manifest.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("file", "expected", "what", "source", "licence", "sha256"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
