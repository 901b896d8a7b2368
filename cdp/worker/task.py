"""A task of the worker: what it runs, and how often."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """Something that is run at an interval; a run that finds nothing to do is cheap."""

    name: str
    every_seconds: float
    run: Callable[[], None]
    is_vital: bool = False
    """Whether the service is not ready while this does not succeed: what it stores would go by what is in force no more."""
