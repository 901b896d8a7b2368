"""The people, sources and instants that tests share."""

from datetime import UTC, datetime
from typing import Any, Final

from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceKind
from tests.support.messages import identify

NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The day from which tests with several instants count."""
NOON: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""The instant at which test clocks start."""


def new_source(
    number: int,
    name: str,
    kind: SourceKind = SourceKind.BROWSER,
    *,
    jurisdiction: str = "eu",
    scopes: frozenset[str] = frozenset({"ingest"}),
    bytes_max: int = 512_000,
) -> Source:
    """A source as the store returns it."""
    return Source(SourceId(number), name, kind, scopes, jurisdiction, bytes_max)


WEB: Final = new_source(1, "web")
SHOP: Final = new_source(2, "shop", SourceKind.SERVER)
CALIFORNIA: Final = new_source(3, "west", jurisdiction="us-ca")
"""A browser source where the law of California applies."""

ADA_EMAIL: Final = ("email", "ada@example.com")
ADA_IDENTIFIER: Final = {"type": "email", "value": "ada@example.com"}
"""Ada's e-mail address as the API reads an identifier."""
ADA: Final[dict[str, Any]] = identify(
    userId="ada", traits={"email": "ada@example.com", "name": "Ada Lovelace", "age": 36}
)
"""The message that identifies Ada; `BOB` likewise."""
BOB: Final[dict[str, Any]] = identify(userId="bob", traits={"email": "bob@example.com", "name": "Bob Noyce"})
