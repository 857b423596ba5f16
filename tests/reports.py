"""Reports of every kind for the tests of `earwitness.reporting`: one real examination, and outputs made by hand."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jsonschema

from earwitness.actions import load_action_policy
from earwitness.detector import DetectorOutput
from earwitness.finding import Abstention, MediaInfo, Stretch, Verdict, WindowScore
from earwitness.grounds import (
    ByChance,
    DeletionEvidence,
    Direction,
    Explanation,
    FrameCurve,
    Grounds,
    Severity,
    Signal,
    SuspiciousStretch,
    UsualRange,
)
from earwitness.report import CustodyEvent, CustodyMetadata, EvidenceMetadata, Failure, MethodMetadata
from earwitness.reporting.contents import NO_SECOND_LOOK, SecondLook, Subject, build_report, report_schema
from earwitness.reporting.outline import Outline, Outliner
from earwitness.waveform import Samples
from tests.speechlike import speechlike

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EVALUATION: dict[str, Any] = {
    "llr_origin": "held out",
    "bonafide": 440,
    "spoof": 580,
    "eer": 0.23,
    "eer_interval": {"low": 0.18, "high": 0.29, "level": 0.95},
    "calibration": {"cllr": 0.65, "min_cllr": 0.61},
    "outcome": {
        "bonafide_called_deepfake": 0.02,
        "spoof_called_authentic": 0.05,
        "decided_share": 0.47,
        "wrong_among_decided": 0.08,
    },
    "eer_by_condition": {"clean": 0.23, "mp3_32k": 0.24, "g711": 0.25, "noise_10db": 0.31, "short_1.5s": 0.26},
}
METHOD = MethodMetadata(
    model_version="toy-1",
    graph_sha256="c" * 64,
    calibration={"kind": "affine", "slope": 1.0, "intercept": 0.0, "llr_min": -2.5, "llr_max": 3.0},
    thresholds={"t_low": 0.2, "t_high": 0.8},
    thresholds_chosen="by hand",
    limits={"min_duration_s": 1.0},
    window_s=4.0,
    hop_s=2.0,
    canonical_version=1,
    validation=EVALUATION,
    tools={"earwitness": "0.1.0", "av": "18.1.0"},
)
USUAL = UsualRange(low=1.0, median=2.0, high=3.0, percentile=97.0, percent_above=2.5, count=200)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding."""

    name: str
    llr: float | None
    verdict: Verdict
    abstentions: tuple[Abstention, ...] = ()


KINDS = (
    Kind("human", -2.5, Verdict.AUTHENTIC),
    Kind("undecided", 0.3, Verdict.SUSPICIOUS),
    Kind("synthetic", 3.0, Verdict.DEEPFAKE),
    Kind("abstained", None, Verdict.SUSPICIOUS, (Abstention.TOO_SHORT, Abstention.TOO_NOISY)),
)


def an_output(kind: Kind = KINDS[2], *, windows: int = 4, grounds: Grounds | None = None) -> DetectorOutput:
    judged = kind.llr is not None
    p_fake = {AUTHENTIC: 0.08, SUSPICIOUS: 0.57, DEEPFAKE: 0.95}[kind.verdict] if judged else None
    return DetectorOutput(
        verdict=kind.verdict,
        confidence=max(p_fake, 1 - p_fake) if p_fake is not None else 0.0,
        explanations=("One sentence.", "Another with 3.2 s."),
        signals={"duration_s": 4.0, "speech_s": 3.1, "snr_db": 40.0, "bandwidth_hz": 7_400.0, "plain_one": None},
        model_version="toy-1",
        p_fake=p_fake,
        llr=kind.llr,
        score=3.4,
        windows=tuple(
            WindowScore(2.0 * n, 2.0 * n + 4.0, 0.1 * n, 0.1 * n if judged else None, 0.5 if judged else None, 0.9)
            for n in range(windows)
        ),
        most_suspicious=Stretch(0.0, 4.0, 0.9) if p_fake is not None else None,
        abstentions=kind.abstentions,
        media=MediaInfo("audio", "wav", "pcm_s16le", 16_000, 1, 4.0),
        duration_s=2.0 * windows + 2.0,
        warnings=("2 damaged packets were skipped.",),
        grounds=grounds,
    )


AUTHENTIC, SUSPICIOUS, DEEPFAKE = Verdict.AUTHENTIC, Verdict.SUSPICIOUS, Verdict.DEEPFAKE

GROUNDS = Grounds(
    signals=(
        Signal("pitch_sd_semitones", "Pitch variability", 0.9, "semitones", "A paper", USUAL, USUAL, "wide"),
        Signal("voiced_share", "Voiced part", 0.5, "share", "A paper", USUAL, None, "wide"),
        Signal("noise_dbfs", "Noise floor", None, "dBFS", "A standard"),
    ),
    explanations=(
        Explanation("verdict_deepfake", Severity.VERDICT, Direction.SPOOF, "Evidence of synthesis."),
        Explanation(
            "pitch_flat", Severity.EVIDENCE, Direction.SPOOF, "Pitch is unusually consistent.", {"sd": 0.9}
        ),
    ),
    stretches=(
        SuspiciousStretch(0.5, 2.1, 0.91, 2.3, 1.0, 8.6, 0.021),
        SuspiciousStretch(3.0, 3.2, 0.8, 1.4, 3.1, 0.84, 0.31),
        SuspiciousStretch(3.4, 3.9, 0.8, 1.4, 3.5),
    ),
    by_chance=ByChance(1.234, 2.0, 3.56, 0.1412, 2),
    deletions=(DeletionEvidence(0.5, 2.1, 3.0, 0.2, 0.95, 0.55, 3.4, 0.2),),
    frames=FrameCurve(0.16, (*(0.1 * n for n in range(12)), None, None, *(1.0 for _ in range(10)))),
    usual_ranges_version="1",
)


def a_subject(filename: str = "a.wav", **changes: Any) -> Subject:
    values: dict[str, Any] = {
        "analysis_id": "id-1",
        "status": "DONE",
        "evidence": EvidenceMetadata(filename, "audio", 1_234, "a" * 64, "a" * 64),
        "custody": CustodyMetadata(
            created_at=NOON,
            case_id="2026-114",
            exhibit_id="A-3",
            analysed_at=NOON,
            events=(CustodyEvent(NOON, "evidence_received", "alice", {"sha256": "a" * 64, "size_bytes": 9}),),
        ),
        "run_id": "run-1",
    }
    return Subject(**{**values, **changes})


def a_failed_subject() -> Subject:
    return a_subject(status="FAILED", failure=Failure("run_timeout", "it took too long"))


def a_report(
    output: DetectorOutput | None,
    subject: Subject | None = None,
    *,
    method: MethodMetadata = METHOD,
    second_look: SecondLook = NO_SECOND_LOOK,
) -> dict[str, Any]:
    """As a reader gets it: through JSON, and checked against the published schema."""
    made = build_report(
        subject or a_subject(),
        output=output,
        method=method,
        policy=load_action_policy(),
        generated_at=NOON,
        second_look=second_look,
    )
    read: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    validator = jsonschema.Draft202012Validator(
        report_schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(read)
    return read


def an_outline(samples: Samples | None = None, block: int = 8_000) -> Outline:
    sound = speechlike(4.0) if samples is None else samples
    outliner = Outliner(sound.size / 16_000)
    for start in range(0, sound.size, block):
        outliner.push(sound[start : start + block])
    return outliner.finish()
