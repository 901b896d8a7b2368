"""What a check of the log found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogFinding:
    """One thing that was checked; `wrong` states what is wrong, None if nothing is."""

    what: str
    wrong: str | None = None
