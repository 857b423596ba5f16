"""Each way in which a manifest can be unfit, on real files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.datasets.cli import EXIT_UNFIT, main
from ml.datasets.entries import OnCorrupt
from ml.datasets.file_check import Limits
from ml.datasets.manifest import Clip, Kind, Label, read_manifest, write_manifest
from ml.datasets.recipe import Leak
from ml.datasets.validate import Problem, Report, report_text, validate
from ml.tests.miniatures import SOUND_S, sound, wav


def clip(folder: Path, name: str, split: str, content: bytes | None = None, **changes: object) -> Clip:
    """A spoof clip of its own system, speaker and place, and its file."""
    path = folder / name
    path.write_bytes(sound() if content is None else content)
    row = Clip(
        path, Label.SPOOF, Kind.TTS, f"system-{name}", f"lineage-{name}", f"speaker-{name}", "set", f"repo-{name}",
        "en", SOUND_S, 16_000, "flac", split, "mine",
    )  # fmt: skip
    return replace(row, **changes)  # type: ignore[arg-type]


def human(folder: Path, name: str, split: str, content: bytes | None = None, **changes: object) -> Clip:
    as_human = {"label": Label.BONAFIDE, "kind": Kind.HUMAN, "system": "human", "lineage": "human"}
    return clip(folder, name, split, content, **(as_human | changes))


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Fit to train on: two splits, both classes, nothing shared."""
    return [
        human(tmp_path, "a.flac", "train"),
        clip(tmp_path, "b.flac", "train"),
        human(tmp_path, "c.flac", "dev"),
        clip(tmp_path, "d.flac", "dev"),
    ]


def check(folder: Path, clips: list[Clip], on_corrupt: OnCorrupt = OnCorrupt.FAIL, **options: object) -> Report:
    manifest = write_manifest(folder / "m.csv", clips)
    return validate(manifest, Limits(), on_corrupt, **options)  # type: ignore[arg-type]


def only(report: Report) -> Problem:
    assert len(report.problems) == 1, report.problems
    return report.problems[0]


def test_fit_manifest_passes_and_is_counted(tmp_path: Path, clips: list[Clip]) -> None:
    report = check(tmp_path, clips)
    assert report.passed
    assert report.problems == ()
    train = report.splits["train"]
    assert (train.clips, train.bonafide, train.spoof, train.speakers, train.systems) == (2, 1, 1, 2, 1)
    assert train.sample_rates_hz == {16_000: 2}
    assert train.languages == {"en": 2}


def test_languages_are_told_with_their_shares(tmp_path: Path, clips: list[Clip]) -> None:
    """Seventy languages of which one has nine tenths are hardly more than one."""
    few = [
        clip(tmp_path, f"{language}.flac", "train", language=language)
        for language in ("de", "zh", "xh", "ur", "yo", "it")
    ]
    more = [clip(tmp_path, f"{index}.flac", "train", language="en") for index in range(5)]
    report = check(tmp_path, [*clips, *few, *more])
    told = report_text(report).splitlines()
    assert "    7 languages: en 54 %, de 8 %, it 8 %, ur 8 %, xh 8 %, yo 8 % and 1 more" in told
    assert "    1 language: en 100 %" in told


def test_missing_file(tmp_path: Path, clips: list[Clip]) -> None:
    extra = clip(tmp_path, "gone.flac", "train")
    extra.path.unlink()
    problem = only(check(tmp_path, [*clips, extra]))
    assert (problem.check, problem.error, problem.count) == ("missing", True, 1)
    assert "gone.flac" in problem.examples[0]


SPOILED = {
    "text": b"this is no recording",
    "nothing": b"",
    "header alone": sound()[:42],
}


@pytest.mark.parametrize("what", sorted(SPOILED))
def test_corrupt_file_fails(tmp_path: Path, clips: list[Clip], what: str) -> None:
    report = check(tmp_path, [*clips, clip(tmp_path, "bad.flac", "train", SPOILED[what])])
    assert not report.passed
    assert only(report).check == "unreadable"


@pytest.mark.parametrize("what", sorted(SPOILED))
def test_corrupt_file_is_skipped_with_a_line(tmp_path: Path, clips: list[Clip], what: str) -> None:
    bad = clip(tmp_path, "bad.flac", "train", SPOILED[what])
    report = check(tmp_path, [*clips, bad], OnCorrupt.SKIP, clean=tmp_path / "clean.csv")
    assert report.passed
    assert report.skipped == (str(bad.path),)
    assert "warning unreadable: 1 files can't be decoded" in report_text(report)
    assert read_manifest(tmp_path / "clean.csv") == clips


