"""A `DetectorOutput` as plain JSON values and back, for databases, pipes and `--json`.

output_from_dict(json.loads(json.dumps(output_as_dict(output)))) == output
"""

from dataclasses import asdict
from typing import Any

from earwitness.detector import DetectorOutput
from earwitness.finding import Abstention, MediaInfo, Stretch, Verdict, WindowScore


def output_as_dict(output: DetectorOutput) -> dict[str, Any]:
    """Keys are the fields' names; tuples become lists, enumerations their values."""
    plain = asdict(output)
    plain["verdict"] = output.verdict.value
    plain["abstentions"] = [reason.value for reason in output.abstentions]
    for name in ("explanations", "windows", "warnings"):
        plain[name] = list(plain[name])
    return plain


def output_from_dict(raw: dict[str, Any]) -> DetectorOutput:
    """What `output_as_dict` made; raises TypeError, KeyError or ValueError for anything else."""
    media, stretch = raw["media"], raw["most_suspicious"]
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
        }
    )
