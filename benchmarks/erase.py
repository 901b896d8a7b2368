"""Erasing a person with many events in a large store, beside plain DELETEs of the same rows, on one PostgreSQL.

    python -m benchmarks.erase            # 1,000,000 events of others
    python -m benchmarks.erase --full     # 5,000,000

The store is filled by the server itself; the people are stored by the ingest use case, with consent. Half of them are erased by a
request (plan, pending suppression, keys, suppression, replay file, receipt's fact; every commit waits for the disk), half by plain
DELETEs, alternately: once only their events, once all their rows by ids that are known beforehand. The table shows medians.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks._bulk import settle_down, without_keys
from benchmarks._stage import Spent, Stopwatch, backend_pid, machine, median, stage, table
from cdp.behavior.retention import month_of
from cdp.behavior.store.partitions import ensure_partitions
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import open_context
from cdp.flows.rights import requests
from cdp.identity.model import Identifier
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.schema.behavior import duplicate, event
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceKind
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Vault
from cdp.wire.message import Message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAYS = 380
SHOP = Source(SourceId(1), "shop", SourceKind.SERVER, frozenset({"ingest"}), "eu", 512_000)

BY_HAND = (
    "DELETE FROM behavior.duplicate WHERE event_id IN (SELECT event_id FROM behavior.event WHERE anchor_id = ANY(%(anchors)s))",
    "DELETE FROM behavior.event WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM behavior.trait WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM behavior.bucket WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM consent.permitted WHERE profile_id = ANY(%(profiles)s)",
    "DELETE FROM consent.record WHERE identifier_id = ANY(%(identifiers)s)",
    "DELETE FROM identity.evidence WHERE identifier_id = ANY(%(identifiers)s)",
    "DELETE FROM identity.resolution WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM identity.anchor_source WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM identity.anchor_member WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM identity.canonical WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM identity.anchor WHERE anchor_id = ANY(%(anchors)s)",
    "DELETE FROM identity.link WHERE identifier_id = ANY(%(identifiers)s)",
    "DELETE FROM identity.identifier WHERE identifier_id = ANY(%(identifiers)s)",
    "DELETE FROM identity.profile WHERE profile_id = ANY(%(profiles)s)",
    "DELETE FROM vault.subject_key WHERE subject_id = ANY(%(anchors)s) OR subject_id = ANY(%(identifiers)s)",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stored", type=int, default=1_000_000, help="events of others")
    arguments.add_argument("--full", action="store_true", help="5,000,000 events of others")
    arguments.add_argument("--people", type=int, default=15, help="people to erase, a third of them each way")
    arguments.add_argument("--events", type=int, default=1_000, help="events of each")
    given = arguments.parse_args()
    with stage() as stand:
        database = Database(stand.url)
        stored = 5_000_000 if given.full else given.stored
        about = machine(database) | {
            "events of others": f"{stored:,}", "people": f"{given.people}", "events of each": f"{given.events:,}"
        }  # fmt: skip
        print(f"## Erasure\n\n{table(['', ''], list(about.items()))}\n", flush=True)
        measure(database, stand.home, stored, given.people, given.events)
        database.close()


def measure(database: Database, folder: Path, stored: int, people: int, events: int) -> None:
    """Fill the store and erase people in three ways, in turns."""
    policy = load_policy(Path("policies"))
    clock = TestClock(NOW)
    context = open_context(database, policy, clock, home=folder)
    ingest = Ingest(database, context.vault, policy, clock=clock, replay=context.replay)
    fill(database, stored)
    signal = policy.purposes["analytics"].signals.segment[0]
    for number in range(people):
        arrive(ingest, f"person-{number}", events, signal)
    settle_down(database)
    spent: dict[str, list[Spent]] = {"as a request": [], "every row by hand": [], "events by hand": []}
    ways = list(spent)
    for number in range(people):
        way, name = ways[number % 3], f"person-{number}"
        spent[way].append(
            erase(context, name)
            if number % 3 == 0
            else delete(database, context.vault, name, BY_HAND if number % 3 == 1 else BY_HAND[1:2])
        )
    wall = {way: median([each.wall for each in spent[way]]) * 1000 for way in ways}
    busy = {way: median([each.processor for each in spent[way]]) * 1000 for way in ways}
    base = ways[1]
    rows = [
        [
            way, f"{wall[way]:.0f}", f"{max(each.wall for each in spent[way]) * 1000:.0f}", f"{busy[way]:.0f}",
            f"{wall[way] / wall[base]:.2f}", f"{busy[way] / busy[base]:.2f}", "5 / 2" if way == ways[0] else "",
        ]
        for way in ways
    ]  # fmt: skip
    print(table(["way", "ms", "worst ms", "processor ms", "ratio", "processor ratio", "must / goal"], rows))


def fill(database: Database, stored: int) -> None:
    """Events of others, with their message ids, spread over the days; 200 bytes of each are sealed."""
    days = [NOW - timedelta(days=day) for day in range(0, DAYS + 31, 5)]
    ensure_partitions(database, {("browsing", month_of(day)) for day in days})
    with database.transaction() as tx:
        tx.execute_core(
            text(
                "INSERT INTO sources.source VALUES (1, 'shop', 'server', '\\x00', '{ingest}', 'eu', 512000, :now, NULL)"
            ),
            {"now": NOW},
        )
        tx.execute_core(text("INSERT INTO behavior.term (vocabulary, term) VALUES ('event', 'Product Viewed')"))
    with without_keys(database, event, duplicate), database.transaction() as tx:
        tx.execute_core(
            text(
                """
                INSERT INTO behavior.event
                SELECT 1 + (random() * :people)::bigint, at, gen_random_uuid(), 'browsing', at, 1, 1, 2,
                       jsonb_build_object('price', round((random() * 200)::numeric, 2)), decode(repeat('5e', 200), 'hex')
                FROM (SELECT :now - random() * make_interval(days => :days) AS at FROM generate_series(1, :stored)) AS given
                """
            ),
            {"people": stored // 50, "now": NOW, "days": DAYS, "stored": stored},
        )
        tx.execute_core(
            text("INSERT INTO behavior.duplicate SELECT event_id, '\\x00', '2027-01-01' FROM behavior.event")
        )


def arrive(ingest: Ingest, name: str, events: int, signal: str) -> None:
    """One person comes in: an identification with consent, then events on two devices."""
    consent = {"context": {"consent": {"categoryPreferences": {signal: True}}}}
    bodies: list[dict[str, Any]] = [
        {"type": "identify", "userId": name, "traits": {"email": f"{name}@example.com", "name": name}, **consent}
    ]
    for number in range(events - 1):
        event = "Order Completed" if number % 20 == 0 else "Product Viewed"
        properties = {
            "order_id": f"{name}-{number}",
            "revenue": number / 4,
            "price": number / 8,
            "sku": f"SKU-{number % 500}",
        }
        bodies.append(
            {
                "type": "track",
                "event": event,
                "userId": name,
                "anonymousId": f"{name}-{number % 2}",
                "properties": properties,
            }
        )
    for at in range(0, len(bodies), 500):
        ingest.process([message(body, f"{name}/{at + place}") for place, body in enumerate(bodies[at : at + 500])])


def message(body: Mapping[str, Any], message_id: str) -> Message:
    given = {**body, "messageId": message_id}
    return Message(SHOP, given["type"], message_id, NOW, NOW, given, sha256(canonical_json(given)))


def erase(context: Context, name: str) -> Spent:
    """What it takes from `run` to its answer; receipt and verification of the request come before."""
    request = requests.open_request(context, kind="erasure", regime="gdpr", identifiers=[("user_id", name)], now=NOW)
    requests.verify(context, request.request_id, NOW)
    watch = Stopwatch(backend_pid(context.database))
    requests.run(context, request.request_id, NOW)
    return watch.read()


def delete(database: Database, vault: Vault, name: str, statements: Sequence[str]) -> Spent:
    """What hand-written DELETEs take in one transaction; the ids are looked up before the clock starts."""
    with database.transaction(read_only=True) as tx:
        pseudonym = vault.hashes.pseudonyms(GRAPH, [Identifier("user_id", name)])[0]
        known = identifier_store.identifiers_by_pseudonym(tx, [pseudonym])[pseudonym]
        profiles = [known.profile_id]
        anchors = [
            row[0]
            for row in tx.execute(
                "SELECT anchor_id FROM identity.canonical WHERE profile_id = ANY(%(p)s::bigint[])", {"p": profiles}
            )
        ]
        identifiers = [
            row[0]
            for row in tx.execute(
                "SELECT identifier_id FROM identity.link WHERE profile_id = ANY(%(p)s::bigint[])", {"p": profiles}
            )
        ]
    ids = {"anchors": anchors, "identifiers": identifiers, "profiles": profiles}
    watch = Stopwatch(backend_pid(database))
    with database.transaction() as tx:
        for statement in statements:
            tx.execute(statement, ids)
    return watch.read()


if __name__ == "__main__":
    main()
