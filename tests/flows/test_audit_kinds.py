"""Every kind of entry that the log declares is written by a real flow: each flow is run, and the kinds are collected."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cdp.access.model import Role
from cdp.audit.fact import KINDS
from cdp.brokers.address import parse_address
from cdp.flows.consent import acts
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.consume.consume import Subscription, consume
from cdp.flows.context import Context
from cdp.flows.hooks import manage
from cdp.flows.identity.accept import accept
from cdp.flows.identity.lookup import look_up
from cdp.flows.identity.reject import reject
from cdp.flows.identity.review import list_reread
from cdp.flows.identity.simulate import simulate
from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.flows.operations import sources as sources_flow
from cdp.flows.operations import tokens as tokens_flow
from cdp.flows.operations.key_destruction import destroy_keys
from cdp.flows.operations.key_rotation import rotate_epoch, rotate_pseudonyms
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.retention import sweep
from cdp.flows.operations.startup import PolicyWatcher, StateUse, migrate_schema, open_context, open_service
from cdp.flows.operations.state_move import move_state
from cdp.flows.rights import requests
from cdp.flows.rights.replay import replay
from cdp.flows.rights.restrict import release
from cdp.flows.rights.scrub import scrub
from cdp.flows.segments import definitions, memberships
from cdp.identity.model import Identifier
from cdp.kit.config import read_config
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.replay_file import REPLAY_FILE
from cdp.segments.model import Draft, SegmentKey
from cdp.sources.hook import SignatureScheme
from cdp.sources.model import SourceKind
from tests.support.databases import EMPTY, plain_url, temporary_database
from tests.support.messages import consent_context, order, track
from tests.support.people import ADA, ADA_EMAIL, BOB, NOON, WEB
from tests.support.policies import changed, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

U1, U2 = Identifier("user_id", "u1"), Identifier("user_id", "u2")
EMAIL = Identifier("email", "ada@example.com")
INTERESTS = {
    "name": "Preventing fraud",
    "text": "For the test.",
    "legal_basis": "legitimate_interests",
    "assessment": "LIA-1",
    "categories": ["user.unique_id"],
    "data_use": "essential.service",
}


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    policy = changed(shipped(), "identifiers.yaml", bounds={"identifiers_per_profile": 3, "identifiers_per_replay": 2})
    policy = changed(policy, "purposes.yaml", purposes={"fraud_prevention": INTERESTS})
    return open_request_pipeline(database, policy, tmp_path)


@contextmanager
def stage(rights: RequestPipeline, written: dict[str, str]) -> Iterator[None]:
    """Note which kinds the flows of a block write first, and move the clock on."""
    yield
    with rights.context.database.transaction(read_only=True) as tx:
        for (kind,) in tx.execute("SELECT DISTINCT kind FROM audit.fact"):
            written.setdefault(kind, sys._getframe(2).f_code.co_name)
    rights.later(minutes=1)


def consents(rights: RequestPipeline, written: dict[str, str]) -> None:
    context = rights.context
    with stage(rights, written):
        acts.record(context, acts.ConsentStatement(ADA_EMAIL, "email_marketing", "grant"))
        rights.pipeline.send(ADA, BOB)
    with stage(rights, written):
        granted = consent_context(analytics=True, personalization=True)
        rights.pipeline.send(track(anonymousId="a1", context=granted), source=WEB)
    with stage(rights, written):
        rights.pipeline.send(track(anonymousId="a1", context=consent_context(analytics=False)), source=WEB)
        clear_withdrawn(context)


def identity(rights: RequestPipeline, written: dict[str, str]) -> None:
    context = rights.context
    with stage(rights, written):
        rights.pipeline.send(track(userId="ada"), track(anonymousId="a2", context=consent_context(analytics=True)))
        rights.pipeline.send(track(userId="ada", anonymousId="a2", context=consent_context(analytics=True)))
        look_up(context, Identifier("user_id", "ada"), actor="privacy")
    with stage(rights, written):
        pair = (Identifier("user_id", "ada"), Identifier("anonymous_id", "a2"))
        unmerge(context, *pair, dry_run=False)
        remerge(context, *pair, dry_run=False)
        simulate(context, context.policy, actor="privacy")
        rebuild(context)
    with stage(rights, written):
        for number in range(4):
            rights.pipeline.send(order(userId="crowd", anonymousId=f"d{number}"))
    with stage(rights, written):
        for name in ("fay", "gus", "hal"):
            acts.record(context, acts.ConsentStatement(("user_id", name), "analytics", "grant"))
            named = {"traits": {"email": f"{name}@example.com"}}
            rights.pipeline.send(track(userId=name, anonymousId="tablet", context=named), source=WEB)
        rights.pipeline.send(order(userId="fay", context={"traits": {"email": "fay@example.com"}}))
    with stage(rights, written):
        rights.pipeline.send(order(userId="dan", anonymousId="kiosk"))
        blocked = changed(context.policy, "identifiers.yaml", blocked={"values": ["kiosk"]})
        today = replace(context, policy=blocked)
        for case in list_reread(today, limit=10, actor="operator").reread:
            reject(today, case.identifier, reason="unproven", actor="operator")
            accept(today, case.identifier, dry_run=False)


def segments(rights: RequestPipeline, written: dict[str, str]) -> None:
    context = rights.context
    with stage(rights, written):
        draft = Draft(SegmentKey("seen"), "Seen", "analytics", "marketer")
        definitions.define(context, draft, 'did("Product Viewed")', is_new=True, actor="marketer")
        memberships.refresh(context, "seen")
        definitions.delete_segment(context, "seen", actor="marketer")


def operations(rights: RequestPipeline, written: dict[str, str]) -> None:
    context = rights.context
    with stage(rights, written):
        token = tokens_flow.create_token(context, "Grace", Role.AUDITOR)
        tokens_flow.revoke_token(context, int(token.token.token_id))
        with context.database.transaction() as tx:
            tx.execute("SELECT setval(pg_get_serial_sequence('sources.source', 'source_id'), 100)")
        sources_flow.create_source(context, "till", kind=SourceKind.SERVER)
        sources_flow.set_defer(context, "till", defer=True)
        sources_flow.replace_write_key(context, "till")
        mapping = "type: identify\nidentifiers: {user_id: id}\n"
        manage.set_hook(context, "till", SignatureScheme.GITHUB, mapping=mapping, secrets=["0123456789abcdef"])
        manage.replace_secret(context, "till", "fedcba9876543210")
        manage.delete_hook(context, "till")
        sources_flow.disable_source(context, "till")
    with stage(rights, written):
        rotate_pseudonyms(context)
        rotate_epoch(context)
        destroy_keys(context)
    with stage(rights, written):
        apply_policy(context, changed(context.policy, "retention.yaml", scrub_within_days=20))


def imported(rights: RequestPipeline, written: dict[str, str], folder: Path) -> None:
    file, mapping = folder / "orders.csv", folder / "mapping.yaml"
    file.write_text("customer,order\nc1,1\n", encoding="utf-8")
    mapping.write_text(
        "event: Order Completed\nmessage_id: {template: 'o-{order}'}\nidentifiers: {user_id: customer}\n",
        encoding="utf-8",
    )
    with stage(rights, written):
        import_file(rights.context, file, load_mapping(mapping))


def queues(rights: RequestPipeline, written: dict[str, str]) -> None:
    topic = Subscription(parse_address("kafka://127.0.0.1:1"), "orders", "backend", group="g", reset=True)
    sources_flow.create_source(rights.context, "backend", kind=SourceKind.SERVER)
    with stage(rights, written), pytest.raises(Fault, match="broker_unavailable"):
        consume(PolicyWatcher(rights.context), topic, stop=Event())


def subject_requests(rights: RequestPipeline, written: dict[str, str]) -> None:
    context, clock = rights.context, rights.pipeline.clock
    with stage(rights, written):
        rights.pipeline.send(order(userId="bob", properties={"order_id": "o-1", "revenue": 5}))
        rights.export(("user_id", "bob"))
        requests.extend(context, rights.ask("access", ("user_id", "y")).request_id, clock.now())
        requests.deny(context, rights.ask("access", ("user_id", "x")).request_id, "unfounded", now=clock.now())
        requests.open_request(
            context,
            kind="objection",
            regime="gdpr",
            identifiers=[("user_id", "x")],
            now=clock.now(),
            details=requests.RequestDetails(is_weighed=True),
        )
        requests.withdraw(context, rights.ask("erasure", ("user_id", "x")).request_id, clock.now())
        asked = requests.open_request(
            context, kind="access", regime="gdpr", identifiers=[("user_id", "z")], now=clock.now()
        )
        requests.ask(context, asked.request_id, clock.now())
        restricted = rights.ask("restriction", ("user_id", "bob"))
        requests.run(context, restricted.request_id, clock.now())
        rights.later(minutes=1)
        release(context, [("user_id", "bob")], is_informed=True, now=clock.now())
        rights.erase(("user_id", "bob"))
        scrub(context.database, clock.now())
    with stage(rights, written):
        with context.database.transaction() as tx:
            tx.execute("UPDATE rights.replay SET number = 0, digest = ''")
        replay(context, clock.now())
        (rights.home / REPLAY_FILE).unlink()
        accepting = StateUse(context.state, accepts_loss=True)
        open_context(context.database, context.policy, clock, home=rights.home, state=accepting)
    with stage(rights, written):
        rights.later(days=40)
        requests.sweep_requests(context, clock.now())


def retention(rights: RequestPipeline, written: dict[str, str]) -> None:
    with stage(rights, written):
        rights.later(days=4_000)
        sweep(rights.context, rights.pipeline.clock.now())


def log(rights: RequestPipeline, written: dict[str, str]) -> None:
    """The log itself: started, restored from its copy, and replaced when its copy contradicts it."""
    with stage(rights, written):
        rights.sequence()
    with stage(rights, written):
        unsign(rights.context)
        rights.sequence()
    with stage(rights, written):
        copy = next(path for path in (rights.home / "log").iterdir() if path.is_dir())
        (copy.parent / "7").mkdir()
        (copy.parent / "7" / "entries").touch()
        rights.sequence()
        rights.sequence()


def unsign(context: Context) -> None:
    """Take the log in the database back to before its last checkpoint, as a restore does."""
    statements: tuple[Any, ...] = (
        "DELETE FROM audit.checkpoint",
        "DELETE FROM audit.tile",
        "UPDATE audit.entry SET tree_id = NULL, leaf_index = NULL",
        "DELETE FROM audit.fact WHERE entry_id > 2",
        "DELETE FROM audit.entry WHERE entry_id > 2",
        "UPDATE audit.tree SET size = 0",
    )
    with context.database.transaction() as tx:
        for statement in statements:
            tx.execute(statement)


def kinds_of_a_migration(server: EmbeddedPostgres) -> set[str]:
    with temporary_database(server, EMPTY) as url:
        migrate_schema(url, NOON)
        database = Database(url)
        try:
            with database.transaction(read_only=True) as tx:
                return {kind for (kind,) in tx.execute("SELECT DISTINCT kind FROM audit.fact")}
        finally:
            database.close()


def kinds_of_a_move(server: EmbeddedPostgres, folder: Path) -> set[str]:
    with temporary_database(server, EMPTY) as url:
        config = read_config({"CDP_DATABASE_URL": plain_url(url), "CDP_HOME": str(folder / "moved")})
        with open_service(config):
            pass
        move_state(config, (folder / "state").as_uri())
        database = Database(url)
        try:
            with database.transaction(read_only=True) as tx:
                return {kind for (kind,) in tx.execute("SELECT DISTINCT kind FROM audit.fact")}
        finally:
            database.close()


def test_every_declared_kind_is_written_by_a_flow(
    rights: RequestPipeline, tmp_path: Path, server: EmbeddedPostgres
) -> None:
    written: dict[str, str] = dict.fromkeys(kinds_of_a_migration(server), "migration")
    written |= dict.fromkeys(kinds_of_a_move(server, tmp_path), "move")
    consents(rights, written)
    identity(rights, written)
    segments(rights, written)
    operations(rights, written)
    imported(rights, written, tmp_path)
    queues(rights, written)
    subject_requests(rights, written)
    log(rights, written)
    retention(rights, written)
    assert KINDS.keys() - written.keys() == set(), written
