import inspect

import pytest

from earwitness import errors
from earwitness.errors import EarwitnessError, HostError, InputError, ModelError

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, EarwitnessError)
]


@pytest.mark.parametrize("error", [error for error in CLASSES if error is not EarwitnessError])
def test_every_error_says_who_is_at_fault(error: type[EarwitnessError]) -> None:
    assert sum(issubclass(error, branch) for branch in (InputError, ModelError, HostError)) == 1


def test_codes_are_unique() -> None:
    assert len({error.code for error in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_stands_in_the_tree(error: type[EarwitnessError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
