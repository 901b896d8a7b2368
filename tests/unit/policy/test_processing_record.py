"""The record of processing names everything that the policy declares."""

from pathlib import Path

from cdp.cli.policy_views import policy_files, record_lines
from cdp.policy.load import load_policy
from cdp.policy.model import Keep
from cdp.policy.processing_record import processing_record
from tests.support.controllers import with_controller
from tests.support.policies import combining, shipped


def test_every_purpose_with_its_basis_recipients_and_periods() -> None:
    policy = shipped()
    record = processing_record(policy)
    assert [purpose.key for purpose in record.purposes] == list(policy.purposes)
    recipients = {recipient.key for purpose in record.purposes for recipient in purpose.recipients}
    assert recipients == set(policy.destinations.destinations)
    used = {trait for purpose in record.purposes for trait in purpose.computed_traits}
    assert used == set(policy.traits)
    covered = {event for purpose in record.purposes for event in purpose.events}
    assert covered <= set(policy.events.events)
    assert covered


def test_every_category_and_class_that_a_purpose_uses_is_in_the_text() -> None:
    policy = shipped()
    text = "\n".join(record_lines(processing_record(policy)))
    for purpose in policy.purposes.values():
        assert purpose.text in text
    for key in policy.categories:
        if any(purpose.allows(key) for purpose in policy.purposes.values()):
            assert f"`{key}`" in text
    for rule in policy.retention.classes.values():
        assert rule.reason in text
    for regime in policy.jurisdictions.regimes.values():
        assert regime.authority in text


def test_it_states_which_purposes_are_combined() -> None:
    policy = combining(shipped(), "email_marketing", "analytics")
    line = f"- Combined, for people who are permitted for both, with: {policy.purposes['analytics'].name}"
    assert line in list(record_lines(processing_record(policy)))
    assert "Combined" not in "\n".join(record_lines(processing_record(shipped())))


def test_sealed_fields_are_named() -> None:
    policy = shipped()
    sealed = set(processing_record(policy).sealed)
    for name, plan in policy.events.traits.items():
        assert (f"trait.{name}" in sealed) is (plan.keep is Keep.SEALED)


def test_the_files_of_a_stored_policy_have_its_fingerprint(tmp_path: Path) -> None:
    for name, text in policy_files(shipped().documents).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert load_policy(tmp_path).fingerprint == shipped().fingerprint


def test_it_names_the_controller_and_everybody_beside_it() -> None:
    policy = with_controller(shipped())
    text = "\n".join(record_lines(processing_record(policy)))
    for party in policy.responsible.parties:
        role = party.role[0].upper() + party.role[1:]
        assert f"- {role}: {party.details}" in text
    assert "not named" not in text
    assert "none named" not in text


def test_it_says_what_the_policy_does_not_state() -> None:
    """GDPR Art. 30(1)(a), (e) and (g): a record that is silent about them would look complete."""
    unnamed = "\n".join(record_lines(processing_record(shipped())))
    named = "\n".join(record_lines(processing_record(with_controller(shipped()))))
    assert (
        "The controller is not named yet. Name it in controller.yaml in the policy folder. Art. 30(1)(a) requires it"
        in unnamed
    )
    assert "Controller:" not in unnamed
    for text in (unnamed, named):
        assert "does not state transfers to third countries (e) and organizational measures (g)" in text


def test_it_says_who_of_those_that_may_exist_is_not_named() -> None:
    content = {"controller": {"name": "Shop", "address": "1 Street, Town", "email": "a@b.example"}}
    text = "\n".join(record_lines(processing_record(with_controller(shipped(), content))))
    assert "- Controller: Shop, 1 Street, Town, a@b.example" in text
    assert "- Joint controller: none named" in text
    assert "- Representative in the European Union: none named" in text
    assert "- Data protection officer: none named" in text
