from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.datasets.manifest import HUMAN, Clip, Kind, Label
from ml.training.sampling import Split, companions, draw_weights, group_names, hold_out, with_fold_groups


def clip(*, spoof: bool, repo: str, source_set: str = "s", lineage: str = "tts-a", speaker: str = "p") -> Clip:
    return Clip(
        path=Path("x.wav"),
        label=Label.SPOOF if spoof else Label.BONAFIDE,
        kind=Kind.TTS if spoof else Kind.HUMAN,
        system=lineage if spoof else HUMAN,
        lineage=lineage if spoof else HUMAN,
        speaker=speaker,
        source_set=source_set,
        source_repo=repo,
        language="en",
        duration_s=3.0,
        sample_rate_hz=16000,
        codec="flac",
        split="train",
        corpus="test",
    )


@pytest.fixture
def corpus() -> list[Clip]:
    rng = np.random.default_rng(1)
    repos = rng.integers(30, size=600)
    # Most systems are published in one place, some in several.
    systems = [f"everywhere-{rng.integers(3)}" if rng.random() < 0.2 else f"of-{repo}" for repo in repos]
    return [clip(spoof=bool(i % 2), repo=f"r{repos[i]}", lineage=systems[i]) for i in range(600)]


def test_held_out_repositories_are_not_trained_on(corpus: list[Clip]) -> None:
    split = hold_out(corpus, 0.2, seed=3)
    trained = {corpus[i].source_repo for i in split.train}
    assert not trained & {corpus[i].source_repo for i in split.heldout}


def test_held_out_systems_are_not_trained_on(corpus: list[Clip]) -> None:
    split = hold_out(corpus, 0.2, seed=3)
    trained = {corpus[i].lineage for i in split.train if corpus[i].label is Label.SPOOF}
    assert not trained & {corpus[i].lineage for i in split.heldout if corpus[i].label is Label.SPOOF}


def test_every_clip_is_on_one_side(corpus: list[Clip]) -> None:
    split = hold_out(corpus, 0.2, seed=3)
    assert sorted((*split.train, *split.heldout, *split.dropped)) == list(range(len(corpus)))


def test_the_split_follows_the_seed(corpus: list[Clip]) -> None:
    assert hold_out(corpus, 0.2, seed=3) == hold_out(corpus, 0.2, seed=3)
    assert hold_out(corpus, 0.2, seed=3) != hold_out(corpus, 0.2, seed=4)


def test_one_source_repository_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="too few source repositories"):
        hold_out([clip(spoof=bool(i % 2), repo="only") for i in range(10)], 0.2, seed=1)


def test_a_corpus_of_one_source_is_split_by_speakers_and_systems() -> None:
    # ASVspoof 2019 LA: 20 speakers, each of them in bona fide speech and in all of the six attacks.
    clips = [
        clip(spoof=attack > 0, repo="asvspoof", lineage=f"A0{attack}", speaker=f"LA_{speaker}")
        for speaker in range(20)
        for attack in range(7)
        for _ in range(10)
    ]
    grouped = with_fold_groups(clips)
    split = hold_out(grouped, 0.3, seed=1, disjoint_speakers=True)
    sides = [[grouped[i] for i in side] for side in (split.train, split.heldout)]
    assert all({c.label for c in side} == set(Label) for side in sides)
    attacks = [{c.lineage for c in side if c.label is Label.SPOOF} for side in sides]
    speakers = [{c.speaker for c in side} for side in sides]
    assert not attacks[0] & attacks[1]
    assert not speakers[0] & speakers[1]


def parts(clips: list[Clip], share: float = 0.12) -> tuple[list[Clip], list[Clip], Split]:
    """What is trained on and held out of a corpus of one source, of which both need both classes."""
    grouped = with_fold_groups(clips)
    split = hold_out(grouped, share, seed=1, disjoint_speakers=True)
    train, heldout = ([grouped[i] for i in side] for side in (split.train, split.heldout))
    assert {c.label for c in train} == {c.label for c in heldout} == set(Label)
    return train, heldout, split


def test_a_corpus_of_which_nothing_is_known_is_split_by_clips() -> None:
    # Fake-or-Real.
    unknown = [clip(spoof=i % 2 == 0, repo="for", lineage="unknown", speaker="unknown") for i in range(400)]
    _, heldout, split = parts(unknown)
    assert not split.dropped
    assert len(heldout) == pytest.approx(48, abs=10)
    assert len({c.source_repo for c in heldout}) == len(heldout), "two unknown speakers may be two people"
    assert group_names(heldout) == ["clip of an unknown source"]


def test_a_corpus_of_known_voices_and_unknown_systems_is_split_by_voices() -> None:
    # In-the-Wild.
    clips = [
        clip(spoof=i % 3 == 0, repo="wild", lineage="unknown", speaker=f"celebrity-{i % 58}") for i in range(1160)
    ]
    train, heldout, split = parts(clips)
    assert not split.dropped
    assert not {c.speaker for c in train} & {c.speaker for c in heldout}
    assert sum(c.is_spoof for c in heldout) > 20


