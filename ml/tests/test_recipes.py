"""Every corpus in miniature: from its site over HTTP to a manifest that passes validation."""

import csv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ml.datasets.download import DownloadOptions, Trust, read_lock
from ml.datasets.entries import OnCorrupt, skipped_report
from ml.datasets.errors import ArchiveError, ChecksumError, CorruptClipError, DownloadError, LayoutError
from ml.datasets.file_check import Limits
from ml.datasets.manifest import Clip, read_manifest
from ml.datasets.recipes import RECIPES
from ml.datasets.validate import validate
from ml.tests import miniatures
from ml.tests.corpus_server import Refuse, Site, serve
from ml.tests.miniatures import MINIATURES, checksums

DOWNLOADABLE = sorted(MINIATURES)
PARTS = {"mlaad": ("mlaad", "en_US", "de_DE")}  # seven languages fewer

# file, label, kind, system, lineage, speaker, language, rate, codec, split
EXPECTED = {
    "asvspoof2019-la": """
        LA_T_1138215.flac bonafide human human human asvspoof-LA_0079 en 16000 flac train
        LA_T_1271820.flac spoof tts asvspoof2019-A01 asvspoof2019-A01 asvspoof-LA_0079 en 16000 flac train
        LA_D_1047731.flac bonafide human human human asvspoof-LA_0069 en 16000 flac dev
        LA_D_7622198.flac spoof vc asvspoof2019-A05 asvspoof2019-A05 asvspoof-LA_0070 en 16000 flac dev
        LA_E_2834763.flac spoof tts asvspoof2019-A11 asvspoof2019-A11 asvspoof-LA_0039 en 16000 flac eval
        LA_E_8877452.flac spoof tts asvspoof2019-A16 asvspoof2019-A04 asvspoof-LA_0014 en 16000 flac eval
        LA_E_5849185.flac bonafide human human human asvspoof-LA_0030 en 16000 flac eval""",
    "asvspoof2021-la": """
        LA_E_9332881.flac spoof tts asvspoof2019-A07 asvspoof2019-A07 asvspoof-LA_0009 en 16000 flac eval
        LA_E_6866159.flac bonafide human human human asvspoof-LA_0020 en 16000 flac eval
        LA_E_5013670.flac bonafide human human human asvspoof-LA_0020 en 16000 flac progress
        LA_E_7294490.flac spoof vc asvspoof2019-A19 asvspoof2019-A06 asvspoof-LA_0009 en 16000 flac progress
        LA_E_5085671.flac spoof vc asvspoof2019-A14 asvspoof2019-A14 asvspoof-LA_0031 en 16000 flac hidden
        LA_E_5085672.flac bonafide human human human asvspoof-LA_0031 en 16000 flac hidden""",
    "asvspoof2021-df": """
        DF_E_2000011.flac spoof vc asvspoof2019-A14 asvspoof2019-A14 asvspoof-LA_0023 en 16000 flac progress
        DF_E_2000026.flac spoof tts asvspoof2019-A09 asvspoof2019-A09 asvspoof-LA_0043 en 16000 flac eval
        DF_E_2000028.flac spoof vc vcc2020-Task1-team20 vcc2020-Task1-team20 vcc2020-TEF2 unknown 16000 flac eval
        DF_E_2000030.flac bonafide human human human asvspoof-LA_0021 en 16000 flac progress
        DF_E_2000031.flac bonafide human human human vcc2018-VCC2TF1 en 16000 flac eval""",
    "asvspoof5": """
        T_0000000000.flac spoof tts asvspoof5-A05 asvspoof5-A05 asvspoof5-T_4850 en 16000 flac train
        T_0000000032.flac bonafide human human human asvspoof5-T_0001 en 16000 flac train
        D_0000000169.flac spoof unknown asvspoof5-A14 asvspoof5-A14 asvspoof5-D_4461 en 16000 flac dev
        D_0000000190.flac bonafide human human human asvspoof5-D_0461 en 16000 flac dev
        E_0009538969.flac spoof tts asvspoof5-A17 asvspoof5-A17 asvspoof5-E_1607 en 16000 flac eval
        E_0009994340.flac bonafide human human human asvspoof5-E_0452 en 16000 flac eval""",
    "in-the-wild": """
        0.wav spoof unknown unknown unknown in-the-wild-alec-guinness en 16000 pcm_s16le eval
        1.wav spoof unknown unknown unknown in-the-wild-barack-obama en 16000 pcm_s16le eval
        4.wav bonafide human human human in-the-wild-christopher-hitchens en 16000 pcm_s16le eval""",
    "wavefake": f"""
        LJ001-0001_gen.wav spoof vocoder ljspeech_melgan_large melgan ljspeech en 22050 pcm_s16le train
        LJ001-0001_generated.wav spoof vocoder ljspeech_hifiGAN hifigan ljspeech en 22050 pcm_s16le train
        BASIC5000_0001_gen.wav spoof vocoder jsut_parallel_wavegan parallel-wavegan jsut ja 24000 pcm_s16le train
        gen_0.wav spoof tts {miniatures.TTS_SET} fastspeech2-parallel-wavegan ljspeech en 22050 pcm_s16le train
        LJ001-0001.wav bonafide human human human ljspeech en 22050 pcm_s16le train
        BASIC5000_0001.wav bonafide human human human jsut ja 48000 pcm_s16le train""",
    "mlaad": """
        a.wav spoof tts mlaad-vits vits unknown en 22050 pcm_s16le train
        a.wav spoof tts mlaad-bark bark unknown de 24000 pcm_s16le train
        dorothy_and_wizard_oz_01_f000001.wav bonafide human human human mailabs-judy_bieber en 16000 pcm_s16le train
        kleine_lesestuecke_01_f000001.wav bonafide human human human unknown de 16000 pcm_s16le train""",
    "fake-or-real": "".join(
        f"""
        file{number}.mp3.wav_16k.wav_norm.wav_mono.wav_silence.wav {made} unknown en 16000 pcm_s16le {split}"""
        for number, (split, made) in enumerate(
            (
                (split, made)
                for split in ("train", "dev", "eval")
                for made in ("bonafide human human human", "spoof tts unknown unknown")
            ),
            start=1,
        )
    ),
    "earcorpus": """
        a.flac bonafide human human human vctk-p238 en 16000 flac train
        b.flac spoof vocoder hifigan-v1 hifigan vctk-p238 en 16000 flac train
        c.flac bonafide human human human unknown en 16000 flac dev
        d.flac spoof tts vits vits unknown unknown 16000 flac dev""",
}


