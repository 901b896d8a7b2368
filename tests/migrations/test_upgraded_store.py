"""A store filled before the upgrade works after it: what was known, promised, signed and refused still holds."""

import asyncio
import io
import json
import zipfile
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from cdp.accounting.model import State
from cdp.audit.checkpoint import parse_vkey
from cdp.audit.verify import Verified, verify_receipt
from cdp.consent.receipt import is_genuine
from cdp.flows.audit.log_check import check_log
from cdp.flows.audit.report import public_key
from cdp.flows.context import Context
from cdp.flows.hooks.manage import set_hook
from cdp.flows.hooks.receive import active_hooks
from cdp.flows.identity.link_table.table import import_links
from cdp.flows.identity.lookup import look_up
from cdp.flows.identity.reject import reject
from cdp.flows.identity.review import list_reread
from cdp.flows.identity.unmerge import rebuild
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.accounting import Accounting, count_messages, recent_messages
from cdp.flows.operations.computed_traits import check_sample
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.retention import sweep
from cdp.flows.operations.startup import policy_in_force, sequence_all
from cdp.flows.operations.tokens import find_token
from cdp.flows.rights import requests
from cdp.flows.rights.replay import is_behind
from cdp.flows.segments.memberships import refresh_stale
from cdp.identity.model import Identifier
from cdp.kit.clock import TestClock
from cdp.kit.errors import Fault
from cdp.kit.ids import decode_id
from cdp.rights.model import Status
from cdp.sources.hook import SignatureScheme
from cdp.sources.model import Source
from cdp.sources.store.sources import source_named
from cdp.vault.sign import is_signed
from cdp.web.ingest.write_keys import directory_of
from tests.support.databases import plain_url
from tests.support.messages import consent_context, identify, order, track
from tests.support.pipeline import Pipeline
from tests.support.policies import changed, documents_of, with_readers

Known = dict[str, Any]
_YEAR = timedelta(days=365)


def split(identifier: str) -> tuple[str, str]:
    """Type and value of an identifier of the file with the known state."""
    type_, _, value = identifier.partition(":")
    return type_, value


def request_named(known: Known, name: str) -> int:
    """The internal number of a request of the dump."""
    number = decode_id("req", known["requests"][name])
    assert number is not None
    return number


@pytest.fixture
def pipeline(context: Context) -> Pipeline:
    assert isinstance(context.clock, TestClock)
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    return Pipeline(context, context.clock, ingest)


@pytest.fixture
def shop(context: Context) -> Source:
    """The source over which the messages of the dump came."""
    with context.database.transaction(read_only=True) as tx:
        source = source_named(tx, "shop")
    assert source is not None
    return source


def test_the_vault_opens_with_the_keys_of_the_dump(context: Context) -> None:
    assert context.notice is None, "no master key was created"
    in_force = policy_in_force(context.database)
    assert in_force is not None
    assert not is_behind(context)


def test_everybody_looks_as_before(context: Context, known: Known) -> None:
    for name, expected in known["people"].items():
        found = look_up(context, Identifier(*split(name)), actor="privacy")
        assert found.profile == expected["profile"]
        assert sorted(f"{held.type}:{held.value}" for held in found.identifiers) == expected["identifiers"]
        assert {key: verdict.allowed for key, verdict in found.consents.items()} == expected["consents"]
        assert json.loads(json.dumps(dict(found.traits), default=str)) == expected["traits"]
        assert dict(found.computed_traits) == pytest.approx(expected["computed_traits"]), name
        assert sorted(found.segments) == expected["segments"]
        assert found.events == expected["events"]


def test_the_erased_stay_erased_and_suppressed(
    context: Context, pipeline: Pipeline, shop: Source, known: Known
) -> None:
    for name in known["erased"]:
        type_, value = split(name)
        with pytest.raises(Fault, match="unknown") as caught:
            look_up(context, Identifier(type_, value), actor="privacy")
        assert caught.value.code == "unknown_profile"
    bodies = [
        track(userId="bob"),
        track(anonymousId="bob-laptop"),
        track(userId="ivy"),
    ]
    assert [outcome.state for outcome in pipeline.send(*bodies, source=shop)] == [State.SUPPRESSED] * 3


