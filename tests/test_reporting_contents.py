"""Version 2 of the report: its schema, its thirteen contents, and that version 1 is still what it was."""

import html
import json
from dataclasses import asdict, replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from earwitness.finding import Verdict
from earwitness.panel import Panel, Trial
from earwitness.pipeline import examine
from earwitness.report import (
    LEFT_OUT_BY_CHANCE,
    MARKED_STRETCHES,
    OTHER_PRIOR,
    CustodyMetadata,
    EvidenceMetadata,
    MethodMetadata,
    method_from_spec,
)
from earwitness.report import build_report as build_version_1
from earwitness.report import report_schema as schema_of_version_1
from earwitness.reporting import tables
from earwitness.reporting.contents import REPORT_VERSION, Derived, SecondLook, report_schema
from earwitness.reporting.document import NO_STRETCH, compose
from earwitness.reporting.html import render_html
from earwitness.reporting.second_look import look_again
from earwitness.scorer import Scorer
from tests.audio_files import write_audio, write_silent_film
from tests.reports import (
    GROUNDS,
    KINDS,
    METHOD,
    NOON,
    Kind,
    a_failed_subject,
    a_report,
    a_subject,
    an_outline,
    an_output,
)
from tests.speechlike import speechlike

TRIAL = Trial("unaltered", "as received", 3.4, 3.0, 0.95, Verdict.DEEPFAKE, flipped=False)
PANEL = Panel(
    3, 12.0, TRIAL, (replace(TRIAL, id="mp3_32k", title="MP3, 32 kbit/s", llr=-1.0, flipped=True),), -1.0, 3.0, 1
)
LOOK = SecondLook(PANEL, derived=(Derived("decoded sound", "d" * 64, "decoded"),))


def test_the_published_schema_is_a_schema_of_version_2() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    assert report_schema()["properties"]["report_version"] == {"const": REPORT_VERSION} == {"const": 2}


def test_the_schema_lets_nothing_unforeseen_through() -> None:
    made = a_report(an_output())
    made["surprise"] = 1

    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        jsonschema.Draft202012Validator(report_schema()).validate(made)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("grounds", [None, GROUNDS], ids=["bare", "with grounds"])
@pytest.mark.parametrize("look", [None, LOOK], ids=["short", "full"])
def test_every_kind_of_finding_follows_the_schema(kind: Kind, grounds: Any, look: SecondLook | None) -> None:
    output = an_output(kind, grounds=grounds)
    made = a_report(output, second_look=look) if look else a_report(output)

    assert made["result"]["verdict"] == kind.verdict.value


def test_the_thirteen_contents_are_there() -> None:
    """Numbered as in docs/report.md."""
    made = a_report(an_output(grounds=GROUNDS), second_look=LOOK)
    custody, method = made["chain_of_custody"], made["method"]

    assert made["question"] and custody["case_id"] and custody["exhibit_id"] and custody["analysed_at"]  # 1
    evidence = made["evidence"]
    assert evidence["sha256_at_receipt"] == evidence["sha256_at_analysis"] and evidence["size_bytes"]  # 2
    assert evidence["derived"] == [{"name": "decoded sound", "sha256": "d" * 64, "made": "decoded"}]
    assert [event["event"] for event in custody["events"]] == ["evidence_received"]  # 3
    assert method["graph_sha256"] and method["preprocessing"] and method["thresholds"] and method["tools"]  # 4
    assert made["findings"].keys().isdisjoint(made["interpretation"])  # 5
    ratio = made["interpretation"]["likelihood"]
    assert ratio["verbal_scale"] == method["verbal_scale"]["id"] and made["interpretation"]["polarity"]  # 6
    assert len(made["propositions"]) == 2 and ratio["posteriors"]
    assert made["validation"]["cllr"] == 0.65 and made["validation"]["nearest_condition"]["eer"] == 0.23  # 7
    assert made["limitations"] and made["suitability"]["judged"] and made["undetermined"]  # 8
    assert any("never proof of authenticity" in text for text in made["limitations"])  # 9
    assert any("provenance is unknown" in text for text in made["undetermined"])
    assert made["generated_at"] == "2026-11-22T12:00:00.000Z"  # 10
    assert a_report(an_output(grounds=GROUNDS), second_look=LOOK) == made  # 11: templates, the same text each time
    assert json.loads(json.dumps(made)) == made  # 12: and tests/test_reporting_pdf.py finds it in the PDF
    assert made["signature"] == {"examiner": None, "signed_at": None}  # 13
    assert "aligned" in made["alignment"] and "compliant" not in json.dumps(made)


def test_findings_keep_the_verdict_out() -> None:
    findings = a_report(an_output(grounds=GROUNDS))["findings"]

    assert [said["code"] for said in findings["statements"]] == ["pitch_flat"]
    assert not any(word in json.dumps(findings) for word in ("DEEPFAKE", "AUTHENTIC", "SUSPICIOUS"))


