"""Use case that bounds and records the database sessions of readers: what they hold up, and what they keep of people who withdrew.

A snapshot shows a person who withdrew since; so does a cursor, a setting or a result that a session holds. Nothing tells from outside
which session holds one, so when a permission ends, every session of a reader that exists then is ended.
"""

from collections import Counter
from collections.abc import Mapping

from cdp.consent.store import reader_sessions as session_store
from cdp.consent.store import session_records as record_store
from cdp.consent.store.reader_sessions import SessionLimits
from cdp.flows.consent.reader_sessions import LIMITS
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store


class ReaderWatch:
    """Ends the sessions of readers that are beyond a limit, or older than the last end of a permission, and records all of them.

    `ended` is the number of ended permissions that was seen last; a watch that begins has seen none.
    """

    def __init__(self, limits: SessionLimits = LIMITS) -> None:
        self.ended: int | None = None
        self._limits = limits

    def run(self, context: Context) -> Mapping[str, int] | None:
        """Look once; returns the number of ended sessions by reason, or None if the role of the service may not do so."""
        with context.database.transaction() as tx:
            if not session_store.may_end_sessions(tx):
                return None
            ended = generation_store.ended_verdicts(tx)
            reasons = session_store.end_sessions(tx, self._limits, all_of_them=ended != self.ended)
        self.ended = ended
        with context.database.transaction() as tx:  # a record that fails must not keep a session from being ended
            record_store.note_sessions(tx)
        return Counter(reasons)
