"""The scores of a speaker verification system, as the ASVspoof challenges publish them for the t-DCF.

    rates = read_asv_rates(Path("LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"))
    rates = read_asv_rates(Path("keys/LA/ASV/ASVTorch_Kaldi/score.txt"), Path("keys/LA/ASV/trial_metadata.txt"), "eval")

2019 LA, a line a trial: `SOURCE KEY SCORE`, the key being target, nontarget or spoof. 2021 LA splits this over two
files of equal length: `SPEAKER TRIAL SCORE`, and the trials' metadata, whose first two columns are the same, the
sixth is the key and the eighth the subset (progress, eval, hidden). Higher scores speak for the claimed speaker.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ml.evaluation.metrics_tandem import AsvErrorRates, asv_error_rates
from ml.evaluation.scores import EvaluationInputError

KEYS = ("target", "nontarget", "spoof")
SCORE_COLUMNS = 3
METADATA_KEY, METADATA_SUBSET, METADATA_COLUMNS = 5, 7, 8


def read_asv_rates(scores: Path, metadata: Path | None = None, subset: str | None = None) -> AsvErrorRates:
    """Error rates of the verification system at its equal-error threshold.

    Without `metadata` the file must be of 2019's form; with it, of 2021's, and only trials of `subset` count. Raises
    EvaluationInputError with file and line for a missing or malformed file, and for one without all three kinds of
    trial.
    """
    trials = _trials_2019(scores) if metadata is None else _trials_2021(scores, metadata, subset)
    found: dict[str, list[float]] = {key: [] for key in KEYS}
    for key, score in trials:
        found[key].append(score)
    if missing := [key for key in KEYS if not found[key]]:
        of_subset = f" of the subset {subset!r}" if metadata is not None else ""
        raise EvaluationInputError(f"{scores}: no {' and no '.join(missing)} trials{of_subset}")
    return asv_error_rates(*(np.array(found[key], dtype=np.float64) for key in KEYS))


def _trials_2019(scores: Path) -> Iterator[tuple[str, float]]:
    for where, (_, key, score) in _rows(scores, SCORE_COLUMNS, exact=True):
        if key not in KEYS:
            raise EvaluationInputError(
                f"{where}: the second column is {key!r}, not one of {', '.join(KEYS)}; the scores of ASVspoof 2021 "
                "need their trial_metadata.txt too (--asv-keys)"
            )
        yield key, _number(score, where)


def _trials_2021(scores: Path, metadata: Path, subset: str | None) -> Iterator[tuple[str, float]]:
    scored, described = list(_rows(scores, SCORE_COLUMNS, exact=True)), list(_rows(metadata, METADATA_COLUMNS))
    if len(scored) != len(described):
        raise EvaluationInputError(
            f"{scores} has {len(scored)} trials, {metadata} has {len(described)}: they don't belong together"
        )
    for (where, (speaker, trial, score)), (described_where, fields) in zip(scored, described, strict=True):
        if fields[:2] != [speaker, trial]:
            raise EvaluationInputError(
                f"{where} and {described_where} are different trials: {trial} and {fields[1]}"
            )
        if fields[METADATA_KEY] not in KEYS:
            raise EvaluationInputError(
                f"{described_where}: the sixth column is {fields[METADATA_KEY]!r}, not one of {', '.join(KEYS)}"
            )
        if subset is None or fields[METADATA_SUBSET] == subset:
            yield fields[METADATA_KEY], _number(score, where)


def _rows(path: Path, columns: int, *, exact: bool = False) -> Iterator[tuple[str, list[str]]]:
    """`FILE:LINE` and the fields of each line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationInputError(f"can't read the verification scores {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if fields and (len(fields) < columns or (exact and len(fields) > columns)):
            raise EvaluationInputError(f"{path}:{number}: {len(fields)} fields where {columns} were expected")
        if fields:
            yield f"{path}:{number}", fields


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise EvaluationInputError(f"{where}: the score is {text!r}, not a finite number")
    return value
