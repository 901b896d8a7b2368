"""Signals read into acts: GPC by its published cases, Segment's and RudderStack's categories."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cdp.consent.model import Act, Authority
from cdp.consent.signals.gpc import has_gpc, support_document
from cdp.consent.signals.model import ProposedAct, SignalProposal, signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.policy.load import build_policy
from tests.support.policies import documents_of, shipped

MAP = signal_map_of(shipped())
CASES = json.loads((Path(__file__).parents[2] / "data" / "scenarios" / "gpc.json").read_text(encoding="utf-8"))


def read(body: Mapping[str, Any], *, gpc: bool = False, server: bool = False) -> SignalProposal:
    return acts_of(body, has_gpc=gpc, is_server=server, mapping=MAP)


def segment(preferences: Any, **more: Any) -> dict[str, Any]:
    return {"type": "track", "context": {"consent": {"categoryPreferences": preferences}}, **more}


def rudderstack(**said: Any) -> dict[str, Any]:
    return {"type": "track", "context": {"consentManagement": said}}


def acts(proposal: SignalProposal) -> dict[str, str]:
    return {each.purpose: each.act.value for each in proposal.acts}


def is_about(act: ProposedAct, type_: str) -> bool:
    return act.among([(1, type_)]) == [1]


class TestGpc:
    @pytest.mark.parametrize(
        "case", [each for each in CASES if isinstance(each["headers"], list)], ids=lambda each: each["id"]
    )
    def test_the_header_cases(self, case: dict[str, Any]) -> None:
        is_signal = case["id"] in {"GP01", "GP09", "GP13"}
        assert has_gpc(value for name, value in case["headers"] if name.lower() == "sec-gpc") == is_signal

    def test_refuses_what_is_a_sale_for_every_identifier(self) -> None:
        [act] = read({"type": "track"}, gpc=True).acts
        assert (act.purpose, act.act, act.authority) == ("advertising", Act.REFUSE, Authority.SIGNAL)
        assert is_about(act, "user_id")
        assert is_about(act, "anonymous_id")

    def test_its_absence_says_nothing(self) -> None:
        assert read({"type": "track"}) == SignalProposal()

    def test_the_support_document(self) -> None:
        assert support_document(date(2026, 1, 31)) == {"gpc": True, "lastUpdate": "2026-01-31"}


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("body", "signals"),
        [
            (segment({"analytics": True}), ()),
            (segment({"analytics": True, "astrology": True}), ("segment",)),
            (segment({"astrology": None}), ("segment",)),
            (segment({}), ()),
            (rudderstack(allowedConsentIds=["astrology"]), ("rudderstack",)),
            (rudderstack(deniedConsentIds=["analytics", "astrology"]), ("rudderstack",)),
        ],
    )
    def test_a_name_that_no_purpose_has_is_noticed_and_says_nothing(
        self, body: dict[str, Any], signals: tuple[str, ...]
    ) -> None:
        found = read(body)
        assert found.unknown == signals
        assert set(acts(found)) <= {"analytics"}


class TestSegment:
    def test_each_category_speaks_of_the_purposes_that_name_it(self) -> None:
        found = read(segment({"Analytics": True, "Advertising": False, "Weather": True}))
        assert acts(found) == {"analytics": "grant", "advertising": "refuse"}
        assert found.malformed == ()

    def test_a_browser_grants_for_devices_and_refuses_for_everybody(self) -> None:
        yes, no = read(segment({"Analytics": True, "Advertising": False})).acts
        assert (yes.authority, is_about(yes, "anonymous_id"), is_about(yes, "user_id")) == (
            Authority.DEVICE,
            True,
            False,
        )
        assert (no.authority, is_about(no, "anonymous_id"), is_about(no, "user_id")) == (Authority.DEVICE, True, True)

    def test_a_server_speaks_for_the_authenticated_person(self) -> None:
        [yes] = read(segment({"Analytics": True}), server=True).acts
        assert (yes.authority, is_about(yes, "user_id"), yes.rule) == (
            Authority.AUTHENTICATED,
            True,
            "signals.segment",
        )

    @pytest.mark.parametrize(
        "body",
        [
            {"type": "track"},
            {"type": "track", "context": None},
            {"type": "track", "context": []},
            {"type": "track", "context": {"consent": None}},
            {"type": "track", "context": {"consent": {}}},
            segment({}),
            segment({"Weather": True}),
        ],
    )
    def test_what_is_not_said_is_neither_granted_nor_refused(self, body: dict[str, Any]) -> None:
        found = read(body)
        assert (found.acts, found.malformed) == ((), ())

    @pytest.mark.parametrize(
        "body",
        [
            segment("all of them"),
            segment([True]),
            {"type": "track", "context": {"consent": True}},
            {"type": "track", "event": "Segment Consent Preference Updated", "context": {}},
            {"type": "track", "event": "Segment Consent Preference Updated"},
        ],
    )
    def test_what_cannot_be_read_refuses_all_it_could_have_spoken_of(self, body: dict[str, Any]) -> None:
        found = read(body)
        assert found.malformed == ("segment",)
        assert acts(found) == dict.fromkeys(
            ["analytics", "personalization", "email_marketing", "advertising"], "refuse"
        )
        assert {each.rule for each in found.acts} == {"signals.segment.malformed"}

    @pytest.mark.parametrize("answer", ["true", 1, None, {}])
    def test_an_answer_that_is_no_boolean_is_a_no(self, answer: Any) -> None:
        found = read(segment({"Analytics": answer, "Functional": True}))
        assert acts(found) == {"analytics": "refuse", "personalization": "grant"}
        assert found.malformed == ("segment",)

    def test_of_two_names_of_a_purpose_one_no_is_enough(self) -> None:
        assert acts(read(segment({"Advertising": True, "Targeting": False}))) == {"advertising": "refuse"}

    def test_the_raw_signal_is_hashed_in_one_spelling(self) -> None:
        one, other = ({"Analytics": True, "Weather": False}, {"Weather": False, "Analytics": True})
        [first], [second] = read(segment(one)).acts, read(segment(other)).acts
        assert first.signal_hash == second.signal_hash
        assert first.signal_hash != read(segment({"Analytics": True})).acts[0].signal_hash

    def test_purposes_without_consent_are_not_spoken_of(self) -> None:
        documents = documents_of(shipped())
        documents["purposes.yaml"]["purposes"]["service"]["signals"] = {"segment": ["Service"]}
        mapping = signal_map_of(build_policy(documents))
        assert acts_of(segment({"Service": False}), has_gpc=False, is_server=True, mapping=mapping) == SignalProposal()


class TestRudderStack:
    def test_allowed_and_denied_ids(self) -> None:
        found = read(
            rudderstack(allowedConsentIds=["Analytics"], deniedConsentIds=["Advertising"], provider="oneTrust")
        )
        assert acts(found) == {"analytics": "grant", "advertising": "refuse"}
        assert {each.signal for each in found.acts} == {"rudderstack"}

    def test_an_id_that_is_both_is_denied(self) -> None:
        assert acts(read(rudderstack(allowedConsentIds=["Analytics"], deniedConsentIds=["Analytics"]))) == {
            "analytics": "refuse"
        }

    def test_either_list_may_be_missing(self) -> None:
        assert acts(read(rudderstack(allowedConsentIds=["Analytics"]))) == {"analytics": "grant"}
        assert acts(read(rudderstack(deniedConsentIds=["Analytics"]))) == {"analytics": "refuse"}

    @pytest.mark.parametrize("said", [{"allowedConsentIds": "Analytics"}, {"deniedConsentIds": [1]}])
    def test_what_cannot_be_read_refuses(self, said: dict[str, Any]) -> None:
        found = read(rudderstack(**said))
        assert found.malformed == ("rudderstack",)
        assert {each.act for each in found.acts} == {Act.REFUSE}

    def test_its_own_names_replace_those_of_segment(self) -> None:
        documents = documents_of(shipped())
        documents["purposes.yaml"]["purposes"]["analytics"]["signals"]["rudderstack"] = ["C0002"]
        mapping = signal_map_of(build_policy(documents))
        body = rudderstack(allowedConsentIds=["C0002", "Advertising"])
        found = acts_of(body, has_gpc=False, is_server=False, mapping=mapping)
        assert acts(found) == {"analytics": "grant", "advertising": "grant"}


def test_several_signals_of_one_message_are_all_read() -> None:
    body = segment({"Analytics": True})
    body["context"]["consentManagement"] = {"deniedConsentIds": ["Analytics"]}
    found = read(body, gpc=True)
    assert [(each.signal, each.purpose, each.act.value) for each in found.acts] == [
        ("gpc", "advertising", "refuse"),
        ("segment", "analytics", "grant"),
        ("rudderstack", "analytics", "refuse"),
    ]
