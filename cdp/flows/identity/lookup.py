"""Look up one profile: what is stored about it, and for which purposes. Every read is recorded in the audit log."""

from cdp.flows.context import Context
from cdp.flows.identifiers import find_profile, unknown_profile
from cdp.flows.identity.profile_view import ProfileView, view_profile
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.identity.model import Identifier
from cdp.identity.store import profiles as profile_store
from cdp.kit.db import Transaction
from cdp.kit.ids import decode_id


def look_up(context: Context, identifier: Identifier, *, actor: str, token: int | None = None) -> ProfileView:
    """The profile of an identifier. Raises the fault `unknown_profile` (404)."""

    def read(tx: Transaction) -> ProfileView:
        _, profile_id = find_profile(tx, context.vault, identifier)
        return _logged(tx, context, profile_id, reading=Reading(actor, token, "profile"))

    return at_one_instant(context.database, read)


def look_up_profile(context: Context, profile: str, *, actor: str, token: int | None = None) -> ProfileView:
    """The current profile of a public profile id, including ids of merged profiles. Raises `unknown_profile` (404)."""
    number = decode_id("prf", profile)

    def read(tx: Transaction) -> ProfileView:
        profile_id = None if number is None else profile_store.resolve_retired(tx, number)
        if profile_id is None:
            raise unknown_profile()
        return _logged(tx, context, profile_id, reading=Reading(actor, token, "profile"))

    return at_one_instant(context.database, read)


def _logged(tx: Transaction, context: Context, profile_id: int, *, reading: Reading) -> ProfileView:
    view = view_profile(tx, context, profile_id)
    log_read(tx, context, reading, count=1, now=context.clock.now(), profiles=[profile_id])
    return view
