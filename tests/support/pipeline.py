"""Send messages through ingest at an instant of a test clock, and read back who is who."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from cdp.accounting.model import Outcome
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import open_context
from cdp.identity.store.mapping import owners
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceKind
from cdp.sources.store.sources import add_source
from cdp.wire.message import Message

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WEB = Source(SourceId(1), "web", SourceKind.BROWSER, frozenset({"ingest"}), "eu", 512_000)
SHOP = Source(SourceId(2), "shop", SourceKind.SERVER, frozenset({"ingest"}), "eu", 512_000)


@dataclass(slots=True)
class Pipeline:
    """A store under test and its ingest; messages without an id get one from a counter, in order."""

    context: Context
    clock: TestClock
    ingest: Ingest
    numbers: Iterable[int] = field(default_factory=lambda: count(1))

    def register(self) -> None:
        """Add the two sources, whose jurisdictions apply to everybody their messages name."""
        with self.context.database.transaction() as tx:
            for source in (WEB, SHOP):
                add_source(tx, source, sha256(source.name.encode()), now=self.clock.now())

    def message(self, body: Mapping[str, Any], *, source: Source = SHOP, has_gpc: bool = False) -> Message:
        given = dict(body)
        given.setdefault("messageId", f"m-{next(iter(self.numbers)):06d}")
        now = self.clock.now()
        at = given.get("timestamp")
        return Message(
            source=source,
            kind=given.get("type", "track"),
            message_id=given["messageId"],
            occurred_at=now if at is None else datetime.fromisoformat(at),
            received_at=now,
            body=given,
            body_digest=sha256(canonical_json(given)),
            has_gpc=has_gpc,
        )

    def send(self, *bodies: Mapping[str, Any], source: Source = SHOP, has_gpc: bool = False) -> list[Outcome]:
        """One batch."""
        return self.ingest.process([self.message(body, source=source, has_gpc=has_gpc) for body in bodies])

    def send_each(self, bodies: Sequence[Mapping[str, Any]], *, source: Source = SHOP) -> list[Outcome]:
        """Each message in a batch of its own."""
        return [self.send(body, source=source)[0] for body in bodies]

    def people(self) -> dict[int, dict[str, set[str]]]:
        """See `people_of`."""
        return people_of(self.context)

    def partition(self) -> set[frozenset[tuple[str, str]]]:
        """The people as sets of (type, value)."""
        return {
            frozenset((type_, value) for type_, values in each.items() for value in values)
            for each in self.people().values()
        }

    def one(self, query: str) -> Any:
        """The first value of a query."""
        with self.context.database.transaction(read_only=True) as tx:
            return tx.execute(query)[0][0]


def people_of(context: Context) -> dict[int, dict[str, set[str]]]:
    """Every profile that owns anything: its identifiers, opened, by type."""
    with context.database.transaction(read_only=True) as tx:
        opened = open_identifiers(tx, context.vault, list(owners(tx)))
        found: dict[int, dict[str, set[str]]] = {}
        for identifier_id, profile_id in owners(tx).items():
            each = opened[identifier_id]
            assert each.value is not None
            found.setdefault(profile_id, {}).setdefault(each.type, set()).add(each.value)
    return found


def open_pipeline(database: Database, policy: Policy, folder: Path, now: datetime = NOON) -> Pipeline:
    """Open an empty store under a policy."""
    clock = TestClock(now)
    context = open_context(database, policy, clock, home=folder)
    return Pipeline(context, clock, Ingest(database, context.vault, policy, clock=clock))
