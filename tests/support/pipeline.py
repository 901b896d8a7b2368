"""Send messages through ingest at an instant of a test clock, and read back who is who."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from cdp.accounting.model import Outcome
from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import open_context
from cdp.identity.store.mapping import owners
from cdp.kit.canonical import sha256
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.sources.model import Source
from cdp.sources.store.sources import add_source
from cdp.wire.message import Message
from tests.support.messages import read_as
from tests.support.people import NOON, SHOP, WEB


@dataclass(slots=True)
class Pipeline:
    """A store under test and its ingest; messages without an id are numbered in the order in which they are built."""

    context: Context
    clock: TestClock
    ingest: Ingest
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def register(self) -> None:
        """Add the two sources, whose jurisdictions apply to everyone whom their messages name."""
        with self.context.database.transaction() as tx:
            for source in (WEB, SHOP):
                add_source(tx, source, sha256(source.name.encode()), now=self.clock.now())

    def message(
        self,
        body: Mapping[str, Any],
        *,
        source: Source = SHOP,
        has_gpc: bool = False,
        signals: RequestSignals = NO_REQUEST_SIGNALS,
    ) -> Message:
        """The message that ingest receives now for a body."""
        fields = dict(body)
        fields.setdefault("messageId", f"m-{next(self.numbers):06d}")
        return read_as(fields, source, self.clock.now(), has_gpc=has_gpc, signals=signals)

    def send(self, *bodies: Mapping[str, Any], source: Source = SHOP, has_gpc: bool = False) -> list[Outcome]:
        """Send one batch."""
        return self.ingest.process([self.message(body, source=source, has_gpc=has_gpc) for body in bodies])

    def send_each(self, bodies: Sequence[Mapping[str, Any]], *, source: Source = SHOP) -> list[Outcome]:
        """Send each message in its own batch."""
        return [self.send(body, source=source)[0] for body in bodies]

    def people(self) -> dict[int, dict[str, set[str]]]:
        """See `people_of`."""
        return people_of(self.context)

    def partition(self) -> set[frozenset[tuple[str, str]]]:
        """The people as sets of (type, value)."""
        return {
            frozenset((type_, value) for type_, values in identifiers.items() for value in values)
            for identifiers in self.people().values()
        }

    def one(self, query: str) -> Any:
        """The first value of a query."""
        with self.context.database.transaction(read_only=True) as tx:
            return tx.execute(query)[0][0]


def people_of(context: Context) -> dict[int, dict[str, set[str]]]:
    """The identifiers, in plain text by type, of every profile that owns any."""
    with context.database.transaction(read_only=True) as tx:
        opened = open_identifiers(tx, context.vault, list(owners(tx)))
        found: dict[int, dict[str, set[str]]] = {}
        for identifier_id, profile_id in owners(tx).items():
            identifier = opened[identifier_id]
            assert identifier.value is not None
            found.setdefault(profile_id, {}).setdefault(identifier.type, set()).add(identifier.value)
    return found


def open_pipeline(database: Database, policy: Policy, folder: Path, now: datetime = NOON) -> Pipeline:
    """Open an empty store under a policy."""
    clock = TestClock(now)
    context = open_context(database, policy, clock, home=folder)
    return Pipeline(context, clock, Ingest(database, context.vault, policy, clock=clock, replay=context.replay))
