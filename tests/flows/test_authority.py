"""Whose word counts: what a browser's public key says takes nothing from a person whom a server knows."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.flows.consent import acts
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.identity.explain import explain
from cdp.flows.identity.lookup import look_up
from cdp.flows.identity.profile_view import ProfileView
from cdp.flows.identity.unmerge import rebuild
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.rights.model import Status
from cdp.sources.model import IMPORT_SOURCE, Source, SourceKind
from tests.flows.test_erase_differential import another_database  # noqa: F401 - a fixture
from tests.generative.test_identity_batches import check_map
from tests.support.budget import IS_LONG
from tests.support.messages import consent_context, identify, order, track
from tests.support.people import NOON, SHOP, WEB, new_source
from tests.support.policies import changed, documents_of, permit_all, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

IMPORTED = new_source(4, IMPORT_SOURCE, SourceKind.SERVER)
ADDRESS = ("email", "vic@x.example")
OWNER = order(
    userId="vic",
    messageId="v2",
    properties={"order_id": "v2", "revenue": 5},
    context={"traits": {"email": "vic@x.example"}},
)
STRANGER = identify(
    userId="att",
    anonymousId="att-dev",
    messageId="b2",
    traits={"email": "vic@x.example"},
    context=consent_context(analytics=True),
)


def agree(rights: RequestPipeline, *, authority: str = "authenticated", act: str = "grant") -> None:
    """She says yes to e-mail about her address itself."""
    said = ConsentStatement(ADDRESS, "email_marketing", act, authority=authority, jurisdiction="eu")
    acts.record(rights.context, said)


def view(rights: RequestPipeline, type_: str, value: str) -> ProfileView:
    return look_up(rights.context, Identifier(type_, value), actor="privacy")


def test_somebody_elses_address_typed_in_a_browser_stays_hers(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    rights.pipeline.send(OWNER)
    agree(rights)
    rights.later(minutes=1)
    rights.pipeline.send(STRANGER, source=WEB)
    hers = view(rights, "user_id", "vic")
    assert {(held.type, held.value) for held in hers.identifiers} == {("user_id", "vic"), ADDRESS}
    assert hers.consents["email_marketing"].allowed
    assert view(rights, *ADDRESS).profile == hers.profile
    assert {held.value for held in view(rights, "user_id", "att").identifiers} == {"att", "att-dev"}
    noticed = "SELECT sum(messages) FROM accounting.notice WHERE kind = 'left_out_identifier' AND subject = 'email'"
    assert rights.pipeline.one(noticed) == 1
    found = explain(rights.context, Identifier(*ADDRESS), Identifier("user_id", "att"))
    assert [refusal.rule for refusal in found.refusals] == ["authority"]
    assert rights.erase(ADDRESS).status is Status.FULFILLED
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event WHERE source_id = 2") == 0


def test_an_address_that_was_claimed_early_goes_to_whom_the_server_names(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(STRANGER, source=WEB)
    rights.pipeline.send(identify(anonymousId="b-dev", traits={"email": "vic@x.example"}), source=WEB)
    assert rights.pipeline.one("SELECT count(*) FROM identity.identifier WHERE authority > 0") == 0
    rights.pipeline.send(OWNER)
    assert rights.pipeline.partition() == {
        frozenset({("user_id", "vic"), ADDRESS}),
        frozenset({("user_id", "att"), ("anonymous_id", "att-dev")}),
        frozenset({("anonymous_id", "b-dev")}),
    }
    kinds = "SELECT count(*) FROM identity.evidence WHERE kind = 'authority'"
    assert rights.pipeline.one(kinds) == 1
    left_out = "SELECT count(*) FROM identity.evidence WHERE kind = 'refusal' AND rule = 'authority:email'"
    assert rights.pipeline.one(left_out) == 2
    check_map(rights.pipeline)
    assert rebuild(rights.context).changed == 0


def test_an_address_that_strangers_made_shared_returns_to_her(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    for name in ("att", "eve"):
        rights.pipeline.send(identify(userId=name, traits={"email": "vic@x.example"}), source=WEB)
    assert rights.pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    rights.pipeline.send(OWNER)
    assert rights.pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 0
    assert view(rights, *ADDRESS).profile == view(rights, "user_id", "vic").profile
    check_map(rights.pipeline)


def test_what_browsers_made_shared_earlier_in_a_batch_is_decided_again(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    email = {"email": "vic@x.example"}
    claims = [identify(userId=name, traits=email, messageId=f"m-{name}") for name in ("att", "eve")]
    sent = [rights.pipeline.message(claim, source=WEB) for claim in claims]
    sent.append(rights.pipeline.message(identify(anonymousId="till", traits=email, messageId="m-last")))
    rights.pipeline.ingest.process(sent)
    assert rights.pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 0
    assert frozenset({ADDRESS, ("anonymous_id", "till")}) in rights.pipeline.partition()
    check_map(rights.pipeline)


def test_a_stale_message_of_a_server_takes_nothing(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(OWNER)
    agree(rights)
    rights.later(minutes=1)
    earlier = (NOON - timedelta(days=30)).isoformat()
    rights.pipeline.send(identify(userId="old", traits={"email": "vic@x.example"}, timestamp=earlier))
    assert rights.pipeline.one("SELECT count(*) FROM identity.evidence WHERE rule = 'stale:email'") == 1
    assert view(rights, *ADDRESS).profile == view(rights, "user_id", "vic").profile
    assert view(rights, "user_id", "vic").consents["email_marketing"].allowed
    check_map(rights.pipeline)
    assert rebuild(rights.context).changed == 0


def test_where_only_browsers_speak_an_address_stays_with_the_one_that_proved_it(
    database: Database, tmp_path: Path
) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(identify(userId="vic", traits={"email": "vic@x.example"}), source=WEB)
    rights.later(minutes=1)
    agree(rights)
    rights.later(minutes=1)
    rights.pipeline.send(STRANGER, source=WEB)
    assert view(rights, *ADDRESS).profile == view(rights, "user_id", "vic").profile
    assert view(rights, "user_id", "vic").consents["email_marketing"].allowed
    check_map(rights.pipeline)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_what_a_browser_says_of_an_address_alone_is_not_hers(
    database: Database, tmp_path: Path, *, is_first: bool, in_one_batch: bool
) -> None:
    """Both messages name the address and nothing else: the same set of identifiers, by words of different authority."""
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    traits = {"traits": {"email": "vic@x.example"}}
    hers = Said(order(messageId="own", properties={"order_id": "1", "revenue": 5}, context=traits), SHOP)
    strange = Said(order(messageId="att", properties={"order_id": "2", "revenue": 1000}, context=traits), WEB)
    send_in_turn(rights, [strange, hers] if is_first else [hers, strange], in_one_batch=in_one_batch)
    found = view(rights, *ADDRESS)
    assert (found.events, found.anchors) == (1, 1)
    assert found.computed_traits["revenue_decayed"] == pytest.approx(5, rel=0.01)
    check_map(rights.pipeline)
    assert rebuild(rights.context).changed == 0


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("in_one_batch", [True, False])
@pytest.mark.parametrize("beside", [{}, {"phone": "+49 30 901820"}], ids=["address", "address and number"])
def test_imported_orders_of_an_address_belong_to_whom_a_server_names(
    database: Database, tmp_path: Path, *, is_first: bool, in_one_batch: bool, beside: dict[str, str]
) -> None:
    """An import that ties the address to nobody else contradicts no server."""
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    traits = {"email": "vic@x.example", **beside}
    imported = Said(
        order(messageId="old", properties={"order_id": "1", "revenue": 5}, context={"traits": traits}), IMPORTED
    )
    named = Said(identify(userId="vic", messageId="own", traits=traits), SHOP)
    send_in_turn(rights, [imported, named] if is_first else [named, imported], in_one_batch=in_one_batch)
    assert (view(rights, "user_id", "vic").events, view(rights, *ADDRESS).events) == (2, 2)
    check_map(rights.pipeline)
    assert rebuild(rights.context).changed == 0
    assert rights.erase(ADDRESS).status is Status.FULFILLED
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event WHERE source_id = 4") == 0


def test_an_import_that_contradicts_a_server_does_not_take_the_address(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    traits = {"email": "vic@x.example"}
    other = Said(identify(userId="old", messageId="old", traits=traits), IMPORTED)
    send_in_turn(
        rights, [other, Said(identify(userId="vic", messageId="own", traits=traits), SHOP)], in_one_batch=False
    )
    assert rights.pipeline.partition() == {frozenset({("user_id", "vic"), ADDRESS}), frozenset({("user_id", "old")})}
    check_map(rights.pipeline)


def send_in_turn(rights: RequestPipeline, said: Sequence["Said"], *, in_one_batch: bool) -> None:
    """Send messages one after another; in one batch, their ids are numbered so that they are decided in this order."""
    sent = []
    for number, each in enumerate(said):
        body = {**each.body, "messageId": f"{number}-{each.body['messageId']}"}
        sent.append(rights.pipeline.message(body, source=each.source))
        if not in_one_batch:
            rights.pipeline.ingest.process(sent[-1:])
            rights.later(minutes=1)
    if in_one_batch:
        rights.pipeline.ingest.process(sent)


def test_what_a_browser_states_about_a_customer_is_kept_with_the_event(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(identify(userId="vic", traits={"email": "vic@x.example", "country": "DE", "name": "Vic"}))
    rights.later(minutes=1)
    lie = {"country": "FR", "name": "Mallory", "favorite": "x"}
    for number in range(2):  # the second one finds the profile in the cache
        rights.pipeline.send(identify(userId="vic", anonymousId="dev", traits=lie, messageId=f"l{number}"), source=WEB)
    traits = view(rights, "user_id", "vic").traits
    assert (traits["country"], traits["name"]) == ("DE", "Vic")
    assert "favorite" not in traits
    rights.pipeline.send(identify(userId="new", anonymousId="dev2", traits=lie), source=WEB)
    assert view(rights, "user_id", "new").traits["name"] == "Mallory"


def test_an_archive_shows_no_address_that_only_a_browser_tied_to_her(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(identify(userId="vic", traits={"email": "vic@x.example"}))
    rights.later(minutes=1)
    beside = {"email": " Bob@Y.example", "phone": "+49 30 901820"}
    rights.pipeline.send(track(userId="vic", anonymousId="dev", context={"traits": beside}), source=WEB)
    archive = json.dumps(rights.export(("user_id", "vic")))
    assert "vic@x.example" in archive
    assert "an address or a number that only a browser named" in archive
    assert "bob@y" not in archive.casefold()
    assert "901820" not in archive.replace(" ", "")
    rights.later(minutes=1)
    rights.pipeline.send(identify(userId="vic", traits={"email": "bob@y.example"}))
    assert "bob@y.example" in json.dumps(rights.export(("user_id", "vic")))


@dataclass(frozen=True, slots=True)
class Said:
    """A message and the source that sends it."""

    body: Mapping[str, Any]
    source: Source
    has_gpc: bool = False


def instant(number: int) -> str:
    """One of many instants before noon, no two equal: the order of equals depends on digests that differ by store."""
    return (NOON - timedelta(hours=1) + timedelta(seconds=number)).isoformat()


def own_messages(dice: Random) -> list[Said]:
    """What a shop and her own browser say about her."""
    said = []
    for number in range(dice.randrange(2, 7)):
        email = dice.choice(["vic@x.example", "vic@x.example", "vic@work.example"])
        traits = {"email": email} | ({"country": dice.choice(["DE", "FR"])} if dice.random() < 0.5 else {})
        choices = {key: dice.random() < 0.8 for key in ("analytics", "email_marketing") if dice.random() < 0.6}
        context = {"traits": traits} | (consent_context(**choices) if choices else {})
        body = order(context=context, properties={"order_id": f"o{number}", "revenue": number})
        body |= {"messageId": f"own-{number}", "timestamp": instant(number)}
        if number and dice.random() < 0.3:  # one that names her address alone
            said.append(Said(body, dice.choice([SHOP, IMPORTED])))
        else:
            said.append(Said(body | {"userId": "vic"}, SHOP))
    for number in range(dice.randrange(3)):
        body = track(userId="vic", anonymousId="vic-dev", messageId=f"web-{number}", timestamp=instant(20 + number))
        said.append(Said(body | {"context": consent_context(analytics=True)}, WEB))
    return said


def strange_messages(dice: Random, user_ids: Sequence[str] = ()) -> list[Said]:
    """What strangers say with a browser's public key: they know her addresses and these user ids, and make up the rest."""
    said = []
    for number in range(dice.randrange(1, 6)):
        traits: dict[str, Any] = {"email": dice.choice(["vic@x.example", "vic@work.example", "eve@x.example"])}
        traits |= dice.choice([{}, {"country": "US", "name": "Eve", "age": 12}])
        choices = {key: dice.random() < 0.5 for key in ("analytics", "email_marketing", "advertising")}
        context = {"traits": traits} | (consent_context(**choices) if dice.random() < 0.7 else {})
        body = {**track(dice.choice(["Product Viewed", "Order Completed"])), "messageId": f"att-{number}"}
        if dice.random() < 0.3:
            body = identify(messageId=f"att-{number}", traits=traits)
        body |= {"context": context, "properties": {"revenue": 1000}}
        body |= dice.choice(
            [{"userId": f"att-{dice.randrange(3)}"}, {}, *[{"userId": known} for known in user_ids] * 3]
        )
        body |= dice.choice([{"anonymousId": f"dev-{dice.randrange(3)}"}, {}])
        said.append(Said(body, WEB, has_gpc=dice.random() < 0.2))
    return said


