"""The rows of a report's tables, as text: one function a table, from the report's JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.explain import clock, percent
from earwitness.reporting.blocks import Table

Rows = tuple[tuple[str, str], ...]
NONE = "-"
LEAST_EXPECTED = 0.001  # the rates are measured on minutes of speech: far beyond these a line is drawn on
MAX_EVENTS = 400  # ten pages; the attached JSON holds them all
VERBAL_FIGURES = 2


def identification(report: Mapping[str, Any]) -> Rows:
    custody = report["chain_of_custody"]
    return (
        ("Case", custody["case_id"] or NONE),
        ("Exhibit", custody["exhibit_id"] or NONE),
        ("Recording", report["evidence"]["filename"]),
        ("SHA-256", report["evidence"]["sha256_at_receipt"]),
        ("Analysis", report["analysis_id"]),
        ("Run", report["run_id"] or NONE),
        ("Examined (UTC)", custody["analysed_at"] or "not yet"),
        ("Report made (UTC)", report["generated_at"]),
        ("Report version", str(report["report_version"])),
    )


def evidence(report: Mapping[str, Any]) -> Rows:
    received = report["evidence"]
    integrity = {
        "verified": "verified: the bytes examined are the bytes received",
        "mismatch": "MISMATCH: the stored bytes are not those that were received",
        "not_checked": "not checked: no run has read the bytes",
    }[received["integrity"]]
    rate, channels = received["sample_rate_hz"], received["channels"]
    return (
        ("File name", received["filename"]),
        ("Kind", received["media_type"]),
        ("Size", f"{received['size_bytes']:,} bytes"),
        ("SHA-256 at receipt", received["sha256_at_receipt"]),
        ("SHA-256 at analysis", received["sha256_at_analysis"] or NONE),
        ("Integrity", integrity),
        ("Container", received["container"] or NONE),
        ("Codec", received["codec"] or NONE),
        ("Sample rate, channels", f"{rate or NONE} Hz, {channels or NONE}"),
        ("Length, decoded", _optional(received["duration_s"], _length)),
        ("Length, declared", _optional(received["declared_duration_s"], _length)),
    )


def scores(report: Mapping[str, Any]) -> Rows:
    findings = report["findings"]
    return (
        ("Score of the recording", _optional(findings["score"], _signed)),
        ("llr as recorded", _optional(findings["llr_as_recorded"], _signed)),
        ("Windows scored", str(findings["windows"])),
    )


def stretches(found: Sequence[Mapping[str, Any]], deletions: Sequence[Mapping[str, Any]]) -> Table:
    """With what the llr becomes without the stretch, where that was computed."""
    without = {(d["start_s"], d["end_s"]): d for d in deletions}
    rows = []
    for number, stretch in enumerate(found, start=1):
        deletion = without.get((stretch["start_s"], stretch["end_s"]))
        rows.append(
            (
                str(number),
                f"{clock(stretch['start_s'])} to {clock(stretch['end_s'])}",
                percent(stretch["strength"]),
                _signed(stretch["llr"]),
                _optional(stretch["weight"], _plain),
                _optional(stretch["expected_by_chance"], _expected),
                NONE if deletion is None else _deletion(deletion),
            )
        )
    header = ("No.", "From, to", "Mean p_fake", "Mean llr", "Weight", "By chance", "Recording's llr without it")
    return Table(header, tuple(rows), (0.6, 2.3, 1.2, 1.0, 0.9, 1.0, 3.0))


def by_chance(weighed: Mapping[str, Any]) -> str:
    """What the column of that name says, and what it is worked out with."""
    left_out = weighed["left_out"]
    were = "1 stretch was" if left_out == 1 else f"{left_out} stretches were"
    return (
        "By chance: how many stretches of at least that weight human speech of this length has on average, at most. "
        "Measured on human recordings that the model was not trained on, undistorted, coded, over telephones, in noise "
        "and in a room; the most of these counts. 0.05 and less is rare. "
        f"{_plain(weighed['minutes'])} minutes of speech x {_plain(weighed['per_minute'])} x "
        f"exp(-{_plain(weighed['decay'])} x weight), windows every {weighed['hop_s']:g} s. "
        f"What comes to 1 or more is not marked: {were} left out."
    )


def statements(said: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple((entry["text"], _points_to(entry["direction"]), entry["code"]) for entry in said)
    return Table(("Statement", "Points to", "Code"), rows, (6.4, 1.4, 2.4))


def signals(measured: Sequence[Mapping[str, Any]]) -> Table:
    """With the usual ranges where there are any; without them the columns would be empty."""
    if not any(signal["human"] or signal["synthetic"] for signal in measured):
        rows = tuple((signal["title"], _measure(signal["value"], signal["unit"])) for signal in measured)
        return Table(("Signal", "Measured"), rows, (3.2, 6.8))
    rows_with_ranges = tuple(
        (
            signal["title"],
            _measure(signal["value"], signal["unit"]),
            _usual(signal["human"], signal["unit"]),
            _usual(signal["synthetic"], signal["unit"]),
            _beside(signal["human"]),
        )
        for signal in measured
    )
    header = ("Signal", "Measured", "Usual, human", "Usual, synthetic", "Beside human speech")
    return Table(header, rows_with_ranges, (2.9, 1.8, 1.8, 1.8, 2.2))


def sources(measured: Sequence[Mapping[str, Any]]) -> Table:
    """Which measures come from which paper or standard, a row a source."""
    titles: dict[str, list[str]] = {}
    for signal in measured:
        if signal["reference"]:
            titles.setdefault(signal["reference"], []).append(signal["title"])
    rows = tuple((", ".join(names), source) for source, names in titles.items())
    return Table(("Measure", "Source"), rows, (3.2, 6.8))


def ratio_in_words(ratio: float) -> str:
    """`24 for synthesis` or `14 for human speech`: two figures, rounded towards 1 so that no claim grows."""
    if ratio >= 1:
        return f"{_towards_one(ratio)} for synthesis"
    return f"{_towards_one(1 / ratio)} for human speech"


def ratio_figure(ratio: float) -> str:
    """`24`, or `1/14` below 1: the same figure as in words, for the axis."""
    return _towards_one(ratio) if ratio >= 1 else f"1/{_towards_one(1 / ratio)}"


def ratio_sentence(block: Mapping[str, Any]) -> str:
    ratio = float(block["lr"])
    times = _towards_one(max(ratio, 1 / ratio))
    first, second = ("made or altered by a machine", "human speech as it was recorded")
    if ratio < 1:
        first, second = second, first
    return f"The findings are about {times} times more probable if the speech is {first} than if it is {second}."


def ratio_rows(block: Mapping[str, Any]) -> Rows:
    low, high = block["llr_min"], block["llr_max"]
    return (
        ("Likelihood ratio (LR)", ratio_in_words(block["lr"])),
        ("log10 LR", _signed(block["log10_lr"])),
        ("llr (natural logarithm)", _signed(block["llr"])),
        ("Supported by calibration", f"llr from {_signed(low)} to {_signed(high)}: LR up to {math.exp(high):.3g}"),
        ("Verbal equivalent", block["support"]),
    )


def posteriors(found: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple((percent(entry["prior"]), percent(entry["p_fake"])) for entry in found)
    return Table(
        ("Probability of synthesis before the findings (prior)", "and with them (posterior)"), rows, (1, 1)
    )


def trials(panel: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            trial["title"],
            _signed(trial["score"]),
            _signed(trial["llr"]),
            trial["verdict"],
            "changed" if trial["flipped"] else "",
        )
        for trial in (panel["unaltered"], *panel["trials"])
    )
    return Table(("Condition", "Score", "llr", "Verdict on these windows", ""), rows, (4.2, 1.2, 1.2, 2.4, 1.2))


def validation(block: Mapping[str, Any]) -> Rows:
    interval = block["eer_interval"]
    eer = _optional(block["eer"], _rate)
    if interval is not None:
        eer += f" ({interval['level'] * 100:.0f} % interval {_rate(interval['low'])} to {_rate(interval['high'])})"
    return (
        ("Test recordings", f"{block['bonafide'] or 0} human, {block['spoof'] or 0} synthetic"),
        ("Origin of the llr", block["data"] or NONE),
        ("Cllr (minimum)", f"{_optional(block['cllr'], _cost)} ({_optional(block['min_cllr'], _cost)})"),
        ("Equal error rate", eer),
        ("Human called DEEPFAKE", _optional(block["bonafide_called_deepfake"], _rate)),
        ("Synthetic called AUTHENTIC", _optional(block["spoof_called_authentic"], _rate)),
        ("Decided at all", _optional(block["decided_share"], _rate)),
        ("Wrong among the decided", _optional(block["wrong_among_decided"], _rate)),
    )


def nearest(block: Mapping[str, Any]) -> Rows:
    unknown = "not measured under this condition"
    return (
        ("Condition", block["name"]),
        ("Test recordings", f"{block['bonafide'] or 0} human, {block['spoof'] or 0} synthetic"),
        ("Cllr", _optional(block["cllr"], _cost, unknown)),
        ("Equal error rate", _optional(block["eer"], _rate, unknown)),
        ("Human called DEEPFAKE", _optional(block["bonafide_called_deepfake"], _rate, unknown)),
        ("Synthetic called AUTHENTIC", _optional(block["spoof_called_authentic"], _rate, unknown)),
    )


def custody(block: Mapping[str, Any]) -> Rows:
    return (
        ("Received (UTC)", block["created_at"]),
        ("Received by", block["created_by"] or NONE),
        ("Device", block["device_id"] or NONE),
        ("Source", block["source"] or NONE),
        ("Notes", block["notes"] or NONE),
        ("Examined (UTC)", block["analysed_at"] or NONE),
    )


def events(found: Sequence[Mapping[str, Any]]) -> Table:
    shown = found[-MAX_EVENTS:]
    rows = [(event["at"], event["event"], event["actor"] or NONE, _details(event["details"])) for event in shown]
    if len(found) > len(shown):
        rows.insert(0, ("", "", "", f"{len(found) - len(shown)} earlier events are in the attached JSON only"))
    return Table(("At", "Event", "Who", "Details"), tuple(rows), (2.4, 1.8, 1.4, 4.4))


def method(report: Mapping[str, Any]) -> Rows:
    made = report["method"]
    return (
        ("Model", made["model_version"]),
        ("SHA-256 of the network", made["graph_sha256"] or NONE),
        ("Windows", f"{made['window_s'] or NONE} s, every {made['hop_s'] or NONE} s"),
        ("Canonical view", str(made["canonical_version"] or NONE)),
        ("Calibration", _numbers(made["calibration"])),
        ("Thresholds on p_fake", _numbers(made["thresholds"])),
        ("Chosen for", made["thresholds_chosen"] or NONE),
        ("Limits of suitability", _numbers(made["limits"])),
        ("Prior", percent(made["prior"])),
        ("Policy of actions", made["action_policy_version"] or NONE),
        ("Tools", ", ".join(f"{name} {version}" for name, version in made["tools"].items()) or "not recorded"),
    )


def _expected(count: float) -> str:
    """Two figures; what is rarer than once in a thousand recordings is no more certain for having more noughts."""
    return f"{count:.2g}" if count >= LEAST_EXPECTED else f"< {LEAST_EXPECTED:g}"


def _deletion(deletion: Mapping[str, Any]) -> str:
    if deletion["llr_without"] is None:
        return "nothing that could be judged is left"
    scores = f"score {_signed(deletion['score_with'])} to {_signed(deletion['score_without'])}"
    return f"from {_signed(deletion['llr_with'])} to {_signed(deletion['llr_without'])} ({scores})"


def _points_to(direction: str) -> str:
    return {"spoof": "synthesis", "bona_fide": "human speech", "neither": "neither"}[direction]


def _measure(value: float | None, unit: str | None) -> str:
    if value is None:
        return "not measurable"
    if unit == "share":
        return _rate(value)
    return _plain(value) if unit in (None, "1") else f"{_plain(value)} {unit}"


def _plain(value: float) -> str:
    """Three figures, whole numbers from a thousand on: a reader compares them at a glance."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _usual(usual: Mapping[str, Any] | None, unit: str | None) -> str:
    if usual is None:
        return NONE
    if unit == "share":
        return f"{usual['low'] * 100:.1f} to {_rate(usual['high'])}"
    return f"{_plain(usual['low'])} to {_plain(usual['high'])}"


