"""An access export: complete, exclusive, readable, and gone in time."""

import html
import json
import re
import zipfile
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.consent.receipt import is_genuine, stated_by
from cdp.flows.rights import requests
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights.model import Status
from cdp.rights.plan import export_plan
from cdp.vault.sign import is_signed
from tests.support.controllers import RESPONSIBLE, with_controller
from tests.support.deferring import open_deferring
from tests.support.messages import consent_context, identify, order, track
from tests.support.people import ADA, BOB, WEB
from tests.support.policies import changed, documents_of, permit_all, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

ORDER = order(
    userId="ada", properties={"order_id": "o-77", "revenue": 12.5, "currency": "EUR", "gift_note": "For Annabella"}
)


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def test_it_is_complete_in_words(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB, ADA, ORDER, track("Sneezed", userId="ada", properties={"loud": True}))
    data = rights.export(("email", "ada@example.com"))
    assert data["about"] == [{"type": "email", "value": "ada@example.com"}]
    named = {(each["type"], each["value"]) for each in data["data"]["identity.identifier"]}
    assert named == {("user_id", "ada"), ("email", "ada@example.com")}
    for table in ("identity.identifier", "identity.anchor_source"):
        assert {each["authority"] for each in data["data"][table]} == {"server"}
    events = {each["name"]: each for each in data["data"]["behavior.event"]}
    bought, unknown = events["Order Completed"], events[None]
    assert bought["properties"] | bought["message"]["properties"] == ORDER["properties"]
    assert bought["source"] == "shop"
    assert bought["purposes"] == ["service", "analytics"]
    assert bought["expires_at"] > bought["occurred_at"]
    assert unknown["message"]["event"] == "Sneezed"
    traits = {each["name"]: each["value"] for each in data["data"]["behavior.trait"]}
    assert traits["name"] == "Ada Lovelace"
    assert traits["age"] == 36
    assert [each["purpose"] for each in data["data"]["consent.permitted"]]
    assert data["sources"] == [{"source": "shop"}]
    assert {each["what"] for each in data["retention"]} >= {"events of class transactions", "traits"}
    assert data["data"]["rights.request"][0]["kind"] == "access"


