"""What is stored about a person is stored under that person: decision record 12, with its exceptions by name."""

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from cdp.schema.all import tables
from cdp.schema.dictionary import declaration_of, impersonal, personal

PERSON = ("profile_id", "anchor_id", "identifier_id")

# Tables that are keyed otherwise, each with the reason.
EXCEPTIONS = {
    "behavior.duplicate": "queried by message, before the person is known, and partitioned by hash",
    "consent.deferred_device": "keyed by the owner of a throw-away key: the device need not be known; an index leads to its pseudonym",
    "consent.deferred_message": "keyed by the owner of the throw-away key that seals it",
    "consent.record": "append-only, keyed by the id that receipts name; an index leads to the identifier",
    "consent.repetition": "keyed by the record that was repeated",
    "consent.withdrawal": "a queue, processed in the order of withdrawal",
    "destinations.outbox": "a queue, processed in the order of creation",
    "identity.edge": "append-only, keyed by its place in the recorded sequence",
    "identity.evidence": "append-only; one row concerns two identifiers and up to two profiles",
    "identity.resolution": "append-only, keyed by its place in the recorded sequence",
    "rights.hold": "read by law and order number; the person is erased and has no id left",
    "rights.request": "keyed by request; it outlives the person's profile",
    "rights.request_identifier": "keyed by request; it names identifiers that may be unknown to identity",
    "rights.request_value": "keyed by request; it names nobody",
    "rights.review": "keyed by request: decisions are read and deleted with it; an index leads to the identifier",
    "rights.suppression": "keyed by pseudonym: the person must not be stored",
    "vault.subject_key": "keyed by subject, which is an anchor or an identifier, and never joined with either",
}


def is_keyed_otherwise(table: Table) -> bool:
    """Whether a table has personal columns and a primary key that does not begin with a person."""
    declared = [declaration_of(column) for column in table.columns]
    key = [column.name for column in table.primary_key.columns]
    return any(each is not None and each.is_personal for each in declared) and (not key or key[0] not in PERSON)


def test_rows_about_a_person_are_keyed_by_person() -> None:
    assert {table.fullname for table in tables() if is_keyed_otherwise(table)} == set(EXCEPTIONS)


@pytest.mark.parametrize(
    ("first", "is_breach"), [("row_id", True), ("profile_id", False), ("anchor_id", False), ("identifier_id", False)]
)
def test_a_breach_is_found(first: str, is_breach: bool) -> None:
    about = personal(
        erase="delete", retention="events", export=None, category="behavior", why_not_exported="a test", via="profile"
    )
    table = Table(
        "x",
        MetaData(),
        Column(first, BigInteger, primary_key=True, info=impersonal()),
        Column("value", Text, info=about),
        schema="behavior",
    )
    assert is_keyed_otherwise(table) is is_breach