def described(clip: Clip) -> str:
    return (
        f"{clip.path.name} {clip.label} {clip.kind} {clip.system} {clip.lineage} {clip.speaker} {clip.language} "
        f"{clip.sample_rate_hz} {clip.codec} {clip.split}"
    )


def options_for(name: str, site: Site) -> DownloadOptions:
    return DownloadOptions(
        base_url=site.url,
        parts=PARTS.get(name),
        checksums={} if name == "mlaad" else checksums(site.folder),
        progress=False,
        retry_wait_s=0.0,
    )


def bring(name: str, root: Path, site: Site) -> None:
    """Download; for MLAAD also what its message asks for."""
    download = RECIPES[name].download
    assert download is not None
    if name != "mlaad":
        download(root, options_for(name, site))
        return
    with pytest.raises(ArchiveError, match="7z x"):
        download(root, options_for(name, site))
    pieces = [*sorted((root / "archives").glob("mlaad_v5.z[0-9]*")), root / "archives" / "mlaad_v5.zip"]
    whole = root / "whole.zip"
    whole.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    with zipfile.ZipFile(whole) as archive:
        archive.extractall(root)
    download(root, options_for(name, site))


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def test_every_recipe_with_a_download_has_a_miniature() -> None:
    assert {name for name, recipe in RECIPES.items() if recipe.download is not None} == set(MINIATURES)


