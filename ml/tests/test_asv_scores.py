"""The published files of verification scores, as ASVspoof 2019 LA and 2021 LA write them, broken ones included."""

from pathlib import Path

import numpy as np
import pytest

from ml.evaluation.asv_scores import read_asv_rates
from ml.evaluation.metrics_tandem import AsvErrorRates
from ml.evaluation.scores import EvaluationInputError

TRIALS_2019 = """bonafide target 3.5
bonafide target 2.5
bonafide target -1.0
bonafide target 4.0
bonafide nontarget -4.5
bonafide nontarget 2.75
bonafide nontarget -3.0
bonafide nontarget -2.0
A07 spoof 3.0
A19 spoof -2.5
"""
RATES = AsvErrorRates(target_rejected=0.0, nontarget_accepted=0.25, spoof_accepted=0.5)
"""The threshold is the target's -1.0, and a score that reaches it is accepted, as in the challenge's own scripts."""

METADATA_2021 = """LA_0007 LA_E_5013670 alaw ita_tx bonafide target notrim eval
LA_0007 LA_E_5013671 alaw ita_tx bonafide nontarget notrim eval
LA_0007 LA_E_5013672 none - A07 spoof notrim eval
LA_0008 LA_E_5013673 none - bonafide target notrim progress
LA_0008 LA_E_5013674 none - bonafide nontarget notrim progress
LA_0008 LA_E_5013675 none - A19 spoof notrim progress
"""
SCORES_2021 = """LA_0007 LA_E_5013670 3.0
LA_0007 LA_E_5013671 -2.0
LA_0007 LA_E_5013672 4.0
LA_0008 LA_E_5013673 5.0
LA_0008 LA_E_5013674 1.0
LA_0008 LA_E_5013675 -4.0
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_scores_of_2019_give_the_rates_at_the_equal_error_threshold(tmp_path: Path) -> None:
    assert read_asv_rates(written(tmp_path, "asv.txt", TRIALS_2019)) == RATES


@pytest.mark.parametrize(("subset", "spoof_accepted"), [("eval", 1.0), ("progress", 0.0)])
def test_of_2021_only_the_trials_of_the_subset_count(tmp_path: Path, subset: str, spoof_accepted: float) -> None:
    scores, keys = written(tmp_path, "score.txt", SCORES_2021), written(tmp_path, "keys.txt", METADATA_2021)
    assert read_asv_rates(scores, keys, subset).spoof_accepted == spoof_accepted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no target and no nontarget and no spoof trials"),
        (TRIALS_2019.replace("spoof", "target"), "no spoof trials"),
        (TRIALS_2019.replace("A07 spoof 3.0", "A07 spoof high"), "asv.txt:9: the score is 'high'"),
        (TRIALS_2019.replace("2.75", "nan"), "asv.txt:6: the score is 'nan'"),
        ("bonafide target\n", "asv.txt:1: 2 fields where 3"),
        ("bonafide target 1.0 2.0\n", "asv.txt:1: 4 fields where 3"),
        (SCORES_2021, "asv.txt:1: the second column is 'LA_E_5013670'.*--asv-keys"),
    ],
)
def test_a_malformed_file_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EvaluationInputError, match=message):
        read_asv_rates(written(tmp_path, "asv.txt", text))


@pytest.mark.parametrize(
    ("scores", "metadata", "message"),
    [
        (SCORES_2021[25:], METADATA_2021, "5 trials.*has 6"),
        (SCORES_2021.replace("5013671", "9"), METADATA_2021, "score.txt:2 and .*keys.txt:2 are different trials"),
        (SCORES_2021, METADATA_2021.replace("nontarget", "other"), "keys.txt:2: the sixth column is 'other'"),
        (SCORES_2021, METADATA_2021.replace("eval", "hidden"), "no target.* of the subset 'eval'"),
        (SCORES_2021, METADATA_2021.replace(" eval", ""), "keys.txt:1: 7 fields where 8"),
    ],
)
def test_files_of_2021_that_do_not_fit_are_errors(
    tmp_path: Path, scores: str, metadata: str, message: str
) -> None:
    with pytest.raises(EvaluationInputError, match=message):
        read_asv_rates(written(tmp_path, "score.txt", scores), written(tmp_path, "keys.txt", metadata), "eval")


def test_a_missing_file_and_one_that_is_no_text_say_so(tmp_path: Path) -> None:
    with pytest.raises(EvaluationInputError, match=r"can't read the verification scores .*none\.txt"):
        read_asv_rates(tmp_path / "none.txt")
    binary = tmp_path / "asv.npy"
    binary.write_bytes(np.arange(9, dtype=np.float32).tobytes() + b"\xff\xfe")
    with pytest.raises(EvaluationInputError, match="can't read the verification scores"):
        read_asv_rates(binary)
