"""The worker's half of a withdrawal: what was stored for the purpose is erased within a day of the answer.

The answer itself already took the person out of the projection. Here the purpose's bit is taken from
earlier events and stated traits, what is left without any purpose is deleted, and computed traits follow.
"""

from datetime import datetime

from cdp.consent.store import projection as projection_store
from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.clearing import ClearedWithdrawals, _clear
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store


def clear_withdrawn(context: Context, now: datetime, *, withdrawals_max: int = 200) -> ClearedWithdrawals:
    """Erase for their purpose what at most `withdrawals_max` withdrawals left behind, oldest first.

    One transaction; a kill leaves it all to the next call. Nothing to do: all counts are 0.
    """
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        due = verdict_store.withdrawals(tx, withdrawals_max)
        if due:
            # Under the lock no withdrawal can come between this and the settling, which ends the trace it goes by.
            projection_store.end_older_readers(tx)
        return _clear(tx, context.vault, context.policy, due=due, now=now)


def end_older_sessions(context: Context) -> int | None:
    """End the sessions of marketers that still see somebody who withdrew; how many, None when not allowed to."""
    with context.database.transaction() as tx:
        return projection_store.end_older_readers(tx)