@pytest.mark.parametrize("name", DOWNLOADABLE)
def test_corpus_is_downloaded_prepared_and_validated(name: str, site_folder: Path, tmp_path: Path) -> None:
    MINIATURES[name](site_folder)
    with serve(site_folder) as site:
        bring(name, tmp_path / "corpus", site)
    manifest = RECIPES[name].prepare(tmp_path / "corpus", tmp_path / "corpus.csv")
    clips = read_manifest(manifest)
    expected = {line.strip() for line in EXPECTED[name].strip().splitlines()}
    assert {described(clip) for clip in clips} == expected
    assert len(clips) == len(expected)
    assert all(abs(clip.duration_s - miniatures.SOUND_S) < 0.01 for clip in clips)
    assert {clip.corpus for clip in clips} == {name}
    report = validate(manifest, Limits(), OnCorrupt.FAIL, allowed_leaks=RECIPES[name].known_leaks)
    assert report.passed, report.problems


def test_folder_corpus_is_prepared_and_validated(tmp_path: Path) -> None:
    miniatures.earcorpus(tmp_path / "corpus")
    manifest = RECIPES["earcorpus"].prepare(tmp_path / "corpus", tmp_path / "corpus.csv")
    clips = read_manifest(manifest)
    assert [described(clip) for clip in clips] == [
        line.strip() for line in EXPECTED["earcorpus"].strip().splitlines()
    ]
    assert [clip.source_rate_hz for clip in clips] == [16000, 22050, 24000, None]
    assert [clip.source_repo for clip in clips] == ["speechbot/demo", "jik876/demo", "other/demo", "other/demo"]
    assert validate(manifest, Limits(), OnCorrupt.FAIL).passed


@pytest.mark.parametrize("name", DOWNLOADABLE)
def test_second_download_sends_no_request(name: str, site_folder: Path, tmp_path: Path) -> None:
    MINIATURES[name](site_folder)
    with serve(site_folder) as site:
        bring(name, tmp_path / "corpus", site)
        site.requests.clear()
        download = RECIPES[name].download
        assert download is not None
        download(tmp_path / "corpus", options_for(name, site))
        assert site.requests == []


@pytest.mark.parametrize("name", ["asvspoof2021-la", "asvspoof2021-df", "asvspoof5", "wavefake"])
def test_published_checksum_refuses_another_file(name: str, site_folder: Path, tmp_path: Path) -> None:
    MINIATURES[name](site_folder)
    root = tmp_path / "corpus"
    download = RECIPES[name].download
    assert download is not None
    with serve(site_folder) as site, pytest.raises(ChecksumError, match="--checksum"):
        download(root, DownloadOptions(base_url=site.url, progress=False, retry_wait_s=0.0))
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_mlaad_checks_its_volumes_against_the_published_list(site_folder: Path, tmp_path: Path) -> None:
    miniatures.mlaad(site_folder)
    (site_folder / "mlaad_v5.z03").write_bytes(b"another file")
    download = RECIPES["mlaad"].download
    assert download is not None
    with serve(site_folder) as site, pytest.raises(ChecksumError, match=r"mlaad_v5\.z03"):
        download(tmp_path / "corpus", options_for("mlaad", site))


def test_checksum_of_an_unvouched_archive_is_remembered(site_folder: Path, tmp_path: Path) -> None:
    miniatures.in_the_wild(site_folder)
    root = tmp_path / "corpus"
    download = RECIPES["in-the-wild"].download
    assert download is not None
    with serve(site_folder) as site:
        options = DownloadOptions(base_url=site.url, progress=False, retry_wait_s=0.0)
        download(root, options)
        entry = read_lock(root)["release_in_the_wild.zip"]
        assert entry.trust is Trust.FIRST_USE
        assert entry.checksum.startswith("sha256:")
        # Somebody starts over with the lock kept, and the site has changed.
        (root / "archives" / "release_in_the_wild.zip").unlink()
        lock = (root / "downloads.json").read_text().replace('"done": true', '"done": false')
        (root / "downloads.json").write_text(lock)
        miniatures.in_the_wild(site_folder)
        with pytest.raises(ChecksumError):
            download(root, options)


def test_missing_archive_is_named(site_folder: Path, tmp_path: Path) -> None:
    download = RECIPES["fake-or-real"].download
    assert download is not None
    with serve(site_folder) as site, pytest.raises(DownloadError, match=r"for-norm\.tar\.gz.*404.*--base-url"):
        download(tmp_path / "corpus", DownloadOptions(base_url=site.url, progress=False, retry_wait_s=0.0))
    assert list((tmp_path / "corpus" / "archives").iterdir()) == []


