"""The graph that a process of a pool scores with, loaded once.

spread(score_one, work, jobs=2, initializer=load, initargs=(graph,))      # and in score_one: scorer()
"""

from pathlib import Path

from earwitness.scorer import Scorer, load_scorer

_scorer: Scorer | None = None


def load(graph: Path) -> None:
    """A pool's initialiser."""
    global _scorer  # noqa: PLW0603  # what a pool's initialiser is for
    _scorer = load_scorer(graph)


def scorer() -> Scorer:
    assert _scorer is not None, "the pool's initialiser runs first"
    return _scorer
