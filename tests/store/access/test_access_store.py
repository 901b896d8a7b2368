"""Sources, tokens, accounting, notices and policies on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.access.credentials import hash_secret, new_token, new_write_key
from cdp.access.model import Role, TokenId
from cdp.access.store import tokens as token_store
from cdp.accounting.model import NoticeKind, State
from cdp.accounting.store import messages as accounting_store
from cdp.accounting.store import notices as notice_store
from cdp.kit.db import Database
from cdp.operations.store import policies as policy_store
from cdp.operations.store import test_clock as test_clock_store
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceKind
from cdp.sources.store import sources as source_store

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)


def a_source(name: str = "shop", kind: SourceKind = SourceKind.SERVER) -> Source:
    return Source(SourceId(0), name, kind, frozenset({"ingest", "consent"}), "eu", 512_000)


def test_a_source_is_found_by_the_hash_of_its_write_key_only(database: Database) -> None:
    key = new_write_key()
    with database.transaction() as tx:
        made = source_store.add_source(tx, a_source(), hash_secret(key), now=NOW)
        assert made is not None
        assert source_store.active_sources(tx) == {hash_secret(key): made}
        rows = tx.execute("SELECT write_key_hash FROM sources.source")
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
        assert source_store.add_source(tx, a_source("shop"), hash_secret("a"), now=NOW) is not None
        assert source_store.add_source(tx, a_source("shop"), hash_secret("b"), now=NOW) is None
        assert source_store.add_source(tx, a_source("app"), hash_secret("a"), now=NOW) is None
        assert [entry.source.name for entry in source_store.sources(tx)] == ["shop"]


def test_a_disabled_source_is_listed_and_its_key_stops(database: Database) -> None:
    with database.transaction() as tx:
        made = source_store.add_source(tx, a_source(), hash_secret("a"), now=NOW)
        assert made is not None
        assert source_store.source_named(tx, "shop") == made
        assert source_store.disable_source(tx, made.source_id, NOW)
        assert not source_store.disable_source(tx, made.source_id, NOW)
        assert source_store.active_sources(tx) == {}
        assert source_store.source_named(tx, "shop") is None
        assert [entry.disabled_at for entry in source_store.sources(tx)] == [NOW]


def test_a_replaced_write_key_stops_the_old_one(database: Database) -> None:
    with database.transaction() as tx:
        made = source_store.add_source(tx, a_source(), hash_secret("old"), now=NOW)
        assert made is not None
        assert source_store.replace_write_key(tx, made.source_id, hash_secret("new"))
        assert not source_store.replace_write_key(tx, SourceId(made.source_id + 1), hash_secret("other"))
        assert source_store.active_sources(tx) == {hash_secret("new"): made}


def test_a_token_works_until_it_is_revoked(database: Database) -> None:
    secret = new_token()
    with database.transaction() as tx:
        token = token_store.add_token(tx, "ada", Role.PRIVACY, token_hash=hash_secret(secret), now=NOW)
        assert token_store.token_of(tx, hash_secret(secret)) == token
        assert token_store.token_of(tx, hash_secret(new_token())) is None
        assert token_store.revoke_token(tx, token.token_id, NOW)
        assert not token_store.revoke_token(tx, token.token_id, NOW)
        assert not token_store.revoke_token(tx, TokenId(token.token_id + 1), NOW)
        assert token_store.token_of(tx, hash_secret(secret)) is None
        assert [(t.name, t.role, t.revoked_at) for t in token_store.tokens(tx)] == [("ada", Role.PRIVACY, NOW)]


def test_accounting_is_summed_over_batches_and_kept_by_compaction(database: Database) -> None:
    shop, app = SourceId(1), SourceId(2)
    with database.transaction() as tx:
        for _ in range(3):
            before = tx.statements
            accounting_store.add_accounting(
                tx,
                HOUR,
                {(shop, State.STORED, ""): 5, (shop, State.INVALID, "type_unknown"): 1, (app, State.STORED, ""): 2},
            )
            assert tx.statements == before + 1
        accounting_store.add_accounting(tx, HOUR + timedelta(hours=1), {(shop, State.DUPLICATE, ""): 4})
        accounting_store.add_accounting(tx, HOUR, {})
        until = HOUR + timedelta(hours=2)
        read = accounting_store.accounting(tx, HOUR, until)
        assert [(e.source_id, e.hour, e.state, e.reason, e.messages) for e in read] == [
            (shop, HOUR, State.INVALID, "type_unknown", 3),
            (shop, HOUR, State.STORED, "", 15),
            (app, HOUR, State.STORED, "", 6),
            (shop, HOUR + timedelta(hours=1), State.DUPLICATE, "", 4),
        ]
        assert accounting_store.compact_accounting(tx, HOUR + timedelta(hours=1)) == 6
        assert accounting_store.compact_accounting(tx, HOUR + timedelta(hours=1)) == 0
        assert accounting_store.accounting(tx, HOUR, until) == read
        assert accounting_store.accounting(tx, HOUR, HOUR + timedelta(hours=1), source_ids=[app]) == [read[2]]
        assert accounting_store.accounting(tx, HOUR, until, source_ids=[]) == []


def test_notices_are_summed(database: Database) -> None:
    shop = SourceId(1)
    with database.transaction() as tx:
        for _ in range(2):
            notice_store.add_notices(tx, HOUR, {(shop, NoticeKind.UNKNOWN_EVENT, "other"): 2})
        notice_store.add_notices(tx, HOUR, {})
        [entry] = notice_store.notices(tx, HOUR, HOUR + timedelta(hours=1), source_ids=[shop])
    assert (entry.kind, entry.subject, entry.messages) == (NoticeKind.UNKNOWN_EVENT, "other", 4)


def test_an_hour_is_cut_to_its_beginning() -> None:
    assert accounting_store.hour_of(NOW) == HOUR


def test_the_latest_policy_is_the_last_applied_and_history_stays(database: Database) -> None:
    with database.transaction() as tx:
        assert policy_store.latest_policy(tx) is None
        first = policy_store.add_policy(tx, b"1", {"purposes": ["service"]}, now=NOW)
        second = policy_store.add_policy(tx, b"2", {"purposes": ["service", "analytics"]}, now=NOW)
        assert policy_store.latest_policy(tx) == second
        assert policy_store.policies(tx) == [first, second]


def test_the_test_clock_can_be_set_moved_and_taken_away(database: Database) -> None:
    with database.transaction() as tx:
        test_clock_store.override_instant(tx, NOW)
        test_clock_store.override_instant(tx, HOUR)
        assert tx.execute("SELECT instant FROM operations.instant_override") == [(HOUR,)]
        test_clock_store.override_instant(tx, None)
        assert tx.execute("SELECT instant FROM operations.instant_override") == []
