"""Problems of a policy, each with a message: what is wrong, and a remedy."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from cdp.kit.errors import Fault
from cdp.kit.wording import counted

Path = tuple[str | int, ...]
"""Where a value is in its file: keys and indexes from the top."""

SHOWN_MAX = 100


@dataclass(frozen=True, order=True)
class Position:
    """A position in a file; lines and columns count from 1, 0 means that the text is not available."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, order=True)
class PolicyProblem:
    """One thing that is wrong: where, what, and a remedy."""

    place: Position
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """The closest known word; None if none is close."""
    return next(iter(get_close_matches(wrong, sorted(known), n=1, cutoff=0.6)), None)


def choose(wrong: str, known: Iterable[str]) -> str:
    """Suggest the closest known word, or list all of them if none is close."""
    words = sorted(known)
    near = nearest(wrong, words)
    if near is not None:
        return f"did you mean `{near}`?"
    return "expected one of: " + ", ".join(words) if words else "no names are declared for this"


def fault_of(problems: Iterable[PolicyProblem]) -> Fault:
    """The fault that lists the problems, sorted by file and line."""
    listed = sorted(set(problems))
    lines = [str(problem) for problem in listed[:SHOWN_MAX]]
    if len(listed) > SHOWN_MAX:
        lines.append(f"and {len(listed) - SHOWN_MAX} more")
    count = counted(len(listed), "problem")
    places = [
        {
            "file": problem.place.file,
            "line": problem.place.line,
            "column": problem.place.column,
            "what": problem.what,
            "remedy": problem.remedy,
        }
        for problem in listed[:SHOWN_MAX]
    ]
    return Fault("invalid_policy", f"The policy has {count}", "\n".join(lines), extra={"problems": places})
