"""What a spec makes of scores: likelihood ratios and abstentions, by the library's own rules.

judged = judge(scored, spec)
summary = summarise(scored.table, judged.llr, spec.thresholds, abstained=judged.abstained, ...)
"""

from dataclasses import dataclass

import numpy as np

from earwitness.finding import Abstention
from earwitness.model_spec import ModelSpec
from earwitness.suitability import Measurements, abstentions
from ml.evaluation.calibrate_folds import capped_llr
from ml.evaluation.score_clips import Measured, Scored
from ml.evaluation.scores import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    llr: FloatArray
    """(rows,), natural log, capped"""
    abstained: BoolArray
    """(rows,)"""
    reasons: dict[Abstention, int]
    """How many rows each reason stands on; a row may have several."""


def judge(scored: Scored, spec: ModelSpec) -> Judged:
    """Apply the spec's calibration and suitability limits to every row."""
    reasons = [_reasons(row, spec) for row in scored.measured]
    return Judged(
        llr=capped_llr(scored.table.score, spec.calibration),
        abstained=np.array([bool(found) for found in reasons], dtype=np.bool_),
        reasons={reason: sum(reason in found for found in reasons) for reason in Abstention},
    )


def _reasons(row: Measured, spec: ModelSpec) -> tuple[Abstention, ...]:
    measurements = Measurements(
        duration_s=row.duration_s,
        speech_s=row.speech_s,
        speech_share=row.speech_s / row.duration_s if row.duration_s else 0.0,
        level_dbfs=row.level_dbfs,
        snr_db=row.snr_db,
        bandwidth_hz=row.bandwidth_hz,
        clipped_share=0.0,
    )
    return abstentions(measurements, spec.limits, row.ood_distance)
