"""Is this manifest fit to train on? Every file is decoded, every split compared with every other.

    report = validate(Path("data/la.csv"), Limits(), OnCorrupt.FAIL)
    report.passed                   # False: `report.problems` say why, `report_text(report)` in words

Errors make a manifest unfit: recordings that are missing, can't be decoded, differ from their row or are too short
or long; a class that is (nearly) missing; the same recording in two splits or with both labels; a speaker, system,
lineage or source repository in two splits. Warnings: what the caller has allowed, and copies within one split.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ml.datasets.entries import OnCorrupt
from ml.datasets.file_check import Fault, FileCheck, Limits, check_file
from ml.datasets.manifest import HUMAN, UNKNOWN, Clip, Label, manifest_sha256, read_manifest, write_manifest
from ml.datasets.recipe import Leak

EXAMPLES = 10  # paths or names that a problem lists; the count is always whole
TOLD_LANGUAGES = 6
READ_THREADS = 2  # FFmpeg and the hashes leave Python's lock; the reference machine has two cores


@dataclass(frozen=True, slots=True)
class Problem:
    check: str
    """A `Fault`, or labels, duplicate, leak_<field>."""
    error: bool
    """False: a warning."""
    message: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SplitSummary:
    clips: int
    bonafide: int
    spoof: int
    hours: float
    speakers: int
    systems: int
    sample_rates_hz: Mapping[int, int]
    """Clips by rate of the stored file."""
    languages: Mapping[str, int]
    """Clips by language, the most frequent first; UNKNOWN among them."""


@dataclass(frozen=True, slots=True)
class Report:
    manifest: str
    manifest_sha256: str
    splits: Mapping[str, SplitSummary]
    problems: tuple[Problem, ...]
    skipped: tuple[str, ...]
    """Recordings that were left out because they can't be used."""

    @property
    def passed(self) -> bool:
        return not any(problem.error for problem in self.problems)


def validate(
    manifest: Path,
    limits: Limits,
    on_corrupt: OnCorrupt,
    *,
    allowed_leaks: frozenset[Leak] = frozenset(),
    known_leaks: Mapping[str, frozenset[Leak]] | None = None,
    clean: Path | None = None,
    progress: bool = False,
) -> Report:
    """Check all of `manifest`. With SKIP, unusable files are warnings, listed in `Report.skipped`.

    `allowed_leaks` are warnings whatever they concern; `known_leaks`, by corpus, where all clips that share the name
    are of corpora whose makers meant them to. `clean`: write a manifest without the unusable files there.

    Raises ManifestError for a malformed manifest.
    """
    clips = read_manifest(manifest)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        checked = pool.map(partial(check_file, limits=limits), clips)
        checks = list(tqdm(checked, total=len(clips), unit="clip", disable=not progress))
    skip = on_corrupt is OnCorrupt.SKIP
    usable = [(clip, check) for clip, check in zip(clips, checks, strict=True) if check.fault is None]
    kept = [clip for clip, _ in usable]
    by_split: dict[str, list[Clip]] = defaultdict(list)
    for clip in kept:
        by_split[clip.split].append(clip)
    problems = (
        *_faults(clips, checks, error=not skip),
        *_labels(by_split, limits),
        *_duplicates(usable),
        *_leaks(kept, allowed_leaks, known_leaks or {}),
    )
    if clean is not None:
        write_manifest(clean, kept)
    faulty = tuple(str(clip.path) for clip, check in zip(clips, checks, strict=True) if check.fault is not None)
    return Report(
        manifest=str(manifest),
        manifest_sha256=manifest_sha256(manifest),
        splits={split: _summary(members) for split, members in sorted(by_split.items())},
        problems=problems,
        skipped=faulty if skip else (),
    )


FAULT_WORDS = {
    Fault.MISSING: "files are missing",
    Fault.UNREADABLE: "files can't be decoded",
    Fault.SAMPLE_RATE: "files have no usable sample rate",
    Fault.MISMATCH: "files differ from their row",
    Fault.DURATION: "files are too short or too long",
}


def _faults(clips: Sequence[Clip], checks: Sequence[FileCheck], *, error: bool) -> Iterable[Problem]:
    for fault, words in FAULT_WORDS.items():
        found = [
            f"{clip.path}: {check.message}"
            for clip, check in zip(clips, checks, strict=True)
            if check.fault is fault
        ]
        if found:
            yield Problem(fault, error, words, len(found), tuple(found[:EXAMPLES]))


def _labels(by_split: Mapping[str, Sequence[Clip]], limits: Limits) -> Iterable[Problem]:
    if not by_split:
        yield Problem("labels", True, "no usable recording is left", 0, ())
    for split, clips in sorted(by_split.items()):
        counts = Counter(clip.label for clip in clips)
        rarer = min(Label, key=lambda label: counts[label])
        if counts[rarer] < limits.min_class_share * len(clips):
            yield Problem(
                "labels",
                True,
                f"split {split}: {counts[rarer]} of {len(clips)} clips are {rarer}, "
                f"less than {limits.min_class_share:.0%}",
                counts[rarer],
                (),
            )


