"""Signals of several dialects that meet in one message, from where they come in to the verdict."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cdp.accounting.model import NoticeKind, State
from cdp.accounting.store.notices import notices
from cdp.consent.signals.model import RequestSignals
from cdp.flows.consent.lookup import Consents, look_up
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.sources.model import Source
from cdp.sources.store.sources import add_source
from tests.support.messages import consent_context, page
from tests.support.people import CALIFORNIA, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, shipped
from tests.support.tcf import core_bits, disclosed, letters_of, publisher_segment

COOKIES = {"cookies": {"CookieConsent": "cookiebot", "klaro": "klaro"}}


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    found = open_pipeline(database, changed(shipped(), "purposes.yaml", signals=COOKIES), tmp_path)
    found.register()
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=found.clock.now())
    return found


def cookie(**stated: bool) -> RequestSignals:
    answers = ",".join(f"{name}:{str(answer).lower()}" for name, answer in {"necessary": True, **stated}.items())
    return RequestSignals("CookieConsent=" + quote(f"{{stamp:'x',{answers},method:'explicit',ver:1}}"))


def view(pipeline: Pipeline, *, source: Source = WEB, signals: RequestSignals, **context: Any) -> State:
    """The state of a page view a minute later."""
    pipeline.clock.instant += timedelta(minutes=1)
    body = page(anonymousId="phone", userId="u1", context=context)
    [outcome] = pipeline.ingest.process([pipeline.message(body, source=source, signals=signals)])
    return outcome.state


def consents(pipeline: Pipeline) -> Consents:
    return look_up(pipeline.context, ("anonymous_id", "phone"), pipeline.clock.now(), actor="operator")


def allowed(pipeline: Pipeline) -> set[str]:
    return {key for key, verdict in consents(pipeline).verdicts.items() if verdict.allowed} - {"service"}


def records(pipeline: Pipeline) -> Counter[tuple[str, str, str, str]]:
    return Counter(
        (record["signal"], record["purpose"], record["act"], record["identifier_type"])
        for record in consents(pipeline).records
    )


ALL = cookie(preferences=True, statistics=True, marketing=True)
NONE = cookie(preferences=False, statistics=False, marketing=False)


def test_a_cookie_of_a_browser_grants_for_its_device_and_refuses_for_all(pipeline: Pipeline) -> None:
    assert view(pipeline, signals=ALL) is State.STORED
    assert allowed(pipeline) == {"analytics", "personalization", "advertising"}
    assert set(records(pipeline)) == {
        ("cookiebot", purpose, "grant", "anonymous_id") for purpose in ("analytics", "personalization", "advertising")
    }
    assert view(pipeline, signals=NONE) is State.NOT_PERMITTED
    assert allowed(pipeline) == set()
    assert {("cookiebot", "analytics", "refuse", type_) for type_ in ("anonymous_id", "user_id")} <= set(
        records(pipeline)
    )


def test_two_signals_that_differ_are_both_recorded_and_the_refusal_prevails(pipeline: Pipeline) -> None:
    segment = consent_context(analytics=True, advertising=True)["consent"]
    consent = {**segment, "google": {"update": {"analytics_storage": "denied"}}, "globalPrivacyControl": True}
    for _ in range(5):
        assert view(pipeline, signals=ALL, consent=consent) is State.STORED
    assert allowed(pipeline) == {"personalization"}
    found = records(pipeline)
    assert found["cookiebot", "analytics", "grant", "anonymous_id"] == 1
    assert found["segment", "analytics", "grant", "anonymous_id"] == 1
    assert found["google", "analytics", "refuse", "anonymous_id"] == 1
    assert found["segment", "advertising", "grant", "anonymous_id"] == 1
    assert found["gpc", "advertising", "refuse", "anonymous_id"] == 1
    assert max(found.values()) == 1, "a signal that every message repeats is one record, whatever another one says"


def test_when_the_refusing_signal_ends_the_next_grant_counts(pipeline: Pipeline) -> None:
    denied = {"google": {"update": {"analytics_storage": "denied"}}}
    view(pipeline, signals=ALL, consent=denied)
    assert "analytics" not in allowed(pipeline)
    view(pipeline, signals=ALL)
    assert "analytics" in allowed(pipeline)


def test_a_refusal_that_only_the_request_states_is_kept_whatever_becomes_of_the_message(pipeline: Pipeline) -> None:
    view(pipeline, signals=ALL)
    pipeline.clock.instant += timedelta(minutes=1)
    body = {"type": "page", "anonymousId": "phone", "messageId": "late", "timestamp": "2001-01-01T00:00:00+00:00"}
    message = pipeline.message(body, source=WEB, signals=NONE)
    [outcome] = pipeline.ingest.process([message])
    assert outcome.state is State.INVALID
    assert allowed(pipeline) == set()


def test_an_unreadable_cookie_refuses_and_is_counted(pipeline: Pipeline) -> None:
    view(pipeline, signals=ALL)
    view(pipeline, signals=RequestSignals("klaro=%7B"))
    assert allowed(pipeline) == set()
    with pipeline.context.database.transaction(read_only=True) as tx:
        now = pipeline.clock.now()
        counted = notices(tx, now - timedelta(hours=1), now + timedelta(hours=1), source_ids=[WEB.source_id])
    assert [(entry.kind, entry.subject, entry.messages) for entry in counted] == [
        (NoticeKind.MALFORMED_SIGNAL, "klaro", 1)
    ]


def test_an_opt_out_of_sale_in_the_query_ends_what_silence_permits(pipeline: Pipeline) -> None:
    said_nothing = RequestSignals(query=(("us_privacy", "1YNN"),))
    view(pipeline, source=CALIFORNIA, signals=said_nothing)
    assert "advertising" in allowed(pipeline)
    view(pipeline, source=CALIFORNIA, signals=RequestSignals(query=(("us_privacy", "1YYN"),)))
    verdict = consents(pipeline).verdicts["advertising"]
    assert (verdict.allowed, verdict.reason.value) == (False, "opted_out")


def of_publisher(made: datetime, *purposes: int) -> str:
    """A TC string that was last changed on this day, with these purposes of the publisher."""
    day = made.replace(hour=0, minute=0, second=0, microsecond=0)
    return f"{letters_of(core_bits(created=day))}.{disclosed((12,))}.{publisher_segment(purposes)}"


def test_a_tc_string_that_pages_repeat_does_not_override_a_refusal_that_came_after_its_day(pipeline: Pipeline) -> None:
    nothing = RequestSignals()
    old = of_publisher(pipeline.clock.now() - timedelta(days=10), 8, 9)
    view(pipeline, signals=nothing, consent={"tcf": old})
    assert "analytics" in allowed(pipeline)
    view(pipeline, signals=nothing, consent=consent_context(analytics=False)["consent"])
    for _ in range(3):
        view(pipeline, signals=nothing, consent={"tcf": old})
    assert "analytics" not in allowed(pipeline)
    assert records(pipeline)["tcf", "analytics", "grant", "anonymous_id"] == 1
    view(pipeline, signals=nothing, consent={"tcf": of_publisher(pipeline.clock.now(), 8, 9)})
    assert "analytics" in allowed(pipeline)
