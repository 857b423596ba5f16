"""Work is spread over processes that were never forked from one with threads."""

import math
import os
import time
from functools import partial

import pytest

from ml.processes import spread

idle = partial(spread, initializer=time.sleep, initargs=(0.0,))
PROCESS_ID = "__import__('os').getpid()"


@pytest.mark.parametrize("jobs", [1, 2])
def test_answers_come_in_the_order_of_the_items(jobs: int) -> None:
    answers = idle(math.factorial, range(20), jobs=jobs, chunksize=3)
    assert list(answers) == [math.factorial(n) for n in range(20)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_the_work_is_told(jobs: int) -> None:
    with pytest.raises(ValueError, match="not defined for negative values"):
        list(idle(math.factorial, [3, -1, 2], jobs=jobs))


def test_one_job_needs_no_other_process_and_two_are_not_forked_from_this_one() -> None:
    assert set(idle(eval, [PROCESS_ID] * 4, jobs=1)) == {os.getpid()}
    assert os.getpid() not in set(idle(eval, [PROCESS_ID] * 4, jobs=2))
    parents = set(idle(eval, ["__import__('os').getppid()"] * 4, jobs=2))
    assert len(parents) == 1 and os.getpid() not in parents, "their parent is the fork server"