def test_a_message_sent_again_is_a_duplicate_and_a_new_one_is_stored(pipeline: Pipeline, shop: Source) -> None:
    order = track("Order Completed", userId="ada", properties={"revenue": 5})
    assert [outcome.state for outcome in pipeline.send({**order, "messageId": "twice"}, source=shop)] == [
        State.DUPLICATE
    ]
    assert [outcome.state for outcome in pipeline.send({**order, "messageId": "after-upgrade"}, source=shop)] == [
        State.STORED
    ]
    consented = consent_context(analytics=True, email_marketing=True)
    new = identify(userId="new", traits={"email": "new@example.com"}, context=consented)
    assert [outcome.state for outcome in pipeline.send(new, source=shop)] == [State.STORED]
    assert look_up(pipeline.context, Identifier("email", "new@example.com"), actor="privacy").anchors == 1


def test_a_source_of_before_can_have_a_webhook(context: Context, pipeline: Pipeline, shop: Source) -> None:
    set_hook(
        context,
        shop.name,
        SignatureScheme.GITHUB,
        mapping="type: identify\nidentifiers: {user_id: id}\n",
        secrets=["0123456789abcdef"],
    )
    assert set(active_hooks(context)) == {shop.name}
    pipeline.send(track(userId="ada"), source=shop)
    assert {message.delivery for message in recent_messages(context, shop.name, actor="operator")} == {""}


def test_the_log_is_sound_against_the_head_of_before(context: Context, known: Known) -> None:
    assert public_key(context) == known["log"]["public_key"]
    assert sequence_all(context) >= 1, "the entry that waited in the dump is placed"
    checked = check_log(context.database, context.log, known["log"]["head"])
    assert [finding for finding in checked.findings if finding.wrong is not None] == []
    assert checked.size > known["log"]["size"]


def test_receipts_of_before_verify(context: Context, known: Known, erasure_receipt: Known) -> None:
    key = parse_vkey(known["log"]["public_key"])
    assert isinstance(verify_receipt(erasure_receipt, [key], is_signed), Verified)
    signer = context.log.signer.public_key
    assert is_genuine(known["consent_receipt"], signer, is_signed)
    again = requests.receipt(context, request_named(known, "erasure of bob, fulfilled"))
    assert again["body"] == erasure_receipt["body"]


def test_recomputation_changes_nothing(context: Context) -> None:
    assert check_sample(context.database, context.policy, context.clock.now(), from_profile=0) == []
    assert rebuild(context).changed == 0


def test_stale_memberships_are_refreshed(context: Context) -> None:
    while refresh_stale(context):
        pass
    ada = look_up(context, Identifier("user_id", "ada"), actor="privacy")
    nora = look_up(context, Identifier("user_id", "nora"), actor="privacy")
    assert ("new_buyers" in ada.segments, "new_buyers" in nora.segments) == (True, False)


def test_the_erasure_that_waited_completes(context: Context, known: Known) -> None:
    number = request_named(known, "erasure of ivy, verified and not begun")
    ended = requests.run(context, number, context.clock.now())
    assert ended.request.status is Status.FULFILLED
    with pytest.raises(Fault) as caught:
        look_up(context, Identifier("user_id", "ivy"), actor="privacy")
    assert caught.value.code == "unknown_profile"
    sequence_all(context)
    receipt = requests.receipt(context, number)
    key = parse_vkey(known["log"]["public_key"])
    assert isinstance(verify_receipt(receipt, [key], is_signed), Verified)
    assert check_log(context.database, context.log, known["log"]["head"]).is_sound


def test_events_of_a_restricted_person_outlast_their_retention(context: Context) -> None:
    now = context.clock.now()
    request = requests.open_request(
        context, kind="restriction", regime="gdpr", identifiers=[("user_id", "hana")], now=now
    )
    requests.verify(context, request.request_id, now)
    requests.run(context, request.request_id, now)
    sweep(context, now + timedelta(days=1200))
    with context.database.transaction(read_only=True) as tx:
        assert tx.execute("SELECT count(*) FROM behavior.event") == [(0,)]
        assert tx.execute("SELECT count(*) FROM behavior.restricted_event") == [(3,)]


def test_archives_can_be_fetched(context: Context, known: Known) -> None:
    now = context.clock.now()
    requests.verify(context, request_named(known, "access of gina, received"), now)
    requests.run(context, request_named(known, "access of gina, received"), now)
    for name, address in (
        ("access of ada, fulfilled", "ada@example.com"),
        ("access of gina, received", "gina@example.com"),
    ):
        archive = requests.export(context, request_named(known, name), now)
        with zipfile.ZipFile(io.BytesIO(archive.content)) as file:
            assert address in file.read("data.json").decode()


