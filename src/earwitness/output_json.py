"""A `DetectorOutput` as plain JSON values and back, for databases, pipes and `--json`.

output_from_dict(json.loads(json.dumps(output_as_dict(output)))) == output
"""

from dataclasses import asdict
from typing import Any

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


def output_as_dict(output: DetectorOutput) -> dict[str, Any]:
    """Keys are the fields' names; tuples become lists, enumerations their values."""
    plain = asdict(output)
    plain["verdict"] = output.verdict.value
    plain["abstentions"] = [reason.value for reason in output.abstentions]
    for name in ("explanations", "windows", "warnings"):
        plain[name] = list(plain[name])
    plain["grounds"] = None if output.grounds is None else grounds_as_dict(output.grounds)
    return plain


def output_from_dict(raw: dict[str, Any]) -> DetectorOutput:
    """What `output_as_dict` made; raises TypeError, KeyError or ValueError for anything else."""
    media, stretch, grounds = raw["media"], raw["most_suspicious"], raw.get("grounds")
    return DetectorOutput(
        **{
            **raw,
            "verdict": Verdict(raw["verdict"]),
            "explanations": tuple(raw["explanations"]),
            "windows": tuple(WindowScore(**window) for window in raw["windows"]),
            "most_suspicious": None if stretch is None else Stretch(**stretch),
            "abstentions": tuple(Abstention(reason) for reason in raw["abstentions"]),
            "media": None if media is None else MediaInfo(**media),
            "warnings": tuple(raw["warnings"]),
            "grounds": None if grounds is None else grounds_from_dict(grounds),
        }
    )


def grounds_as_dict(grounds: Grounds) -> dict[str, Any]:
    """As JSON has it: lists, plain texts and numbers; for a column of a database or a part of a report."""
    plain = asdict(grounds)
    for name in ("signals", "explanations", "stretches", "deletions"):
        plain[name] = list(plain[name])
    if plain["frames"] is not None:
        plain["frames"]["llr"] = list(plain["frames"]["llr"])
    for sentence in plain["explanations"]:
        sentence["severity"] = sentence["severity"].value
        sentence["direction"] = sentence["direction"].value
    return plain


def grounds_from_dict(raw: dict[str, Any]) -> Grounds:
    """What `grounds_as_dict` made; raises TypeError, KeyError or ValueError for anything else."""
    return Grounds(
        **{
            **raw,
            "signals": tuple(
                Signal(**{**signal, "human": _usual(signal["human"]), "synthetic": _usual(signal["synthetic"])})
                for signal in raw["signals"]
            ),
            "explanations": tuple(
                Explanation(
                    **{
                        **sentence,
                        "severity": Severity(sentence["severity"]),
                        "direction": Direction(sentence["direction"]),
                    }
                )
                for sentence in raw["explanations"]
            ),
            "stretches": tuple(SuspiciousStretch(**stretch) for stretch in raw["stretches"]),
            "by_chance": ByChance(**raw["by_chance"]) if raw.get("by_chance") else None,  # older rows have none
            "deletions": tuple(DeletionEvidence(**deletion) for deletion in raw["deletions"]),
            "frames": None if raw["frames"] is None else _curve(raw["frames"]),
        }
    )


def _curve(raw: dict[str, Any]) -> FrameCurve:
    return FrameCurve(**{**raw, "llr": tuple(raw["llr"])})


def _usual(raw: dict[str, Any] | None) -> UsualRange | None:
    return None if raw is None else UsualRange(**raw)
