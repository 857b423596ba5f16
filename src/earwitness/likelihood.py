"""How much the finding counts, for whoever weighs it: the likelihood ratio in figures, words and posteriors.

    block = likelihood(output.llr, spec.calibration.llr_min, spec.calibration.llr_max)
    block.log10_lr, block.verbal, block.posteriors

Pure arithmetic on a calibrated llr. The ratio never exceeds what the calibration set supports (its caps), and an
abstention has no ratio at all: callers pass None on, they don't make one up.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from earwitness.calibration import posterior

PRIORS = (0.01, 0.10, 0.50)
"""Probabilities of spoof before the recording was heard: a rare, an occasional and an even suspicion. Examples; the
reader's own prior is the reader's business."""
CAP_TOLERANCE = 1e-9


class Favours(StrEnum):
    SPOOF = "spoof"
    BONA_FIDE = "bona_fide"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class VerbalBand:
    lr_from: float
    """The band begins at this ratio of the likelier over the other proposition, and ends where the next begins."""
    support: str


@dataclass(frozen=True, slots=True)
class VerbalScale:
    id: str
    citation: str
    note: str
    bands: tuple[VerbalBand, ...]


ENFSI_2015 = VerbalScale(
    id="ENFSI-2015-v3.0",
    citation=(
        "European Network of Forensic Science Institutes, Guideline for Evaluative Reporting in Forensic Science, "
        "approved version 3.0, 8 March 2015: scale of verbal equivalents"
    ),
    note=(
        "The guideline's bands begin at 2; a ratio between 1 and 2 is counted as no support. A ratio on the edge of "
        "two bands counts as the stronger one."
    ),
    bands=(
        VerbalBand(1.0, "no support for one proposition over the other"),
        VerbalBand(2.0, "weak support"),
        VerbalBand(10.0, "moderate support"),
        VerbalBand(100.0, "moderately strong support"),
        VerbalBand(1_000.0, "strong support"),
        VerbalBand(10_000.0, "very strong support"),
        VerbalBand(1_000_000.0, "extremely strong support"),
    ),
)


@dataclass(frozen=True, slots=True)
class Posterior:
    prior: float
    p_fake: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    llr: float
    """Natural logarithm, spoof over bona fide, within [llr_min, llr_max]."""
    log10_lr: float
    lr: float
    llr_min: float
    llr_max: float
    capped: bool
    """The llr stands at a cap: the method may be surer, but its calibration set can't support more."""
    favours: Favours
    support: str
    """The verbal equivalent's words alone (`weak support`)."""
    verbal: str
    """The verbal equivalent as a sentence that names the proposition."""
    verbal_scale: str
    posteriors: tuple[Posterior, ...]


def likelihood(llr: float, llr_min: float, llr_max: float, scale: VerbalScale = ENFSI_2015) -> Likelihood:
    """The block for one calibrated `llr`. Raises ValueError for a number that is not finite or for caps that cross."""
    if not (math.isfinite(llr) and llr_min < llr_max):
        raise ValueError(f"need a finite llr and llr_min < llr_max, not {llr}, {llr_min} and {llr_max}")
    held = min(max(llr, llr_min), llr_max)
    support, favours = verbal_equivalent(held, scale)
    return Likelihood(
        llr=held,
        log10_lr=held / math.log(10.0),
        lr=math.exp(held),
        llr_min=llr_min,
        llr_max=llr_max,
        capped=held - llr_min <= CAP_TOLERANCE or llr_max - held <= CAP_TOLERANCE,
        favours=favours,
        support=support,
        verbal=_sentence(support, favours),
        verbal_scale=scale.id,
        posteriors=tuple(Posterior(prior, posterior(held, prior)) for prior in PRIORS),
    )


def verbal_equivalent(llr: float, scale: VerbalScale = ENFSI_2015) -> tuple[str, Favours]:
    """The words for the ratio of the likelier proposition over the other one, and which of them that is."""
    ratio = math.exp(min(abs(llr), math.log(scale.bands[-1].lr_from)))
    index = max(i for i, band in enumerate(scale.bands) if band.lr_from <= ratio * (1.0 + CAP_TOLERANCE))
    if index == 0:
        return scale.bands[0].support, Favours.NEITHER
    return scale.bands[index].support, Favours.SPOOF if llr > 0 else Favours.BONA_FIDE


def _sentence(support: str, favours: Favours) -> str:
    match favours:
        case Favours.NEITHER:
            return f"The findings give {support}."
        case Favours.SPOOF:
            return (
                f"The findings give {support} for the proposition that the speech was made or altered by a machine, "
                "rather than that it is human speech as it was recorded."
            )
        case Favours.BONA_FIDE:
            return (
                f"The findings give {support} for the proposition that the speech is human speech as it was recorded, "
                "rather than that it was made or altered by a machine."
            )
