"""Score tables made by code for the tests of `ml.evaluation`."""

from dataclasses import fields

import numpy as np
from hypothesis import settings

from ml.evaluation.scores import CLEAN, BoolArray, FloatArray, ScoreTable

KIND_CENTRE = {"human": -1.0, "tts": 2.0, "vc": 2.0, "vocoder": 0.2, "codec": 0.8}
SPREAD = 1.0

UNTIMED = settings(deadline=None)
"""A busy machine makes no property false."""


def gaussian_scores(seed: int, n: int, share_spoof: float = 0.5) -> tuple[FloatArray, BoolArray]:
    """Scores N(-1, 1) and N(+1, 1), whose true log-likelihood ratio is twice the score."""
    rng = np.random.default_rng(seed)
    is_spoof = rng.random(n) < share_spoof
    return np.where(is_spoof, 1.0, -1.0) + rng.normal(size=n), is_spoof


def make_table(seed: int = 0, n: int = 800, repos: int = 20, scale: float = 1.0) -> ScoreTable:
    """Clips of four kinds of spoof and of humans from `repos` sources, each with lineages of its own."""
    rng = np.random.default_rng(seed)
    is_spoof = np.arange(n) % 5 >= 2
    spoof_kind = np.array(["tts", "vc", "vocoder", "codec"])[rng.integers(4, size=n)]
    kind = np.where(is_spoof, spoof_kind, "human")
    repo = rng.integers(repos, size=n)
    centre = np.array([KIND_CENTRE[name] for name in kind])
    return ScoreTable(
        clip=np.array([f"audio/{i:04d}.flac" for i in range(n)]),
        score=scale * (centre + SPREAD * rng.normal(size=n)),
        is_spoof=is_spoof,
        kind=kind,
        system=np.array(
            [f"system-{r}-{i % 4}" if s else "human" for i, (r, s) in enumerate(zip(repo, is_spoof, strict=True))]
        ),
        lineage=np.array(
            [f"lineage-{r}-{i % 2}" if s else "human" for i, (r, s) in enumerate(zip(repo, is_spoof, strict=True))]
        ),
        language=np.array(["en", "de", "yo"])[np.searchsorted([0.6, 0.97], rng.random(n))],
        source_repo=np.array([f"owner/repo-{r}" for r in repo]),
        condition=np.full(n, CLEAN),
        duration_s=rng.uniform(0.5, 40.0, size=n),
    )


def replaced(table: ScoreTable, **columns: object) -> ScoreTable:
    """A copy with other columns in some places."""
    return ScoreTable(**{f.name: columns.get(f.name, getattr(table, f.name)) for f in fields(table)})  # type: ignore[arg-type]
