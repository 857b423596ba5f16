"""Random numbers as the augmentations need them. Everything is drawn from the generator that is passed in."""

import math
from typing import TypeAlias

import numpy as np

Range: TypeAlias = tuple[float, float]
"""Lowest and highest value of a parameter that is drawn anew for each clip."""


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with `probability`. Always takes one number from `rng`, so later draws stay where they were."""
    return bool(rng.random() < probability)


def uniform(rng: np.random.Generator, limits: Range) -> float:
    return float(rng.uniform(*limits))


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """Each octave between the limits is equally likely; for frequencies, lengths and bit rates."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def whole(rng: np.random.Generator, limits: tuple[int, int]) -> int:
    """A whole number, both limits included."""
    return int(rng.integers(limits[0], limits[1], endpoint=True))
