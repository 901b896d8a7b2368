"""Schemas shared by several routes. Request bodies are strict: no unknown fields, no type coercion."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from cdp.flows.identity.profile_view import ProfileView

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def _in_range(instant: datetime) -> datetime:
    if not _EARLIEST <= instant <= _LATEST:
        raise PydanticCustomError("instant_range", "the instant must be between 1970 and 2200")
    return instant.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Paragraph = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]


class RequestBody(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class IdentifierInput(RequestBody):
    """An identifier; the value is normalized as in messages."""

    type: Line = Field(examples=["email"])
    value: Line = Field(examples=["ada@example.com"])

    def pair(self) -> tuple[str, str]:
        """Type and value."""
        return self.type, self.value


class IdentifierShown(BaseModel):
    """An identifier of a profile; `value` is null once its key is shredded."""

    type: str
    value: str | None = None
    is_shared: bool = False


class VerdictShown(BaseModel):
    """The verdict in force for one purpose."""

    allowed: bool
    reason: str
    since: datetime | None
    until: datetime | None = None


class ProfileShown(BaseModel):
    """One profile. Marketers see no identifiers, and only data of the permitted purposes."""

    profile: str
    anchors: int | None
    identifiers: list[IdentifierShown]
    traits: dict[str, Any]
    computed_traits: dict[str, Any]
    consents: dict[str, VerdictShown]
    segments: list[str]
    events: int | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    is_quarantined: bool | None


def profile_shown(shown: ProfileView) -> ProfileShown:
    """A profile as privacy staff see it."""
    return ProfileShown(
        profile=shown.profile,
        anchors=shown.anchors,
        identifiers=[
            IdentifierShown(type=identifier.type, value=identifier.value, is_shared=identifier.is_shared)
            for identifier in shown.identifiers
        ],
        traits=dict(shown.traits),
        computed_traits=dict(shown.computed_traits),
        consents=verdicts_shown(shown.consents),
        segments=list(shown.segments),
        events=shown.events,
        first_seen_at=shown.first_seen_at,
        last_seen_at=shown.last_seen_at,
        is_quarantined=shown.is_quarantined,
    )


def verdicts_shown(verdicts: Mapping[str, Any]) -> dict[str, VerdictShown]:
    """Verdicts by purpose."""
    return {
        key: VerdictShown(allowed=verdict.allowed, reason=str(verdict.reason), since=verdict.since, until=verdict.until)
        for key, verdict in verdicts.items()
    }