def test_tokens_and_write_keys_work(context: Context, known: Known) -> None:
    roles = {name: find_token(context, secret) for name, secret in known["tokens"].items()}
    assert {name: token and token.role.value for name, token in roles.items()} == {name: name for name in roles}
    directory = directory_of(context.database)
    names = {name: asyncio.run(directory.find(key)) for name, key in known["write_keys"].items()}
    assert {name: source.name if source else None for name, source in names.items()} == {
        "shop": "shop",
        "web": "web",
        "west": "west",
        "former": None,
    }


class TestMarketer:
    """The role for marketers after the upgrade, taken on by the owner's administrator."""

    @pytest.fixture
    def marketer(self, server: Any, context: Context) -> Any:
        name = context.database.engine.url.database
        with psycopg.connect(plain_url(server.url_for("cdp_admin", name)), autocommit=True) as connection:
            connection.execute("SET ROLE cdp_marketer")
            yield connection

    def test_it_reads_what_it_may(self, marketer: psycopg.Connection[Any], known: Known) -> None:
        query = "SELECT count(reader_pseudonym) FROM consent.permitted_email_marketing"
        allowed = sum(person["consents"]["email_marketing"] for person in known["people"].values())
        assert marketer.execute(query).fetchone() == (allowed,)

    def test_it_reads_nothing_else(self, marketer: psycopg.Connection[Any]) -> None:
        for query in (
            "SELECT profile_id FROM consent.permitted_email_marketing",
            "SELECT * FROM identity.profile",
            "SELECT * FROM operations.instant_override",
            "SELECT * FROM sources.source",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                marketer.execute(query)

    def test_it_sees_the_instant_of_the_test_clock(self, marketer: psycopg.Connection[Any], known: Known) -> None:
        row = marketer.execute("SELECT consent.present_instant()").fetchone()
        assert row is not None
        assert row[0].isoformat() == known["instants"]["end"].replace("Z", "+00:00")


def test_rows_that_a_rule_refused_are_counted_beside_what_was_counted_before(context: Context, shop: Source) -> None:
    def counted() -> Accounting:
        return count_messages(context, context.clock.now() - 3 * _YEAR, context.clock.now() + _YEAR, actor="operator")

    before = counted()
    assert before.received == sum(before.by_state.values()) > 0
    linked = import_links(context, shop, [("user_id", "ada", "user_id", "nora")])
    assert dict(linked.states) == {"refused": 1}
    after = counted()
    assert after.by_state == before.by_state | {"refused": 1}
    assert after.received == before.received + 1


def test_a_case_of_the_review_can_be_rejected(context: Context, pipeline: Pipeline, shop: Source) -> None:
    types = documents_of(context.policy)["identifiers.yaml"]["types"]
    stricter = changed(
        context.policy, "identifiers.yaml", types={"user_id": types["user_id"] | {"normalizer": "advertising_id"}}
    )
    pipeline.send(order(userId="NEW", properties={"revenue": 5}), source=shop)
    today = replace(context, policy=stricter)
    (case,) = list_reread(today, limit=10, actor="privacy").reread
    reject(today, case.identifier, reason="correct_as_stored")
    assert list_reread(today, limit=10, actor="privacy").reread == ()


def test_what_follows_is_dated_after_the_last_act_of_before(context: Context) -> None:
    """Acts of before were dated by the clocks of services."""
    with context.database.transaction(read_only=True) as tx:
        ((last, acted_at),) = tx.execute(
            """
            SELECT greatest((SELECT max(recorded_at) FROM consent.record), (SELECT max(recorded_at) FROM consent.repetition)),
                   (SELECT acted_at FROM identity.generation)
            """
        )
    assert acted_at >= last


def test_a_further_reader_role_reads_everybody_who_was_permitted_before(context: Context) -> None:
    apply_policy(context, with_readers(context.policy, agency=("analytics",)))
    with context.database.transaction(read_only=True) as tx:
        ((same, distinct),) = tx.execute(
            "SELECT count(*), count(*) FILTER (WHERE r.reader_pseudonym <> p.reader_pseudonym) FROM consent.permitted AS p "
            "JOIN consent.projection AS r USING (profile_id, purpose) WHERE purpose = 'analytics'"
        )
        ((expected,),) = tx.execute("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'")
    assert same == distinct == expected > 0
