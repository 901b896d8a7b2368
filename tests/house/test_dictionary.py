"""The data dictionary holds: every column is declared, and every personal one is erased and exported by a test.

One person gets a row in every table with personal columns, and a value in each of its columns. A column that no row
fills, that an erasure leaves, or that an export omits appears in a set difference.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from cdp.consent.store import deferred as deferred_store
from cdp.consent.store.role_projections import prepare_roles
from cdp.flows.rights.corrections import store_values
from cdp.flows.rights.erase import erase
from cdp.kit.db import Database, Transaction
from cdp.kit.ids import new_id
from cdp.rights.model import CorrectedTrait, Scope, Verb
from cdp.rights.plan import Space, Tie, erasure_plan, export_plan, personal_columns
from cdp.rights.store.reviews import decide
from cdp.schema.all import tables
from cdp.schema.dictionary import Erase, declaration_of, undeclared
from cdp.vault.pseudonym import SUPPRESSION
from cdp.vault.vault import Item
from tests.support.messages import order, track
from tests.support.people import ADA, NOON
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

BYTES = b"\x07" * 32
KEPT = {
    f"{table.fullname}.{column.name}"
    for table in tables()
    for column in table.columns
    if (declared := declaration_of(column)) is not None and declared.erase is Erase.KEEP
}


def test_every_column_is_declared() -> None:
    assert undeclared(tables()) == []


def test_what_is_kept_or_not_exported_has_a_reason() -> None:
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
    rights.pipeline.send(track(anonymousId="one"))
    rights.pipeline.send(track(userId="ada"))
    rights.pipeline.send({**ADA, "anonymousId": "one"})
    rights.pipeline.send(order(userId="ada", properties={"revenue": 5, "order_id": "o"}))
    return rights


def only_person(tx: Transaction) -> Scope:
    """All ids of the store, which holds nobody but Ada."""
    ids = (tx.execute(f"SELECT {space}_id FROM identity.{space}") for space in ("identifier", "anchor", "profile"))
    identifiers, anchors, profiles = (frozenset(row[0] for row in rows) for rows in ids)
    deferred = frozenset(row[0] for row in tx.execute("SELECT subject_id FROM consent.deferred_device"))
    return Scope(0, identifiers, anchors, profiles, deferred)


def defer(tx: Transaction, rights: RequestPipeline) -> None:
    """Let a message of a device of the person wait for an answer."""
    vault, subject, event = rights.context.vault, new_id(), b"\x05" * 16
    pseudonym = vault.hashes.pseudonym(SUPPRESSION, "anonymous_id", "one")
    keys = vault.subject_keys.create(tx, [subject], is_cached=False)
    (sealed,) = vault.seal_many(keys, deferred_store.MESSAGE, [Item(subject, event, b'{"body": {"a": 1}}')])
    deferred_store.add_devices(tx, {(pseudonym, 1): subject})
    deferred_store.add_messages(tx, [deferred_store.DeferredMessage(subject, event, NOON, NOON, NOON, False, sealed)])
    deferred_store.mark_granted(tx, [pseudonym], NOON)


def add_missing_rows(tx: Transaction, person: Scope) -> None:
    """Add rows of the person to the tables that messages do not write, and values to the columns that they leave NULL."""
    profile, identifier, anchor = max(person.profiles), min(person.identifiers), min(person.anchors)
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
        ("segments.due", {"profile_id": profile, "key": "s", "at": NOON}),
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
                "permits_from": NOON,
                "salt": BYTES,
            },
        ),
        (
            "consent.repetition",
            {
                "record_id": 77,
                "identifier_id": identifier,
                "repeated_at": NOON,
                "recorded_at": NOON,
                "salt": BYTES,
            },
        ),
        ("consent.withdrawal", {"profile_id": profile, "purpose": purpose, "withdrawn_at": NOON}),
        (
            "identity.edge",
            {
                "sequence": 9_999,
                "identifier_id": identifier,
                "other_identifier_id": max(person.identifiers),
                "source_id": 2,
                "received_at": NOON,
                "import_job_id": 5,
                "row_number": 7,
            },
        ),
        (
            "behavior.former_age",
            {
                "anchor_id": anchor,
                "authority": "device",
                "bits": 1,
                "is_birthday": False,
                "counts_from": NOON,
                "occurred_at": NOON,
                "received_at": NOON,
                "event_id": "00000000-0000-0000-0000-000000000007",
                "since": NOON,
                "until": NOON,
            },
        ),
        ("identity.former_link", {"identifier_id": identifier, "until": NOON, "since": NOON, "profile_id": profile}),
        ("identity.former_canonical", {"anchor_id": anchor, "until": NOON, "since": NOON, "profile_id": profile}),
        ("identity.former_sharing", {"identifier_id": identifier, "until": NOON, "is_shared": True}),
        ("identity.former_quarantine", {"profile_id": profile, "until": NOON, "is_quarantined": True}),
        (
            "identity.rejected_case",
            {
                "identifier_id": identifier,
                "kind": "reread",
                "reason": "unproven",
                "evidence": BYTES,
                "rejected_at": NOON,
            },
        ),
        (
            "identity.rejected_case",
            {
                "identifier_id": identifier,
                "kind": "left_out",
                "reason": "unproven",
                "through_sequence": 1,
                "rejected_at": NOON,
            },
        ),
        ("identity.never", {"identifier_id": 1, "other_identifier_id": identifier, "created_at": NOON}),
    ]
    for table, values in rows:
        insert(tx, table, values)
    tx.execute(
        "INSERT INTO behavior.restricted_event (anchor_id, occurred_at, event_id, retention_class, received_at, source_id, "
        "name_id, bits, plain, sealed) SELECT anchor_id, occurred_at, event_id, retention_class, received_at, source_id, "
        "name_id, bits, plain, sealed FROM behavior.event WHERE plain IS NOT NULL"
    )
    tx.execute(
        "INSERT INTO consent.refused VALUES (%(p)s, 'advertising', 'refused') ON CONFLICT DO NOTHING", {"p": profile}
    )
    prepare_roles(tx, {"agency": ["analytics"]})
    tx.execute("UPDATE consent.permitted SET until = '2027-01-01'")
    tx.execute("UPDATE behavior.bucket SET last_plain = '5'")
    tx.execute("UPDATE identity.identifier SET proved_at = %(now)s", {"now": NOON})


def insert(tx: Transaction, table: str, values: dict[str, Any]) -> None:
    tx.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(*table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        ),
        values,
    )


def rows_of_person(tx: Transaction, table: str, ties: Iterable[Tie], person: Scope) -> list[dict[str, Any]]:
    """The person's rows of a table, found by its ties without the code under test."""
    ids = {
        Space.IDENTIFIER: person.identifiers,
        Space.ANCHOR: person.anchors,
        Space.PROFILE: person.profiles,
        Space.SUBJECT: person.subjects,
        Space.REQUEST: [person.request_id],
        Space.DEFERRED: person.deferred,
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
        defer(tx, rights)
        person = only_person(tx)
        add_missing_rows(tx, person)
        store_values(tx, rights.context, request.request_id, values=[CorrectedTrait("city", "Lyon")])
        decide(tx, request.request_id, {max(person.identifiers): True}, now=NOON)
        scope = replace(person, request_id=request.request_id)
        steps = [step for step in erasure_plan() if step.verb is not Verb.KEEP]
        filled = {
            f"{step.table}.{name}"
            for step in steps
            for row in rows_of_person(tx, step.table, step.ties, scope)
            for name, value in row.items()
            if value is not None
        }
    assert personal_columns() - KEPT - filled == set(), "no row of this test fills these columns"
    erase(rights.context, request.request_id)
    with rights.context.database.transaction(read_only=True) as tx:
        left = {step.table for step in steps if rows_of_person(tx, step.table, step.ties, scope)}
    assert left == set()


@pytest.mark.postgres
def test_every_exportable_column_is_exported(rights: RequestPipeline) -> None:
    request = rights.ask("access", ("user_id", "ada"))
    with rights.context.database.transaction() as tx:
        defer(tx, rights)
        add_missing_rows(tx, only_person(tx))
        store_values(tx, rights.context, request.request_id, values=[CorrectedTrait("city", "Lyon")])
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
