"""All corpora that there are recipes for: one line each. A new corpus is a file beside these and a line here."""

from ml.datasets import (
    asvspoof5,
    asvspoof2019_la,
    asvspoof2021,
    earcorpus,
    fake_or_real,
    in_the_wild,
    mlaad,
    wavefake,
)
from ml.datasets.recipe import Recipe

_ALL = (
    asvspoof2019_la.RECIPE,
    asvspoof2021.RECIPE_LA,
    asvspoof2021.RECIPE_DF,
    asvspoof5.RECIPE,
    in_the_wild.RECIPE,
    wavefake.RECIPE,
    mlaad.RECIPE,
    fake_or_real.RECIPE,
    earcorpus.RECIPE,
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
