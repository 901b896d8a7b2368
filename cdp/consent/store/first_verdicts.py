"""SQL of the first verdicts of many new profiles at once."""

from collections.abc import Sequence

from cdp.consent.model import Verdict
from cdp.kit.copy import copy_packed
from cdp.kit.db import Transaction
from cdp.kit.pg_binary.copying import always_instant, always_text, bigints
from cdp.schema.consent import projection_of


def permit_new_profiles(tx: Transaction, purpose: str, verdict: Verdict, *, profile_ids: Sequence[int]) -> None:
    """Put one permitting verdict in force for all of these new profiles."""
    assert verdict.since is not None
    columns = ["profile_id", "purpose", "since"]
    fields = [bigints(profile_ids), always_text(purpose), always_instant(verdict.since)]
    if verdict.until is not None:
        columns.append("until")
        fields.append(always_instant(verdict.until))
    copy_packed(tx, f"consent.{projection_of(purpose)}", columns, count=len(profile_ids), fields=fields)
