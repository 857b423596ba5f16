"""The fixed texts of a report: meanings, limits, what was not examined, and a glossary. No prose is generated.

A negative is careful: a low score is little evidence of synthesis and never proof of authenticity.
"""

from collections.abc import Sequence
from typing import NamedTuple

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.explain import REASONS
from earwitness.finding import Abstention, Verdict

TITLE = "Examination of a recording for synthetic speech"
ALIGNMENT = (
    "The contents follow practice described by SWGDE and ENFSI and in ISO/IEC 27037. The report is aligned with them; "
    "it claims no certification, and the program certifies nothing: a person signs."
)
MEANINGS = {
    Verdict.AUTHENTIC: (
        "Little evidence of synthesis: the probability is at or below the lower threshold. It is not proof that the "
        "recording is authentic, and it says nothing about cuts or a false context."
    ),
    Verdict.SUSPICIOUS: (
        "Inconclusive: the probability lies between the two thresholds. The findings decide for neither proposition."
    ),
    Verdict.DEEPFAKE: (
        "Evidence of synthesis: the probability is at or above the upper threshold. It is evidence to be weighed with "
        "all other, and no proof."
    ),
}
AT_OTHER_PRIOR = {
    Verdict.AUTHENTIC: "At the stated prior the probability is at or below the lower threshold.",
    Verdict.SUSPICIOUS: "At the stated prior the probability lies between the two thresholds.",
    Verdict.DEEPFAKE: "At the stated prior the probability is at or above the upper threshold.",
}
NOT_THE_PRIOR = (
    "The prior has a part in that and is no evidence. What the recording itself supports is the likelihood ratio."
)
NOT_JUDGED = (
    "Not judged: the recording lies outside the conditions for which the method was validated. That speaks neither for "
    "nor against synthesis."
)
NOT_EXAMINED_YET = "Not examined: there is no finding."
NO_RATIO_ABSTAINED = (
    "No likelihood ratio, probability, verbal equivalent or posterior is given: the detector abstained. A figure from "
    "outside the validated conditions would mean nothing."
)
NO_RATIO_NOT_EXAMINED = "No likelihood ratio is given: the recording was not examined, or the examination failed."
NO_RATIO_NO_CAPS = (
    "No likelihood ratio is stated: what the calibration set supports was not recorded with this run. The llr as the "
    "run recorded it stands under Findings."
)

NOT_EXAMINED = (
    "Who speaks was not examined.",
    "With which program the speech may have been made was not examined.",
    "Cuts, splices, changed order and false context of human speech were not examined.",
    (
        "Content credentials and other signed provenance were not examined; where they are absent, the provenance is "
        "unknown, and no more."
    ),
)
CAPPED_TEXT = (
    "The ratio stands at the limit of what the calibration recordings support. The true one may be larger; this "
    "examination can't show it."
)


class Term(NamedTuple):
    term: str
    meaning: str


GLOSSARY = (
    Term("abstention", "A recorded reason why a recording can't be judged. The verdict is then SUSPICIOUS."),
    Term("bona fide", "Human speech as it was recorded."),
    Term(
        "calibration", "The step that turns scores into likelihood ratios, fitted on recordings of known origin."
    ),
    Term(
        "Cllr", "Cost of the log-likelihood ratio: 0 is perfect, 1 is what saying nothing costs. Lower is better."
    ),
    Term("confidence", "Probability of the likelier of the two propositions; 0 where nothing could be evaluated."),
    Term("EER", "Equal error rate: the share of errors at the threshold where both kinds are equally frequent."),
    Term("evidence", "The file as it was received, never altered, addressed by its SHA-256."),
    Term(
        "likelihood ratio", "How many times more probable the findings are under one proposition than the other."
    ),
    Term(
        "llr", "Natural logarithm of the likelihood ratio of spoof over bona fide. Higher: more likely a machine."
    ),
    Term("p_fake", "Probability that a machine made or altered the speech, at the stated prior."),
    Term("posterior", "Probability after the findings: the prior combined with the likelihood ratio."),
    Term(
        "prior", "Probability before the recording was heard. It comes from the rest of the case, not from here."
    ),
    Term("score", "The network's raw output. Higher: more likely a machine. It has no unit."),
    Term("SHA-256", "A file's fingerprint: two files with the same one are the same, bit for bit."),
    Term("spoof", "Speech made or altered by speech synthesis, voice conversion, a vocoder or a neural codec."),
    Term(
        "weight",
        "Of a marked stretch: the llr of the frames of its heaviest part, each less half of what the upper threshold "
        "stands for, summed.",
    ),
    Term("window", "A short stretch of the recording that the network scores at once."),
)


def meaning(verdict: Verdict | None, abstentions: Sequence[Abstention], prior: float = DEFAULT_PRIOR) -> str:
    """What the verdict at `prior` means; `verdict` is None where nothing was examined."""
    if verdict is None:
        return NOT_EXAMINED_YET
    if abstentions:
        return NOT_JUDGED
    return MEANINGS[verdict] if prior == DEFAULT_PRIOR else f"{AT_OTHER_PRIOR[verdict]} {NOT_THE_PRIOR}"


def undetermined(verdict: Verdict | None, abstentions: Sequence[Abstention]) -> list[str]:
    """What the examination could not or did not tell."""
    found = []
    if verdict is None:
        found.append("Whether the speech was made or altered by a machine: nothing was examined.")
    elif abstentions:
        reasons = ", and ".join(REASONS[reason] for reason in abstentions)
        found.append(f"Whether the speech was made or altered by a machine could not be determined: {reasons}.")
    elif verdict is Verdict.SUSPICIOUS:
        found.append("Whether the speech was made or altered by a machine could not be decided at the thresholds.")
    return [*found, *NOT_EXAMINED]
