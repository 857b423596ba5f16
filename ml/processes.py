"""The same work on many items, in processes of one's own.

for answer in spread(score_one, work, jobs=2, initializer=load, initargs=(graph,), chunksize=8):
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

PRELOADED = ["ml.evaluation.score_clips", "ml.evaluation.segments", "ml.signals.measure"]
"""Imported once by the fork server, so that pool after pool starts at once."""

T = TypeVar("T")
R = TypeVar("R")


def spread(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    jobs: int,
    initializer: Callable[..., object],
    initargs: Iterable[Any] = (),
    chunksize: int = 1,
) -> Iterator[R]:
    """`function` of each item, in order; in this process where one job is asked for.

    Never by a plain fork: PyTorch and ONNX Runtime have threads, and a lock that one of them holds in the instant of
    the fork stays held in the child for ever.
    """
    if jobs == 1:
        initializer(*initargs)
        yield from map(function, items)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=initializer, initargs=tuple(initargs)) as pool:
        yield from pool.map(function, items, chunksize=chunksize)