def test_parts_select_what_is_fetched(site_folder: Path, tmp_path: Path) -> None:
    miniatures.asvspoof5(site_folder)
    download = RECIPES["asvspoof5"].download
    assert download is not None
    with serve(site_folder) as site:
        parts = ("protocols", "dev")
        download(
            tmp_path / "corpus",
            DownloadOptions(site.url, parts, checksums(site_folder), progress=False, retry_wait_s=0.0),
        )
        assert {request.name[:6] for request in site.requests} == {"ASVspo", "flac_D"}
    manifest = RECIPES["asvspoof5"].prepare(tmp_path / "corpus", tmp_path / "corpus.csv")
    assert {clip.split for clip in read_manifest(manifest)} == {"dev"}


def test_unknown_part_is_refused(tmp_path: Path) -> None:
    download = RECIPES["asvspoof5"].download
    assert download is not None
    with pytest.raises(DownloadError, match="no part is called test; known are protocols, train, dev, eval"):
        download(tmp_path, DownloadOptions(parts=("test",)))


def test_finished_archives_stay_finished_when_a_later_one_fails(site_folder: Path, tmp_path: Path) -> None:
    miniatures.asvspoof2021_la(site_folder)
    download = RECIPES["asvspoof2021-la"].download
    assert download is not None
    root = tmp_path / "corpus"
    with serve(site_folder) as site:
        site.faults["LA-keys-full.tar.gz"] = [Refuse(403)]
        with pytest.raises(DownloadError, match="403"):
            download(root, options_for("asvspoof2021-la", site))
        site.requests.clear()
        download(root, options_for("asvspoof2021-la", site))
        assert [request.name for request in site.requests] == ["LA-keys-full.tar.gz"]


def test_archives_are_removed_on_request(site_folder: Path, tmp_path: Path) -> None:
    miniatures.in_the_wild(site_folder)
    download = RECIPES["in-the-wild"].download
    assert download is not None
    with serve(site_folder) as site:
        options = DownloadOptions(base_url=site.url, keep_archives=False, progress=False)
        download(tmp_path / "corpus", options)
        assert list((tmp_path / "corpus" / "archives").iterdir()) == []
        site.requests.clear()
        download(tmp_path / "corpus", options)
        assert site.requests == []


