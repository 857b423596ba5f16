"""Partial spoofs for the frame scores: who is spliced into whom, and where the truth lies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.media import read_waveform
from earwitness.waveform import sample_count
from ml.datasets.manifest import Clip, Kind, read_manifest
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.splices import COPY, PUBLISHED, make_splice, plan_splices

HOP_S = 0.16


@pytest.fixture(scope="module")
def clips(toy_manifest: Path) -> list[Clip]:
    return [clip for clip in read_manifest(toy_manifest) if clip.split == "dev"]


def test_the_same_seed_gives_the_same_splices_and_another_one_others(clips: list[Clip]) -> None:
    assert plan_splices(clips, 10, seed=1) == plan_splices(clips, 10, seed=1)
    assert plan_splices(clips, 10, seed=1) != plan_splices(clips, 10, seed=2)


def test_half_of_the_donors_are_copies_and_half_published(clips: list[Clip]) -> None:
    kinds = [plan.donor_kind for plan in plan_splices(clips, 20, seed=1)]
    assert kinds.count(COPY) == kinds.count(PUBLISHED) == 10


def test_a_donor_is_of_the_same_speaker_else_of_the_same_collection_else_of_the_same_language(
    clips: list[Clip],
) -> None:
    human = next(clip for clip in clips if not clip.is_spoof)
    spoof = next(clip for clip in clips if clip.is_spoof)
    far = replace(spoof, path=Path("far"), speaker="x", source_set="x", language="yo")
    language = replace(far, path=Path("language"), language=human.language)
    collection = replace(far, path=Path("collection"), source_set=human.source_set)
    speaker = replace(far, path=Path("speaker"), speaker=human.speaker)
    other = replace(human, path=Path("other"))
    for donors, expected in (
        ([far, language, collection, speaker], speaker),
        ([speaker, far, collection], speaker),
        ([far, collection, language], collection),
        ([far, language], language),
        ([far], far),
    ):
        published = [p for p in plan_splices([human, other, *donors], 2, seed=1) if p.donor_kind == PUBLISHED]
        assert [plan.donor for plan in published] == [expected]


def test_edited_and_short_recordings_take_no_part(clips: list[Clip]) -> None:
    few = [replace(clip, kind=Kind.EDIT) if clip.is_spoof else clip for clip in clips]
    with pytest.raises(EvaluationInputError, match="human and synthetic"):
        plan_splices(few, 4, seed=1)
    with pytest.raises(EvaluationInputError, match="human and synthetic"):
        plan_splices([replace(clip, duration_s=1.4) for clip in clips], 4, seed=1)


def test_stretches_are_half_a_second_and_more_and_the_rest_stays_as_it_was(clips: list[Clip]) -> None:
    for plan in plan_splices(clips, 12, seed=3):
        mixed, labels = make_splice(plan, HOP_S, longest_s=4.0)
        human = read_waveform(plan.human.path)[0]
        changed = np.flatnonzero(mixed != human[: mixed.size])
        assert labels.any()
        assert not labels.all()
        assert changed[-1] - changed[0] >= sample_count(0.48)  # two samples may be equal by chance at the edges
        # A frame that holds nothing but human speech is untouched.
        whole = mixed.size // sample_count(HOP_S)
        touched = {int(i) for i in changed // sample_count(HOP_S)}
        assert touched >= {k for k in range(whole) if labels[k]}
        assert 3 <= labels.sum() <= 0.75 * labels.size
        again, _ = make_splice(plan, HOP_S, longest_s=4.0)
        assert np.array_equal(mixed, again)


def test_a_long_recording_is_cut_to_one_window(clips: list[Clip]) -> None:
    plan = plan_splices(clips, 1, seed=1)[0]
    mixed, labels = make_splice(plan, HOP_S, longest_s=1.6)
    assert mixed.size == sample_count(1.6)
    assert labels.size == 10


def test_a_recording_that_is_shorter_than_its_manifest_says_is_refused(clips: list[Clip]) -> None:
    plan = plan_splices(clips, 1, seed=1)[0]
    with pytest.raises(EvaluationInputError, match="less than its manifest says"):
        make_splice(plan, HOP_S, longest_s=1.2)
