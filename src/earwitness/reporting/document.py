"""A report's JSON as a document for people: the same statements, in the order in which they are read.

    document = compose(report, outline)

Every figure and sentence comes from the report; only the drawings need the outline of the sound as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.calibration import posterior
from earwitness.explain import percent
from earwitness.finding import WindowScore
from earwitness.policy import Thresholds
from earwitness.reporting import scales, tables
from earwitness.reporting.blocks import (
    Block,
    Bullets,
    Callout,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Signature,
    Subheading,
    Table,
)
from earwitness.reporting.outline import Outline
from earwitness.reporting.plots import Curve, Mark, spectrogram_svg, timeline_svg, waveform_svg
from earwitness.reporting.wording import CAPPED_TEXT

NO_PICTURES = "No figures of the sound are shown: no sound could be decoded, or the evidence was not read again."
NO_STRETCH = "No stretch was marked: nowhere do neighbouring frames point to synthesis together."
NONE_BUT_BY_CHANCE = "No stretch was marked."
NOT_JUDGED_OVER_TIME = "No scores over time and no stretches are shown: the detector abstained."
SIGNATURE_LINES = ("Examiner (name, function)", "Place and date", "Signature")


def compose(report: Mapping[str, Any], outline: Outline | None) -> Document:
    """`outline` is None where there is no sound to draw."""
    name = str(report["evidence"]["filename"])
    case = report["chain_of_custody"]["case_id"]
    return Document(
        title=str(report["title"]),
        subtitle=name,
        footer=" · ".join(
            part for part in (f"Case {case}" if case else "", f"Analysis {report['analysis_id']}") if part
        ),
        sections=tuple(
            Section(f"{number}  {title}", tuple(blocks))
            for number, (title, blocks) in enumerate(_sections(report, outline), start=1)
        ),
    )


def _sections(report: Mapping[str, Any], outline: Outline | None) -> list[tuple[str, Sequence[Block]]]:
    return [
        ("Question and result", _result(report)),
        ("What was received", [Facts(tables.evidence(report)), *_derived(report)]),
        ("Findings", _findings(report, outline)),
        ("Interpretation", _interpretation(report)),
        ("Robustness", _robustness(report)),
        ("Validation", _validation(report)),
        ("Limitations, and what could not be determined", _limitations(report)),
        ("Recommended actions", [Bullets(tuple(action["text"] for action in report["recommended_actions"]))]),
        ("Chain of custody", _custody(report)),
        ("Method and versions", _method(report)),
        ("Glossary", [Facts(tuple((entry["term"], entry["meaning"]) for entry in report["glossary"]))]),
        ("Signature", [Paragraph(report["alignment"], note=True), Signature(SIGNATURE_LINES)]),
    ]


def _result(report: Mapping[str, Any]) -> list[Block]:
    result, ratio = report["result"], report["interpretation"]["likelihood"]
    judged = report["suitability"]["judged"]
    tone = "neither"
    if judged and result["verdict"] != "SUSPICIOUS":
        tone = "spoof" if result["verdict"] == "DEEPFAKE" else "bona_fide"
    figures = [
        ("Probability of synthesis", _or_none(result["p_fake"], percent)),
        ("at a prior of", percent(result["prior"])),
        ("Likelihood ratio", "not given" if ratio is None else tables.ratio_in_words(ratio["lr"])),
        ("Confidence", percent(result["confidence"]) if result["confidence"] else "none"),
    ]
    headline = result["verdict"] if judged else f"{result['verdict']} (not judged)"
    blocks: list[Block] = [
        Facts(tables.identification(report)),
        Paragraph(f"Question: {report['question']}"),
        Callout(headline, tone, report["interpretation"]["meaning"], tuple(figures)),
        Bullets(tuple(report["key_findings"])),
    ]
    return blocks


def _derived(report: Mapping[str, Any]) -> list[Block]:
    derived = report["evidence"]["derived"]
    if not derived:
        return []
    rows = tuple((made["name"], made["sha256"], made["made"]) for made in derived)
    return [Subheading("Made from it"), Table(("What", "SHA-256", "How"), rows, (2.2, 4.2, 3.6))]


def _findings(report: Mapping[str, Any], outline: Outline | None) -> list[Block]:
    findings, weighed = report["findings"], report["findings"]["by_chance"]
    marks = [Mark(n, s["start_s"], s["end_s"]) for n, s in enumerate(findings["stretches"], start=1)]
    blocks: list[Block] = [*_pictures(report, outline, marks), Facts(tables.scores(report))]
    if findings["failure"]:
        blocks.append(Paragraph(findings["failure"]))
    if findings["stretches"]:
        blocks += [
            Subheading("Marked stretches: where neighbouring frames point to synthesis"),
            tables.stretches(findings["stretches"], findings["deletions"]),
        ]
    elif report["timeline"]:
        blocks.append(Paragraph(_no_stretch(report)))
    if report["suitability"]["judged"] and weighed and (findings["stretches"] or weighed["left_out"]):
        blocks.append(Paragraph(tables.by_chance(weighed), note=True))
    if findings["statements"]:
        blocks += [Subheading("Statements"), tables.statements(findings["statements"])]
    blocks += _signals(findings)
    if findings["warnings"]:
        blocks += [Subheading("Warnings of the decoding"), Bullets(tuple(findings["warnings"]))]
    return blocks


def _no_stretch(report: Mapping[str, Any]) -> str:
    weighed = report["findings"]["by_chance"]
    if not report["suitability"]["judged"]:
        return NOT_JUDGED_OVER_TIME
    return NONE_BUT_BY_CHANCE if weighed and weighed["left_out"] else NO_STRETCH


def _pictures(report: Mapping[str, Any], outline: Outline | None, marks: Sequence[Mark]) -> list[Block]:
    if outline is None:
        return [Paragraph(NO_PICTURES, note=True)]
    blocks: list[Block] = [
        Figure(
            waveform_svg(outline, marks), "Waveform (all channels averaged, 16 kHz). Red: the marked stretches."
        ),
        Figure(spectrogram_svg(outline, marks), "Spectrogram, 32 ms frames; 70 dB from black to white."),
    ]
    if report["timeline"] and report["suitability"]["judged"]:
        chosen = report["method"]["thresholds"]
        thresholds = None if chosen is None else Thresholds(**chosen)
        windows = [WindowScore(**window) for window in report["timeline"]]
        frames = _frame_curve(report)
        score = timeline_svg(windows, thresholds, outline.duration_s, marks, frames)
        caption = (
            "p_fake of each window at the stated prior. Dashed: the thresholds; between them lies SUSPICIOUS."
        )
        if frames is not None:
            caption += " Grey: the single frames."
        blocks.append(Figure(score, caption))
    return blocks


def _frame_curve(report: Mapping[str, Any]) -> Curve | None:
    frames, prior = report["findings"]["frames"], report["result"]["prior"]
    if frames is None:
        return None
    return Curve(frames["hop_s"], [None if llr is None else posterior(llr, prior) for llr in frames["llr"]])


def _signals(findings: Mapping[str, Any]) -> list[Block]:
    signals = findings["signals"]
    if not signals:
        return []
    blocks: list[Block] = [Subheading("Signals"), tables.signals(signals)]
    if any(map(scales.can_be_drawn, signals)):
        version = findings["usual_ranges_version"]
        caption = (
            f"Usual ranges: the middle 90 % of recordings of like bandwidth, clips of about 3 s, table {version}. One "
            "signal in ten lies outside by chance."
        )
        blocks.append(Figure(scales.ranges_svg(signals), caption))
    return blocks


def _method(report: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Facts(tables.method(report)), Paragraph(report["method"]["preprocessing"])]
    sources = tables.sources(report["findings"]["signals"])
    if sources.rows:
        blocks += [Subheading("Sources of the measures"), sources]
    return blocks


def _interpretation(report: Mapping[str, Any]) -> list[Block]:
    interpretation, propositions = report["interpretation"], report["propositions"]
    blocks: list[Block] = [
        Facts((("Proposition 1 (spoof)", propositions["spoof"]), ("Proposition 2", propositions["bona_fide"])))
    ]
    ratio = interpretation["likelihood"]
    if ratio is None:
        blocks.append(Paragraph(interpretation["likelihood_absent"]))
    else:
        blocks += [
            Figure(
                scales.ratio_svg(ratio),
                "Likelihood ratio, logarithmic scale. Shaded: what the calibration recordings can support.",
            ),
            Paragraph(tables.ratio_sentence(ratio)),
            Paragraph(ratio["verbal"]),
            Facts(tables.ratio_rows(ratio)),
            tables.posteriors(ratio["posteriors"]),
        ]
        if ratio["capped"]:
            blocks.append(Paragraph(CAPPED_TEXT))
        scale = report["method"]["verbal_scale"]
        blocks.append(
            Paragraph(f"Verbal equivalent: {scale['citation']} ({scale['id']}). {scale['note']}", note=True)
        )
    blocks.append(Paragraph(f"Polarity: {interpretation['polarity']}", note=True))
    return blocks


def _robustness(report: Mapping[str, Any]) -> list[Block]:
    robustness = report["robustness"]
    panel = robustness["panel"]
    if panel is None:
        return [Paragraph(robustness["absent"])]
    caps = report["method"]["calibration"] or {}
    low, high = float(caps.get("llr_min", panel["llr_low"])), float(caps.get("llr_max", panel["llr_high"]))
    return [
        Paragraph(robustness["summary"]),
        Figure(
            scales.panel_svg(panel, low, high),
            "llr under each condition; dashed: the same windows unaltered; red: the verdict changed.",
        ),
        tables.trials(panel),
    ]


def _validation(report: Mapping[str, Any]) -> list[Block]:
    validation = report["validation"]
    if validation is None:
        return [Paragraph("No validation figures came with the model of this run.")]
    near = validation["nearest_condition"]
    return [
        Facts(tables.validation(validation)),
        Paragraph(f"Nearest tested condition: {near['description']}, because {near['why']}."),
        Facts(tables.nearest(near)),
    ]


def _limitations(report: Mapping[str, Any]) -> list[Block]:
    suitability = report["suitability"]
    reasons = ", and ".join(reason["text"] for reason in suitability["reasons"])
    fit = "The recording is suitable for the method." if suitability["judged"] else "The recording was not judged."
    return [
        Paragraph(f"Suitability: {fit}" + (f" Reasons: {reasons}." if reasons else "")),
        Bullets(tuple(report["limitations"])),
        Subheading("Not determined"),
        Bullets(tuple(report["undetermined"])),
    ]


def _custody(report: Mapping[str, Any]) -> list[Block]:
    custody = report["chain_of_custody"]
    blocks: list[Block] = [Facts(tables.custody(custody))]
    if custody["events"]:
        blocks += [Subheading("Every recorded access, in order (UTC)"), tables.events(custody["events"])]
    else:
        blocks.append(
            Paragraph("No accesses are on record: the recording was examined outside an evidence store.")
        )
    return blocks


def _or_none(value: float | None, form: Any) -> str:
    return "not given" if value is None else str(form(value))
