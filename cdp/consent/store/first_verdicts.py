"""SQL of the first verdicts of many new profiles at once."""

from collections.abc import Sequence

from cdp.consent.model import Verdict
from cdp.consent.store.projection import projection_of
from cdp.kit.copy import copy_packed
from cdp.kit.db import Transaction
from cdp.kit.pg_binary.copying import always_instant, always_text, bigints, octets

_PSEUDONYM_LENGTH = 32


def permit_new_profiles(
    tx: Transaction, purpose: str, verdict: Verdict, *, profile_ids: Sequence[int], pseudonyms: Sequence[bytes]
) -> None:
    """Put one permitting verdict in force for all of these new profiles.

    `pseudonyms` are the reader pseudonyms of the profiles, in their order, as 32 hexadecimal digits.
    """
    assert verdict.since is not None
    columns = ["profile_id", "purpose", "since", "reader_pseudonym"]
    fields = [
        bigints(profile_ids),
        always_text(purpose),
        always_instant(verdict.since),
        octets(pseudonyms, _PSEUDONYM_LENGTH),
    ]
    if verdict.until is not None:
        columns.append("until")
        fields.append(always_instant(verdict.until))
    copy_packed(tx, f"consent.{projection_of(purpose)}", columns, count=len(profile_ids), fields=fields)
