"""Which recordings of a split are spliced into which: partial spoofs to judge frame scores on.

    plans = plan_splices(clips, count=200, seed=1)
    mixed, labels = make_splice(plans[0], frame_hop_s=0.16, longest_s=4.0)

Half of the donors are copies of the human recording itself by the vocoders of `ml.augment`, so that only the
synthesis changes at a cut; half are published spoof clips of the split, of the same speaker, else of the same
collection of speech, else of the same language where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.media import read_waveform
from earwitness.waveform import Samples, sample_count, seconds
from ml.augment import METHODS, SpliceConfig, copy_synthesise, splice
from ml.datasets.manifest import UNKNOWN, Clip, Kind
from ml.evaluation.scores import EvaluationInputError

COPY, PUBLISHED = "copy of the same recording", "published synthesis"
SHORTEST_STRETCH_S, LONGEST_STRETCH_S = 0.5, 2.0
LARGEST_SHARE = 0.7
STRETCHES = (1, 2)
SHORTEST_CLIP_S = 1.5  # two stretches of the shortest length are below the largest share


@dataclass(frozen=True, slots=True)
class SplicePlan:
    human: Clip
    donor: Clip | None
    """None: a copy of `human` by `method`."""
    method: str
    seed: tuple[int, int]

    @property
    def donor_kind(self) -> str:
        return COPY if self.donor is None else PUBLISHED


def plan_splices(clips: Sequence[Clip], count: int, seed: int) -> list[SplicePlan]:
    """`count` splices (fewer where the split has fewer human recordings), the same for the same clips and seed.

    Raises EvaluationInputError where the split has no human or no synthetic recording that is long enough.
    """
    usable = [clip for clip in clips if clip.duration_s >= SHORTEST_CLIP_S and clip.kind is not Kind.EDIT]
    humans = [clip for clip in usable if not clip.is_spoof]
    donors = [clip for clip in usable if clip.is_spoof]
    if not humans or not donors:
        raise EvaluationInputError(f"splices need human and synthetic recordings of {SHORTEST_CLIP_S} s and more")
    order = np.random.default_rng([seed, 0]).permutation(len(humans))[:count]
    plans = []
    for number, index in enumerate(order):
        rng = np.random.default_rng([seed, 1, number])
        human, method = humans[index], str(rng.choice(list(METHODS)))
        donor = None if number % 2 == 0 else _published(human, donors, rng)
        plans.append(SplicePlan(human, donor, method, (seed, number)))
    return plans


def make_splice(plan: SplicePlan, frame_hop_s: float, longest_s: float) -> tuple[Samples, NDArray[np.int8]]:
    """The spliced recording, at most `longest_s` long, and a label a frame: 1 is spoof.

    Raises `earwitness.errors.InputError` for a recording that can't be read, EvaluationInputError for one that is
    shorter than its manifest says.
    """
    rng = np.random.default_rng([*plan.seed, 2])
    human = read_waveform(plan.human.path)[0][: sample_count(longest_s)]
    donor = copy_synthesise(human, rng, plan.method) if plan.donor is None else read_waveform(plan.donor.path)[0]
    length = min(human.size, donor.size)
    if length < sample_count(SHORTEST_CLIP_S):
        raise EvaluationInputError(f"only {seconds(length):.2f} s of sound, less than its manifest says")
    longest_stretch_s = min(LONGEST_STRETCH_S, LARGEST_SHARE * seconds(length) / STRETCHES[1])
    config = SpliceConfig(
        segments=STRETCHES,
        segment_s=(SHORTEST_STRETCH_S, max(SHORTEST_STRETCH_S, longest_stretch_s)),
        largest_share=LARGEST_SHARE,
        frame_hop_s=frame_hop_s,
    )
    return splice(human[:length], donor[:length], rng, config)


def _published(human: Clip, donors: Sequence[Clip], rng: np.random.Generator) -> Clip:
    """The nearest to the human recording; at random where several are equally near."""
    nearness = [_nearness(human, donor) for donor in donors]
    best = max(nearness)
    return donors[int(rng.choice([i for i, near in enumerate(nearness) if near == best]))]


def _nearness(human: Clip, donor: Clip) -> int:
    if human.speaker == donor.speaker != UNKNOWN:
        return 3
    if human.source_set == donor.source_set != UNKNOWN:
        return 2
    return int(human.language == donor.language != UNKNOWN)
