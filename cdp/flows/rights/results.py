"""What carrying out a request gives back."""

from dataclasses import dataclass

from cdp.rights.model import Request, StepCount


@dataclass(frozen=True, slots=True)
class RequestResult:
    """A request with the steps of its plan and the rows that each step affected, or would affect.

    `waiting` counts the identifiers that need a reviewer's decision. `is_nothing_held` is true if nothing is stored under
    the identifiers that the request names; None where that was not looked at.
    """

    request: Request
    steps: tuple[StepCount, ...]
    waiting: int
    is_nothing_held: bool | None = None
