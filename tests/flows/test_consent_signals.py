"""A refusal that a message expresses in an unusual way is recorded and in force."""

from datetime import timedelta
from pathlib import Path

import pytest

from cdp.accounting.model import NoticeKind
from cdp.accounting.store.notices import notices
from cdp.consent.model import Verdict
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.lookup import Consents, look_up
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.sources.model import Source
from cdp.sources.store.sources import add_source
from tests.support.messages import consent_context, page, track
from tests.support.people import CALIFORNIA, NEW_YEAR, SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    found = open_pipeline(database, shipped(), tmp_path)
    found.register()
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=found.clock.now())
    return found


def consents(pipeline: Pipeline, type_: str, value: str) -> Consents:
    return look_up(pipeline.context, (type_, value), pipeline.clock.now(), actor="operator")


def verdict(pipeline: Pipeline, type_: str, value: str, *, purpose: str) -> Verdict:
    return consents(pipeline, type_, value).verdicts[purpose]


def grant(pipeline: Pipeline, type_: str, value: str, *, purpose: str) -> None:
    """The person consented on New Year's Day."""
    statement = ConsentStatement(
        (type_, value), purpose, "grant", authority="authenticated", jurisdiction="eu", occurred_at=NEW_YEAR
    )
    record(pipeline.context, statement)


def test_a_refusal_under_an_unmapped_name_ends_what_silence_permits(pipeline: Pipeline) -> None:
    view = page(anonymousId="phone")
    pipeline.send(view, source=CALIFORNIA)
    assert verdict(pipeline, "anonymous_id", "phone", purpose="analytics").allowed
    pipeline.send({**view, "context": consent_context(astrology=False)}, source=CALIFORNIA)
    for purpose in ("analytics", "personalization", "advertising"):
        assert not verdict(pipeline, "anonymous_id", "phone", purpose=purpose).allowed
    with pipeline.context.database.transaction(read_only=True) as tx:
        now = pipeline.clock.now()
        found = notices(tx, now - timedelta(hours=1), now + timedelta(hours=1), source_ids=[CALIFORNIA.source_id])
    counted = {entry.kind: entry.messages for entry in found}
    assert counted[NoticeKind.UNKNOWN_PURPOSE] == 1


@pytest.mark.parametrize("event", ["Unsubscribed", "Email Marked as Spam"])
def test_what_a_mail_service_reports_is_a_withdrawal_even_if_the_event_is_not_stored(
    pipeline: Pipeline, event: str
) -> None:
    grant(pipeline, "email", "pia@x.example", purpose="email_marketing")
    assert verdict(pipeline, "email", "pia@x.example", purpose="email_marketing").allowed
    body = track(event, anonymousId="mail-service-1", context={"traits": {"email": "pia@x.example"}})
    pipeline.send({**body, "properties": {"email_id": "c-1"}})
    assert not verdict(pipeline, "email", "pia@x.example", purpose="email_marketing").allowed


@pytest.mark.parametrize(("authority", "allowed"), [("imported", False), ("operator", True)])
def test_an_imported_act_without_an_instant_lifts_no_refusal(pipeline: Pipeline, authority: str, allowed: bool) -> None:
    refused = ConsentStatement(("user_id", "mia"), "analytics", "refuse", authority="imported", occurred_at=NEW_YEAR)
    record(pipeline.context, refused)
    granted = ConsentStatement(("user_id", "mia"), "analytics", "grant", authority=authority)
    record(pipeline.context, granted)
    assert verdict(pipeline, "user_id", "mia", purpose="analytics").allowed is allowed


@pytest.mark.parametrize(
    ("source", "times", "allowed"),
    [
        (WEB, {"timestamp": "2020-01-01T00:00:00Z"}, False),
        (WEB, {"originalTimestamp": "2020-01-01T00:00:00Z"}, False),
        (WEB, {"timestamp": "2020-01-01T00:00:00Z", "sentAt": "never"}, False),
        (SHOP, {"timestamp": "2020-01-01T00:00:00Z"}, True),
    ],
)
def test_a_device_with_a_wrong_clock_does_not_lose_its_refusal(
    pipeline: Pipeline, source: Source, times: dict[str, str], *, allowed: bool
) -> None:
    if source is SHOP:
        grant(pipeline, "anonymous_id", "phone", purpose="analytics")
    else:
        pipeline.send(page(anonymousId="phone", context=consent_context(analytics=True)), source=WEB)
        pipeline.clock.instant += timedelta(minutes=1)
    assert verdict(pipeline, "anonymous_id", "phone", purpose="analytics").allowed
    pipeline.send(page(anonymousId="phone", context=consent_context(analytics=False), **times), source=source)
    assert verdict(pipeline, "anonymous_id", "phone", purpose="analytics").allowed is allowed


def test_allowed_ids_of_older_sdks_grant_what_they_name_and_refuse_nothing(pipeline: Pipeline) -> None:
    allowed = {"analytics": "Performance", "email_marketing": "Mail"}
    context = {"consentManagement": {"provider": "oneTrust", "allowedConsentIds": allowed, "deniedConsentIds": []}}
    pipeline.send(page(userId="rs2", context=context))
    found = consents(pipeline, "user_id", "rs2")
    assert {(each["purpose"], each["act"]) for each in found.records} == {
        ("analytics", "grant"),
        ("email_marketing", "grant"),
    }
    assert found.verdicts["analytics"].allowed
    assert found.verdicts["email_marketing"].allowed
