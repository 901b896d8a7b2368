"""How many generated examples a test runs: a few in CI, many more with `make test-long`."""

import os

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
_MORE = 20


def examples(quick: int) -> int:
    """The budget of a generated test whose examples are slow because each uses a database."""
    return quick * _MORE if IS_LONG else quick
