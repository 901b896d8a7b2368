"""A whole house behind an ingest door: a real database, a policy, sources with write keys of one's choice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdp.access import store, store_accounting
from cdp.access.keys import hash_secret
from cdp.access.model import Outcome, Source, SourceId, SourceKind
from cdp.flows.house import House, open_house
from cdp.flows.ingest import Ingest
from cdp.flows.message import Invalid, Message
from cdp.kit.clock import Clock, SystemClock
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.web.batcher import Limits
from cdp.web.landing import Takes
from cdp.web.sources import directory_of
from tests.ingest_server import Running, open_door

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
END = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Door:
    """An open door of a house, and what it did."""

    house: House
    running: Running
    sources: Mapping[str, Source]

    @property
    def url(self) -> str:
        return self.running.url

    def accounted(self) -> dict[str, int]:
        """Messages by state and reason, such as `stored` or `invalid id_missing`."""
        with self.house.database.transaction(read_only=True) as tx:
            found: dict[str, int] = {}
            for entry in store_accounting.accounting(tx, BEGINNING, END):
                name = f"{entry.state.value} {entry.reason}".strip()
                found[name] = found.get(name, 0) + entry.messages
            return found

    def noticed(self) -> dict[str, int]:
        """Oddities by kind."""
        with self.house.database.transaction(read_only=True) as tx:
            found: dict[str, int] = {}
            for entry in store_accounting.notices(tx, BEGINNING, END):
                found[entry.kind.value] = found.get(entry.kind.value, 0) + entry.messages
            return found


class Outage:
    """A flow whose first `faults` transactions find no database."""

    def __init__(self, ingest: Takes, faults: int) -> None:
        self._ingest = ingest
        self.left = faults

    def take(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        if self.left:
            self.left -= 1
            raise Fault("database_unavailable", "The database is away", status=503, retry_after_seconds=1)
        return self._ingest.take(messages)


@contextmanager
def open_house_door(
    database: Database,
    policy: Policy,
    folder: Path,
    keys: Mapping[str, SourceKind],
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    between: Callable[[Takes], Takes] = lambda ingest: ingest,
) -> Iterator[Door]:
    """A house whose sources have exactly these write keys; `between` may stand between the door and the flow."""
    clock = clock or SystemClock()
    house = open_house(database, policy, clock, keys=folder / "keys")
    sources = {key: add_source(database, key, kind, clock.now()) for key, kind in keys.items()}
    ingest = Ingest(database, house.vault, policy, clock)
    with open_door(between(ingest), directory_of(database), clock=clock, limits=limits) as running:
        yield Door(house, running, sources)


def add_source(database: Database, key: str, kind: SourceKind, now: datetime) -> Source:
    """A source with a known write key."""
    source = Source(SourceId(0), f"source of {key}", kind, frozenset({"ingest"}), "eu", 500 * 1024)
    with database.transaction() as tx:
        made = store.add_source(tx, source, hash_secret(key), now)
    assert made is not None
    return made
