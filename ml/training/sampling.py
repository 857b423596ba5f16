"""Which clips are trained on, and how often each is drawn.

A voice, a room or a data set must not tell the classes apart. Weights can therefore be
set so that within each source set that has both classes each is drawn equally often, and so that no system,
speaker or source set drowns the others. Held-out clips come from source repositories, and spoof ones from
systems, that training never sees.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.datasets.manifest import UNKNOWN, Clip, Kind, Label

MIN_REPOSITORIES = 8
"""A corpus of fewer sources can't be folded by them: whole speakers and whole systems are kept apart instead."""
LONE_CLIP = "clip of an unknown source"


def with_fold_groups(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, `source_repo` set to what keeps folds apart.

    As it is where the corpus comes from many places. Where it comes from one, as ASVspoof's corpora do: the speaker of
    a bona fide clip and the lineage of a spoof clip; where that is not known, the speaker of the spoof clip; and where
    nothing is known of a clip, it is a group of its own.
    """
    if len({clip.source_repo for clip in clips}) >= MIN_REPOSITORIES:
        return list(clips)
    return [replace(clip, source_repo=_group(clip, number)) for number, clip in enumerate(clips)]


def _group(clip: Clip, number: int) -> str:
    if clip.label == Label.SPOOF and clip.lineage != UNKNOWN:
        return f"system {clip.lineage}"
    return f"speaker {clip.speaker}" if clip.speaker != UNKNOWN else f"{LONE_CLIP} {number}"


def group_names(clips: Sequence[Clip]) -> list[str]:
    """The groups of the clips, sorted; clips of which nothing is known are named together."""
    return sorted({LONE_CLIP if c.source_repo.startswith(f"{LONE_CLIP} ") else c.source_repo for c in clips})


@dataclass(frozen=True, slots=True)
class Split:
    train: tuple[int, ...]
    heldout: tuple[int, ...]
    dropped: tuple[int, ...]
    """Spoof clips of held-out repositories by systems that training has.

    All three hold indices into the clips that were split.
    """


def hold_out(clips: Sequence[Clip], share: float, seed: int, *, disjoint_speakers: bool = False) -> Split:
    """Set whole source repositories aside until `share` of each class is held out.

    Held-out spoof clips of a lineage that training also has are dropped, so that figures on the held-out part
    speak of systems that were never heard. With `disjoint_speakers` no known speaker is on both sides, whatever
    the label: in a corpus of one source a voice would otherwise be human on one side and synthetic on the other.
    Raises ValueError, with the class and the grouping, where one side would lack a class.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"holdout_share must lie between 0 and 1, not {share}")
    by_repo: dict[str, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        by_repo[clip.source_repo].append(i)
    repos = sorted(by_repo)
    np.random.default_rng([seed, 0x5E7]).shuffle(repos)
    wanted = {label: share * count for label, count in Counter(c.label for c in clips).items()}
    held_count: Counter[str] = Counter()
    held_repos: set[str] = set()
    for repo in repos:
        counts = Counter(clips[i].label for i in by_repo[repo])
        # A repository is taken only while it fits: one large one must not eat the share of a class.
        if all(held_count[label] + n <= 1.2 * wanted[label] for label, n in counts.items()):
            held_repos.add(repo)
            held_count.update(counts)
        if all(held_count[label] >= 0.9 * target for label, target in wanted.items()):
            break
    for label in wanted:
        if not held_count[label] and len(repos) > 1:  # each source is larger than the share: take the smallest
            sizes = {repo: sum(clips[i].label == label for i in by_repo[repo]) for repo in repos}
            held_repos.add(min((repo for repo in repos if sizes[repo]), key=lambda repo: sizes[repo]))
    if disjoint_speakers:
        held_repos |= _system_of_held_voices(clips, held_repos)
    train = [i for i, clip in enumerate(clips) if clip.source_repo not in held_repos]
    lineages = {clips[i].lineage for i in train if clips[i].label == Label.SPOOF} - {UNKNOWN}
    heldout = [
        i
        for i, clip in enumerate(clips)
        if clip.source_repo in held_repos and not (clip.label == Label.SPOOF and clip.lineage in lineages)
    ]
    if disjoint_speakers:
        held_voices = {clips[i].speaker for i in heldout if clips[i].label == Label.BONAFIDE} - {UNKNOWN}
        train = [i for i in train if clips[i].speaker not in held_voices]
        heldout = [i for i in heldout if clips[i].speaker in held_voices | {UNKNOWN}]
    groups = "speakers and systems" if disjoint_speakers else "source repositories"
    for part, members in (("train", train), ("held-out", heldout)):
        if lost := {clip.label for clip in clips} - {clips[i].label for i in members}:
            raise ValueError(
                f"split by {groups}, of which there are {len(repos)}, the {part} part has no clip of "
                f"{' and '.join(sorted(lost))}: too few {groups} for this share (data.holdout_share)"
            )
    if len(wanted) < len(Label):
        raise ValueError(f"all clips are {' '.join(wanted)}: training needs both classes")
    dropped = set(range(len(clips))) - set(train) - set(heldout)
    return Split(tuple(train), tuple(heldout), tuple(sorted(dropped)))


def _system_of_held_voices(clips: Sequence[Clip], held_repos: set[str]) -> set[str]:
    """One more group, where no spoof clip that is held out has a voice that is: the smallest that has such clips.

    As in WaveFake, whose two voices were not given to all of its systems. Empty where none is needed, or helps.
    """
    held = [clip for clip in clips if clip.source_repo in held_repos]
    voices = {clip.speaker for clip in held if clip.label == Label.BONAFIDE} | {UNKNOWN}
    if any(clip.label == Label.SPOOF and clip.speaker in voices for clip in held):
        return set()
    fitting = {clip.source_repo for clip in clips if clip.label == Label.SPOOF and clip.speaker in voices}
    sizes = Counter(clip.source_repo for clip in clips if clip.source_repo in fitting)
    return {min(sorted(sizes), key=lambda group: sizes[group])} if sizes else set()


def companions(clips: Sequence[Clip]) -> dict[int, NDArray[np.intp]]:
    """For each bona fide clip that has any, the indices of the wholly synthetic clips of its source repository.

    Those by the same speaker where there are some, else those of the same source set, else all: the nearer the two
    are, the less but the synthesis tells them apart.
    """
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        if clip.label == Label.SPOOF and clip.kind is not Kind.EDIT:
            for place in _places(clip):
                places[place].append(i)
    found = {}
    for i, clip in enumerate(clips):
        if clip.label == Label.BONAFIDE:
            nearest = next((place for place in _places(clip) if place in places), None)
            if nearest is not None:
                found[i] = np.array(places[nearest])
    return found


def _places(clip: Clip) -> list[tuple[str, ...]]:
    """Where a clip comes from, the narrowest place first."""
    wide: list[tuple[str, ...]] = [("set", clip.source_repo, clip.source_set), ("repo", clip.source_repo)]
    return wide if clip.speaker == UNKNOWN else [("speaker", clip.source_repo, clip.speaker), *wide]


def draw_weights(clips: Sequence[Clip], balance: float = 0.5, pairing: float = 1.0) -> NDArray[np.float64]:
    """(clips,): probability of each clip within its class; each class that occurs sums to 1.

    A source set weighs its size to the power `balance`. Its size counts both classes (and so weighs alike in both)
    with `pairing` 1, the class alone with 0; between, it is their geometric mean so weighted. Within the set a
    speaker (bona fide) or a lineage (spoof) weighs its clips to the power `balance`. Balance 1 without pairing draws
    every clip equally often.
    """
    weights = np.zeros(len(clips))
    both = Counter(clip.source_set for clip in clips)
    for label in Label:
        members = [i for i, clip in enumerate(clips) if clip.label == label]
        own = Counter(clips[i].source_set for i in members)
        set_size = {name: both[name] ** pairing * own[name] ** (1 - pairing) for name in own}
        groups = {i: clips[i].lineage if label is Label.SPOOF else clips[i].speaker for i in members}
        group_size = Counter((clips[i].source_set, groups[i]) for i in members)
        in_set: defaultdict[str, float] = defaultdict(float)
        for i in members:
            weights[i] = group_size[(clips[i].source_set, groups[i])] ** (balance - 1)
            in_set[clips[i].source_set] += weights[i]
        for i in members:
            weights[i] *= set_size[clips[i].source_set] ** balance / in_set[clips[i].source_set]
        if members:
            weights[members] /= weights[members].sum()
    return weights
