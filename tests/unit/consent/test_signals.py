"""Signals read into acts: GPC by its published cases, Segment's and RudderStack's categories."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cdp.consent.model import Act, Authority
from cdp.consent.signals.categories import PREFERENCE_EVENT
from cdp.consent.signals.gpc import has_gpc, support_document
from cdp.consent.signals.model import ProposedAct, SignalMap, SignalProposal, signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.consent.signals.repeated import SignalReader
from cdp.policy.load import build_policy
from tests.support.policies import documents_of, shipped

MAP = signal_map_of(shipped())
CASES = json.loads((Path(__file__).parents[2] / "data" / "scenarios" / "gpc.json").read_text(encoding="utf-8"))


def read(
    body: Mapping[str, Any], *, gpc: bool = False, server: bool = False, where: str = "eu", by: SignalMap = MAP
) -> SignalProposal:
    """As every reader reads it, for the first time and again."""
    proposal = acts_of(body, has_gpc=gpc, is_server=server, jurisdiction=where, mapping=by)
    reader = SignalReader(by)
    for _ in range(2):
        assert reader.read(body, has_gpc=gpc, is_server=server, jurisdiction=where) == proposal
    return proposal


def segment(preferences: Any, **more: Any) -> dict[str, Any]:
    return {"type": "track", "context": {"consent": {"categoryPreferences": preferences}}, **more}


def rudderstack(**said: Any) -> dict[str, Any]:
    return {"type": "track", "context": {"consentManagement": said}}


def acts(proposal: SignalProposal) -> dict[str, str]:
    return {each.purpose: each.act.value for each in proposal.acts}


def is_about(act: ProposedAct, type_: str) -> bool:
    return act.among([(1, type_)]) == [1]


def test_the_version_of_the_notice_is_that_of_the_answers_beside_it() -> None:
    body = segment({"analytics": True, "email_marketing": False})
    body["context"]["consent"] |= {"noticeVersion": "2026-11", "globalPrivacyControl": True}
    versions = {(act.signal, act.notice_version) for act in read(body).acts}
    assert versions == {("segment", "2026-11"), ("gpc", None)}


@pytest.mark.parametrize("version", [2026, "", "a" * 101, "a\nb", None, ["2026-11"]])
def test_a_version_that_is_no_short_text_is_left_out_and_the_answers_count(version: object) -> None:
    body = segment({"analytics": False})
    body["context"]["consent"]["noticeVersion"] = version
    proposal = read(body)
    assert [(act.purpose, act.act, act.notice_version) for act in proposal.acts] == [("analytics", Act.REFUSE, None)]


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
    def test_a_name_that_no_purpose_has_is_noticed_and_says_nothing_where_consent_is_needed(
        self, body: dict[str, Any], signals: tuple[str, ...]
    ) -> None:
        found = read(body)
        assert found.unknown == signals
        assert set(acts(found)) <= {"analytics"}

    @pytest.mark.parametrize("server", [False, True])
    @pytest.mark.parametrize(
        ("body", "signal"),
        [
            (segment({"astrology": False}), "segment"),
            (segment({"astrology": None}), "segment"),
            (segment({"astrology": "perhaps"}), "segment"),
            (rudderstack(deniedConsentIds=["astrology"]), "rudderstack"),
            (rudderstack(allowedConsentIds={"astrology": False}), "rudderstack"),
        ],
    )
    def test_a_refusal_under_it_refuses_what_silence_would_permit(
        self, body: dict[str, Any], signal: str, server: bool
    ) -> None:
        found = read(body, where="us-ca", server=server)
        assert acts(found) == dict.fromkeys(["analytics", "personalization", "advertising"], "refuse")
        assert {each.rule for each in found.acts} == {f"signals.{signal}.unmapped"}
        assert all(is_about(each, type_) for each in found.acts for type_ in ("user_id", "anonymous_id"))
        assert found.unknown == (signal,)

    def test_a_refusal_under_it_outweighs_a_grant_beside_it(self) -> None:
        found = read(segment({"analytics": True, "email_marketing": True, "astrology": False}), where="us-ca")
        assert acts(found) == {
            "analytics": "refuse",
            "personalization": "refuse",
            "advertising": "refuse",
            "email_marketing": "grant",
        }

    def test_a_grant_under_it_says_nothing(self) -> None:
        assert read(segment({"astrology": True}), where="us-ca").acts == ()

    def test_a_jurisdiction_that_the_policy_does_not_declare_is_the_strictest(self) -> None:
        assert read(segment({"astrology": False}), where="atlantis").acts == ()

    def test_the_key_of_a_purpose_is_a_name_of_it(self) -> None:
        documents = documents_of(shipped())
        purposes = documents["purposes.yaml"]["purposes"]
        purposes["sms_marketing"] = {**purposes["email_marketing"], "name": "Text messages"}
        del purposes["sms_marketing"]["signals"]
        mapping = signal_map_of(build_policy(documents))
        assert acts(read(segment({"sms_marketing": True}), by=mapping)) == {"sms_marketing": "grant"}
        assert acts(read(rudderstack(deniedConsentIds=["sms_marketing"]), by=mapping)) == {"sms_marketing": "refuse"}

    def test_names_are_compared_without_regard_to_case(self) -> None:
        assert acts(read(segment({"ANALYTICS": True, "Email marketing": False}))) == {
            "analytics": "grant",
            "email_marketing": "refuse",
        }
        assert acts(read(segment({"Analytics": False, "analytics": True}))) == {"analytics": "refuse"}
        assert acts(read(segment({"analytics": True, "Analytics": False}))) == {"analytics": "refuse"}


class TestShippedNames:
    @pytest.mark.parametrize(
        ("names", "purpose"),
        [
            (("C0002", "statistics", "performance", "Analytics", "measurement"), "analytics"),
            (("C0003", "preferences", "functional", "content_personalization"), "personalization"),
            (("C0004", "C0005", "marketing", "advertising_personalization", "targeting"), "advertising"),
        ],
    )
    def test_categories_of_consent_platforms_are_mapped(self, names: tuple[str, ...], purpose: str) -> None:
        for name in names:
            found = read(segment({name: False}), where="us-ca")
            assert (acts(found), found.unknown) == ({purpose: "refuse"}, ())

    @pytest.mark.parametrize("name", ["C0001", "necessary", "essential"])
    def test_what_is_always_on_refuses_nothing(self, name: str) -> None:
        assert read(segment({name: False}), where="us-ca") == SignalProposal()

    def test_the_groups_of_onetrust(self) -> None:
        groups = {"C0001": True, "C0002": True, "C0003": False, "C0004": False, "C0005": True}
        assert acts(read(segment(groups))) == {
            "analytics": "grant",
            "personalization": "refuse",
            "advertising": "refuse",
        }


class TestEvents:
    @pytest.mark.parametrize("event", ["Unsubscribed", "Email Marked as Spam"])
    @pytest.mark.parametrize(("server", "authority"), [(True, Authority.AUTHENTICATED), (False, Authority.DEVICE)])
    def test_an_event_that_the_plan_declares_a_refusal_is_one(
        self, event: str, server: bool, authority: Authority
    ) -> None:
        [act] = read({"type": "track", "event": event}, server=server).acts
        assert (act.purpose, act.act, act.authority) == ("email_marketing", Act.WITHDRAW, authority)
        assert (act.signal, act.rule) == ("event", f"events.{event}")
        assert is_about(act, "email")
        assert is_about(act, "anonymous_id")

    @pytest.mark.parametrize(
        "body",
        [
            {"type": "track", "event": "Email Opened"},
            {"type": "page", "event": "Unsubscribed"},
            {"type": "page", "event": ["Unsubscribed"]},
        ],
    )
    def test_other_messages_are_not(self, body: dict[str, Any]) -> None:
        assert read(body) == SignalProposal()


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
        assert read(segment({"Service": False}), server=True, where="us-ca", by=mapping) == SignalProposal()


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

    @pytest.mark.parametrize(
        "ids",
        [
            ["analytics", "email_marketing"],
            {"analytics": "Performance", "email_marketing": "Mail"},
            {"analytics": True, "email_marketing": ""},
        ],
    )
    def test_allowed_ids_may_be_a_list_or_an_object(self, ids: Any) -> None:
        found = read(rudderstack(allowedConsentIds=ids, deniedConsentIds=[]))
        assert acts(found) == {"analytics": "grant", "email_marketing": "grant"}
        assert (found.malformed, found.unknown) == ((), ())

    def test_an_object_can_refuse(self) -> None:
        assert acts(read(rudderstack(allowedConsentIds={"C0002": True, "C0004": False}))) == {
            "analytics": "grant",
            "advertising": "refuse",
        }
        assert acts(read(rudderstack(deniedConsentIds={"C0004": "Targeting"}))) == {"advertising": "refuse"}

    @pytest.mark.parametrize(
        "said", [{"allowedConsentIds": "Analytics"}, {"deniedConsentIds": [1]}, {"allowedConsentIds": {"C0002": 1}}]
    )
    def test_what_cannot_be_read_refuses(self, said: dict[str, Any]) -> None:
        found = read(rudderstack(**said))
        assert found.malformed == ("rudderstack",)
        assert {each.act for each in found.acts} == {Act.REFUSE}

    def test_its_own_names_replace_those_of_segment(self) -> None:
        documents = documents_of(shipped())
        documents["purposes.yaml"]["purposes"]["analytics"]["signals"]["rudderstack"] = ["X7"]
        mapping = signal_map_of(build_policy(documents))
        body = rudderstack(allowedConsentIds=["X7", "Advertising"])
        found = read(body, by=mapping)
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


def test_what_only_looks_the_same_is_read_by_itself() -> None:
    """Equal keys of a dictionary in Python, different values in JSON."""
    reader = SignalReader(MAP)
    alike: list[Any] = [True, 1, 1.0, "True", None, [], {}, float("nan")]
    bodies = [segment({"analytics": answer}) for answer in alike]
    bodies += [segment({"analytics": True}, event=PREFERENCE_EVENT), rudderstack(allowedConsentIds=["analytics"])]
    for body in (*bodies, *bodies):
        for where, gpc, server in (("eu", False, False), ("us-ca", True, False), ("eu", False, True)):
            expected = acts_of(body, has_gpc=gpc, is_server=server, jurisdiction=where, mapping=MAP)
            assert reader.read(body, has_gpc=gpc, is_server=server, jurisdiction=where) == expected


def test_a_reader_keeps_no_text_of_what_it_read_and_no_more_than_some() -> None:
    reader = SignalReader(MAP)
    for number in range(5_000):
        reader.read(
            segment({"ada@example.com": True, str(number): True}), has_gpc=False, is_server=False, jurisdiction="eu"
        )
    kept = list(reader._proposals)
    assert len(kept) == 4_096
    assert "example" not in repr(kept)