def _beside(human: Mapping[str, Any] | None) -> str:
    """Where the value lies among human recordings; never 100 %: the table has not seen them all."""
    if human is None:
        return NONE
    if human["percentile"] > 50.0:
        return f"higher than {min(int(human['percentile']), 99)} %"
    if human["percent_above"] > 50.0:
        return f"lower than {min(int(human['percent_above']), 99)} %"
    return "as in most"


def _details(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in details.items())


def _numbers(values: Mapping[str, Any] | None) -> str:
    if not values:
        return "not recorded"
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def _towards_one(ratio: float) -> str:
    """Two figures, rounded down; `ratio` is 1 or more."""
    unit = 10.0 ** (math.floor(math.log10(ratio)) - VERBAL_FIGURES + 1)
    down = math.floor(ratio / unit + 1e-9) * unit
    return f"{down:,.0f}" if down >= 10 else f"{down:.1f}"


def _signed(value: float) -> str:
    return f"{value:+z.2f}"


def _rate(value: float) -> str:
    return f"{value * 100:.1f} %"


def _cost(value: float) -> str:
    return f"{value:.3f}"


def _length(value: float) -> str:
    return clock(value) if value < 60 else f"{clock(value)} ({value:.1f} s)"


def _optional(value: Any, form: Any, missing: str = NONE) -> str:
    return missing if value is None else str(form(value))
