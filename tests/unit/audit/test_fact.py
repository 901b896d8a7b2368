"""What the log takes: counts, fixed words, names from policy, ids of records. Nothing of a person fits in."""

from datetime import UTC, datetime

import pytest

from cdp.audit.fact import FIELDS, KINDS, commitment, entry_body
from cdp.kit.errors import Fault
from cdp.kit.ids import encode_id

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
READ = {
    "kind": "data.read",
    "actor": "marketer",
    "token": 3,
    "read": "members",
    "segment": "lapsing_vip",
    "question": "5d" * 32,
    "count": 17,
}


def test_a_fact_becomes_a_body_with_its_instant_and_format() -> None:
    assert entry_body(READ, NOW) == {**READ, "format": "cdp/entry@v1", "at": "2026-05-04T03:02:01.000000Z"}


def test_a_commitment_depends_on_salt_and_body_and_not_on_the_order_of_keys() -> None:
    body = entry_body(READ, NOW)
    turned = dict(reversed(body.items()))

    assert commitment(b"\1" * 32, body) == commitment(b"\1" * 32, turned)
    assert commitment(b"\1" * 32, body) != commitment(b"\2" * 32, body)
    assert commitment(b"\1" * 32, body) != commitment(b"\1" * 32, {**body, "count": 18})


def test_a_commitment_needs_a_whole_salt() -> None:
    with pytest.raises(ValueError, match="32"):
        commitment(b"short", {})


@pytest.mark.parametrize(
    "value",
    [
        "ana@example.com", "Ana", "+4915112345678", "a1234567", "a49151234567", "ana lopez", "",
        "deadbeefdeadbeefdeadbeef", "x" * 64, "ünal", "a\nb", 7, None, ["a"], {"a": 1},
    ],
)  # fmt: skip
def test_no_value_of_a_person_passes_as_a_name(value: object) -> None:
    assert not FIELDS["purpose"](value)


@pytest.mark.parametrize("value", ["email_marketing", "us-ca", "lapsing_vip", "behavior.event", "order_2024"])
def test_names_of_policy_pass(value: str) -> None:
    assert FIELDS["purpose"](value)


@pytest.mark.parametrize("value", [-1, 2**53, 1.5, "7", True, None])
def test_only_whole_numbers_that_json_keeps_exactly_are_counts(value: object) -> None:
    assert not FIELDS["count"](value)


def test_ids_of_requests_pass_and_ids_of_people_do_not() -> None:
    assert FIELDS["request"](encode_id("req", 2**62))
    assert not FIELDS["request"](encode_id("prf", 2**62))
    assert not any(rule(encode_id("prf", 2**62)) for rule in FIELDS.values())
    assert not any(rule("ana@example.com") for rule in FIELDS.values())


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("2026-05-04T03:02:01Z", True),
        ("2026-05-04T03:02:01.123456Z", True),
        ("2026-13-04T03:02:01Z", False),
        ("2026-05-04T03:02:01+02:00", False),
        ("yesterday", False),
    ],
)
def test_instants_are_utc_and_real(value: str, passes: bool) -> None:
    assert FIELDS["due_at"](value) is passes


@pytest.mark.parametrize(
    ("steps", "passes"),
    [
        ([], True),
        ([{"table": "identity.identifier", "verb": "delete", "rows": 2}], True),
        ([{"table": "identity.identifier", "verb": "smash", "rows": 2}], False),
        ([{"table": "identity.identifier", "verb": "delete", "rows": 2, "note": "ana"}], False),
        ([{"table": "identity.identifier", "verb": "delete", "rows": 2}] * 501, False),
        ("none", False),
    ],
)
def test_steps_of_an_erasure(steps: object, passes: bool) -> None:
    assert FIELDS["steps"](steps) is passes


def test_a_tally_has_names_and_counts_only() -> None:
    assert FIELDS["states"]({"stored": 3, "not_permitted": 0})
    assert not FIELDS["states"]({"ana@example.com": 3})
    assert not FIELDS["states"]({"stored": "3"})


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        ({"kind": "free.text"}, "kind"),
        ({"kind": ["data.read"]}, "kind"),
        ({}, "kind"),
        ({"kind": "data.read", "actor": "marketer"}, "count, question, read"),
        ({**READ, "comment": "anything"}, "unknown field"),
        ({**READ, "count": "ana@example.com"}, "count"),
        ({**READ, "at": "2026-05-04T03:02:01Z"}, "unknown field"),
    ],
)
def test_other_facts_are_refused_without_repeating_their_values(fact: dict[str, object], says: str) -> None:
    with pytest.raises(Fault) as caught:
        entry_body(fact, NOW)

    assert caught.value.code == "audit_fact_refused"
    assert says in caught.value.detail
    assert "ana" not in caught.value.detail


def test_every_required_field_of_every_kind_is_a_known_field() -> None:
    assert {field for required in KINDS.values() for field in required} <= FIELDS.keys()
    assert all(FIELDS["kind"](kind) for kind in KINDS)