def test_a_trait_is_shown_with_the_purposes_that_may_use_its_category(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    answers = consent_context(analytics=True, personalization=True)
    rights.pipeline.send({**ADA, "traits": {**ADA["traits"], "country": "DE"}, "context": answers})
    traits = {each["name"]: each["purposes"] for each in rights.export(("user_id", "ada"))["data"]["behavior.trait"]}
    assert traits["country"] == ["analytics", "personalization"]
    assert traits["age"] == ["personalization"], "analytics may not use user.demographic"


def test_what_a_law_requires_for_longer_is_among_the_periods(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, ORDER)
    hold = rights.context.policy.retention.classes["transactions"].hold
    assert hold is not None
    (row,) = [each for each in rights.export(("user_id", "ada"))["retention"] if each["reason"] == hold.law]
    assert row == {
        "what": "what the law requires of events of class transactions, without your name: " + ", ".join(hold.columns),
        "keep_for_days": hold.keep_for_days,
        "reason": hold.law,
    }


def test_every_exportable_column_of_the_dictionary_is_there(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, ORDER)
    data = rights.export(("user_id", "ada"))["data"]
    assert set(data) == {section.table for section in export_plan()}
    for section in export_plan():
        for row in data[section.table]:
            given = {column.field for column in section.columns} - {"plain"}
            assert given <= set(row), section.table
    hidden = {each["what"] for each in rights.export(("user_id", "ada"))["held_but_not_shown"]}
    assert "identity.identifier.pseudonym" in hidden


def test_it_holds_nobody_elses_data(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB, track(userId="bob", anonymousId="tablet"))
    rights.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"))
    rights.pipeline.send(track(anonymousId="tablet"))
    text = json.dumps(rights.export(("user_id", "ada")))
    assert "bob" not in text.lower()
    assert len(json.loads(text)["data"]["behavior.event"]) == 2


def test_what_only_a_browser_linked_is_told_of_and_not_shown(rights: RequestPipeline) -> None:
    rights.pipeline.send(track(anonymousId="victim"), source=WEB)
    rights.pipeline.send({**ADA, "anonymousId": "victim"}, source=WEB)
    data = rights.export(("email", "ada@example.com"))
    assert "victim" not in json.dumps(data["data"])
    assert any("more identifier" in each["what"] for each in data["held_but_not_shown"])


def test_somebody_unknown_gets_an_archive_without_rows(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB)
    data = rights.export(("user_id", "nobody"))
    assert {table for table, rows in data["data"].items() if rows} == {"rights.request", "rights.request_identifier"}


def test_categories_that_would_do_harm_are_held_but_not_shown(database: Database, tmp_path: Path) -> None:
    policy = changed(permit_all(), "purposes.yaml", categories={"user.financial": "Accounts at banks"})
    iban = {"type": "string", "keep": "sealed", "category": "user.financial"}
    rights = open_request_pipeline(database, changed(policy, "events.yaml", traits={"iban": iban}), tmp_path)
    rights.pipeline.send({**ADA, "traits": {**ADA["traits"], "iban": "DE02120300000000202051"}})
    data = rights.export(("user_id", "ada"))
    text = json.dumps(data)
    assert "DE0212" not in text
    assert {"held_but_not_shown": "user.financial"} in [each["value"] for each in data["data"]["behavior.trait"]]


HARMFUL = "DE02120300000000202051"


def with_accounts(policy: Policy) -> Policy:
    """The policy with accounts at banks as a trait, a property, a field of the context and a computed trait."""
    account = {"type": "string", "keep": "sealed", "category": "user.financial"}
    balance = {"type": "number", "keep": "plain", "category": "user.financial.account"}
    analytics = documents_of(policy)["purposes.yaml"]["purposes"]["analytics"]
    analytics["categories"].append("user.financial")
    categories = {"user.financial": "Accounts at banks", "user.financial.account": "Balances"}
    policy = changed(policy, "purposes.yaml", categories=categories, purposes={"analytics": analytics})
    paid = {
        "retention_class": "transactions",
        "category": "user.behavior.purchase_history",
        "properties": {"account": account, "balance": balance},
    }
    policy = changed(
        policy,
        "events.yaml",
        traits={"iban": account},
        events={"Paid": paid},
        context={"wallet": account, "wallet.owner": {"type": "string", "keep": "sealed", "category": "user.name"}},
    )
    read = {"event": "Paid", "property": "balance", "purpose": "analytics", "text": "Balance"}
    last = {**read, "kind": "last", "category": "user.behavior"}
    return changed(
        policy, "traits.yaml", traits={"last_balance": last, "balances": {**last, "kind": "sum", "within_days": 30}}
    )


PAID = track(
    "Paid",
    userId="ada",
    properties={"account": HARMFUL, "balance": 424242.5},
    context={"wallet": {"iban": HARMFUL, "owner": "Ada"}},
)


def test_no_section_shows_what_would_do_harm(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, with_accounts(permit_all()), tmp_path)
    rights.pipeline.send(ADA, identify(userId="ada", traits={"iban": HARMFUL}), PAID)
    data = rights.export(("user_id", "ada"))["data"]
    withheld = {"held_but_not_shown": "user.financial"}
    days = {row["trait"]: row for row in data["behavior.bucket"]}
    (paid,) = [row for row in data["behavior.event"] if row["name"] == "Paid"]
    assert days["last_balance"]["last"] == {"held_but_not_shown": "user.financial.account"}
    assert days["balances"]["total"] == {"held_but_not_shown": "user.financial.account"}
    assert paid["properties"] == {"balance": {"held_but_not_shown": "user.financial.account"}}
    assert paid["message"]["properties"] == {"account": withheld}
    assert paid["message"]["context"] == {"wallet": {"iban": withheld, "owner": "Ada"}}
    assert HARMFUL not in json.dumps(data)
    assert "424242" not in json.dumps(data)


def test_what_waits_for_an_answer_shows_nothing_that_would_do_harm(database: Database, tmp_path: Path) -> None:
    store = open_deferring(database, open_request_pipeline(database, with_accounts(shipped()), tmp_path))
    body = {"anonymousId": "d", "messageId": "m"}
    sent = track(
        "Paid", **body, properties=PAID["properties"], context={**PAID["context"], "traits": {"iban": HARMFUL}}
    )
    assert store.send(sent) == "deferred"
    (message,) = store.rights.export(("anonymous_id", "d"))["data"]["consent.deferred_message"]
    withheld = {"held_but_not_shown": "user.financial"}
    assert message["message"]["properties"]["account"] == withheld
    assert message["message"]["context"] == {
        "wallet": {"iban": withheld, "owner": "Ada"},
        "traits": {"iban": withheld},
    }
    assert "424242" not in json.dumps(message)


def test_the_page_can_be_read_and_runs_nothing(rights: RequestPipeline) -> None:
    rights.pipeline.send({**ADA, "traits": {"email": "ada@example.com", "name": "<script>alert(1)</script>"}})
    request = rights.ask("access", ("user_id", "ada"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    archive = requests.export(rights.context, request.request_id, rights.pipeline.clock.now())
    with zipfile.ZipFile(BytesIO(archive.content)) as file:
        assert file.namelist() == ["data.json", "page.html"]
        page = file.read("page.html").decode()
    assert "ada@example.com" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "ada" not in archive.name


def words_in(value: Any) -> list[str]:
    """Every scalar below a value, as text."""
    if isinstance(value, dict):
        return [word for inner in value.values() for word in words_in(inner)]
    if isinstance(value, list):
        return [word for inner in value for word in words_in(inner)]
    return [] if value is None or isinstance(value, bool) or str(value) == "" else [str(value)]


def test_the_page_holds_all_that_the_file_for_machines_holds(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB, ADA, ORDER, track("Sneezed", userId="ada", properties={"loud": 3}))
    request = rights.ask("access", ("user_id", "ada"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    archive = requests.export(rights.context, request.request_id, rights.pipeline.clock.now())
    with zipfile.ZipFile(BytesIO(archive.content)) as file:
        page, data = html.unescape(file.read("page.html").decode()), json.loads(file.read("data.json"))
    shown = [word for word in words_in(data) if not re.match(r"\d{4}-\d\d-\d\dT", word) and word != data["format"]]
    missing = {word for word in shown if word not in page and word.replace("_", " ") not in page}
    assert missing == set()
    assert {each["right"] for each in data["your_rights"]} >= {"erasure", "rectification", "restriction", "objection"}
    assert data["complain_to"] in page
    assert data["data"]["rights.request"][0]["id"] == data["request"]["id"]


@pytest.mark.parametrize("content", [RESPONSIBLE, {}])
def test_the_archive_names_who_is_responsible(rights: RequestPipeline, content: dict[str, Any]) -> None:
    rights.pipeline.send(ADA, ORDER)
    request = rights.ask("access", ("user_id", "ada"))
    named = replace(rights.context, policy=with_controller(rights.context.policy, content))
    archive = requests.export(named, request.request_id, rights.pipeline.clock.now(), is_draft=True)
    with zipfile.ZipFile(BytesIO(archive.content)) as file:
        page, data = html.unescape(file.read("page.html").decode()), json.loads(file.read("data.json"))
    assert data["responsible"] == [asdict(party) for party in named.policy.responsible.parties]
    assert "Who is responsible for your data" in page
    assert all(word in page for word in words_in(data["responsible"]))
    is_named = bool(content)
    assert ("privacy@nordlicht.example" in page) is is_named
    assert ("has not named the organization that is responsible" in page) is not is_named


class TestWhen:
    def test_only_after_verification_and_only_of_access_requests(self, rights: RequestPipeline) -> None:
        now = rights.pipeline.clock.now()
        request = requests.open_request(
            rights.context, kind="access", regime="gdpr", identifiers=[("user_id", "ada")], now=now
        )
        erasure = rights.ask("erasure", ("user_id", "ada"))
        for given, code in ((request, "request_not_verified"), (erasure, "not_an_export")):
            with pytest.raises(Fault) as caught:
                requests.export(rights.context, given.request_id, now)
            assert caught.value.code == code

    def test_before_the_answer_only_as_a_draft_that_says_so(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(ADA)
        now = rights.pipeline.clock.now()
        request = rights.ask("access", ("user_id", "ada"))
        with pytest.raises(Fault) as caught:
            requests.export(rights.context, request.request_id, now)
        assert (caught.value.code, caught.value.status) == ("request_not_run", 409)
        draft = requests.export(rights.context, request.request_id, now, is_draft=True)
        assert draft.name.endswith("-draft.zip")
        requests.run(rights.context, request.request_id, now)
        answer = requests.export(rights.context, request.request_id, now, is_draft=True)
        for archive, is_draft in ((draft, True), (answer, False)):
            with zipfile.ZipFile(BytesIO(archive.content)) as file:
                assert json.loads(file.read("data.json"))["is_draft"] is is_draft
                assert ("do not hand it over" in file.read("page.html").decode()) is is_draft

    def test_after_the_answer_until_the_time_is_over(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(ADA)
        request = rights.ask("access", ("user_id", "ada"))
        before = rights.opened(request)
        answered = requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
        assert answered.request.status is Status.FULFILLED
        assert rights.opened(request)["data"]["identity.identifier"] == before["data"]["identity.identifier"]
        rights.later(days=15)
        with pytest.raises(Fault) as caught:
            requests.export(rights.context, request.request_id, rights.pipeline.clock.now())
        assert (caught.value.code, caught.value.status) == ("export_over", 410)
        assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["shredded"] == 1
        assert rights.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0

    def test_each_fetching_is_logged(self, rights: RequestPipeline) -> None:
        request = rights.ask("access", ("user_id", "ada"))
        rights.opened(request)
        rights.opened(request)
        assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE body ->> 'read' = 'export'") == 2

    def test_an_access_request_raises_no_barrier(self, rights: RequestPipeline) -> None:
        rights.ask("access", ("user_id", "ada"))
        assert rights.pipeline.send(ADA)[0].state is State.STORED


def test_an_erased_person_has_nothing_to_export(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, ORDER)
    rights.erase(("user_id", "ada"))
    rows: dict[str, Any] = rights.export(("user_id", "ada"), ("email", "ada@example.com"))["data"]
    assert {table for table, found in rows.items() if found} == {"rights.request", "rights.request_identifier"}


def test_whoever_claims_an_address_from_a_browser_learns_nothing_of_its_owner(rights: RequestPipeline) -> None:
    """A stranger lets a page say that a device carries the victim's address, and asks for the data of that device."""
    grant = {"context": consent_context(advertising=True, email_marketing=True)}
    victim = identify(anonymousId="victims-phone", traits={"email": "victim@example.com"}, **grant)
    rights.pipeline.send(victim, source=WEB)
    rights.pipeline.send(identify(anonymousId="strangers-phone", traits={"email": "victim@example.com"}), source=WEB)
    assert len(rights.pipeline.people()) == 1, "the stranger's device joined the victim's profile"
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO segments.membership_change (profile_id, key, version, change, changed_at) "
            "SELECT profile_id, 'lapsing', 1, 'entered', now() FROM identity.profile WHERE merged_into IS NULL"
        )
    given = rights.export(("anonymous_id", "strangers-phone"))
    shown = {table for table, rows in given["data"].items() if rows and not table.startswith("rights.")}
    assert not {table for table in shown if table.startswith(("consent.", "segments."))}
    assert "victims-phone" not in json.dumps(given)
    assert len(given["data"]["behavior.event"]) == 1, (
        "only what that device itself sent, with the address that it claimed"
    )
    assert {each["value"] for each in given["data"]["identity.identifier"]} == {"strangers-phone"}
    assert any("more identifier" in each["what"] for each in given["held_but_not_shown"])


def test_whoever_verified_the_address_gets_what_belongs_to_the_profile(rights: RequestPipeline) -> None:
    """A device that only a browser linked waits for a reviewer; it takes nothing from the person who has the address."""
    rights.pipeline.send({**ADA, "anonymousId": "her-phone"}, source=WEB)
    data = rights.export(("email", "ada@example.com"), ("user_id", "ada"))["data"]
    assert data["consent.permitted"]


def test_it_contains_the_receipt_of_every_consent_act(rights: RequestPipeline) -> None:
    consents = consent_context(analytics=True, email_marketing=False)
    rights.pipeline.send(BOB, identify(userId="ada", traits={"email": "ada@example.com"}, context=consents))
    request = rights.ask("access", ("email", "ada@example.com"))
    archive = requests.export(rights.context, request.request_id, rights.pipeline.clock.now(), is_draft=True)
    with zipfile.ZipFile(BytesIO(archive.content)) as file:
        names = [name for name in file.namelist() if name.startswith("consent-receipts/")]
        receipts = [json.loads(file.read(name)) for name in names]
    key = rights.context.vault.root_keys.signer().public_key
    assert all(is_genuine(receipt, key, is_signed) for receipt in receipts)
    assert [f"consent-receipts/{receipt['record_id']}.json" for receipt in receipts] == names
    acts = sorted((stated_by(receipt)["purpose"], stated_by(receipt)["act"]) for receipt in receipts)
    exported = rights.opened(request)["data"]["consent.record"]
    assert acts == sorted((row["purpose"], row["act"]) for row in exported)
    assert {act for _, act in acts} == {"grant", "refuse"}
