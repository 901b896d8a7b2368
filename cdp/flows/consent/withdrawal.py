"""Use cases that carry out withdrawals: data stored for the purpose is cleared within a day of the response.

The response itself already removed the person from the projection. These use cases remove the bit of the purpose from
earlier events and stated traits, delete what is left without any purpose, and recompute computed traits.
"""

from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.clearing import ClearedWithdrawals, clear
from cdp.flows.consent.reader_sessions import end_reader_sessions
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
            end_reader_sessions(tx)
        return clear(tx, context.policy, due=due, now=now)
