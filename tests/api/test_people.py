"""People through the API: looked up, explained, parted, rehearsed."""

import pytest

from cdp.policy.model import Policy
from tests.support.people import ADA_IDENTIFIER
from tests.support.policies import documents_of, shipped
from tests.support.service import RunningService

NAME = {"type": "user_id", "value": "ada"}


@pytest.fixture(scope="module", autouse=True)
def ada(service: RunningService) -> None:
    service.add_person("Ada@Example.com", "ada", country="DE")
    service.add_person("bob@example.com", "bob", country="FR")


def test_privacy_staff_see_everything_that_is_held(service: RunningService) -> None:
    shown = service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})
    assert [(each["type"], each["value"]) for each in shown["identifiers"]] == [
        ("email", "ada@example.com"),
        ("user_id", "ada"),
    ]
    assert shown["traits"] == {"country": "DE", "email": "Ada@Example.com"}
    assert shown["computed_traits"]["orders_count"] == 1
    assert shown["computed_traits"]["monetary"] == 30
    assert shown["consents"]["email_marketing"]["allowed"] is True
    assert shown["consents"]["advertising"] == {
        "allowed": False,
        "reason": "no_grant",
        "since": None,
        "until": None,
    }
    assert shown["events"] == 2
    assert shown["first_seen_at"] <= shown["last_seen_at"]


def test_the_same_person_is_found_by_each_identifier_and_by_the_profile_id(service: RunningService) -> None:
    by_email = service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})
    by_name = service.post("admin", "/api/v1/profiles/lookup", {"identifier": NAME})
    by_profile = service.post("privacy", "/api/v1/profiles/lookup", {"profile": by_email["profile"]})
    for shown in (by_email, by_name, by_profile):
        del shown["computed_traits"]  # some of them fade from one moment to the next
    assert by_email == by_name == by_profile


def test_a_marketer_sees_no_identifier_and_only_permitted_purposes(service: RunningService) -> None:
    with service.context.database.transaction(read_only=True) as tx:
        pseudonyms = [
            row[0]
            for row in tx.execute(
                "SELECT DISTINCT reader_pseudonym FROM consent.permitted WHERE purpose = 'email_marketing'"
            )
        ]
    seen = [service.post("marketer", "/api/v1/profiles/lookup", {"profile": each}) for each in pseudonyms]
    ada = next(each for each in seen if each["traits"] == {"country": "DE"})
    assert ada["identifiers"] == []
    assert (ada["anchors"], ada["events"], ada["first_seen_at"]) == (None, None, None)
    assert set(ada["consents"]) == {"email_marketing"}
    assert "ada" not in str(ada)
    assert set(ada["computed_traits"]) <= {
        key for key, trait in shipped().traits.items() if trait.purpose in ada["consents"]
    }


@pytest.mark.parametrize("profile", ["0" * 32, "prf_0000000000001", "x"])
def test_nobody_is_found_under_a_pseudonym_that_is_none(service: RunningService, profile: str) -> None:
    assert service.post("marketer", "/api/v1/profiles/lookup", {"profile": profile}, 404)["code"] == "unknown_profile"


def test_a_marketers_pseudonym_does_not_open_the_profile_for_privacy_staff(service: RunningService) -> None:
    assert service.post("privacy", "/api/v1/profiles/lookup", {"profile": "0" * 32}, 404)["code"] == "unknown_profile"


@pytest.mark.parametrize(
    ("identifier", "status", "code"),
    [
        ({"type": "email", "value": "nobody@example.com"}, 404, "unknown_profile"),
        ({"type": "email", "value": "not an address"}, 422, "invalid_identifier"),
        ({"type": "shoe_size", "value": "42"}, 422, "invalid_identifier"),
        ({"type": "user_id", "value": "null"}, 422, "invalid_identifier"),
        ({"type": "email", "value": "a\x00b@example.com"}, 422, "invalid_request"),
        ({"type": "email", "value": 7}, 422, "invalid_request"),
    ],
)
def test_what_is_no_identifier_is_refused_without_repeating_it(
    service: RunningService, identifier: dict[str, object], status: int, code: str
) -> None:
    problem = service.post("privacy", "/api/v1/profiles/lookup", {"identifier": identifier}, status)
    assert problem["code"] == code
    assert str(identifier["value"]) not in problem["detail"] or identifier["value"] == 7


def test_every_lookup_leaves_an_entry_in_the_log(service: RunningService) -> None:
    def reads() -> int:
        found = service.get("auditor", "/api/v1/audit/entries", kind="data.read", limit=1000)["entries"]
        return sum(each["body"]["read"] == "profile" for each in found)

    before = reads()
    service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})
    assert reads() == before + 1


def test_explain_tells_the_message_that_linked_two_identifiers(service: RunningService) -> None:
    told = service.post("privacy", "/api/v1/profiles/explain", {"a": ADA_IDENTIFIER, "b": NAME})
    assert told["same_profile"] is True
    (link,) = told["path"]
    assert {link["from"]["value"], link["to"]["value"]} == {"ada@example.com", "ada"}
    assert link["policy"] == service.context.policy.fingerprint
    other = service.post(
        "privacy", "/api/v1/profiles/explain", {"a": ADA_IDENTIFIER, "b": {"type": "user_id", "value": "bob"}}
    )
    assert (other["same_profile"], other["path"]) == (False, [])


def test_unmerge_is_rehearsed_done_and_taken_back(service: RunningService) -> None:
    service.add_person("una@example.com", "una", country="IE")
    address, name = {"type": "email", "value": "una@example.com"}, {"type": "user_id", "value": "una"}
    both = {"a": address, "b": name}
    body = {"keep": name, "sever": address}
    rehearsed = service.post("privacy", "/api/v1/profiles/unmerge", body | {"dry_run": True})
    assert rehearsed["dry_run"] is True
    assert [each["value"] for each in rehearsed["keep"]["identifiers"]] == ["una"]
    assert service.post("privacy", "/api/v1/profiles/explain", both)["same_profile"] is True
    service.post("privacy", "/api/v1/profiles/unmerge", body)
    assert service.post("privacy", "/api/v1/profiles/explain", both)["same_profile"] is False
    again = service.post("privacy", "/api/v1/profiles/unmerge", body, 409)
    assert again["code"] == "not_merged"
    service.post("privacy", "/api/v1/profiles/unmerge", body | {"undo": True})
    assert service.post("privacy", "/api/v1/profiles/explain", both)["same_profile"] is True


def rules_of(policy: Policy) -> dict[str, object]:
    return dict(documents_of(policy)["identifiers.yaml"])


def test_changed_rules_are_rehearsed_and_change_nothing(service: RunningService) -> None:
    rules = rules_of(shipped())
    same = service.post("admin", "/api/v1/identity/simulate", {"rules": rules})
    assert (same["merged"], same["split"], same["quarantined"]) == (0, 0, 0)
    assert same["profiles_now"] == same["profiles_then"]


@pytest.mark.parametrize("rules", [{}, {"types": 3}, {"x": 2**70}, {"types": {"email": {"normalizer": "shoe"}}}])
def test_rules_that_are_none_are_refused_with_what_is_wrong(service: RunningService, rules: dict[str, object]) -> None:
    assert service.post("admin", "/api/v1/identity/simulate", {"rules": rules}, 422)["code"] == "invalid_policy"