def test_a_corpus_of_two_voices_holds_out_a_system_of_the_voice_that_it_holds_out() -> None:
    # WaveFake: two of seven systems speak with both voices.
    voices = {"melgan": ["lj"] * 26, "mb-melgan": ["lj"] * 13 + ["jsut"] * 5, "fb-melgan": ["lj"] * 13}
    voices |= {
        "pwg": ["lj"] * 13 + ["jsut"] * 5,
        "waveglow": ["lj"] * 13,
        "hifigan": ["lj"] * 13,
        "tts": ["lj"] * 16,
    }
    clips = [
        clip(spoof=True, repo="wavefake", lineage=lineage, speaker=speaker)
        for lineage, speakers in voices.items()
        for speaker in speakers
    ]
    clips += [clip(spoof=False, repo="wavefake", speaker=speaker) for speaker in ["lj"] * 13 + ["jsut"] * 5]
    train, heldout, _ = parts(clips)
    assert {c.speaker for c in heldout} == {"jsut"} and {c.speaker for c in train} == {"lj"}
    systems = [{c.lineage for c in side if c.is_spoof} for side in (train, heldout)]
    assert not systems[0] & systems[1]


@pytest.mark.parametrize(
    ("speakers", "systems", "message"),
    [
        (1, 9, "speakers and systems, of which there are 10, the train part has no clip of bonafide"),
        (9, 1, "speakers and systems, of which there are 10, the train part has no clip of spoof"),
    ],
)
def test_a_corpus_that_can_t_be_split_says_which_class_lacks(speakers: int, systems: int, message: str) -> None:
    clips = [clip(spoof=False, repo="one", speaker=f"p{i % speakers}") for i in range(90)]
    clips += [
        clip(spoof=True, repo="one", lineage=f"s{i % systems}", speaker=f"p{i % speakers}") for i in range(90)
    ]
    with pytest.raises(ValueError, match=message):
        parts(clips)


def test_a_corpus_of_many_sources_keeps_them(corpus: list[Clip]) -> None:
    assert with_fold_groups(corpus) == corpus


def test_classes_weigh_alike_in_a_source_set_that_has_both() -> None:
    # As in the corpus: one voice of which nearly all clips are synthetic must not become a sign of synthesis.
    clips = [clip(spoof=i < 90, repo="r", source_set="lj", speaker="lj") for i in range(100)]
    clips += [clip(spoof=i < 50, repo="r", source_set="other", speaker="o") for i in range(100)]
    weights = draw_weights(clips)
    share: dict[tuple[str, Label], float] = defaultdict(float)
    for c, weight in zip(clips, weights, strict=True):
        share[(c.source_set, c.label)] += weight
    assert share[("lj", Label.SPOOF)] == pytest.approx(share[("lj", Label.BONAFIDE)])


def test_half_a_pairing_lies_half_way() -> None:
    clips = [clip(spoof=i < 90, repo="r", source_set="lj", speaker="lj") for i in range(100)]
    clips += [clip(spoof=i < 10, repo="r", source_set="other", speaker="o") for i in range(100)]
    spoof_of_lj = [draw_weights(clips, 1.0, pairing)[:90].sum() for pairing in (0.0, 0.5, 1.0)]
    assert spoof_of_lj == pytest.approx([0.9, 0.75, 0.5])


def test_a_large_system_does_not_drown_a_small_one() -> None:
    clips = [clip(spoof=True, repo="r", lineage="big") for _ in range(100)]
    clips += [clip(spoof=True, repo="r", lineage="small") for _ in range(4)]
    weights = draw_weights([*clips, clip(spoof=False, repo="r")])
    assert weights[:100].sum() / weights[100:104].sum() == pytest.approx(5.0)  # sqrt(100 / 4)


def test_without_balance_every_clip_is_drawn_equally_often(corpus: list[Clip]) -> None:
    weights = draw_weights(corpus, 1.0, pairing=0.0)
    spoof = np.array([c.label is Label.SPOOF for c in corpus])
    assert weights[spoof] == pytest.approx(1 / spoof.sum())
    assert weights[~spoof] == pytest.approx(1 / (~spoof).sum())


def test_weights_of_each_class_sum_to_one(corpus: list[Clip]) -> None:
    weights = draw_weights(corpus)
    spoof = np.array([c.label is Label.SPOOF for c in corpus])
    assert weights[spoof].sum() == pytest.approx(1.0)
    assert weights[~spoof].sum() == pytest.approx(1.0)


def test_companions_are_the_nearest_synthetic_clips() -> None:
    clips = [
        clip(spoof=False, repo="a", speaker="p"),
        clip(spoof=False, repo="a", speaker="q"),
        clip(spoof=False, repo="a", source_set="other", speaker="unknown"),
        clip(spoof=False, repo="b"),
        clip(spoof=True, repo="a", speaker="p"),
        clip(spoof=True, repo="a", speaker="unknown"),
        replace(clip(spoof=True, repo="a", speaker="p"), kind=Kind.EDIT),
        clip(spoof=True, repo="c", speaker="p"),
    ]
    found = {bonafide: near.tolist() for bonafide, near in companions(clips).items()}
    assert found == {0: [4], 1: [4, 5], 2: [4, 5]}