def _duplicates(usable: Iterable[tuple[Clip, FileCheck]]) -> Iterable[Problem]:
    """Copies, by bytes or by sound, across splits or with both labels (errors) and within a split (a warning)."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip, check in usable:
        groups[check.sound_hash].append(clip)
    # Equal bytes give equal sound, so that the sound's hash alone finds both.
    across: list[str] = []
    torn: list[str] = []
    within: list[str] = []
    for group in (group for group in groups.values() if len(group) > 1):
        names = " = ".join(str(clip.path) for clip in group)
        if len({clip.split for clip in group}) > 1:
            across.append(names)
        if len({clip.label for clip in group}) > 1:
            torn.append(names)
        if len({clip.split for clip in group}) == 1:
            within.append(names)
    for error, words, found in (
        (True, "recordings are in more than one split", across),
        (True, "recordings carry both labels", torn),
        (False, "recordings occur more than once in one split", within),
    ):
        if found:
            yield Problem("duplicate", error, words, len(found), tuple(found[:EXAMPLES]))


def _leaks(
    clips: Sequence[Clip], allowed: frozenset[Leak], known: Mapping[str, frozenset[Leak]]
) -> Iterable[Problem]:
    for leak in Leak:
        sharing: dict[str, list[Clip]] = defaultdict(list)
        for clip in clips:
            name = _shared_name(clip, leak)
            if name is not None:
                sharing[name].append(clip)
        splits = {name: sorted({clip.split for clip in members}) for name, members in sharing.items()}
        found = sorted(
            (name for name, where in splits.items() if len(where) > 1), key=lambda name: -len(sharing[name])
        )
        meant = {
            name
            for name in found
            if leak in allowed or all(leak in known.get(clip.corpus, ()) for clip in sharing[name])
        }
        for error, names in (
            (True, [n for n in found if n not in meant]),
            (False, [n for n in found if n in meant]),
        ):
            if names:
                examples = tuple(f"{name} ({', '.join(splits[name])})" for name in names[:EXAMPLES])
                words = f"{leak} names are in more than one split"
                yield Problem(f"leak_{leak}", error, words, len(names), examples)


def _shared_name(clip: Clip, leak: Leak) -> str | None:
    """The name that may leak; None where it tells nothing (unknown, human, or a corpus of one source)."""
    name = str(getattr(clip, leak.value))
    if name == UNKNOWN or (leak in {Leak.SYSTEM, Leak.LINEAGE} and name == HUMAN):
        return None
    if leak is Leak.SOURCE_REPO and name == clip.corpus:
        return None
    return name


def _summary(clips: Sequence[Clip]) -> SplitSummary:
    labels = Counter(clip.label for clip in clips)
    return SplitSummary(
        clips=len(clips),
        bonafide=labels[Label.BONAFIDE],
        spoof=labels[Label.SPOOF],
        hours=round(sum(clip.duration_s for clip in clips) / 3600, 3),
        speakers=len({clip.speaker for clip in clips} - {UNKNOWN}),
        systems=len({clip.system for clip in clips} - {UNKNOWN, HUMAN}),
        sample_rates_hz=dict(sorted(Counter(clip.sample_rate_hz for clip in clips).items())),
        languages=dict(
            Counter(clip.language for clip in sorted(clips, key=lambda clip: clip.language)).most_common()
        ),
    )


def _languages(split: SplitSummary) -> str:
    """How many, and what share of the clips the most frequent ones have: a long list may be nearly all English."""
    told = [f"{language} {100 * count / split.clips:.0f} %" for language, count in split.languages.items()]
    few = f" and {len(told) - TOLD_LANGUAGES} more" if len(told) > TOLD_LANGUAGES else ""
    return f"{len(told)} language{'s' * (len(told) != 1)}: {', '.join(told[:TOLD_LANGUAGES])}{few}"


def report_text(report: Report) -> str:
    """The report for a reader: two lines a split, then the problems, errors first."""
    lines = [f"{report.manifest} ({report.manifest_sha256[:12]})"]
    lines += [
        f"  {name}: {split.clips} clips, {split.bonafide} bona fide, {split.spoof} spoof, {split.hours:.2f} h, "
        f"{split.speakers} speakers, {split.systems} systems, rates "
        + ", ".join(f"{rate} Hz: {count}" for rate, count in split.sample_rates_hz.items())
        + f"\n    {_languages(split)}"
        for name, split in report.splits.items()
    ]
    for problem in sorted(report.problems, key=lambda problem: not problem.error):
        lines.append(
            f"{'ERROR' if problem.error else 'warning'} {problem.check}: {problem.count} {problem.message}"
        )
        lines += [f"    {example}" for example in problem.examples]
        if problem.count > len(problem.examples) > 0:
            lines.append(f"    ... and {problem.count - len(problem.examples)} more")
    lines.append("passed" if report.passed else "NOT fit to train on")
    return "\n".join(lines)
