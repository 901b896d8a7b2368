"""Strings of the IAB in messages, cookies and queries, mapped to acts by the policy."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cdp.consent.model import Act, Authority
from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals, SignalProposal, signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.policy.load import build_policy
from tests.support.gpp_texts import header, letters
from tests.support.policies import documents_of, shipped
from tests.support.tcf import core_bits, disclosed, letters_of, publisher_segment

VENDOR = 4711
MADE = datetime(2026, 4, 1, tzinfo=UTC)


def read(
    *,
    server: bool = False,
    where: str = "eu",
    request: RequestSignals = NO_REQUEST_SIGNALS,
    vendor: int | None = VENDOR,
    cookies: dict[str, str] | None = None,
    mapped: dict[str, dict[str, Any]] | None = None,
    **consent: Any,
) -> SignalProposal:
    """What a message with these keys in `context.consent` proposes; `mapped` are signals of purposes."""
    documents = documents_of(shipped())
    file = documents["purposes.yaml"]
    file["signals"] = {"cookies": cookies or {}} | ({} if vendor is None else {"tcf_vendor": vendor})
    defaults = {"analytics": {"tcf": {"purposes": [8, 9]}}, "advertising": {"tcf": [7]}}
    for purpose in file["purposes"].values():
        for kind in ("tcf", "gpp"):
            purpose.get("signals", {}).pop(kind, None)
    for key, signals in (defaults if mapped is None else mapped).items():
        file["purposes"][key]["signals"] = signals
    mapping = signal_map_of(build_policy(documents))
    body = {"type": "track", "context": {"consent": consent} if consent else {}}
    return acts_of(body, has_gpc=False, is_server=server, jurisdiction=where, mapping=mapping, request=request)


def acts(found: SignalProposal) -> dict[str, str]:
    return {act.purpose: act.act.value for act in found.acts}


def rules(found: SignalProposal) -> set[tuple[str, str]]:
    return {(act.signal, act.rule) for act in found.acts}


def tcf(*purposes: int, vendors: tuple[int, ...] = (VENDOR,), shown: tuple[int, ...] = (VENDOR,), **core: Any) -> str:
    bits = core_bits(created=MADE, purpose_consents=purposes, vendor_consents=vendors, **core)
    return f"{letters_of(bits)}.{disclosed(shown)}"


def gpp(*sections: tuple[int, str]) -> str:
    return "~".join((header(*(id_ for id_, _ in sections)), *(text for _, text in sections)))


def usnat(
    sale: int = 0, sharing: int = 0, targeted: int = 0, *, sensitive: int = 0, child: int = 0, gpc: str = ""
) -> str:
    """Version 1 with all notices given."""
    numbers = [1] * 6 + [sale, sharing, targeted] + [sensitive] + [0] * 11 + [child, 0] + [0] + [1, 0, 0]
    return letters(f"{1:06b}" + "".join(f"{number:02b}" for number in numbers)) + gpc


NOT_REFUSED = (7, usnat(2, 2, 2))


class TestTcf:
    def test_a_purpose_is_granted_if_all_that_means_it_is_and_refused_if_one_is_not(self) -> None:
        found = read(tcf=tcf(7, 8))
        assert acts(found) == {"analytics": "refuse", "advertising": "grant"}
        assert rules(found) == {("tcf", "signals.tcf")}
        assert acts(read(tcf=tcf(7, 8, 9))) == {"analytics": "grant", "advertising": "grant"}

    def test_a_browser_grants_for_its_device_as_with_every_signal(self) -> None:
        found = {act.purpose: act for act in read(tcf=tcf(7, 8)).acts}
        assert found["advertising"].authority is Authority.DEVICE
        assert found["advertising"].among([(1, "user_id"), (2, "anonymous_id")]) == [2]
        assert found["analytics"].among([(1, "user_id"), (2, "anonymous_id")]) == [1, 2]
        assert {act.authority for act in read(tcf=tcf(7, 8), server=True).acts} == {Authority.AUTHENTICATED}

    @pytest.mark.parametrize(
        "text",
        [
            tcf(7, 8, 9, vendors=(12,)),
            tcf(7, 8, 9, shown=(12,)),
            tcf(7, 8, 9, is_service_specific=False),
            letters_of(core_bits(created=MADE, purpose_consents=(7, 8, 9), vendor_consents=(VENDOR,))),
        ],
        ids=["vendor", "not shown", "global scope", "no segment of shown vendors"],
    )
    def test_what_the_framework_does_not_permit_to_our_vendor_is_refused(self, text: str) -> None:
        assert acts(read(tcf=text)) == {"analytics": "refuse", "advertising": "refuse"}

    def test_without_a_vendor_id_the_publisher_s_own_segment_counts(self) -> None:
        of_vendors = tcf(7, 8, 9)
        assert acts(read(vendor=None, tcf=of_vendors)) == {"analytics": "refuse", "advertising": "refuse"}
        of_publisher = f"{of_vendors}.{publisher_segment((7,))}"
        assert acts(read(vendor=None, tcf=of_publisher)) == {"analytics": "refuse", "advertising": "grant"}

    def test_the_publisher_s_segment_of_an_invalid_string_grants_nothing(self) -> None:
        of_publisher = publisher_segment((7, 8, 9))
        bits = core_bits(created=MADE, purpose_consents=(7,), vendor_consents=(VENDOR,))
        undisclosed = f"{letters_of(bits)}.{of_publisher}"
        for string in (
            undisclosed,
            f"{tcf(7, is_service_specific=False)}.{of_publisher}",
            f"{tcf(7, policy_version=3)}.{of_publisher}",
        ):
            assert acts(read(vendor=None, tcf=string)) == {"analytics": "refuse", "advertising": "refuse"}

    def test_special_features_are_needed_where_they_are_mapped(self) -> None:
        mapped = {"analytics": {"tcf": {"purposes": [8], "special_features": [1]}}}
        assert acts(read(mapped=mapped, tcf=tcf(8))) == {"analytics": "refuse"}
        assert acts(read(mapped=mapped, tcf=tcf(8, special_feature_opt_ins=(1,)))) == {"analytics": "grant"}

    def test_a_legitimate_interest_can_be_objected_to_and_grants_nothing(self) -> None:
        mapped = {"analytics": {"tcf": {"purposes": [8], "basis": "legitimate_interests"}}}
        interests = {"purpose_legitimate_interests": (8,), "vendor_legitimate_interests": (VENDOR,)}
        assert acts(read(mapped=mapped, tcf=tcf(**interests))) == {}
        assert acts(read(mapped=mapped, tcf=tcf(8))) == {"analytics": "refuse"}

    @pytest.mark.parametrize("text", ["", "CO", "${GDPR_CONSENT_4711}", 7, {"tcString": tcf(7)}, tcf(7) + "x"])
    def test_what_cannot_be_read_refuses_what_it_could_have_refused(self, text: Any) -> None:
        found = read(tcf=text)
        assert acts(found) == {"analytics": "refuse", "advertising": "refuse"}
        assert rules(found) == {("tcf", "signals.tcf.malformed")}
        assert found.malformed == ("tcf",)

    def test_a_grant_was_given_by_the_end_of_the_day_that_the_string_names(self) -> None:
        grants = [act for act in read(tcf=tcf(7)).acts if act.act is Act.GRANT]
        assert [act.given_by for act in grants] == [datetime(2026, 4, 2, tzinfo=UTC)]

    def test_a_policy_that_maps_nothing_is_not_touched(self) -> None:
        assert read(mapped={}, tcf=tcf(7)).acts == ()


class TestGpp:
    @pytest.mark.parametrize(
        ("section", "refused"),
        [
            (NOT_REFUSED, {}),
            ((7, usnat(1, 2, 2)), {"advertising": "refuse"}),
            ((7, usnat(2, 2, 1)), {"advertising": "refuse"}),
            ((6, "1YYN"), {"advertising": "refuse"}),
            ((6, "1YNN"), {}),
        ],
    )
    def test_an_opt_out_of_sale_refuses_what_is_a_sale_and_nothing_grants(
        self, section: tuple[int, str], refused: dict[str, str]
    ) -> None:
        found = read(gpp=gpp(section), where="us-ca")
        assert acts(found) == refused
        assert {act.authority for act in found.acts} <= {Authority.SIGNAL}
        assert rules(found) <= {("gpp", "signals.gpp")}
        assert (found.malformed, found.unknown) == ((), ())

    @pytest.mark.parametrize(
        ("name", "section"), [("sensitive_data", usnat(2, 2, 2, sensitive=1)), ("child_data", usnat(2, 2, 2, child=1))]
    )
    def test_other_opt_outs_refuse_the_purposes_that_name_them(self, name: str, section: str) -> None:
        mapped = {"personalization": {"gpp": [name]}}
        assert acts(read(mapped=mapped, gpp=gpp((7, section)))) == {"personalization": "refuse"}
        assert acts(read(mapped=mapped, gpp=gpp(NOT_REFUSED))) == {}

    def test_gpc_in_a_section_is_gpc(self) -> None:
        found = read(gpp=gpp((7, usnat(2, 2, 2, gpc=".Y"))), where="us-ca")
        assert {(act.signal, act.purpose, act.rule) for act in found.acts} >= {
            ("gpc", "advertising", "sale_or_sharing")
        }

    def test_a_tc_string_in_it_grants_and_refuses(self) -> None:
        found = read(gpp=gpp((2, tcf(7))))
        assert acts(found) == {"analytics": "refuse", "advertising": "grant"}
        assert rules(found) == {("tcf", "signals.tcf")}

    def test_sections_that_contradict_each_other_are_all_kept(self) -> None:
        found = read(gpp=gpp((2, tcf(7)), (7, usnat(1, 1, 1))))
        assert [(act.signal, act.act.value) for act in found.acts if act.purpose == "advertising"] == [
            ("tcf", "grant"),
            ("gpp", "refuse"),
        ]

    @pytest.mark.parametrize("section", [(99, "BAAA"), (7, letters(f"{9:06b}" + "0" * 60))], ids=["id", "version"])
    @pytest.mark.parametrize(("where", "refused"), [("eu", {"advertising"}), ("us-ca", {"advertising", "analytics"})])
    def test_a_section_that_is_not_understood_refuses_what_it_could_have_and_is_counted(
        self, section: tuple[int, str], where: str, refused: set[str]
    ) -> None:
        found = read(gpp=gpp(section), where=where)
        assert acts(found) == dict.fromkeys(refused, "refuse")
        assert found.unknown == ("gpp",)
        assert found.malformed == ()

    @pytest.mark.parametrize("text", ["", "DBABLA", "DBABLA~", "CPXX", 5, []])
    def test_what_cannot_be_read_refuses_and_is_counted(self, text: Any) -> None:
        found = read(gpp=text, where="us-ca")
        assert acts(found) == {"advertising": "refuse", "analytics": "refuse"}
        assert rules(found) == {("gpp", "signals.gpp.malformed")}
        assert found.malformed == ("gpp",)


class TestUsPrivacy:
    @pytest.mark.parametrize(
        ("text", "refused", "malformed"),
        [
            ("1YYN", True, False),
            ("1YNN", False, False),
            ("1---", False, False),
            ("1YY", True, True),
            ("2YNN", True, True),
            (1, True, True),
        ],
    )
    def test_an_opt_out_of_sale(self, text: Any, refused: bool, malformed: bool) -> None:
        found = read(usPrivacy=text)
        assert acts(found) == ({"advertising": "refuse"} if refused else {})
        assert found.malformed == (("usp",) if malformed else ())


class TestWhereTheyComeIn:
    def test_cookies(self) -> None:
        cookies = {"euconsent-v2": "tcf", "__gpp": "gpp", "usprivacy": "usp"}
        carried = RequestSignals(f"euconsent-v2={tcf(7)}; __gpp={gpp(NOT_REFUSED)}; usprivacy=1YYN")
        found = read(request=carried, cookies=cookies)
        assert {(act.signal, act.purpose, act.act.value) for act in found.acts} == {
            ("tcf", "analytics", "refuse"),
            ("tcf", "advertising", "grant"),
            ("usp", "advertising", "refuse"),
        }

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ((("gdpr", "1"), ("gdpr_consent", tcf(7, 8, 9))), {"analytics": "grant", "advertising": "grant"}),
            ((("gdpr", "0"), ("gdpr_consent", tcf(7))), {"analytics": "refuse", "advertising": "grant"}),
            ((("gdpr", "1"),), {"analytics": "refuse", "advertising": "refuse"}),
            ((("gdpr", "1"), ("gdpr_consent", "")), {"analytics": "refuse", "advertising": "refuse"}),
            ((("gdpr", "0"),), {}),
            ((("gdpr_consent", "${GDPR_CONSENT_4711}"),), {"analytics": "refuse", "advertising": "refuse"}),
            ((("gpp", gpp((7, usnat(1, 1, 1)))),), {"advertising": "refuse"}),
            ((("us_privacy", "1YYN"),), {"advertising": "refuse"}),
            ((("us_privacy", ""), ("gpp", "")), {}),
        ],
    )
    def test_the_query_of_a_pixel(self, query: tuple[tuple[str, str], ...], expected: dict[str, str]) -> None:
        assert acts(read(request=RequestSignals(query=query))) == expected

    def test_one_signal_in_two_places_is_one_act(self) -> None:
        carried = RequestSignals(f"euconsent-v2={tcf(7)}", (("gdpr_consent", tcf(7)),))
        assert len(read(request=carried, cookies={"euconsent-v2": "tcf"}, tcf=tcf(7)).acts) == 2

    def test_two_strings_that_differ_are_both_kept(self) -> None:
        carried = RequestSignals(f"euconsent-v2={tcf()}")
        found = read(request=carried, cookies={"euconsent-v2": "tcf"}, tcf=tcf(7))
        assert sorted(act.act.value for act in found.acts if act.purpose == "advertising") == ["grant", "refuse"]


def test_every_opt_out_of_a_string_that_was_understood_is_universal() -> None:
    assert {act.rule for act in read(gpp=gpp((7, usnat(1, 1, 1))), usPrivacy="1YYN").acts} == {
        "signals.gpp",
        "signals.usp",
    }
