"""Use cases of routine maintenance, which the worker runs: each opens its own transactions and is safe to repeat."""

from datetime import datetime, timedelta
from typing import Final

from cdp.accounting.store.messages import compact_accounting
from cdp.accounting.store.recent import prune_recent
from cdp.audit.store.tree import thin_heads
from cdp.behavior.store import computed as computed_store
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store
from cdp.identity.store.generation import Generation

RECENT_KEPT: Final = 100
_BUCKETS_MAX: Final = 20_000
_ACCOUNTING_OPEN_HOURS: Final = 2
_CHECKPOINTS_KEPT_DAYS: Final = 7


def read_generation(context: Context) -> Generation:
    """The version of the identity mapping and the next number of the recorded sequence."""
    with context.database.transaction(read_only=True) as tx:
        return generation_store.generation(tx)


def read_clock(context: Context) -> None:
    """Set the clock of the service by the database's."""
    with context.database.transaction(read_only=True) as tx:
        generation_store.read_clock(tx)


def compact_message_counts(context: Context, now: datetime) -> None:
    """Add up the message counts of each hour that ended at least two hours ago into one row."""
    before = now - timedelta(hours=_ACCOUNTING_OPEN_HOURS)
    with context.database.transaction() as tx:
        compact_accounting(tx, before.replace(minute=0, second=0, microsecond=0))


def prune_recent_messages(context: Context, now: datetime) -> None:
    """Keep of what became of single messages the latest hundred of each source, for a day."""
    with context.database.transaction() as tx:
        prune_recent(tx, kept=RECENT_KEPT, since=now - timedelta(days=1))


def move_landmarks(context: Context) -> None:
    """Express every decayed value relative to the newest landmark, a transaction for each 20,000 buckets."""
    moved = _BUCKETS_MAX
    while moved >= _BUCKETS_MAX:
        with context.database.transaction() as tx:
            moved = computed_store.move_landmarks(tx, compile_traits(context.policy, bits_of(tx)), _BUCKETS_MAX)


def thin_checkpoints(context: Context, now: datetime) -> None:
    """Of the checkpoints older than a week, keep the last one of each day."""
    with context.database.transaction() as tx:
        thin_heads(tx, now - timedelta(days=_CHECKPOINTS_KEPT_DAYS))