def distrusting(policy: Policy) -> Policy:
    """The same policy, in which browsers prove no user id."""
    user_id = documents_of(policy)["identifiers.yaml"]["types"]["user_id"]
    return changed(policy, "identifiers.yaml", types={"user_id": {**user_id, "trusts_browsers": False}})


@pytest.mark.parametrize(
    ("policy", "known"),
    [
        (permit_all(), ()),
        (shipped(), ()),
        (distrusting(permit_all()), ("vic",)),
        (distrusting(shipped()), ("vic",)),
    ],
    ids=["permit_all", "shipped", "permit_all, distrusting", "shipped, distrusting"],
)
@pytest.mark.parametrize("seed", range(60 if IS_LONG else 5))
def test_strangers_with_a_public_key_change_nothing_of_a_person(
    seed: int,
    policy: Policy,
    known: Sequence[str],
    database: Database,
    another_database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Before, between and after her own messages, in the same batches or others: what is known of her is the same."""
    dice = Random(seed)
    alone, beside = (
        open_request_pipeline(each, policy, tmp_path / name)
        for each, name in ((database, "alone"), (another_database, "beside"))
    )
    own, strange = own_messages(dice), strange_messages(dice, known)
    dice.shuffle(own)
    while own or strange:
        batch = [said.pop() for said in dice.choices([own, strange], k=3) if said]
        dice.shuffle(batch)
        for rights in (alone, beside):
            sent = [said for said in batch if rights is beside or not said.body["messageId"].startswith("att")]
            rights.pipeline.ingest.process(
                [rights.pipeline.message(said.body, source=said.source, has_gpc=said.has_gpc) for said in sent]
            )
            rights.later(minutes=1)
        if dice.random() < 0.2:
            for rights in (alone, beside):
                agree(rights, act=dice.choice(["grant"]))
    assert known_of(beside) == known_of(alone)
    check_map(beside.pipeline)
    assert rebuild(beside.context).changed == 0


def known_of(rights: RequestPipeline) -> dict[str, Any]:
    """Everything that is shown, decided and reached about her, without ids."""
    hers = view(rights, "user_id", "vic")
    archive = rights.export(("user_id", "vic"))
    # The evidence and the former links say that others claimed the address, which is all that they leave with it.
    told = ("identity.evidence", "identity.former_link")
    shown = {table: rows for table, rows in archive["data"].items() if table not in told}
    return {
        "identifiers": hers.identifiers,
        "traits": hers.traits,
        "computed": hers.computed_traits,
        "consents": hers.consents,
        "events": (hers.events, hers.anchors, hers.first_seen_at, hers.last_seen_at),
        "owners": {
            held.value: view(rights, held.type, held.value or "").profile == hers.profile for held in hers.identifiers
        },
        "archive": sorted(re.findall(r'"value": "[^"]+"', json.dumps(shown))),
        "anchors": len(archive["data"]["identity.anchor"]),
    }
