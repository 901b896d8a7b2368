"""Cookies of consent tools, in the forms in which browsers send them."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from cdp.consent.signals.cookies import (
    cookiebot_answers,
    cookies_of,
    didomi_answers,
    klaro_answers,
    onetrust_answers,
)
from cdp.consent.signals.model import RequestSignals, SignalProposal, signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.policy.load import build_policy
from tests.support.policies import documents_of, shipped

CLOSED = {"OptanonAlertBoxClosed": ("2026-11-01T10:00:00.000Z",)}


def onetrust(groups: str = "C0001:1,C0002:1,C0004:0", **more: str) -> str:
    fields = {
        "isGpcEnabled": "0",
        "datestamp": "Sun+Nov+29+2026+10%3A00%3A00+GMT%2B0100",
        "version": "202501.2.0",
        "browserGpcFlag": "0",
        "interactionCount": "1",
        "landingPath": "NotLandingPage",
        "groups": quote(groups, safe=""),
        "AwaitingReconsent": "false",
        **more,
    }
    return "&".join(f"{name}={value}" for name, value in fields.items())


def cookiebot(method: str = "explicit", **stated: str) -> str:
    parts = {"necessary": "true", "preferences": "false", "statistics": "true", "marketing": "false", **stated}
    fields = ",".join(f"{name}:{value}" for name, value in parts.items())
    return quote(f"{{stamp:'zM+t/A==',{fields},method:'{method}',ver:1,utc:1782829118586,region:'de'}}", safe=":{}/+")


def klaro(**stated: bool) -> str:
    return quote(json.dumps(stated), safe="")


def didomi(content: Any) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def found_in(header: str, *, server: bool = False, where: str = "eu", **cookies: str) -> SignalProposal:
    """What a page view with this `Cookie` header proposes, under a policy that reads these cookies."""
    documents = documents_of(shipped())
    documents["purposes.yaml"]["signals"] = {"cookies": cookies}
    mapping = signal_map_of(build_policy(documents))
    request = RequestSignals(header)
    return acts_of(
        {"type": "page"}, has_gpc=False, is_server=server, jurisdiction=where, mapping=mapping, request=request
    )


def acts(found: SignalProposal) -> list[tuple[str, str, str]]:
    return [(act.signal, act.purpose, act.act.value) for act in found.acts]


def test_a_header_has_names_and_values_and_may_have_a_name_twice() -> None:
    assert cookies_of('a=1; b="2"; a=3;c ; d=x=y') == {"a": ("1", "3"), "b": ("2",), "c": ("",), "d": ("x=y",)}
    assert cookies_of("") == {}


class TestOneTrust:
    def test_groups_after_an_answer(self) -> None:
        assert onetrust_answers(onetrust(), CLOSED) == {"c0001": True, "c0002": True, "c0004": False}
        assert onetrust_answers(quote(onetrust(), safe=""), CLOSED) == onetrust_answers(onetrust(), CLOSED)

    @pytest.mark.parametrize(
        ("value", "cookies"),
        [
            (onetrust(), {}),
            (onetrust(interactionCount="0"), CLOSED),
            (onetrust(AwaitingReconsent="true"), CLOSED),
        ],
    )
    def test_groups_without_an_answer_state_nothing(self, value: str, cookies: Any) -> None:
        assert onetrust_answers(value, cookies) == {}

    @pytest.mark.parametrize("groups", ["", "C0002", "C0002:2", "C0002:true", "C0002:1,C0004"])
    def test_groups_that_cannot_be_read(self, groups: str) -> None:
        assert onetrust_answers(onetrust(groups), CLOSED) is None


class TestCookiebot:
    def test_an_explicit_answer(self) -> None:
        expected = {"necessary": True, "preferences": False, "statistics": True, "marketing": False}
        assert cookiebot_answers(cookiebot(), {}) == expected

    def test_an_implied_one_only_refuses(self) -> None:
        assert cookiebot_answers(cookiebot("implied"), {}) == {"preferences": False, "marketing": False}

    def test_regions_without_consent_and_no_consent(self) -> None:
        assert cookiebot_answers("-1", {}) == {}
        assert cookiebot_answers("0", {}) == {"preferences": False, "statistics": False, "marketing": False}

    @pytest.mark.parametrize(
        "value", ["", "1", "{}", cookiebot(statistics="maybe"), cookiebot() + "x", cookiebot()[:-1]]
    )
    def test_what_cannot_be_read(self, value: str) -> None:
        assert cookiebot_answers(value, {}) is None

    def test_a_long_value_is_read_in_time_that_grows_with_it(self) -> None:
        assert cookiebot_answers("{" + "a:1," * 10_000, {}) is None


class TestKlaro:
    def test_an_answer_for_each_of_its_programs(self) -> None:
        assert klaro_answers(quote('{"Matomo":true,"ads":false}', safe=""), {}) == {"matomo": True, "ads": False}

    @pytest.mark.parametrize("value", ["", "true", "[]", "%7B", "[" * 5_000])
    def test_what_cannot_be_read(self, value: str) -> None:
        assert klaro_answers(value, {}) is None

    def test_an_answer_that_is_no_boolean(self) -> None:
        assert klaro_answers('{"ads":"true"}', {}) == {"ads": None}


class TestDidomi:
    def test_enabled_and_disabled_purposes(self) -> None:
        stated = {"purposes": {"enabled": ["analytics"], "disabled": ["ads"]}, "vendors": {"enabled": ["google"]}}
        assert didomi_answers(didomi(stated), {}) == {"analytics": True, "ads": False}
        assert didomi_answers(quote(didomi(stated), safe=""), {}) == {"analytics": True, "ads": False}

    def test_a_legitimate_interest_can_only_be_objected_to(self) -> None:
        stated = {"purposes_li": {"enabled": ["analytics"], "disabled": ["ads"]}}
        assert didomi_answers(didomi(stated), {}) == {"ads": False}
        both = {"purposes": {"enabled": ["ads"]}, "purposes_li": {"disabled": ["ads"]}}
        assert didomi_answers(didomi(both), {}) == {"ads": False}

    def test_before_an_answer(self) -> None:
        assert didomi_answers(didomi({"user_id": "1784114c", "version": 2}), {}) == {}

    @pytest.mark.parametrize(
        "value", ["", "%%%", "e30=e30=", didomi([]), didomi({"purposes": []}), didomi({"purposes": {"enabled": "x"}})]
    )
    def test_what_cannot_be_read(self, value: str) -> None:
        assert didomi_answers(value, {}) is None


class TestActs:
    HEADER = f"session=secret; CookieConsent={cookiebot()}; OptanonConsent={onetrust()}; OptanonAlertBoxClosed=2026"

    def test_only_the_cookies_of_the_policy_are_read(self) -> None:
        assert found_in(self.HEADER) == SignalProposal()
        found = found_in(self.HEADER, CookieConsent="cookiebot")
        assert acts(found) == [
            ("cookiebot", "analytics", "grant"),
            ("cookiebot", "personalization", "refuse"),
            ("cookiebot", "advertising", "refuse"),
        ]
        assert {act.rule for act in found.acts} == {"signals.segment"}
        assert (found.malformed, found.unknown) == ((), ())

    def test_two_cookies_that_differ_are_both_kept(self) -> None:
        found = found_in(self.HEADER, CookieConsent="cookiebot", OptanonConsent="onetrust", klaro="klaro")
        assert ("cookiebot", "personalization", "refuse") in acts(found)
        assert ("onetrust", "analytics", "grant") in acts(found)
        assert ("onetrust", "personalization", "refuse") not in acts(found)

    def test_a_cookie_that_is_set_twice_is_read_twice(self) -> None:
        header = f"klaro={klaro(analytics=True)}; klaro={klaro(analytics=False)}"
        assert acts(found_in(header, klaro="klaro")) == [
            ("klaro", "analytics", "grant"),
            ("klaro", "analytics", "refuse"),
        ]

    def test_an_unreadable_cookie_refuses_all_and_is_counted(self) -> None:
        found = found_in("klaro=%7B", klaro="klaro")
        assert {act for _, _, act in acts(found)} == {"refuse"}
        assert len(found.acts) == 4
        assert found.malformed == ("klaro",)

    def test_a_name_that_no_purpose_has_is_counted_and_refuses_what_silence_permits(self) -> None:
        found = found_in(f"klaro={klaro(chat=False)}", where="us-ca", klaro="klaro")
        assert {purpose for _, purpose, _ in acts(found)} == {"analytics", "personalization", "advertising"}
        assert found.unknown == ("klaro",)

    def test_the_cookies_of_a_server_are_not_those_of_a_person(self) -> None:
        assert found_in(self.HEADER, server=True, CookieConsent="cookiebot") == SignalProposal()

    def test_a_request_is_read_once_for_a_policy(self) -> None:
        mapping = signal_map_of(shipped())
        request = RequestSignals("a=1")
        for _ in range(3):
            acts_of({}, has_gpc=False, is_server=False, jurisdiction="eu", mapping=mapping, request=request)
        assert len(request.read) == 1
        assert "a=1" not in repr(request)
