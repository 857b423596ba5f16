"""Heads on statistics: that they learn, repeat themselves, and what each ingredient of a recipe does to one."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ml.config import ConfigError
from ml.evaluation.metrics import roc_auc
from ml.models.recogniser import StatisticsHead
from ml.training.heads import UNKNOWN_GROUP, HeadRecipe, joined, train_head

PLAIN = HeadRecipe(steps=60)
INGREDIENTS = (
    {"steps": 61},
    {"one_class_weight": 0.5},
    {"contrastive_weight": 0.2},
    {"mixup_alpha": 0.4},
    {"sharpness_radius": 0.05},
    {"averaged_share": 0.5},
    {"adversary": "speaker"},
    {"distilled_from": 2},
)


def clips(count: int = 600) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(2)
    features = rng.normal(3.0, 2.0, (count, 20)).astype(np.float32)
    return features, features[:, 4] + features[:, 7] > 6.0


@torch.no_grad()
def said(head: StatisticsHead, features: NDArray[np.float32]) -> NDArray[np.float64]:
    return head(torch.from_numpy(features))[0].double().numpy()  # type: ignore[no-any-return]


def test_heads_learn_what_the_statistics_tell_and_repeat_themselves() -> None:
    features, is_spoof = clips()
    recipe = replace(PLAIN, steps=200)
    heads = [train_head(features[:500], is_spoof[:500], seed, recipe=recipe) for seed in (1, 1, 2)]
    first, again, other = (said(head, features[500:]) for head in heads)
    assert roc_auc(first, is_spoof[500:]) > 0.9
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("changed", INGREDIENTS, ids=lambda changed: next(iter(changed)))
def test_each_ingredient_changes_the_head_and_leaves_it_able_to_tell(changed: dict[str, float | str]) -> None:
    features, is_spoof = clips()
    groups = (features[:, 11] > 3.0).astype(np.intp)
    long = replace(PLAIN, steps=200)
    # Without dropout nothing is drawn but the rows: what changes the head is not that other numbers were drawn.
    without = said(train_head(features[:500], is_spoof[:500], 1, recipe=long, dropout=0.0), features[500:])
    recipe = replace(long, **changed)  # type: ignore[arg-type]
    head = train_head(features[:500], is_spoof[:500], 1, recipe=recipe, groups=groups[:500], dropout=0.0)
    with_it = said(head, features[500:])
    assert not np.array_equal(with_it, without)
    assert roc_auc(with_it, is_spoof[500:]) > 0.9


def test_what_is_mixed_half_and_half_is_never_told_apart_as_surely() -> None:
    features, is_spoof = clips()
    long = replace(PLAIN, steps=200)
    plain = said(train_head(features, is_spoof, 1, recipe=long, dropout=0.0), features)
    mixed = said(train_head(features, is_spoof, 1, recipe=replace(long, mixup_alpha=1e4), dropout=0.0), features)
    assert np.abs(mixed).mean() < 0.8 * np.abs(plain).mean()


def test_even_the_smallest_average_is_of_trained_weights() -> None:
    features, is_spoof = clips()
    recipe = replace(PLAIN, steps=200, averaged_share=1e-9)
    last = train_head(features, is_spoof, 1, recipe=replace(recipe, averaged_share=0.0))
    assert np.array_equal(said(train_head(features, is_spoof, 1, recipe=recipe), features), said(last, features))


def test_every_ingredient_that_trains_is_tried_above() -> None:
    tried = {name for changed in INGREDIENTS for name in changed}
    assert tried | {"adversary_weight"} == {field.name for field in fields(HeadRecipe)}


def test_what_is_drawn_more_often_counts_more() -> None:
    features, _ = clips()
    is_spoof = np.arange(600) % 2 == 0
    features[is_spoof, 0] += 6.0
    features[:300, 0] *= -1.0  # the first half says the contrary of the second
    first = np.where(np.arange(600) < 300, 1.0, 1e-3)
    for drawn, sign in ((first, -1), (first[::-1].copy(), 1)):
        head = train_head(features, is_spoof, 1, recipe=PLAIN, drawn=drawn)
        scores = said(head, features)[300:]
        assert sign * (scores[is_spoof[300:]].mean() - scores[~is_spoof[300:]].mean()) > 0


def test_an_adversary_makes_a_head_lean_less_on_the_group() -> None:
    rng = np.random.default_rng(4)
    is_spoof = rng.integers(0, 2, 600) == 1
    groups = np.where(rng.random(600) < 0.85, is_spoof, ~is_spoof).astype(np.intp)  # a voice as a shortcut
    features = np.stack([1.5 * is_spoof, 4.0 * groups], axis=1) + rng.normal(size=(600, 2))
    known = np.where(np.arange(600) % 7 == 0, UNKNOWN_GROUP, groups)

    def told_apart_among_human(weight: float) -> float:
        recipe = HeadRecipe(steps=300, adversary="speaker", adversary_weight=weight)
        given = features.astype(np.float32)
        head = train_head(given, is_spoof, 1, recipe=recipe, groups=known, embedding=16, dropout=0.0)
        return roc_auc(said(head, given)[~is_spoof], groups[~is_spoof] == 1)

    leans = told_apart_among_human(0.0)
    assert leans > 0.75
    assert told_apart_among_human(1.0) < (leans + 0.5) / 2


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"adversary": "weather"}, "adversary"),
        ({"steps": 0}, "steps"),
        ({"averaged_share": 1.5}, "averaged_share"),
        ({"mixup_alpha": -1.0}, "mixup_alpha"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(keys: dict[str, float | str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        HeadRecipe(**keys)  # type: ignore[arg-type]


def test_an_adversary_needs_somebody_to_know() -> None:
    features, is_spoof = clips()
    recipe = replace(PLAIN, adversary="speaker")
    nobody = np.full(600, UNKNOWN_GROUP)
    for groups in (None, nobody):
        with pytest.raises(ConfigError, match="of no clip is it known"):
            train_head(features, is_spoof, 1, recipe=recipe, groups=groups)
    nobody[0] = 0  # in most batches nobody is known
    assert np.isfinite(said(train_head(features, is_spoof, 1, recipe=recipe, groups=nobody), features)).all()


def test_joined_heads_give_the_mean_of_their_logits() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(3.0, 2.0, (200, 20)).astype(np.float32)
    recipe = replace(PLAIN, steps=20)
    heads = [train_head(features, features[:, 3] > 3.0, seed, embedding=8, recipe=recipe) for seed in (1, 2, 3)]
    given = torch.from_numpy(features)
    with torch.no_grad():
        score, embedding = joined(heads, 0.5)(given)
        each = [head(given) for head in heads]
    assert torch.allclose(score, torch.stack([one[0] for one in each]).mean(0), atol=1e-5)
    assert torch.allclose(embedding, torch.cat([one[1] for one in each], dim=1), atol=1e-5)
