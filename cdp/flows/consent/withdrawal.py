"""Use cases that carry out withdrawals: data stored for the purpose is cleared within a day of the response.

The response itself already removed the person from the projection. These use cases remove the bit of the purpose from
earlier events and stated traits, delete what is left without any purpose, and recompute computed traits.
"""

from cdp.consent.store import projection as projection_store
from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.clearing import ClearedWithdrawals, clear
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store


def clear_withdrawn(context: Context, *, withdrawals_max: int = 200) -> ClearedWithdrawals:
    """Clear the data of at most `withdrawals_max` withdrawals, oldest first, in one transaction.

    All counts are 0 if there is none.
    """
    with context.database.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        due = verdict_store.withdrawals(tx, withdrawals_max)
        if due:
            # Under the lock, no withdrawal can be added between this and the deletion of those that it depends on.
            projection_store.end_older_readers(tx)
        return clear(tx, context.policy, due=due, now=now)


def end_older_sessions(context: Context) -> int | None:
    """End the sessions of marketers that still see a person who withdrew.

    Returns how many; None if the role of the store may not do so.
    """
    with context.database.transaction() as tx:
        return projection_store.end_older_readers(tx)
