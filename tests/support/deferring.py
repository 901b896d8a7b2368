"""A store one of whose sources defers, and what waits in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.accounting.store.messages import accounting
from cdp.consent.store.projection import bits_of
from cdp.flows.ingest.reopen import end_deferrals, open_granted
from cdp.kit.db import Database, Transaction
from tests.support.messages import consent_context, track
from tests.support.people import SHOP, WEB
from tests.support.requests import RequestPipeline

PATIENT: Final = replace(WEB, defer=True)
"""The browser source, told to defer."""
PATIENT_SHOP: Final = replace(SHOP, defer=True)


@dataclass(slots=True)
class Deferring:
    """A pipeline of requests whose sources defer."""

    rights: RequestPipeline

    @property
    def now(self) -> datetime:
        return self.rights.pipeline.clock.now()

    def view(self, device: str = "d", *, message: str | None = None, **fields: Any) -> str:
        """Send a product view of a device without an answer; gives its state."""
        named = {} if message is None else {"messageId": message}
        return self.send(track(anonymousId=device, **named, **fields))

    def answer(self, device: str = "d", /, **purposes: bool) -> str:
        """Send an answer of a device; gives the state of its message."""
        return self.send(track("Answered", anonymousId=device, context=consent_context(**purposes)))

    def send(self, *bodies: Mapping[str, Any], source: Any = PATIENT, has_gpc: bool = False) -> str:
        """Send one batch; gives the states of its messages."""
        outcomes = self.rights.pipeline.send(*bodies, source=source, has_gpc=has_gpc)
        return " ".join(outcome.state.value for outcome in outcomes)

    def work(self) -> None:
        """What the worker does."""
        open_granted(self.rights.context)
        end_deferrals(self.rights.context)

    def one(self, query: str) -> Any:
        return self.rights.pipeline.one(query)

    @property
    def waiting(self) -> int:
        """How many messages wait; what is left of ended ones is a failure."""
        with self.rights.context.database.transaction(read_only=True) as tx:
            return waiting_in(tx)

    @property
    def states(self) -> dict[str, int]:
        """Messages by state and reason, over all hours."""
        with self.rights.context.database.transaction(read_only=True) as tx:
            found = accounting(tx, self.now - timedelta(days=40), self.now + timedelta(days=1))
        counts: dict[str, int] = {}
        for entry in found:
            name = f"{entry.state.value} {entry.reason}".strip()
            counts[name] = counts.get(name, 0) + entry.messages
        return counts

    def stored(self) -> dict[datetime, set[str]]:
        """The purposes of every stored product view, by when it happened."""
        with self.rights.context.database.transaction(read_only=True) as tx:
            return stored_in(tx)

    def since(self, purpose: str) -> datetime | None:
        with self.rights.context.database.transaction(read_only=True) as tx:
            rows = tx.execute("SELECT since FROM consent.permitted WHERE purpose = %(p)s", {"p": purpose})
            return rows[0][0] if rows else None


def waiting_in(tx: Transaction) -> int:
    """How many messages wait, after a check that devices, keys, messages and the totals of sources belong together."""
    differing = tx.execute(
        """
        SELECT source_id, t.messages, t.bytes, w.messages, w.bytes
        FROM (SELECT d.source_id, count(*) AS messages, sum(octet_length(m.sealed) - 29) AS bytes
              FROM consent.deferred_message AS m JOIN consent.deferred_device AS d USING (subject_id)
              GROUP BY d.source_id) AS w
        FULL JOIN consent.deferred_total AS t USING (source_id)
        WHERE (coalesce(w.messages, 0), coalesce(w.bytes, 0)) IS DISTINCT FROM (t.messages, t.bytes)
        """
    )
    assert differing == [], "sources whose totals are not those of their messages"
    ((messages, lone, keyless, idle),) = tx.execute(
        """
        SELECT (SELECT count(*) FROM consent.deferred_message),
               (SELECT count(*) FROM consent.deferred_device d
                WHERE NOT EXISTS (SELECT FROM consent.deferred_message m WHERE m.subject_id = d.subject_id)),
               (SELECT count(*) FROM consent.deferred_device d
                WHERE NOT EXISTS (SELECT FROM vault.subject_key k WHERE k.subject_id = d.subject_id)),
               (SELECT count(*) FROM vault.subject_key k
                WHERE NOT EXISTS (SELECT FROM consent.deferred_device d WHERE d.subject_id = k.subject_id)
                  AND NOT EXISTS (SELECT FROM identity.anchor a WHERE a.anchor_id = k.subject_id)
                  AND NOT EXISTS (SELECT FROM identity.identifier i WHERE i.identifier_id = k.subject_id)
                  AND NOT EXISTS (SELECT FROM rights.hold h WHERE h.hold_id = k.subject_id)
                  AND NOT EXISTS (SELECT FROM rights.request r WHERE r.request_id = k.subject_id))
        """
    )
    assert (lone, keyless, idle) == (0, 0, 0), "devices without messages, devices without keys, keys of nothing"
    return int(messages)


def stored_in(tx: Transaction) -> dict[datetime, set[str]]:
    """The purposes of every stored product view, by when it happened."""
    masks = bits_of(tx)
    rows = tx.execute(
        """
        SELECT e.occurred_at, e.bits FROM behavior.event AS e JOIN behavior.term AS t ON t.term_id = e.name_id
        WHERE t.term = 'Product Viewed'
        """
    )
    return {at: {purpose for purpose, mask in masks.items() if bits & mask} for at, bits in rows}


def open_deferring(database: Database, rights: RequestPipeline) -> Deferring:
    """The same store, with both sources told to defer."""
    with database.transaction() as tx:
        tx.execute("UPDATE sources.source SET defer = true")
    return Deferring(rights)