def test_an_abstention_gives_no_ratio_no_posterior_and_says_so() -> None:
    made = a_report(an_output(KINDS[3]))

    assert made["interpretation"]["likelihood"] is None
    assert "the detector abstained" in made["interpretation"]["likelihood_absent"]
    assert made["result"]["p_fake"] is None and made["result"]["confidence"] == 0.0
    assert [reason["code"] for reason in made["suitability"]["reasons"]] == ["too_short", "too_noisy"]
    assert "neither for nor against" in made["interpretation"]["meaning"]
    assert any("could not be determined" in text for text in made["undetermined"])


@pytest.mark.parametrize("kind", KINDS[:3], ids=lambda kind: kind.name)
def test_the_meaning_fits_the_verdict_and_a_negative_is_careful(kind: Kind) -> None:
    meaning = a_report(an_output(kind))["interpretation"]["meaning"]

    starts = {"human": "Little evidence", "undecided": "Inconclusive", "synthetic": "Evidence of synthesis"}
    assert meaning.startswith(starts[kind.name])
    assert ("not proof that the recording is authentic" in meaning) is (kind.name == "human")


def test_at_another_prior_the_meaning_speaks_of_no_evidence_and_the_error_rates_are_not_claimed() -> None:
    made = a_report(an_output(), method=replace(METHOD, prior=0.9))

    assert made["interpretation"]["meaning"].startswith("At the stated prior the probability is at or above")
    assert "vidence of synthesis" not in made["interpretation"]["meaning"]
    assert OTHER_PRIOR in made["limitations"]
    assert OTHER_PRIOR not in a_report(an_output())["limitations"]


def test_beside_a_stretch_stands_what_chance_expects() -> None:
    """As many figures as they are good for; of a run from before it was measured, a dash."""
    rare = replace(GROUNDS.stretches[0], expected_by_chance=2.3e-9)
    report = a_report(an_output(grounds=replace(GROUNDS, stretches=(*GROUNDS.stretches, rare))))
    assert [one["expected_by_chance"] for one in report["findings"]["stretches"]] == [0.021, 0.31, None, 2.3e-9]
    table = tables.stretches(report["findings"]["stretches"], [])
    weights, expected = table.header.index("Weight"), table.header.index("By chance")
    assert [row[weights] for row in table.rows] == ["8.6", "0.84", "-", "8.6"]
    assert [row[expected] for row in table.rows] == ["0.021", "0.31", "-", "< 0.001"]


def test_a_report_says_what_chance_is_worked_out_with_and_what_it_left_out() -> None:
    told = "1.23 minutes of speech x 3.56 x exp(-0.141 x weight), windows every 2 s."
    assert GROUNDS.by_chance is not None
    one = replace(GROUNDS, by_chance=replace(GROUNDS.by_chance, left_out=1))
    nothing = replace(GROUNDS, stretches=(), deletions=())
    none_found = replace(nothing, by_chance=replace(GROUNDS.by_chance, left_out=0))
    of_before = replace(GROUNDS, by_chance=None)
    for grounds, said, unsaid in (
        (GROUNDS, (told, "2 stretches were left out"), (NO_STRETCH,)),
        (one, ("1 stretch was left out",), ()),
        (nothing, ("No stretch was marked.", told, "2 stretches were left out"), (NO_STRETCH,)),
        (none_found, (NO_STRETCH,), ("left out",)),
        (of_before, ("Marked stretches: where",), ("left out", NO_STRETCH)),
    ):
        page = render_html(compose(a_report(an_output(grounds=grounds)), an_outline()), {})
        findings = page[page.index("Findings") : page.index("Robustness")]
        for text in said:
            assert html.escape(text) in findings, text
        for text in unsaid:
            assert html.escape(text) not in findings, text


def test_marked_stretches_come_with_their_limit() -> None:
    nothing = replace(GROUNDS, stretches=())
    of_before = replace(GROUNDS, by_chance=None)
    for grounds, marked, by_chance in ((GROUNDS, True, True), (nothing, False, True), (of_before, True, False)):
        limits = a_report(an_output(grounds=grounds))["limitations"]
        assert (MARKED_STRETCHES in limits, LEFT_OUT_BY_CHANCE in limits) == (marked, by_chance)


def test_the_ratio_is_held_to_the_caps_of_the_run() -> None:
    ratio = a_report(replace(an_output(), llr=9.0))["interpretation"]["likelihood"]

    assert (ratio["llr"], ratio["capped"]) == (3.0, True)


def test_a_run_whose_calibration_was_not_recorded_states_no_ratio() -> None:
    made = a_report(an_output(), method=MethodMetadata(model_version="old-1"))

    assert made["interpretation"]["likelihood"] is None
    assert "not recorded" in made["interpretation"]["likelihood_absent"]
    assert made["findings"]["llr_as_recorded"] == 3.0
    assert made["validation"] is None
    assert any("was not recorded" in text for text in made["limitations"])


