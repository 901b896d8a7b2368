"""Sources, tokens, accounting, notices and policies on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.access import store, store_accounting, store_policy
from cdp.access.keys import hash_secret, new_token, new_write_key
from cdp.access.model import Role, Source, SourceId, SourceKind, State
from cdp.access.records import NoticeKind, TokenId
from cdp.kit.db import Database

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)


def a_source(name: str = "shop", kind: SourceKind = SourceKind.SERVER) -> Source:
    return Source(SourceId(0), name, kind, frozenset({"ingest", "consent"}), "eu", 512_000)


def test_a_source_is_found_by_the_hash_of_its_write_key_only(database: Database) -> None:
    key = new_write_key()
    with database.transaction() as tx:
        made = store.add_source(tx, a_source(), hash_secret(key), NOW)
        assert made is not None
        assert store.working_sources(tx) == {hash_secret(key): made}
        rows = tx.bulk("SELECT write_key_hash FROM access.source")
    assert key.encode() not in bytes(rows[0][0])
    assert made.source_id > 0
    assert (made.name, made.kind, made.scopes, made.jurisdiction, made.request_bytes_max) == (
        "shop",
        SourceKind.SERVER,
        frozenset({"ingest", "consent"}),
        "eu",
        512_000,
    )


def test_a_taken_name_and_a_taken_key_make_no_source(database: Database) -> None:
    with database.transaction() as tx:
        assert store.add_source(tx, a_source("shop"), hash_secret("a"), NOW) is not None
        assert store.add_source(tx, a_source("shop"), hash_secret("b"), NOW) is None
        assert store.add_source(tx, a_source("app"), hash_secret("a"), NOW) is None
        assert [entry.source.name for entry in store.sources(tx)] == ["shop"]


def test_a_disabled_source_is_listed_and_its_key_stops(database: Database) -> None:
    with database.transaction() as tx:
        made = store.add_source(tx, a_source(), hash_secret("a"), NOW)
        assert made is not None
        assert store.source_named(tx, "shop") == made
        assert store.disable_source(tx, made.source_id, NOW)
        assert not store.disable_source(tx, made.source_id, NOW)
        assert store.working_sources(tx) == {}
        assert store.source_named(tx, "shop") is None
        assert [entry.disabled_at for entry in store.sources(tx)] == [NOW]


def test_a_replaced_write_key_stops_the_old_one(database: Database) -> None:
    with database.transaction() as tx:
        made = store.add_source(tx, a_source(), hash_secret("old"), NOW)
        assert made is not None
        assert store.replace_write_key(tx, made.source_id, hash_secret("new"))
        assert not store.replace_write_key(tx, SourceId(made.source_id + 1), hash_secret("other"))
        assert store.working_sources(tx) == {hash_secret("new"): made}


def test_a_token_works_until_it_is_revoked(database: Database) -> None:
    secret = new_token()
    with database.transaction() as tx:
        token = store.add_token(tx, "ada", Role.PRIVACY, hash_secret(secret), NOW)
        assert store.token_of(tx, hash_secret(secret)) == token
        assert store.token_of(tx, hash_secret(new_token())) is None
        assert store.revoke_token(tx, token.token_id, NOW)
        assert not store.revoke_token(tx, token.token_id, NOW)
        assert not store.revoke_token(tx, TokenId(token.token_id + 1), NOW)
        assert store.token_of(tx, hash_secret(secret)) is None
        assert [(t.name, t.role, t.revoked_at) for t in store.tokens(tx)] == [("ada", Role.PRIVACY, NOW)]


def test_accounting_is_summed_over_batches_and_kept_by_compaction(database: Database) -> None:
    shop, app = SourceId(1), SourceId(2)
    with database.transaction() as tx:
        for _ in range(3):
            before = tx.statements
            store_accounting.add_accounting(
                tx,
                HOUR,
                {(shop, State.STORED, ""): 5, (shop, State.INVALID, "type_unknown"): 1, (app, State.STORED, ""): 2},
            )
            assert tx.statements == before + 1
        store_accounting.add_accounting(tx, HOUR + timedelta(hours=1), {(shop, State.DUPLICATE, ""): 4})
        store_accounting.add_accounting(tx, HOUR, {})
        until = HOUR + timedelta(hours=2)
        read = store_accounting.accounting(tx, HOUR, until)
        assert [(e.source_id, e.hour, e.state, e.reason, e.messages) for e in read] == [
            (shop, HOUR, State.INVALID, "type_unknown", 3),
            (shop, HOUR, State.STORED, "", 15),
            (app, HOUR, State.STORED, "", 6),
            (shop, HOUR + timedelta(hours=1), State.DUPLICATE, "", 4),
        ]
        assert store_accounting.compact_accounting(tx, HOUR + timedelta(hours=1)) == 6
        assert store_accounting.compact_accounting(tx, HOUR + timedelta(hours=1)) == 0
        assert store_accounting.accounting(tx, HOUR, until) == read
        assert store_accounting.accounting(tx, HOUR, HOUR + timedelta(hours=1), [app]) == [read[2]]
        assert store_accounting.accounting(tx, HOUR, until, []) == []


def test_notices_are_summed(database: Database) -> None:
    shop = SourceId(1)
    with database.transaction() as tx:
        for _ in range(2):
            store_accounting.add_notices(tx, HOUR, {(shop, NoticeKind.UNKNOWN_EVENT, "other"): 2})
        store_accounting.add_notices(tx, HOUR, {})
        [entry] = store_accounting.notices(tx, HOUR, HOUR + timedelta(hours=1), [shop])
    assert (entry.kind, entry.subject, entry.messages) == (NoticeKind.UNKNOWN_EVENT, "other", 4)


def test_an_hour_is_cut_to_its_beginning() -> None:
    assert store_accounting.hour_of(NOW) == HOUR


def test_the_latest_policy_is_the_last_applied_and_history_stays(database: Database) -> None:
    with database.transaction() as tx:
        assert store_policy.latest_policy(tx) is None
        first = store_policy.add_policy(tx, b"1", {"purposes": ["service"]}, NOW)
        second = store_policy.add_policy(tx, b"2", {"purposes": ["service", "analytics"]}, NOW)
        assert store_policy.latest_policy(tx) == second
        assert store_policy.policies(tx) == [first, second]


def test_the_test_clock_can_be_set_moved_and_taken_away(database: Database) -> None:
    with database.transaction() as tx:
        store_policy.override_instant(tx, NOW)
        store_policy.override_instant(tx, HOUR)
        assert tx.bulk("SELECT instant FROM access.instant_override") == [(HOUR,)]
        store_policy.override_instant(tx, None)
        assert tx.bulk("SELECT instant FROM access.instant_override") == []
