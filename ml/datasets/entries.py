"""From what a corpus's own lists say to a manifest: look at each file, then write.

    complete(entries, Path("data/la.csv"), OnCorrupt.SKIP, progress=True)

A recipe yields an `Entry` for each recording; its length, rate and codec are read here from the file's header.
Nothing is decoded unless a header doesn't tell the length: `validate` does that.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from earwitness.errors import InputError
from earwitness.media import open_media, read_waveform
from earwitness.waveform import seconds
from ml.datasets.errors import CorruptClipError, LayoutError
from ml.datasets.manifest import HUMAN, Clip, Kind, Label, write_manifest
from ml.evaluation.atomic_write import write_text

PROBE_THREADS = 4  # reading headers waits for the disk, not for the processor
BATCH = 2048  # entries in flight: ASVspoof 5 has a million

# PyAV names the decoder; a manifest names the codec.
CODEC_NAMES = {"mp3float": "mp3", "libopus": "opus", "libvorbis": "vorbis"}


class OnCorrupt(StrEnum):
    FAIL = "fail"
    """Stop at the first recording that can't be read."""
    SKIP = "skip"
    """Leave it out and say so in a report."""


@dataclass(frozen=True, slots=True)
class Facts:
    duration_s: float
    sample_rate_hz: int
    codec: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A `Clip` before its file was looked at."""

    path: Path
    system: str
    """`human` makes it bona fide."""
    kind: Kind
    lineage: str
    speaker: str
    source_set: str
    language: str
    split: str
    corpus: str
    source_repo: str | None = None
    """None: the corpus is the place of publication."""
    source_rate_hz: int | None = None
    facts: Facts | None = None
    """Where the corpus's own list has them, the file is only looked for."""


def complete(entries: Iterable[Entry], out: Path, on_corrupt: OnCorrupt, *, progress: bool) -> Path:
    """Write the manifest of `entries` to `out`, and where some were skipped `<out>.skipped.csv` beside it.

    Raises CorruptClipError at the first unreadable recording if `on_corrupt` is FAIL, and LayoutError where no
    recording is left. Nothing is written then.
    """
    clips: list[Clip] = []
    skipped: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(PROBE_THREADS) as pool, tqdm(unit="clip", disable=not progress) as bar:
        remaining = iter(entries)
        while batch := list(islice(remaining, BATCH)):
            for entry, result in zip(batch, pool.map(_look, batch), strict=True):
                if isinstance(result, Facts):
                    clips.append(_clip(entry, result))
                elif on_corrupt is OnCorrupt.FAIL:
                    raise CorruptClipError(
                        f"{entry.path}: {result}. Restore the file, or leave such files out with --on-corrupt skip"
                    )
                else:
                    skipped.append((entry.path, result))
            bar.update(len(batch))
    if not clips:
        raise LayoutError(f"no readable recording was found for {out.name}: check the folder that was given")
    _report(skipped, out)
    return write_manifest(out, clips)


def _look(entry: Entry) -> Facts | str:
    """What the file's header says, or why it can't be read."""
    try:
        if entry.facts is not None:
            return entry.facts if entry.path.stat().st_size > 0 else "the file is empty"
        return probe(entry.path)
    except (InputError, OSError) as e:
        return str(e)


def probe(path: Path) -> Facts:
    """Length, rate and codec from the header. Raises InputError for what is no readable recording."""
    with open_media(path) as media:
        info = media.info
    if info.codec is None or info.sample_rate_hz is None:
        raise InputError(f"{path.name} holds no sound")
    duration_s = info.declared_duration_s
    if duration_s is None or duration_s <= 0:
        duration_s = seconds(read_waveform(path)[0].size)
    if duration_s <= 0:
        raise InputError(f"{path.name} holds no samples")
    return Facts(duration_s, info.sample_rate_hz, CODEC_NAMES.get(info.codec, info.codec))


def _clip(entry: Entry, facts: Facts) -> Clip:
    return Clip(
        path=entry.path,
        label=Label.BONAFIDE if entry.system == HUMAN else Label.SPOOF,
        kind=entry.kind,
        system=entry.system,
        lineage=entry.lineage,
        speaker=entry.speaker,
        source_set=entry.source_set,
        source_repo=entry.source_repo or entry.corpus,
        language=entry.language,
        duration_s=facts.duration_s,
        sample_rate_hz=facts.sample_rate_hz,
        codec=facts.codec,
        split=entry.split,
        corpus=entry.corpus,
        source_rate_hz=entry.source_rate_hz,
    )


def skipped_report(out: Path) -> Path:
    return out.with_name(f"{out.stem}.skipped.csv")


def _report(skipped: Sequence[tuple[Path, str]], out: Path) -> None:
    report = skipped_report(out)
    if not skipped:
        report.unlink(missing_ok=True)  # an old report would speak of files that are mended
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "reason"))
    writer.writerows((path.as_posix(), reason) for path, reason in skipped)
    write_text(report, text.getvalue())
