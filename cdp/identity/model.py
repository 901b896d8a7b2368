"""Values of identity resolution."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple


class Identifier(NamedTuple):
    """A type and a normalized value pointing at a person."""

    type: str
    value: str


class Ignored(StrEnum):
    """Why a value in the place of an identifier is not used as one."""

    BLOCKED = "blocked"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    TOO_MANY = "too_many"
    UNKNOWN_TYPE = "unknown_type"


class Promoted(NamedTuple):
    """The identifiers of a message, strongest first, and the values that were ignored.

    `ignored` has (reason, type) pairs; the type is one of the policy, or `other`.
    """

    identifiers: tuple[Identifier, ...]
    ignored: tuple[tuple[Ignored, str], ...] = ()


class Evidence(IntEnum):
    """The authority of a word about who is who: that of the source it came from.

    A browser's write key is public, so that anybody can say anything with it. `PROVED` is the authority of what
    browsers said about an identifier before a person proved to have it.
    """

    BROWSER = 0
    PROVED = 1
    IMPORT = 2
    SERVER = 3


class Rule(StrEnum):
    """The rule by which a link was made or refused."""

    SAME_MESSAGE = "same_message"
    LINK_TABLE = "link_table"
    UNIQUE = "unique"
    LIMIT = "limit"
    NEVER = "never"
    SHARED = "shared"
    NO_LINKS = "type_never_links"
    BOUND = "bound"
    AUTHORITY = "authority"
    STALE = "stale"
    SAME_VALUE = "same_value"
    NOT_AN_IDENTIFIER = "not_an_identifier"
    CROWDED = "crowded"


SHARED_FOR_GOOD: Final = (Rule.NOT_AN_IDENTIFIER, Rule.CROWDED)
"""Why an identifier stays shared whatever its steps come to: a reviewer said so, or too much depends on it."""


class CaseKind(StrEnum):
    """A kind of case that a reviewer decides: a value that reads differently today, or claims that were left out."""

    REREAD = "reread"
    LEFT_OUT = "left_out"


class RejectionReason(StrEnum):
    """Why a reviewer rejects a case."""

    CORRECT_AS_STORED = "correct_as_stored"
    DIFFERENT_PEOPLE = "different_people"
    UNPROVEN = "unproven"


class ResolutionStep(NamedTuple):
    """One application of the rules: the members of an anchor, strongest first, under a number of the recorded sequence.

    `at` is when the message was received, `occurred_at` when it happened, if that is another instant. `authority` is the
    highest with which the anchor was stated.
    """

    sequence: int
    anchor_id: int
    members: tuple[int, ...]
    at: datetime
    authority: int = Evidence.SERVER
    occurred_at: datetime | None = None


class LinkRefusal(NamedTuple):
    """`rule` did not allow to link `identifier` with `other`; `detail` is the type whose rule it is, or the bound."""

    identifier: int
    other: int
    rule: Rule
    detail: str


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One row of the append-only evidence, whose `kind` is one of those that the table allows."""

    sequence: int
    kind: str
    rule: str
    identifier_id: int
    other_identifier_id: int | None
    profile_id: int
    other_profile_id: int | None
    at: datetime
