"""Google Consent Mode v2, in the shapes in which integrations carry it: only an update grants."""

from typing import Any

import pytest

from cdp.consent.signals.google import FIELDS, google_answers
from cdp.consent.signals.model import signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.policy.load import build_policy
from tests.support.policies import documents_of, shipped

GRANTED = dict.fromkeys(FIELDS, "granted")
DENIED = dict.fromkeys(FIELDS, "denied")
UNREADABLE = dict.fromkeys(FIELDS)


def acts(consent: Any, **fields: list[str]) -> dict[str, str]:
    """The acts of a browser in the EU under a policy in which these purposes have these fields."""
    documents = documents_of(shipped())
    for purpose in documents["purposes.yaml"]["purposes"].values():
        purpose.get("signals", {}).pop("google", None)
    for key, names in fields.items():
        documents["purposes.yaml"]["purposes"][key]["signals"]["google"] = names
    mapping = signal_map_of(build_policy(documents))
    body = {"type": "track", "context": {"consent": consent}}
    found = acts_of(body, has_gpc=False, is_server=False, jurisdiction="eu", mapping=mapping)
    return {act.purpose: act.act.value for act in found.acts}


@pytest.mark.parametrize(
    ("consent", "answers"),
    [
        ({}, {}),
        ({"google": {}}, {}),
        ({"google": {"default": GRANTED}}, {}),
        ({"google": {"default": DENIED}}, {}),
        ({"google": {"update": GRANTED}}, dict.fromkeys(FIELDS, True)),
        ({"google": {"default": DENIED, "update": {"ad_storage": "granted"}}}, {"ad_storage": True}),
        ({"google": {"default": GRANTED, "update": {"ad_storage": "denied"}}}, {"ad_storage": False}),
        (
            {"google": {"update": {"ad_user_data": "GRANTED", "ad_personalization": "UNSPECIFIED"}}},
            {"ad_user_data": True},
        ),
        ({"google": {"update": {"functionality_storage": "granted", "ad_storage": None}}}, {}),
        ({"google": GRANTED}, {}),
        ({"google": {"ad_storage": "denied", "analytics_storage": "granted"}}, {"ad_storage": False}),
        ({"google": {"ad_storage": False, "analytics_storage": True}}, {"ad_storage": False}),
        ({"ad_storage": "granted", "ad_user_data": "denied"}, {"ad_user_data": False}),
        ({"google": {"update": GRANTED, "ad_storage": "denied"}}, {**dict.fromkeys(FIELDS, True), "ad_storage": False}),
    ],
)
def test_an_object_of_fields(consent: dict[str, Any], answers: dict[str, bool]) -> None:
    assert google_answers(consent) == answers


@pytest.mark.parametrize(
    ("commands", "answers"),
    [
        ([["consent", "default", GRANTED]], {}),
        (
            [["js", "2026-11-29"], ["consent", "default", DENIED], ["consent", "update", GRANTED]],
            dict.fromkeys(FIELDS, True),
        ),
        ([{"0": "consent", "1": "update", "2": {"ad_storage": "granted"}}], {"ad_storage": True}),
        (
            [["consent", "update", GRANTED], ["consent", "update", {"ad_storage": "denied"}]],
            {**dict.fromkeys(FIELDS, True), "ad_storage": False},
        ),
        ([["consent", "update", DENIED], ["consent", "update", GRANTED]], dict.fromkeys(FIELDS, True)),
        ([{"event": "page_view"}, "consent", 7], {}),
        ([["consent", "arrange", GRANTED]], UNREADABLE),
        ([["consent", "update"]], UNREADABLE),
    ],
)
def test_the_commands_of_a_data_layer(commands: list[Any], answers: dict[str, bool]) -> None:
    assert google_answers({"google": commands}) == answers


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("G111", {}),
        ("G1--", {}),
        ("G100", {"ad_storage": False, "analytics_storage": False}),
        ("G110", {"analytics_storage": False}),
        ("G101", {"ad_storage": False}),
        ("G1", UNREADABLE),
        ("G211", UNREADABLE),
        ("G1110", UNREADABLE),
        (111, UNREADABLE),
    ],
)
@pytest.mark.parametrize("key", ["gcs", "x-ga-gcs"])
def test_gcs_does_not_tell_a_default_from_an_answer(key: str, text: Any, answers: dict[str, bool]) -> None:
    assert google_answers({"google": {key: text}}) == answers


@pytest.mark.parametrize(
    ("letter", "answer"),
    [
        ("l", "unstated"),
        ("p", "unstated"),
        ("t", "unstated"),
        ("r", True),
        ("n", True),
        ("v", True),
        ("q", False),
        ("m", False),
        ("u", False),
        ("R", None),
        ("z", None),
        ("-", None),
    ],
)
def test_each_letter_of_gcd(letter: str, answer: Any) -> None:
    found = google_answers({"google": {"gcd": f"13l3{letter}3l3l5l1"}})
    assert found == ({} if answer == "unstated" else {"analytics_storage": answer})