def test_file_that_was_cut_off(tmp_path: Path, clips: list[Clip]) -> None:
    whole = wav(16_000)
    cut = clip(tmp_path, "cut.wav", "train", whole[: len(whole) // 2], codec="pcm_s16le")
    problem = only(check(tmp_path, [*clips, cut]))
    assert problem.check == "mismatch"
    assert "0.25 s of sound where the manifest says 0.50" in problem.examples[0]


def test_other_rate_than_the_manifest_says(tmp_path: Path, clips: list[Clip]) -> None:
    other = clip(tmp_path, "other.wav", "train", wav(22_050), codec="pcm_s16le")
    problem = only(check(tmp_path, [*clips, other]))
    assert problem.check == "mismatch"
    assert "22050 Hz where the manifest says 16000" in problem.examples[0]


def test_rate_below_all_speech(tmp_path: Path, clips: list[Clip]) -> None:
    low = clip(tmp_path, "low.wav", "train", wav(6_000), codec="pcm_s16le", sample_rate_hz=6_000)
    assert only(check(tmp_path, [*clips, low])).check == "sample_rate"


@pytest.mark.parametrize(("limit", "value"), [("min_duration_s", 0.6), ("max_duration_s", 0.4)])
def test_length_out_of_range(tmp_path: Path, clips: list[Clip], limit: str, value: float) -> None:
    manifest = write_manifest(tmp_path / "m.csv", clips)
    changed: dict[str, Any] = {limit: value}
    report = validate(manifest, replace(Limits(), **changed), OnCorrupt.FAIL)
    assert not report.passed
    assert [(problem.check, problem.count) for problem in report.problems if problem.check == "duration"] == [
        ("duration", 4)
    ]


def test_class_that_is_missing_in_a_split(tmp_path: Path, clips: list[Clip]) -> None:
    problem = only(check(tmp_path, [c for c in clips if c.path.name != "c.flac"]))
    assert problem.check == "labels"
    assert "split dev: 0 of 1 clips are bonafide" in problem.message


def test_class_that_is_nearly_missing(tmp_path: Path, clips: list[Clip]) -> None:
    manifest = write_manifest(tmp_path / "m.csv", [*clips, clip(tmp_path, "e.flac", "dev")])
    report = validate(manifest, replace(Limits(), min_class_share=0.4), OnCorrupt.FAIL)
    assert "split dev: 1 of 3 clips are bonafide, less than 40%" in only(report).message


def test_nothing_left(tmp_path: Path) -> None:
    bad = clip(tmp_path, "bad.flac", "train", b"no recording")
    report = check(tmp_path, [bad], OnCorrupt.SKIP)
    assert not report.passed
    assert "no usable recording is left" in report_text(report)


@pytest.mark.parametrize("second", [sound(seed=5), sound(container="wav", seed=5)], ids=["bytes", "sound"])
def test_same_recording_in_two_splits(tmp_path: Path, clips: list[Clip], second: bytes) -> None:
    """Found by its bytes and, in another container, by its sound."""
    codec = "flac" if second[:4] == b"fLaC" else "pcm_s16le"
    pair = [
        clip(tmp_path, "x.flac", "train", sound(seed=5)),
        clip(tmp_path, "y.flac", "dev", second, codec=codec),
    ]
    problem = only(check(tmp_path, [*clips, *pair]))
    assert (problem.check, problem.error, problem.count) == ("duplicate", True, 1)
    assert "x.flac" in problem.examples[0]
    assert "y.flac" in problem.examples[0]


def test_same_recording_with_both_labels(tmp_path: Path, clips: list[Clip]) -> None:
    pair = [
        clip(tmp_path, "x.flac", "train", sound(seed=6)),
        human(tmp_path, "y.flac", "train", sound(seed=6)),
    ]
    problems = check(tmp_path, [*clips, *pair]).problems
    assert [(p.error, p.message) for p in problems] == [
        (True, "recordings carry both labels"),
        (False, "recordings occur more than once in one split"),
    ]


def test_copies_within_a_split_are_a_warning(tmp_path: Path, clips: list[Clip]) -> None:
    pair = [clip(tmp_path, name, "train", sound(seed=7)) for name in ("x.flac", "y.flac")]
    report = check(tmp_path, [*clips, *pair])
    assert report.passed
    assert only(report).error is False


@pytest.mark.parametrize("leak", list(Leak))
def test_leak_between_splits(tmp_path: Path, clips: list[Clip], leak: Leak) -> None:
    shared = {leak.value: "shared"}
    clips[1] = replace(clips[1], **shared)  # type: ignore[arg-type]
    clips[3] = replace(clips[3], **shared)  # type: ignore[arg-type]
    report = check(tmp_path, clips)
    assert not report.passed
    assert (only(report).check, only(report).examples) == (f"leak_{leak}", ("shared (dev, train)",))
    allowed = check(tmp_path, clips, allowed_leaks=frozenset({leak}))
    assert allowed.passed
    assert only(allowed).error is False


@pytest.mark.parametrize("field", ["speaker", "system", "lineage"])
def test_unknown_is_no_leak(tmp_path: Path, clips: list[Clip], field: str) -> None:
    unknown = {field: "unknown"}
    clips[1] = replace(clips[1], **unknown)  # type: ignore[arg-type]
    clips[3] = replace(clips[3], **unknown)  # type: ignore[arg-type]
    assert check(tmp_path, clips).problems == ()


def test_corpus_of_one_place_is_no_leak(tmp_path: Path, clips: list[Clip]) -> None:
    assert check(tmp_path, [replace(c, source_repo=c.corpus) for c in clips]).problems == ()


def test_long_lists_are_cut_but_counted(tmp_path: Path, clips: list[Clip]) -> None:
    bad = [clip(tmp_path, f"bad{number}.flac", "train", b"no") for number in range(25)]
    report = check(tmp_path, [*clips, *bad])
    assert (only(report).count, len(only(report).examples)) == (25, 10)
    assert "... and 15 more" in report_text(report)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_command_line_fails_with_its_own_code(
    tmp_path: Path, clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_manifest(tmp_path / "m.csv", [*clips, clip(tmp_path, "bad.flac", "train", b"no")])
    code, out, _ = run(capsys, "validate", str(manifest))
    assert code == EXIT_UNFIT
    assert out.splitlines()[-1] == "NOT fit to train on"


def test_command_line_skips_as_asked_and_writes_json(
    tmp_path: Path, clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = clip(tmp_path, "bad.flac", "train", b"no")
    manifest = write_manifest(tmp_path / "m.csv", [*clips, bad])
    code, out, _ = run(
        capsys, "validate", str(manifest), "--on-corrupt", "skip", "--json", "--out", str(tmp_path / "r.json")
    )
    assert code == 0
    facts = json.loads(out)
    assert facts == json.loads((tmp_path / "r.json").read_text())
    assert facts["passed"] is True
    assert facts["skipped"] == [str(bad.path)]
    assert facts["splits"]["train"]["sample_rates_hz"] == {"16000": 2}


def test_command_line_allows_a_leak_by_name(
    tmp_path: Path, clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_manifest(tmp_path / "m.csv", [replace(c, speaker="one") for c in clips])
    assert run(capsys, "validate", str(manifest))[0] == EXIT_UNFIT
    assert run(capsys, "validate", str(manifest), "--allow-leak", "speaker")[0] == 0


def test_leaks_that_a_corpus_intends_fail_only_when_strict(
    tmp_path: Path, clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    as_published = [replace(c, corpus="asvspoof2021-la", speaker="asvspoof-LA_0009") for c in clips]
    manifest = write_manifest(tmp_path / "m.csv", as_published)
    assert run(capsys, "validate", str(manifest))[0] == 0
    assert run(capsys, "validate", str(manifest), "--strict")[0] == EXIT_UNFIT


def test_a_corpus_s_own_leaks_excuse_no_other_corpus(
    tmp_path: Path, clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    """ASVspoof 2021 shares its speakers by design: what another corpus in the manifest shares is still an error."""
    beside = tmp_path / "beside"
    beside.mkdir()
    of_asvspoof = [
        clip(beside, f"{split}.flac", split, sound(), corpus="asvspoof2021-la", speaker="asvspoof-LA_0009")
        for split in ("train", "dev")
    ]
    others = [replace(c, speaker="one") for c in clips]
    manifest = write_manifest(tmp_path / "m.csv", [*others, *of_asvspoof])
    code, out, _ = run(capsys, "validate", str(manifest))
    assert code == EXIT_UNFIT
    assert "ERROR leak_speaker: 1 speaker names" in out and "one (dev, train)" in out
    assert "warning leak_speaker: 1 speaker names" in out
    shared = [replace(c, speaker="asvspoof-LA_0009") for c in others]
    manifest = write_manifest(tmp_path / "m.csv", [*shared, *of_asvspoof])
    assert run(capsys, "validate", str(manifest))[0] == EXIT_UNFIT, "one name, but not of that corpus alone"
