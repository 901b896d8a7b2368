"""The scrub: after it no byte of the person's identifiers, pseudonyms or keys is left in the server's files."""

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.audit.checkpoint import parse_vkey
from cdp.audit.fact import commitment
from cdp.audit.verify import Verified, verify_receipt
from cdp.flows.rights import requests
from cdp.flows.rights.scrub import is_scrub_due, scrub
from cdp.flows.rights.scrub import receipt as scrub_receipt
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.model import Request
from cdp.rights.store.scrub import tables_to_rewrite
from cdp.vault.pseudonym import SUPPRESSION
from cdp.vault.sign import is_signed
from tests.support.messages import identify, order
from tests.support.people import BOB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

WORDS = ("zoe.quintessential@example.com", "zoe-quintessential-77", "Zoë Quintessential", "handset-quintessential")
ZOE = [
    identify(userId=WORDS[1], traits={"email": WORDS[0], "name": WORDS[2]}, anonymousId=WORDS[3]),
    order(userId=WORDS[1], properties={"order_id": WORDS[1], "revenue": 5}),
]


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def secrets_of(rights: RequestPipeline) -> dict[str, bytes]:
    """Everything that must not be found again: words, pseudonyms of each domain, wrapped keys."""
    found = {f"word {number}": word.encode() for number, word in enumerate(WORDS)}
    with rights.context.database.transaction(read_only=True) as tx:
        found |= {
            f"graph {n}": bytes(row[0]) for n, row in enumerate(tx.execute("SELECT pseudonym FROM identity.identifier"))
        }
        found |= {
            f"key {n}": bytes(row[0]) for n, row in enumerate(tx.execute("SELECT wrapped FROM vault.subject_key"))
        }
        found |= {
            f"reader {n}": row[0].encode()
            for n, row in enumerate(tx.execute("SELECT DISTINCT reader_pseudonym FROM consent.permitted"))
        }
    return found


def files_of(server: EmbeddedPostgres) -> Iterator[Path]:
    """Every file of the server: heap, indexes, statistics, write-ahead log, server log."""
    assert server._place is not None
    folder = server._place.data.parent
    return (path for path in folder.rglob("*") if path.is_file() and "postgresql.conf" not in path.name)


def residue(server: EmbeddedPostgres, secrets: dict[str, bytes]) -> set[str]:
    """The names of the secrets of which some file holds the bytes, with the kind of the file."""
    found = set()
    for path in files_of(server):
        content = path.read_bytes()
        place = "log" if "pg_wal" in path.parts else "data" if "base" in path.parts else path.name
        found |= {f"{name} in {place}" for name, secret in secrets.items() if secret in content}
    return found