@pytest.mark.parametrize("text", ["11r1n1v1r5", "13r3n2v3r5l1", "13r3r3r3r5"])
def test_gcd_has_the_order_of_its_fields_and_separators_of_several_releases(text: str) -> None:
    assert google_answers({"google": {"x-ga-gcd": text}}) == dict.fromkeys(FIELDS, True)
    assert google_answers({"google": {"gcd": "11q1r1l1p5"}}) == {"ad_storage": False, "analytics_storage": True}


@pytest.mark.parametrize("text", ["", "11r1r1r5", "1rrrr5", "11r1r1r1r", "21r1r1r1r5", "11r1r1r1r5!", 5, {}])
def test_a_gcd_of_another_form_is_unreadable(text: Any) -> None:
    assert google_answers({"google": {"gcd": text}}) == UNREADABLE


@pytest.mark.parametrize("google", ["granted", 1, True, {"update": "granted"}, {"default": []}])
def test_another_shape_is_unreadable(google: Any) -> None:
    assert google_answers({"google": google}) == UNREADABLE


@pytest.mark.parametrize("value", ["yes", 1, [], {}])
def test_another_value_is_unreadable_in_its_field(value: Any) -> None:
    assert google_answers({"google": {"update": {**GRANTED, "ad_storage": value}}})["ad_storage"] is None
    assert google_answers({"google": {"default": {"ad_storage": value}}}) == {"ad_storage": None}


def test_of_two_statements_about_a_field_the_refusal_prevails() -> None:
    assert google_answers({"google": {"update": GRANTED, "gcs": "G101"}})["ad_storage"] is False
    assert google_answers({"google": {"gcs": "G101", "gcd": "13r3r3r3r5"}})["ad_storage"] is False
    assert google_answers({"google": {"gcs": "G7", "gcd": "13r3r3r3r5"}}) == UNREADABLE


class TestActs:
    ADS = ("ad_storage", "ad_user_data", "ad_personalization")

    def test_all_fields_of_a_purpose_are_needed_to_grant_it_and_one_refuses(self) -> None:
        update = {"ad_storage": "granted", "ad_user_data": "granted"}
        assert acts({"google": {"update": update}}, advertising=[*self.ADS]) == {}
        update["ad_personalization"] = "granted"
        assert acts({"google": {"update": update}}, advertising=[*self.ADS]) == {"advertising": "grant"}
        update["ad_storage"] = "denied"
        assert acts({"google": {"update": update}}, advertising=[*self.ADS]) == {"advertising": "refuse"}

    def test_a_field_that_no_purpose_has_means_nothing(self) -> None:
        assert acts({"google": {"update": DENIED}}, analytics=["analytics_storage"]) == {"analytics": "refuse"}

    def test_what_cannot_be_read_refuses_and_is_counted(self) -> None:
        mapping = signal_map_of(shipped())
        body = {"type": "track", "context": {"consent": {"google": {"gcd": "13z3z3z3z5"}}}}
        found = acts_of(body, has_gpc=False, is_server=True, jurisdiction="eu", mapping=mapping)
        assert {act.purpose: (act.act.value, act.rule) for act in found.acts} == dict.fromkeys(
            ("analytics", "advertising"), ("refuse", "signals.google.malformed")
        )
        assert found.malformed == ("google",)

    def test_the_shipped_policy_grants_by_an_update_alone(self) -> None:
        mapping = signal_map_of(shipped())
        for part, expected in (("default", {}), ("update", {"analytics": "grant", "advertising": "grant"})):
            body = {"type": "track", "context": {"consent": {"google": {part: GRANTED}}}}
            found = acts_of(body, has_gpc=False, is_server=False, jurisdiction="eu", mapping=mapping)
            assert {act.purpose: act.act.value for act in found.acts} == expected


@pytest.mark.parametrize(
    ("stated", "refused"), [(True, True), ("true", False), (1, False), ("1", False), (False, False), (None, False)]
)
def test_the_value_that_scripts_read_is_gpc_only_if_it_is_exactly_true(stated: Any, refused: bool) -> None:
    body = {"type": "track", "context": {"consent": {"globalPrivacyControl": stated}}}
    found = acts_of(body, has_gpc=False, is_server=False, jurisdiction="eu", mapping=signal_map_of(shipped()))
    assert [(act.signal, act.purpose, act.act.value) for act in found.acts] == (
        [("gpc", "advertising", "refuse")] if refused else []
    )
