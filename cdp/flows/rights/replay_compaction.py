"""Steps that compact the replay file: it keeps only what a backup that can still be restored needs."""

from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.db import Transaction
from cdp.kit.state import AUDIT_COPY, KEYS
from cdp.rights.replay_compaction import Compaction, compact, opt_out_identifiers
from cdp.rights.store import replay_position as replay_store
from cdp.vault import store as vault_store


def count_unneeded_lines(tx: Transaction, context: Context) -> int:
    """How many lines `compact_replay_file` would drop."""
    lines, compaction = _planned(tx, context)
    return lines - len(compaction.kept)


def compact_replay_file(tx: Transaction, context: Context) -> int:
    """Drop the lines that are not needed any more; returns how many.

    A file with lines that the database has not applied is left as it is: they are applied first. Drafts that killed writers left
    in the state store are deleted, too.
    """
    context.state.delete_drafts(KEYS, AUDIT_COPY)
    generation_store.lock_exclusive(tx)
    lines, compaction = _planned(tx, context)
    if len(compaction.kept) < lines:
        context.replay.rewrite(compaction.kept, forgotten=compaction.forgotten)
        replay_store.bind_state(tx, context.replay)  # remembers the new file
    return lines - len(compaction.kept)


def _planned(tx: Transaction, context: Context) -> tuple[int, Compaction]:
    """How many lines there are, and those to keep."""
    if replay_store.is_behind(tx, context.replay):
        return 0, Compaction((), 0)
    lines = list(context.replay.lines_after(0))
    known = {row.identifier_id for row in identifier_store.sealed_of(tx, list(opt_out_identifiers(lines)))}
    return len(lines), compact(lines, known=known, restorable_since=vault_store.oldest_usable_epoch_at(tx))