def test_signals_without_a_description_are_not_lost_and_none_comes_twice() -> None:
    output = replace(an_output(grounds=GROUNDS), signals={"pitch_sd_semitones": 0.9, "plain_one": 2.0})

    signals = a_report(output)["findings"]["signals"]

    names = [signal["name"] for signal in signals]
    assert names == ["pitch_sd_semitones", "voiced_share", "noise_dbfs", "plain_one"]
    assert signals[-1]["title"] == "Plain one" and signals[-1]["unit"] is None


@pytest.mark.parametrize(
    ("name", "title", "unit"),
    [("duration_s", "Duration", "s"), ("bandwidth_hz", "Bandwidth", "Hz"), ("clipped_share", "Clipped", "share")],
)
def test_the_end_of_a_name_is_its_unit(name: str, title: str, unit: str) -> None:
    signal = a_report(replace(an_output(), signals={name: 1.0}))["findings"]["signals"][0]

    assert (signal["title"], signal["unit"]) == (title, unit)


def test_without_the_second_look_the_panel_says_that_it_was_not_asked_for() -> None:
    robustness = a_report(an_output())["robustness"]

    assert robustness["panel"] is None and "not asked for" in robustness["absent"]


def test_the_panel_is_summed_up_in_words() -> None:
    robustness = a_report(an_output(), second_look=LOOK)["robustness"]

    assert robustness["panel"]["flips"] == 1
    assert "ranged from -1.00 to +3.00" in robustness["summary"] and "changed in 1" in robustness["summary"]


def test_after_a_failure_and_before_a_run() -> None:
    failed = a_report(None, a_failed_subject())
    assert failed["failure"]["code"] == "run_timeout" and "it took too long" in failed["key_findings"][0]
    assert failed["result"]["verdict"] == "SUSPICIOUS" and failed["suitability"]["judged"] is False

    waiting = a_report(None, a_subject(status="UPLOADED"))
    assert "not been examined yet" in waiting["key_findings"][0]
    assert waiting["interpretation"]["meaning"].startswith("Not examined")


@pytest.mark.parametrize(
    ("at_analysis", "integrity"), [(None, "not_checked"), ("a" * 64, "verified"), ("b" * 64, "mismatch")]
)
def test_the_hash_is_compared(at_analysis: str | None, integrity: str) -> None:
    evidence = EvidenceMetadata("a.wav", "audio", 9, "a" * 64, at_analysis)

    assert a_report(an_output(), a_subject(evidence=evidence))["evidence"]["integrity"] == integrity


def test_times_are_told_in_utc_and_need_a_zone() -> None:
    paris = NOON.astimezone(timezone(timedelta(hours=1)))
    assert a_report(an_output(), a_subject(custody=CustodyMetadata(paris)))["chain_of_custody"]["created_at"] == (
        "2026-11-22T12:00:00.000Z"
    )
    with pytest.raises(ValueError, match="time zone"):
        a_report(an_output(), a_subject(custody=CustodyMetadata(NOON.replace(tzinfo=None))))


def test_a_real_recording_from_end_to_end(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", speechlike(9.0))
    output = examine(path, toy_scorer)

    outline, look = look_again(path, output, toy_scorer)
    made = a_report(output, method=method_from_spec(toy_scorer.spec), second_look=look)

    assert outline is not None and made["evidence"]["derived"][0]["sha256"] == outline.waveform_sha256
    unaltered = made["robustness"]["panel"]["unaltered"]
    assert unaltered["score"] == pytest.approx(output.score, abs=1e-4)  # the same windows give the same score
    assert unaltered["verdict"] == output.verdict.value


def test_what_can_not_be_scored_again_says_why(tmp_path: Path, toy_scorer: Scorer) -> None:
    film = write_silent_film(tmp_path / "a.mp4")
    outline, look = look_again(film, examine(film, toy_scorer), toy_scorer)
    assert outline is None and look.panel is None and "no sound" in str(look.panel_absent)

    short = write_audio(tmp_path / "b.wav", speechlike(0.7))
    output = examine(short, toy_scorer)
    assert output.abstentions
    outline, look = look_again(short, output, toy_scorer)
    assert outline is not None and look.panel is None and "abstained" in str(look.panel_absent)

    spoken = write_audio(tmp_path / "c.wav", speechlike(5.0))
    _, look = look_again(spoken, examine(spoken, toy_scorer), None)
    assert look.panel is None and "not on the shelf" in str(look.panel_absent)


def test_version_1_is_still_made_and_still_valid() -> None:
    subject = a_subject()
    from earwitness.actions import load_action_policy

    made = build_version_1(
        analysis_id=subject.analysis_id,
        status=subject.status,
        output=an_output(grounds=GROUNDS),
        evidence=subject.evidence,
        custody=subject.custody,
        method=MethodMetadata(**{**asdict(MethodMetadata("toy-1")), "tools": {"av": "18"}}),
        policy=load_action_policy(),
        generated_at=NOON,
    )

    assert made["report_version"] == 1
    jsonschema.Draft202012Validator(schema_of_version_1()).validate(json.loads(json.dumps(made)))
