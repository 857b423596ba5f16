"""The public corpora in miniature: their folders, file names and lists as published, with sound made by code.

Each function fills a folder with the archives as the corpus's site serves them.
"""

import hashlib
import io
import itertools
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import numpy as np

from earwitness.waveform import Samples
from ml.datasets.toy import toy_speech

SOUND_S = 0.5
_seeds = itertools.count(1)

Tree = Mapping[str, bytes]
"""File contents by path inside an archive."""


def sound(rate_hz: int = 16_000, container: str = "flac", seed: int | None = None) -> bytes:
    """A recording of its own unless a seed is given: half a second of noise under a tone."""
    rng = np.random.default_rng(next(_seeds) if seed is None else seed)
    count = round(SOUND_S * rate_hz)
    tone = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 300) * np.arange(count) / rate_hz)
    return encoded((tone + rng.normal(0, 0.02, count)).astype(np.float32), rate_hz, container)


def encoded(samples: Samples, rate_hz: int, container: str) -> bytes:
    """`samples` as the bytes of a file."""
    count, numbers = samples.size, np.round(32767 * samples).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("flac" if container == "flac" else "pcm_s16le", rate=rate_hz, layout="mono")
        for start in range(0, count, 4096):
            frame = av.AudioFrame.from_ndarray(
                numbers[np.newaxis, start : start + 4096], format="s16", layout="mono"
            )
            frame.sample_rate = rate_hz
            frame.pts = start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def wav(rate_hz: int) -> bytes:
    return sound(rate_hz, "wav")


def zipped(path: Path, tree: Tree) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in tree.items():
            archive.writestr(name, content)


