"""Recipe: WaveFake: 117,985 clips of LJSpeech and JSUT through seven vocoders, with those two as bona fide speech.

    generated_audio/ljspeech_melgan/LJ001-0001_gen.wav, ...    one folder a system
    LJSpeech-1.1/wavs/LJ001-0001.wav
    jsut_ver1.1/basic5000/wav/BASIC5000_0001.wav               the part of JSUT that WaveFake resynthesised

No splits are published: every clip is `train`, to be folded by system. One folder of the archive holds a second
copy of its own files in a subfolder, which is left out.
"""

from collections.abc import Iterator
from pathlib import Path

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.errors import LayoutError
from ml.datasets.manifest import HUMAN, Kind
from ml.datasets.recipe import Recipe

NAME = "wavefake"
ARCHIVES = (
    Archive(
        "generated_audio.zip",
        "https://zenodo.org/records/5642694/files/generated_audio.zip",
        "generated",
        "md5:76b3e62d69f866e57ad6b1debaff434b",
    ),
    Archive(
        "LJSpeech-1.1.tar.bz2",
        "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
        "ljspeech",
        "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    ),
    Archive("jsut_ver1.1.zip", "http://ss-takashi.sakura.ne.jp/corpus/jsut_ver1.1.zip", "jsut"),
)
PARTS = ("generated", "ljspeech", "jsut")
LANGUAGES = {"ljspeech": "en", "jsut": "ja"}

# Folder -> (voice, lineage). The large MelGAN is MelGAN with more channels.
SYSTEMS = {
    "ljspeech_melgan": ("ljspeech", "melgan"),
    "ljspeech_melgan_large": ("ljspeech", "melgan"),
    "ljspeech_multi_band_melgan": ("ljspeech", "mb-melgan"),
    "ljspeech_full_band_melgan": ("ljspeech", "fb-melgan"),
    "ljspeech_parallel_wavegan": ("ljspeech", "parallel-wavegan"),
    "ljspeech_waveglow": ("ljspeech", "waveglow"),
    "ljspeech_hifiGAN": ("ljspeech", "hifigan"),
    "jsut_multi_band_melgan": ("jsut", "mb-melgan"),
    "jsut_parallel_wavegan": ("jsut", "parallel-wavegan"),
}
# The one set that is spoken from text rather than copied from a recording.
TTS_FOLDER = "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech"
TTS_LINEAGE = "fastspeech2-parallel-wavegan"


def download(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES, root, options, PARTS)


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    return complete(_entries(root), out, on_corrupt, progress=progress)


def _entries(root: Path) -> Iterator[Entry]:
    generated = root / "generated_audio"
    if not generated.is_dir():
        raise LayoutError(f"{generated} is missing: unpack generated_audio.zip into {root}")
    for folder in sorted(path for path in generated.iterdir() if path.is_dir()):
        if folder.name == TTS_FOLDER:
            yield from _folder(folder, "ljspeech", folder.name, TTS_LINEAGE, Kind.TTS)
        elif folder.name in SYSTEMS:
            voice, lineage = SYSTEMS[folder.name]
            yield from _folder(folder, voice, folder.name, lineage, Kind.VOCODER)
        elif not folder.name.startswith(("_", ".")):  # what a Mac leaves in archives
            known = ", ".join((*SYSTEMS, TTS_FOLDER))
            raise LayoutError(f"{folder}: unknown system; known are {known}")
    yield from _folder(root / "LJSpeech-1.1" / "wavs", "ljspeech", HUMAN, HUMAN, Kind.HUMAN)
    yield from _folder(root / "jsut_ver1.1" / "basic5000" / "wav", "jsut", HUMAN, HUMAN, Kind.HUMAN)


def _folder(folder: Path, voice: str, system: str, lineage: str, kind: Kind) -> Iterator[Entry]:
    """Empty where the folder is missing: a part may be left out."""
    for path in sorted(folder.glob("*.wav")):
        yield Entry(
            path=path,
            system=system,
            kind=kind,
            lineage=lineage,
            speaker=voice,
            source_set=voice,
            language=LANGUAGES[voice],
            split="train",
            corpus=NAME,
        )


RECIPE = Recipe(
    name=NAME,
    title="WaveFake with LJSpeech and JSUT",
    homepage="https://zenodo.org/records/5642694",
    licence="CC BY-SA 4.0; LJSpeech public domain; JSUT research use",
    prepare=prepare,
    download=download,
    parts=PARTS,
    default_parts=PARTS,
)
