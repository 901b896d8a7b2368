"""An ingest endpoint that stores: with a database, a policy, and sources with chosen write keys."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdp.access.credentials import hash_secret
from cdp.accounting.model import Outcome
from cdp.accounting.store import messages as accounting_store
from cdp.accounting.store import notices as notice_store
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import Clock, SystemClock
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.sources.model import Source, SourceKind
from cdp.sources.store import sources as source_store
from cdp.web.ingest.batch_retry import BatchProcessor
from cdp.web.ingest.batcher import Limits
from cdp.web.ingest.hooks import hooks_of
from cdp.web.ingest.write_keys import directory_of
from cdp.wire.message import Invalid, Message
from tests.support.ingest_server import RunningIngest, serve_ingest
from tests.support.people import new_source

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
END = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class IngestEndpoint:
    """A running ingest endpoint, and the outcomes of its messages."""

    context: Context
    running: RunningIngest
    sources: Mapping[str, Source]

    @property
    def url(self) -> str:
        return self.running.url

    def accounted(self) -> dict[str, int]:
        """Messages by state and reason, such as `stored` or `invalid id_missing`."""
        with self.context.database.transaction(read_only=True) as tx:
            found: dict[str, int] = {}
            for entry in accounting_store.accounting(tx, BEGINNING, END):
                name = f"{entry.state.value} {entry.reason}".strip()
                found[name] = found.get(name, 0) + entry.messages
            return found

    def notices(self) -> dict[str, int]:
        """Messages by kind of notice."""
        with self.context.database.transaction(read_only=True) as tx:
            found: dict[str, int] = {}
            for entry in notice_store.notices(tx, BEGINNING, END):
                found[entry.kind.value] = found.get(entry.kind.value, 0) + entry.messages
            return found


class Outage:
    """A batch processor that reports an unavailable database for its first `faults` batches."""

    def __init__(self, ingest: BatchProcessor, faults: int) -> None:
        self._ingest = ingest
        self.left = faults

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        if self.left:
            self.left -= 1
            raise Fault("database_unavailable", "The database is unavailable", status=503, retry_after_seconds=1)
        return self._ingest.process(messages)

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        self._ingest.check(messages)


@contextmanager
def open_ingest_endpoint(
    database: Database,
    policy: Policy,
    folder: Path,
    keys: Mapping[str, SourceKind],
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    between: Callable[[BatchProcessor], BatchProcessor] = lambda ingest: ingest,
) -> Iterator[IngestEndpoint]:
    """Serve sources with exactly these write keys; `between` may wrap the processor of batches."""
    clock = clock or SystemClock()
    context = open_context(database, policy, clock, home=folder)
    sources = {key: add_source(database, key, kind, clock.now()) for key, kind in keys.items()}
    ingest = Ingest(database, context.vault, policy, clock=clock, replay=context.replay)
    hooks = hooks_of(lambda: context)
    with serve_ingest(between(ingest), directory_of(database), clock=clock, limits=limits, hooks=hooks) as running:
        yield IngestEndpoint(context, running, sources)


def add_source(database: Database, key: str, kind: SourceKind, now: datetime) -> Source:
    """A source with a known write key."""
    source = new_source(0, f"source of {key}", kind)
    with database.transaction() as tx:
        made = source_store.add_source(tx, source, hash_secret(key), now=now)
    assert made is not None
    return made