def tarred(path: Path, tree: Tree, mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


PROTOCOLS_2019 = {
    "train.trn": "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - A01 spoof\n",
    "dev.trl": "LA_0069 LA_D_1047731 - - bonafide\nLA_0070 LA_D_7622198 - A05 spoof\n",
    "eval.trl": "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_8877452 - A16 spoof\n"
    "LA_0030 LA_E_5849185 - - bonafide\n",
}


def asvspoof2019_la(site: Path) -> None:
    tree = {
        f"LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{name}.txt": lines.encode()
        for name, lines in PROTOCOLS_2019.items()
    }
    for name, lines in PROTOCOLS_2019.items():
        folder = f"LA/ASVspoof2019_LA_{name.partition('.')[0]}/flac"
        tree |= {f"{folder}/{line.split()[1]}.flac": sound() for line in lines.splitlines()}
    zipped(site / "LA.zip", tree)


ATTACKS = ("A01", "A02", "A03", "A04", "A05", "A06")


def asvspoof2019_la_speech(site: Path) -> None:
    """The same layout with enough toy speech to train on, and with the verification scores of the evaluation."""
    rng = np.random.default_rng(2019)
    tree: dict[str, bytes] = {}
    for split, protocol, speakers, bonafide, spoof in (
        ("train", "train.trn", 10, 12, 5), ("dev", "dev.trl", 4, 4, 1), ("eval", "eval.trl", 4, 4, 1),
    ):  # fmt: skip
        rows = []
        for speaker in range(speakers):
            name = f"LA_{split[0].upper()}{speaker:03d}"
            rows += [f"{name} - - bonafide"] * bonafide
            rows += [f"{name} - {attack} spoof" for attack in ATTACKS for _ in range(spoof)]
        lines = []
        for number, row in enumerate(rows):
            file, (name, rest) = f"LA_{split[0].upper()}_{number:07d}", row.split(" ", 1)
            lines.append(f"{name} {file} {rest}\n")
            speech = toy_speech(rng, rng.uniform(1.6, 2.0), is_spoof=row.endswith("spoof"))
            tree[f"LA/ASVspoof2019_LA_{split}/flac/{file}.flac"] = encoded(speech, 16_000, "flac")
        tree[f"LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{protocol}.txt"] = "".join(lines).encode()
    trials = [("bonafide", "target", 3.0), ("bonafide", "nontarget", -3.0), ("A07", "spoof", 2.0)]
    scores = [f"{source} {key} {rng.normal(mean):.6f}\n" for source, key, mean in trials for _ in range(50)]
    tree["LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"] = "".join(scores).encode()
    zipped(site / "LA.zip", tree)


KEYS_LA = """LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval
LA_0020 LA_E_6866159 pstn mad_tx bonafide bonafide notrim eval
LA_0020 LA_E_5013670 none loc_tx bonafide bonafide notrim progress
LA_0009 LA_E_7294490 opus sin_tx A19 spoof notrim progress
LA_0031 LA_E_5085671 gsm loc_tx A14 spoof trim hidden
LA_0031 LA_E_5085672 g722 loc_tx bonafide bonafide trim hidden
"""


def asvspoof2021_la(site: Path) -> None:
    files = [line.split()[1] for line in KEYS_LA.splitlines()]
    tarred(
        site / "ASVspoof2021_LA_eval.tar.gz",
        {
            "ASVspoof2021_LA_eval/ASVspoof2021.LA.cm.eval.trl.txt": "\n".join(files).encode(),
            **{f"ASVspoof2021_LA_eval/flac/{name}.flac": sound() for name in files},
        },
    )
    tarred(site / "LA-keys-full.tar.gz", {"keys/LA/CM/trial_metadata.txt": KEYS_LA.encode()})


KEYS_DF = """LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -
LA_0043 DF_E_2000026 mp3m4a asvspoof A09 spoof notrim eval traditional_vocoder - - - -
TEF2 DF_E_2000028 low_ogg vcc2020 Task1-team20 spoof notrim eval neural_vocoder_nonautoregressive Task1 team20 FF E
LA_0021 DF_E_2000030 low_mp3 asvspoof - bonafide notrim progress bonafide - - - -
VCC2TF1 DF_E_2000031 high_m4a vcc2018 - bonafide notrim eval bonafide - - - -
"""


def asvspoof2021_df(site: Path) -> None:
    files = [line.split()[1] for line in KEYS_DF.splitlines()]
    for part in range(4):
        tarred(
            site / f"ASVspoof2021_DF_eval_part{part:02d}.tar.gz",
            {f"ASVspoof2021_DF_eval/flac/{name}.flac": sound() for name in files[part::4]},
        )
    tarred(site / "DF-keys-full.tar.gz", {"keys/DF/CM/trial_metadata.txt": KEYS_DF.encode()})


PROTOCOLS_5 = {
    "train": "T_4850 T_0000000000 F - - - AC3 A05 spoof -\nT_0001 T_0000000032 M - - - - bonafide bonafide -\n",
    "dev.track_1": "D_4461 D_0000000169 F - - - AC1 A14 spoof -\nD_0461 D_0000000190 M - - - - bonafide bonafide -\n",
    "eval.track_1": "E_1607 E_0009538969 F C06 3 E_0005060703 AC1 A17 spoof -\n"
    "E_0452 E_0009994340 M C01 1 E_0009994341 - bonafide bonafide -\n",
}
ARCHIVES_5 = {"T": ("flac_T", 5), "D": ("flac_D", 3), "E": ("flac_E_eval", 10)}


def asvspoof5(site: Path) -> None:
    tarred(
        site / "ASVspoof5_protocols.tar.gz",
        {f"ASVspoof5_protocols/ASVspoof5.{name}.tsv": lines.encode() for name, lines in PROTOCOLS_5.items()},
    )
    for (letter, (folder, count)), lines in zip(ARCHIVES_5.items(), PROTOCOLS_5.values(), strict=True):
        files = [line.split()[1] for line in lines.splitlines()]
        for index in range(count):
            tree = {f"{folder}/{name}.flac": sound() for name in files[index::count]}
            tarred(site / f"flac_{letter}_a{'abcdefghij'[index]}.tar", tree, "w")


def in_the_wild(site: Path) -> None:
    meta = (
        "file,speaker,label\n0.wav,Alec Guinness,spoof\n1.wav,Barack Obama,spoof\n"
        "4.wav,Christopher Hitchens,bona-fide\n"
    )
    files = {f"release_in_the_wild/{name}.wav": wav(16_000) for name in (0, 1, 4)}
    zipped(site / "release_in_the_wild.zip", {"release_in_the_wild/meta.csv": meta.encode(), **files})


TTS_SET = "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech"


def wavefake(site: Path) -> None:
    spoken = wav(22_050)
    zipped(
        site / "generated_audio.zip",
        {
            "generated_audio/ljspeech_melgan_large/LJ001-0001_gen.wav": wav(22_050),
            "generated_audio/ljspeech_hifiGAN/LJ001-0001_generated.wav": wav(22_050),
            "generated_audio/jsut_parallel_wavegan/BASIC5000_0001_gen.wav": wav(24_000),
            f"generated_audio/{TTS_SET}/gen_0.wav": spoken,
            f"generated_audio/{TTS_SET}/generated/gen_0.wav": spoken,
        },
    )
    tarred(
        site / "LJSpeech-1.1.tar.bz2",
        {
            "LJSpeech-1.1/metadata.csv": b"LJ001-0001|Printing|Printing\n",
            "LJSpeech-1.1/wavs/LJ001-0001.wav": wav(22_050),
        },
        "w:bz2",
    )
    zipped(
        site / "jsut_ver1.1.zip",
        {
            "jsut_ver1.1/basic5000/wav/BASIC5000_0001.wav": wav(48_000),
            "jsut_ver1.1/loanword128/wav/LOANWORD128_001.wav": wav(48_000),
        },
    )


META_MLAAD = (
    "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
    './fake/{language}/{model}/a.wav|{original}|{language}|True|0.5|{data}|{model}|{architecture}|a "text", read\n'
)
ORIGINAL_EN = "en_US/by_book/female/judy_bieber/dorothy_and_wizard_oz/wavs/dorothy_and_wizard_oz_01_f000001.wav"
ORIGINAL_DE = "de_DE/by_book/mix/kleine_lesestuecke/wavs/kleine_lesestuecke_01_f000001.wav"


def mlaad_tree() -> Tree:
    return {
        "fake/en/vits/meta.csv": META_MLAAD.format(
            language="en", model="vits", original=ORIGINAL_EN, data="LJSpeech", architecture="VITS"
        ).encode(),
        "fake/en/vits/a.wav": wav(22_050),
        "fake/de/bark/meta.csv": META_MLAAD.format(
            language="de", model="bark", original=ORIGINAL_DE, data="", architecture="Bark"
        ).encode(),
        "fake/de/bark/a.wav": wav(24_000),
    }


def mlaad(site: Path) -> None:
    """The zip is cut into eleven pieces: not a true volume set, which only 7-Zip writes, but served like one."""
    whole = site / "whole.zip"
    zipped(whole, mlaad_tree())
    content = whole.read_bytes()
    whole.unlink()
    names = [*(f"mlaad_v5.z{number:02d}" for number in range(1, 11)), "mlaad_v5.zip"]
    size = len(content) // len(names) + 1
    sums = []
    for index, name in enumerate(names):
        piece = content[index * size : (index + 1) * size]
        (site / name).write_bytes(piece)
        sums.append(f"{hashlib.md5(piece).hexdigest()}  ./{name}\n")
    (site / "mlaad_v5.zip.md5").write_text("".join(sums))
    tarred(site / "en_US.tgz", {ORIGINAL_EN: wav(16_000)})
    tarred(site / "de_DE.tgz", {ORIGINAL_DE: wav(16_000)})


def fake_or_real(site: Path) -> None:
    name = "file{}.mp3.wav_16k.wav_norm.wav_mono.wav_silence.wav"
    tarred(
        site / "for-norm.tar.gz",
        {
            f"for-norm/{split}/{label}/{name.format(number)}": wav(16_000)
            for number, (split, label) in enumerate(
                itertools.product(("training", "validation", "testing"), ("real", "fake")), start=1
            )
        },
    )


EARCORPUS_HEADER = (
    "file,label,kind,system,lineage,speaker,source_set,lang,seconds,stored,kbps,"
    "source_repo,source_path,source_rate_hz,source_codec"
)


def earcorpus(root: Path) -> None:
    """No archive: the folder itself."""
    rows = {
        "train": (
            "audio/a.flac,bonafide,human,human,human,vctk-p238,vctk,en,0.5,flac,,speechbot/demo,gt/p238.mp3,16000,mp3float",
            "audio/b.flac,spoof,vocoder,hifigan-v1,hifigan,vctk-p238,vctk,en,0.5,flac,,jik876/demo,v1/p238.wav,22050,pcm_s16le",
        ),
        "dev": (
            "audio/c.flac,bonafide,human,human,human,unknown,librispeech,en,0.5,flac,,other/demo,gt/1.wav,24000,pcm_s16le",
            "audio/d.flac,spoof,tts,vits,vits,unknown,unknown,unknown,0.5,flac,,other/demo,tts/1.wav,,",
        ),
    }
    for split, lines in rows.items():
        (root / split / "audio").mkdir(parents=True)
        (root / split / "manifest.csv").write_text("\n".join((EARCORPUS_HEADER, *lines)) + "\n")
        for line in lines:
            (root / split / line.partition(",")[0]).write_bytes(sound())


MINIATURES: dict[str, Callable[[Path], None]] = {
    "asvspoof2019-la": asvspoof2019_la,
    "asvspoof2021-la": asvspoof2021_la,
    "asvspoof2021-df": asvspoof2021_df,
    "asvspoof5": asvspoof5,
    "in-the-wild": in_the_wild,
    "wavefake": wavefake,
    "mlaad": mlaad,
    "fake-or-real": fake_or_real,
}


def checksums(site: Path) -> dict[str, str]:
    """Of all that a site serves: the published ones are those of the true archives."""
    return {path.name: f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}" for path in site.iterdir()}