# What a broken copy of each corpus looks like: a file to spoil, its new content, what is said.
BROKEN = {
    "asvspoof2019-la": (
        "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt",
        "LA_0069 LA_D_1047731 - - genuine\n",
        r"dev\.trl\.txt:1: the key is 'genuine'",
    ),
    "asvspoof2021-la": ("keys/LA/CM/trial_metadata.txt", "LA_0009 LA_E_9332881 alaw\n", r":1: 3 fields where 8"),
    "asvspoof2021-df": (
        "keys/DF/CM/trial_metadata.txt",
        "LA_0023 DF_E_2000011 nocodec vcc2022 A14 spoof notrim eval\n",
        r":1: unknown source 'vcc2022'",
    ),
    "asvspoof5": ("ASVspoof5_protocols/ASVspoof5.train.tsv", None, r"ASVspoof5\.train\.tsv is missing"),
    "in-the-wild": (
        "release_in_the_wild/meta.csv",
        "file,speaker\n0.wav,x\n",
        r"meta\.csv:1: missing columns label",
    ),
    "wavefake": ("generated_audio/ljspeech_newgan/x.wav", "", r"ljspeech_newgan: unknown system"),
    "mlaad": ("fake/en/vits/meta.csv", "path|language\n", r"meta\.csv:1: missing columns original_file"),
    "earcorpus": ("dev/manifest.csv", "file,label\na,spoof\n", r"manifest\.csv:2: unexpected column or value"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_layout_that_is_not_as_published_is_named(name: str, site_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    if name == "earcorpus":
        miniatures.earcorpus(root)
    else:
        MINIATURES[name](site_folder)
        with serve(site_folder) as site:
            bring(name, root, site)
    spoiled, content, message = BROKEN[name]
    if content is None:
        (root / spoiled).unlink()
    else:
        (root / spoiled).parent.mkdir(exist_ok=True)
        (root / spoiled).write_text(content)
    with pytest.raises(LayoutError, match=message):
        RECIPES[name].prepare(root, tmp_path / "corpus.csv")
    assert not (tmp_path / "corpus.csv").exists()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_empty_folder_is_no_corpus(name: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError):
        RECIPES[name].prepare(tmp_path, tmp_path / "corpus.csv")


@pytest.fixture
def wild_with_a_corrupt_clip(site_folder: Path, tmp_path: Path) -> Path:
    miniatures.in_the_wild(site_folder)
    root = tmp_path / "corpus"
    with serve(site_folder) as site:
        bring("in-the-wild", root, site)
    (root / "release_in_the_wild" / "1.wav").write_bytes(b"RIFF but no sound follows")
    return root


def test_corrupt_clip_fails_by_default_and_nothing_is_written(
    wild_with_a_corrupt_clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(CorruptClipError, match=r"1\.wav.*--on-corrupt skip"):
        RECIPES["in-the-wild"].prepare(wild_with_a_corrupt_clip, tmp_path / "corpus.csv")
    assert not (tmp_path / "corpus.csv").exists()


def test_corrupt_clip_is_skipped_with_a_line_in_the_report(wild_with_a_corrupt_clip: Path, tmp_path: Path) -> None:
    prepare = RECIPES["in-the-wild"].prepare
    manifest = prepare(wild_with_a_corrupt_clip, tmp_path / "corpus.csv", on_corrupt=OnCorrupt.SKIP)
    assert [clip.path.name for clip in read_manifest(manifest)] == ["0.wav", "4.wav"]
    with skipped_report(manifest).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["1.wav"]
    assert rows[0]["reason"]


def test_report_of_skipped_clips_goes_when_they_are_mended(wild_with_a_corrupt_clip: Path, tmp_path: Path) -> None:
    prepare = RECIPES["in-the-wild"].prepare
    manifest = prepare(wild_with_a_corrupt_clip, tmp_path / "corpus.csv", on_corrupt=OnCorrupt.SKIP)
    (wild_with_a_corrupt_clip / "release_in_the_wild" / "1.wav").write_bytes(miniatures.wav(16_000))
    prepare(wild_with_a_corrupt_clip, tmp_path / "corpus.csv", on_corrupt=OnCorrupt.SKIP)
    assert not skipped_report(manifest).exists()


NESTED = ("for-norm/for-norm", "for-2sec/for-2seconds", "for-rerec/for-rerecorded")


def test_versions_of_fake_or_real_are_found_one_folder_deeper(tmp_path: Path) -> None:
    """As mirrors have them."""
    for folder in NESTED:
        for split in ("training", "validation", "testing"):
            for name in ("real", "fake"):
                path = tmp_path / folder / split / name / "a.wav"
                path.parent.mkdir(parents=True)
                path.write_bytes(miniatures.wav(16_000))
    manifest = RECIPES["fake-or-real"].prepare(tmp_path, tmp_path / "m.csv")
    found = {str(clip.path.relative_to(tmp_path).parents[2]) for clip in read_manifest(manifest)}
    assert found == set(NESTED)
    assert len(read_manifest(manifest)) == 18
    (tmp_path / "for-2sec" / "for-2seconds").rename(tmp_path / "for-2sec" / "unheard-of")
    with pytest.raises(LayoutError, match="for-2sec has no training, validation, testing"):
        RECIPES["fake-or-real"].prepare(tmp_path, tmp_path / "m.csv")


def test_mlaad_takes_a_checksum_for_any_of_its_files_and_no_other(site_folder: Path, tmp_path: Path) -> None:
    miniatures.mlaad(site_folder)
    download = RECIPES["mlaad"].download
    assert download is not None
    with serve(site_folder) as site:
        options = options_for("mlaad", site)
        given = {"mlaad_v5.z03": "md5:" + "0" * 32}
        with pytest.raises(ChecksumError, match=r"mlaad_v5\.z03"):
            download(tmp_path / "corpus", replace(options, checksums=given))
        with pytest.raises(DownloadError, match=r"mlaad_v4\.zip"):
            download(tmp_path / "other", replace(options, checksums={"mlaad_v4.zip": "md5:" + "0" * 32}))
