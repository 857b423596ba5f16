import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from earwitness.actions import load_action_policy
from earwitness.detector import DetectorInput, DetectorOutput
from earwitness.dummy import DummyDetector
from earwitness.finding import Abstention, Verdict
from earwitness.pipeline import examine
from earwitness.report import (
    METHOD_NOT_RECORDED,
    REPORT_VERSION,
    CustodyEvent,
    CustodyMetadata,
    EvidenceMetadata,
    Failure,
    MethodMetadata,
    build_report,
    installed_tools,
    method_from_spec,
    report_schema,
)
from earwitness.scorer import Scorer
from tests.audio_files import write_audio, write_silent_film
from tests.speechlike import speechlike

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EVIDENCE = EvidenceMetadata(
    filename="a.wav", media_type="audio", size_bytes=1_234, sha256_at_receipt="a" * 64, sha256_at_analysis="a" * 64
)
CUSTODY = CustodyMetadata(created_at=NOON)


def dummy_output(tmp_path: Path, **options: Any) -> DetectorOutput:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x")
    return DummyDetector(**options).analyze(DetectorInput(path))


def report(output: DetectorOutput | None, **changes: Any) -> dict[str, Any]:
    """The report as a reader gets it: through JSON and checked against the published schema."""
    arguments = {
        "analysis_id": "id-1",
        "status": "DONE",
        "output": output,
        "evidence": EVIDENCE,
        "custody": CUSTODY,
        "method": MethodMetadata(model_version="dummy-1"),
        "policy": load_action_policy(),
        "generated_at": NOON,
    }
    made: dict[str, Any] = json.loads(json.dumps(build_report(**{**arguments, **changes}), allow_nan=False))
    jsonschema.Draft202012Validator(
        report_schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(made)
    return made


def test_the_published_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    assert report_schema()["properties"]["report_version"] == {"const": REPORT_VERSION}


def test_a_real_finding(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_audio(tmp_path / "a.wav", speechlike(9.0)), toy_scorer)

    made = report(output, method=method_from_spec(toy_scorer.spec))

    assert made["result"]["p_fake"] == output.p_fake
    assert made["key_findings"] == list(output.explanations)
    assert len(made["timeline"]) == len(output.windows)
    assert made["evidence"]["codec"] == "pcm_s16le"
    assert made["method"]["graph_sha256"] == toy_scorer.spec.graph_sha256
    assert made["method"]["thresholds"] == {"t_low": 0.2, "t_high": 0.8}


def test_the_method_of_a_run_today_names_tools_and_calibration(tmp_path: Path, toy_scorer: Scorer) -> None:
    made = report(dummy_output(tmp_path), method=method_from_spec(toy_scorer.spec))

    assert made["method"]["tools"] == installed_tools()
    assert made["method"]["calibration"]["kind"] == "affine"
    assert METHOD_NOT_RECORDED not in made["limitations"]


def test_the_tools_are_those_of_the_run_whatever_is_installed(tmp_path: Path) -> None:
    method = MethodMetadata("audio-1", tools={"earwitness": "0.0.1", "onnxruntime": "0.9"})

    assert report(dummy_output(tmp_path), method=method)["method"]["tools"] == method.tools


def test_a_run_without_a_recorded_method_is_told_so(tmp_path: Path) -> None:
    made = report(dummy_output(tmp_path), method=MethodMetadata("audio-1"))

    assert made["method"]["tools"] == {}
    assert METHOD_NOT_RECORDED in made["limitations"]


def test_a_film_without_sound(tmp_path: Path, toy_scorer: Scorer) -> None:
    made = report(examine(write_silent_film(tmp_path / "a.mp4"), toy_scorer))

    assert made["result"]["abstentions"] == ["no_audio_track"]
    assert made["evidence"]["codec"] is None


@pytest.mark.parametrize("p_fake", [0.05, 0.5, 0.95])
def test_every_verdict_has_actions_and_limitations(tmp_path: Path, p_fake: float) -> None:
    made = report(dummy_output(tmp_path, p_fake=p_fake))

    assert made["recommended_actions"]
    assert any("never proof of authenticity" in text for text in made["limitations"])
    assert made["result"]["confidence"] == max(p_fake, 1 - p_fake)


def test_an_abstention_is_a_limitation(tmp_path: Path) -> None:
    made = report(dummy_output(tmp_path, abstentions=(Abstention.NO_SPEECH,)))

    assert made["result"]["verdict"] == Verdict.SUSPICIOUS
    assert any("abstained (no speech)" in text for text in made["limitations"])
    assert "more_speech" in [action["id"] for action in made["recommended_actions"]]


def test_warnings_of_the_decoding_are_limitations(tmp_path: Path) -> None:
    output = replace(dummy_output(tmp_path), warnings=("2 damaged packets were skipped.",))

    assert "2 damaged packets were skipped." in report(output)["limitations"]


def test_before_the_first_run() -> None:
    made = report(None, status="UPLOADED", evidence=replace(EVIDENCE, sha256_at_analysis=None))

    assert (made["result"]["verdict"], made["result"]["confidence"]) == ("SUSPICIOUS", 0.0)
    assert made["evidence"]["integrity"] == "not_checked"
    assert "not been examined yet" in made["key_findings"][0]


def test_after_a_failure() -> None:
    made = report(None, status="FAILED", failure=Failure("run_timeout", "it took too long"))

    assert made["failure"] == {"code": "run_timeout", "message": "it took too long"}
    assert "it took too long" in made["key_findings"][0]


@pytest.mark.parametrize(
    ("at_analysis", "integrity"), [(None, "not_checked"), ("a" * 64, "verified"), ("b" * 64, "mismatch")]
)
def test_the_hash_is_compared(tmp_path: Path, at_analysis: str | None, integrity: str) -> None:
    made = report(dummy_output(tmp_path), evidence=replace(EVIDENCE, sha256_at_analysis=at_analysis))

    assert made["evidence"]["integrity"] == integrity


def test_the_chain_of_custody_is_told_in_utc(tmp_path: Path) -> None:
    paris = timezone(timedelta(hours=1))
    custody = CustodyMetadata(
        created_at=NOON.astimezone(paris),
        device_id="recorder-7",
        analysed_at=NOON + timedelta(seconds=3),
        events=(CustodyEvent(NOON, "uploaded", "alice", {"size_bytes": 9}),),
    )

    made = report(dummy_output(tmp_path), custody=custody)["chain_of_custody"]

    assert made["created_at"] == "2026-11-22T12:00:00.000Z"
    assert made["analysed_at"] == "2026-11-22T12:00:03.000Z"
    assert made["device_id"] == "recorder-7"
    assert made["events"] == [
        {"at": "2026-11-22T12:00:00.000Z", "event": "uploaded", "actor": "alice", "details": {"size_bytes": 9}}
    ]


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        report(dummy_output(tmp_path), generated_at=NOON.replace(tzinfo=None))


def test_the_same_finding_gives_the_same_report(tmp_path: Path) -> None:
    output = dummy_output(tmp_path)

    assert json.dumps(report(output)) == json.dumps(report(output))


def test_it_leaves_the_signature_to_a_person(tmp_path: Path) -> None:
    assert report(dummy_output(tmp_path))["signature"] == {"examiner": None, "signed_at": None}


def keys(value: Any) -> Any:
    """The shape of JSON: objects by their keys, lists by their first item, everything else by nothing."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in sorted(value.items())}
    return [keys(value[0])] if isinstance(value, list) and value else None


def test_the_shape_of_version_1_stays(tmp_path: Path) -> None:
    """A change here breaks readers of version 1: raise REPORT_VERSION and publish a new schema instead."""
    shape = keys(report(dummy_output(tmp_path)))
    assert sorted(shape) == [
        "analysis_id", "chain_of_custody", "evidence", "failure", "generated_at", "key_findings", "limitations",
        "method", "propositions", "question", "recommended_actions", "report_version", "result", "signals",
        "signature", "status", "timeline",
    ]  # fmt: skip
    assert sorted(shape["evidence"]) == [
        "channels", "codec", "container", "declared_duration_s", "duration_s", "filename", "integrity", "media_type",
        "sample_rate_hz", "sha256_at_analysis", "sha256_at_receipt", "size_bytes",
    ]  # fmt: skip
    assert sorted(shape["result"]) == [
        "abstentions", "confidence", "llr", "most_suspicious", "p_fake", "polarity", "prior", "score", "verdict",
    ]  # fmt: skip
    assert sorted(shape["timeline"][0]) == ["end_s", "llr", "p_fake", "score", "speech_share", "start_s"]
    assert sorted(shape["chain_of_custody"]) == [
        "analysed_at", "case_id", "created_at", "created_by", "device_id", "events", "exhibit_id", "notes", "source",
    ]  # fmt: skip
    assert sorted(shape["method"]) == [
        "action_policy_version", "calibration", "canonical_version", "graph_sha256", "hop_s", "limits",
        "model_version", "prior", "thresholds", "thresholds_chosen", "tools", "validation", "window_s",
    ]  # fmt: skip
