"""Where rows come from, and what that means for what they state. Pure."""

from dataclasses import dataclass
from typing import Final

from cdp.consent.model import Authority

IMPORT_SIGNAL: Final = "import"
"""The signal that the ledger records for an imported consent."""


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """The origin of rows: `prefix` begins the message ids of those whose mapping names none.

    Consents have the `authority`, and are recorded as this `signal`. Rows that are not `is_imported` count as live messages, and
    `delivery` is the name of the webhook delivery that brought them.
    """

    prefix: str
    authority: Authority = Authority.IMPORTED
    signal: str = IMPORT_SIGNAL
    is_imported: bool = True
    delivery: str = ""


def origin_of_file(digest: bytes) -> RowOrigin:
    """The origin of the rows of a file with this SHA-256."""
    return RowOrigin(f"import-{digest.hex()[:20]}")
