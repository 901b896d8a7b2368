"""Which identifiers decide about which profile: those that it owns, and those that link no profiles."""

from collections.abc import Collection

import pytest

from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.kit.db import Database, Transaction
from tests.support.people import NEW_YEAR

pytestmark = pytest.mark.postgres


def insert_profile(
    tx: Transaction, profile_id: int, owned: list[int], also_seen: Collection[int] = (), shared: Collection[int] = ()
) -> None:
    """Write a profile with one anchor of the identifiers that it owns and those that it was seen with."""
    for identifier_id in {*owned, *also_seen, *shared}:
        tx.execute(
            """
            INSERT INTO identity.identifier
                (identifier_id, type, pseudonym, pseudonym_version, sealed, is_shared, first_seen_at, last_seen_on)
            VALUES (%(id)s, 'anonymous_id', %(pseudonym)s, 1, '', %(shared)s, %(now)s, %(now)s::date)
            ON CONFLICT DO NOTHING
            """,
            {
                "id": identifier_id,
                "pseudonym": str(identifier_id).encode(),
                "shared": identifier_id in shared,
                "now": NEW_YEAR,
            },
        )
    for identifier_id in owned:
        tx.execute(
            "INSERT INTO identity.link (identifier_id, profile_id, linked_at) VALUES (%(id)s, %(profile)s, %(now)s)",
            {"id": identifier_id, "profile": profile_id, "now": NEW_YEAR},
        )
    tx.execute(
        "INSERT INTO identity.canonical (anchor_id, profile_id) VALUES (%(id)s, %(id)s)",
        {"id": profile_id},
    )
    for position, identifier_id in enumerate({*owned, *also_seen, *shared}):
        tx.execute(
            "INSERT INTO identity.anchor_member (anchor_id, identifier_id, position) VALUES (%(anchor)s, %(id)s, %(position)s)",
            {"anchor": profile_id, "id": identifier_id, "position": position},
        )


def test_a_profile_is_decided_by_what_it_owns_and_what_links_no_profiles(database: Database) -> None:
    with database.transaction() as tx:
        insert_profile(tx, 1, owned=[11, 12], shared=[50])
        insert_profile(tx, 2, owned=[21], also_seen=[11, 60])
        found = consent_subject_store.deciding_identifiers(tx, [1, 2, 3])
    assert found == {1: {11: False, 12: False, 50: True}, 2: {21: False, 60: True}, 3: {}}


def test_an_identifier_decides_about_its_owner_or_else_about_every_profile_seen_with_it(database: Database) -> None:
    with database.transaction() as tx:
        insert_profile(tx, 1, owned=[11], shared=[50])
        insert_profile(tx, 2, owned=[21], also_seen=[11, 60], shared=[50])
        assert consent_subject_store.profiles_decided_by(tx, [11]) == {1}
        assert consent_subject_store.profiles_decided_by(tx, [50]) == {1, 2}
        assert consent_subject_store.profiles_decided_by(tx, [60]) == {2}
        assert consent_subject_store.profiles_decided_by(tx, [98]) == set()
        assert consent_subject_store.profiles_decided_by(tx, []) == set()


def test_profiles_are_listed_in_order(database: Database) -> None:
    with database.transaction() as tx:
        for profile_id in (3, 1, 2):
            insert_profile(tx, profile_id, owned=[profile_id])
        assert consent_subject_store.next_profiles(tx, 0, 2) == [1, 2]
        assert consent_subject_store.next_profiles(tx, 2, 2) == [3]
        assert consent_subject_store.anchors_of(tx, [1, 2]) == {1: [1], 2: [2]}