def test_no_byte_is_left(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    rights.pipeline.send(*ZOE)
    secrets = secrets_of(rights)
    rights.pipeline.send(BOB)
    with rights.context.database.transaction() as tx:
        tx.execute("ANALYZE")
    plain = {each for each in residue(server, secrets) if each.startswith("word")}
    assert plain == set(), "a value was written in plain"
    request = rights.ask("access", ("user_id", WORDS[1]))
    rights.opened(request)
    rights.erase(("user_id", WORDS[1]))
    assert any(each.startswith("graph") for each in residue(server, secrets)), "the search finds nothing at all"
    done = scrub(rights.context.database, rights.pipeline.clock.now())
    assert done.not_scrubbed == ()
    assert set(done.tables) == set(tables_to_rewrite())
    assert residue(server, secrets) == set()
    hidden = rights.context.vault.hashes.pseudonym(SUPPRESSION, "user_id", WORDS[1])
    assert rights.pipeline.one("SELECT count(*) FROM rights.suppression") >= 3
    assert any(name.startswith("hidden") for name in residue(server, {"hidden": hidden}))


def test_what_this_role_may_not_do_is_listed(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    with Database(server.url_for("cdp_admin", "postgres")).transaction() as tx:
        tx.execute("REVOKE pg_checkpoint FROM cdp")
    try:
        done = scrub(rights.context.database, rights.pipeline.clock.now())
    finally:
        with Database(server.url_for("cdp_admin", "postgres")).transaction() as tx:
            tx.execute("GRANT pg_checkpoint TO cdp")
    assert done.not_scrubbed == ("checkpoint",)
    assert (
        rights.pipeline.one("SELECT body -> 'not_scrubbed' ->> 0 FROM audit.fact WHERE kind = 'scrub.run'")
        == "checkpoint"
    )


def test_a_snapshot_that_still_sees_the_person_is_reported(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    rights.pipeline.send(*ZOE)
    secrets = secrets_of(rights)
    with rights.context.database.transaction(read_only=True) as tx:
        tx.execute("SELECT 1")
        rights.erase(("user_id", WORDS[1]))
        assert scrub(rights.context.database, rights.pipeline.clock.now()).not_scrubbed == ("older_snapshot",)
        assert residue(server, secrets), "there was no reason to report it"
    assert scrub(rights.context.database, rights.pipeline.clock.now()).not_scrubbed == ()
    assert residue(server, secrets) == set()


def test_a_writer_between_two_statements_is_an_older_snapshot_too(rights: RequestPipeline) -> None:
    with rights.context.database.transaction() as tx:
        tx.execute("SELECT pg_current_xact_id()")
        assert "older_snapshot" in scrub(rights.context.database, rights.pipeline.clock.now()).not_scrubbed


def test_a_busy_service_is_no_older_snapshot(rights: RequestPipeline) -> None:
    """Others come and go all the time: only who was there before, and stays, holds deleted rows back."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            with rights.context.database.transaction() as tx:
                tx.execute("SELECT pg_current_xact_id(), pg_sleep(0.02)")

    with ThreadPoolExecutor(3) as pool:
        busy = [pool.submit(work) for _ in range(3)]
        try:
            assert scrub(rights.context.database, rights.pipeline.clock.now()).not_scrubbed == ()
        finally:
            done.set()
        for each in busy:
            each.result()


def test_a_reader_that_stays_delays_nobody_and_is_told(rights: RequestPipeline) -> None:
    """A marketer's open transaction must not make the scrub, and everybody behind it, wait."""
    with rights.context.database.transaction() as tx:
        tx.execute("SELECT count(*) FROM consent.permitted")
        assert "consent.permitted" in scrub(rights.context.database, rights.pipeline.clock.now()).not_scrubbed
        assert rights.pipeline.send(BOB)[0].state is State.STORED
    with rights.context.database.transaction() as tx:
        assert tx.execute("SHOW lock_timeout") == [("30s",)]


def test_it_is_due_until_all_of_it_is_done(rights: RequestPipeline) -> None:
    assert not is_scrub_due(rights.context, rights.pipeline.clock.now())
    rights.pipeline.send(*ZOE)
    with rights.context.database.transaction(read_only=True) as tx:
        tx.execute("SELECT 1")
        rights.erase(("user_id", WORDS[1]))
        assert not is_scrub_due(rights.context, rights.pipeline.clock.now())
        rights.later(days=rights.context.policy.retention.scrub_within_days / 2)
        assert is_scrub_due(rights.context, rights.pipeline.clock.now())
        assert scrub(rights.context.database, rights.pipeline.clock.now()).not_scrubbed == ("older_snapshot",)
    rights.later(hours=1)
    assert is_scrub_due(rights.context, rights.pipeline.clock.now())
    scrub(rights.context.database, rights.pipeline.clock.now())
    rights.later(hours=1)
    assert not is_scrub_due(rights.context, rights.pipeline.clock.now())


class TestSecondReceipt:
    """A scrub issues a second receipt for each erasure before it, bound to the leaf of the first."""

    def erased(self, rights: RequestPipeline, user_id: str) -> Request:
        return rights.erase(("user_id", user_id))

    def body(self, rights: RequestPipeline, request: Request) -> dict[str, Any]:
        """The body of the second receipt, after it was verified offline."""
        rights.sequence()
        document = scrub_receipt(rights.context, request.request_id)
        outcome = verify_receipt(document, [parse_vkey(document["vkey"])], is_signed)
        assert isinstance(outcome, Verified), outcome
        return dict(outcome.body)

    def test_it_states_that_the_residue_is_overwritten(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(*ZOE, BOB)
        zoe = self.erased(rights, WORDS[1])
        with pytest.raises(Fault, match="not_scrubbed_yet"):
            scrub_receipt(rights.context, zoe.request_id)
        scrub(rights.context.database, rights.pipeline.clock.now())
        rights.sequence()
        first = requests.receipt(rights.context, zoe.request_id)
        second = self.body(rights, zoe)
        assert first["body"]["is_scrubbed"] is False
        assert (second["kind"], second["request"], second["is_scrubbed"]) == ("request.scrubbed", zoe.outward_id, True)
        leaf = commitment(base64.b64decode(first["salt"]), first["body"])
        assert second["fulfillment"] == leaf.hex()
        assert requests.show(rights.context, zoe.request_id).request.is_scrubbed

    def test_a_scrub_that_is_to_be_repeated_issues_none(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(*ZOE)
        with rights.context.database.transaction(read_only=True) as tx:
            tx.execute("SELECT 1")
            zoe = self.erased(rights, WORDS[1])
            scrub(rights.context.database, rights.pipeline.clock.now())
        with pytest.raises(Fault, match="not_scrubbed_yet"):
            scrub_receipt(rights.context, zoe.request_id)
        scrub(rights.context.database, rights.pipeline.clock.now())
        assert self.body(rights, zoe)["is_scrubbed"] is True

    def test_what_the_role_cannot_scrub_is_stated_once_and_made_good(
        self, rights: RequestPipeline, server: EmbeddedPostgres
    ) -> None:
        rights.pipeline.send(*ZOE)
        zoe = self.erased(rights, WORDS[1])
        with Database(server.url_for("cdp_admin", "postgres")).transaction() as tx:
            tx.execute("REVOKE pg_checkpoint FROM cdp")
        try:
            for _ in range(2):
                scrub(rights.context.database, rights.pipeline.clock.now())
        finally:
            with Database(server.url_for("cdp_admin", "postgres")).transaction() as tx:
                tx.execute("GRANT pg_checkpoint TO cdp")
        partial = self.body(rights, zoe)
        assert (partial["is_scrubbed"], partial["not_scrubbed"]) == (False, ["checkpoint"])
        assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'request.scrubbed'") == 1
        assert not requests.show(rights.context, zoe.request_id).request.is_scrubbed
        scrub(rights.context.database, rights.pipeline.clock.now())
        assert self.body(rights, zoe)["is_scrubbed"] is True
        scrub(rights.context.database, rights.pipeline.clock.now())
        assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'request.scrubbed'") == 2


def test_the_tables_are_computed_from_the_dictionary() -> None:
    assert set(tables_to_rewrite()) >= {"identity.identifier", "vault.subject_key", "consent.permitted"}
