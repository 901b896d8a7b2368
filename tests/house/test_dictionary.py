"""The data dictionary holds: every column is declared, and every personal one is erased and exported by a test.

One person gets a row in every table that says something about people, with every column filled. A column that no row
fills, that an erasure leaves, or that an export does not show, is found as a set difference.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from cdp.flows.rights.erase import erase
from cdp.kit.db import Database, Transaction
from cdp.rights.model import Scope, Verb
from cdp.rights.plan import Space, Tie, erasure_plan, export_plan, personal_columns
from cdp.schema.all import tables
from cdp.schema.dictionary import Erase, declaration_of, undeclared
from tests.support.pipeline import NOON
from tests.support.policies import permit_all
from tests.support.requests import ADA, RequestPipeline, open_request_pipeline

BYTES = b"\x07" * 32
KEPT = {
    f"{table.fullname}.{column.name}"
    for table in tables()
    for column in table.columns
    if (declared := declaration_of(column)) is not None and declared.erase is Erase.KEEP
}


def test_every_column_says_what_it_is() -> None:
    assert undeclared(tables()) == []


def test_what_is_kept_says_why_and_what_is_hidden_too() -> None:
    for table in tables():
        for column in table.columns:
            declared = declaration_of(column)
            assert declared is not None
            if declared.erase is Erase.KEEP:
                assert declared.why_kept, f"{table.fullname}.{column.name}"
            if declared.is_personal and declared.export is None:
                assert declared.why_not_exported, f"{table.fullname}.{column.name}"


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send({"type": "track", "event": "Product Viewed", "anonymousId": "one"})
    rights.pipeline.send({"type": "track", "event": "Product Viewed", "userId": "ada"})
    rights.pipeline.send({**ADA, "anonymousId": "one"})
    rights.pipeline.send(
        {"type": "track", "event": "Order Completed", "userId": "ada", "properties": {"revenue": 5, "order_id": "o"}}
    )
    return rights


def person_of(tx: Transaction) -> Scope:
    """Everybody in the store is Ada."""
    ids = (tx.execute(f"SELECT {space}_id FROM identity.{space}") for space in ("identifier", "anchor", "profile"))
    identifiers, anchors, profiles = (frozenset(row[0] for row in rows) for rows in ids)
    return Scope(0, identifiers, anchors, profiles)


def fill(tx: Transaction, who: Scope) -> None:
    """Give her a row in the tables that messages did not reach, and a value in the columns that they left open."""
    profile, identifier = max(who.profiles), min(who.identifiers)
    purpose = "email_marketing"
    rows: list[tuple[str, dict[str, Any]]] = [
        (
            "segments.segment",
            {
                "key": "s",
                "name": "S",
                "purpose": purpose,
                "owner": "o",
                "version": 1,
                "created_at": NOON,
                "changed_at": NOON,
            },
        ),
        (
            "segments.segment_version",
            {
                "key": "s",
                "version": 1,
                "purpose": purpose,
                "where_text": "trait.age > 1",
                "where_json": Jsonb({}),
                "policy_fingerprint": "0",
                "author": "o",
                "created_at": NOON,
            },
        ),
        ("segments.membership", {"profile_id": profile, "key": "s", "version": 1, "since": NOON}),
        (
            "segments.membership_change",
            {"profile_id": profile, "key": "s", "version": 1, "change": "entered", "changed_at": NOON},
        ),
        ("segments.stale", {"profile_id": profile, "event": "Order Completed"}),
        (
            "destinations.outbox",
            {
                "destination": "newsletter",
                "kind": "membership",
                "profile_id": profile,
                "recipient_pseudonym": BYTES,
                "body": Jsonb({"a": 1}),
                "created_at": NOON,
                "due_at": NOON,
                "attempts": 1,
                "acknowledged_at": NOON,
            },
        ),
        (
            "consent.record",
            {
                "record_id": 77,
                "identifier_id": identifier,
                "purpose": purpose,
                "act": "grant",
                "authority": "device",
                "jurisdiction": "eu",
                "notice_version": "1",
                "notice_hash": BYTES,
                "source_id": 1,
                "signal": "segment",
                "signal_hash": BYTES,
                "rule": "r",
                "policy_fingerprint": BYTES,
                "occurred_at": NOON,
                "recorded_at": NOON,
                "valid_until": NOON,
            },
        ),
        ("consent.repetition", {"record_id": 77, "identifier_id": identifier, "repeated_at": NOON}),
        ("consent.withdrawal", {"profile_id": profile, "purpose": purpose, "withdrawn_at": NOON}),
        (
            "identity.edge",
            {
                "sequence": 9_999,
                "identifier_id": identifier,
                "other_identifier_id": max(who.identifiers),
                "source_id": 2,
                "received_at": NOON,
                "import_job_id": 5,
                "row_number": 7,
            },
        ),
        ("identity.never", {"identifier_id": 1, "other_identifier_id": identifier, "created_at": NOON}),
    ]
    for table, values in rows:
        insert(tx, table, values)
    tx.execute(
        "INSERT INTO consent.refused VALUES (%(p)s, 'advertising', 'refused') ON CONFLICT DO NOTHING", {"p": profile}
    )
    tx.execute("UPDATE consent.permitted SET until = '2027-01-01'")
    tx.execute("UPDATE behavior.bucket SET last_plain = '5'")


def insert(tx: Transaction, table: str, values: dict[str, Any]) -> None:
    tx.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(*table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        ),
        values,
    )


def hers(tx: Transaction, table: str, ties: Iterable[Tie], who: Scope) -> list[dict[str, Any]]:
    """Her rows of a table, found by its ties without the code under test."""
    ids = {
        Space.IDENTIFIER: who.identifiers,
        Space.ANCHOR: who.anchors,
        Space.PROFILE: who.profiles,
        Space.SUBJECT: who.subjects,
        Space.REQUEST: [who.request_id],
    }
    found = []
    for tie in ties:
        if tie.space is Space.EVENT:
            query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(*table.split(".")))
            found += tx.execute(query)
        else:
            query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t WHERE {} = ANY(%(ids)s)").format(
                sql.Identifier(*table.split(".")), sql.Identifier(tie.column)
            )
            found += tx.execute(query, {"ids": list(ids[tie.space])})
    return [row[0] for row in found]


@pytest.mark.postgres
def test_every_personal_column_is_erased(rights: RequestPipeline) -> None:
    request = rights.ask("erasure", ("user_id", "ada"))
    with rights.context.database.transaction() as tx:
        person = person_of(tx)
        fill(tx, person)
        who = Scope(request.request_id, person.identifiers, person.anchors, person.profiles)
        steps = [step for step in erasure_plan() if step.verb is not Verb.KEEP]
        filled = {
            f"{step.table}.{name}"
            for step in steps
            for row in hers(tx, step.table, step.ties, who)
            for name, value in row.items()
            if value is not None
        }
    assert personal_columns() - KEPT - filled == set(), "no row of this test fills these columns"
    erase(rights.context, request.request_id, NOON)
    with rights.context.database.transaction(read_only=True) as tx:
        left = {step.table for step in steps if hers(tx, step.table, step.ties, who)}
    assert left == set()


@pytest.mark.postgres
def test_every_exportable_column_is_exported(rights: RequestPipeline) -> None:
    request = rights.ask("access", ("user_id", "ada"))
    with rights.context.database.transaction() as tx:
        fill(tx, person_of(tx))
    data = rights.opened(request)["data"]
    shown = {(table, field) for table, rows in data.items() for row in rows for field in row}
    wanted = {(section.table, column.field) for section in export_plan() for column in section.columns}
    assert wanted - shown - {("behavior.trait", "plain")} == set()
    empty = {
        (table, field)
        for table, field in wanted
        if not any(row.get(field) is not None for row in data[table]) and not table.startswith("rights.")
    }
    assert empty - {("behavior.trait", "plain")} == set()
