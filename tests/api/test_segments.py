"""Segments through the API: defined, previewed, read by pseudonym, explained."""

from typing import Any

import pytest

from cdp.audit.store.facts import check_facts
from cdp.flows.segments import memberships
from tests.support.messages import consent_context, identify, order
from tests.support.service import RunningService

PATH = "/api/v1/segments"
BUYERS = {"name": "Buyers", "purpose": "email_marketing", "where": 'did("Order Completed",within 30 days)'}
CROWD = 120


@pytest.fixture(scope="module", autouse=True)
def crowd(service: RunningService) -> None:
    """A crowd who bought and may be written to, one who did not buy, one who may not."""
    bodies: list[dict[str, Any]] = []
    for number in range(CROWD):
        common = {"userId": f"p{number}", "context": consent(True)}
        bodies.append(identify(**common, traits={"email": f"p{number}@example.com"}))
        bodies.append(order(**common, properties={"revenue": 9}))
    for at in range(0, len(bodies), 200):
        service.send(*bodies[at : at + 200])
    service.add_person("bob@example.com", "bob", country="DE")
    service.send(
        identify(userId="cy", context=consent(True)),
        order(userId="dee", context=consent(False)),
    )
    service.post("marketer", PATH, {"key": "buyers", **BUYERS}, 201)


def consent(is_granted: bool) -> dict[str, Any]:
    return consent_context(email_marketing=is_granted)


def test_a_definition_is_kept_in_canonical_form_with_its_versions(service: RunningService) -> None:
    shown = service.get("marketer", f"{PATH}/buyers")
    assert shown["where"] == 'did("Order Completed", within 30 days)'
    assert (shown["version"], shown["owner"]) == (1, "marketer")
    assert shown["refreshed_at"] is not None
    same = service.call("marketer", "PUT", f"{PATH}/buyers", BUYERS | {"name": "Recent buyers"}).json()
    assert (same["version"], same["name"]) == (1, "Recent buyers")
    other = service.call(
        "marketer", "PUT", f"{PATH}/buyers", BUYERS | {"where": 'count("Order Completed") >= 1'}
    ).json()
    assert other["version"] == 2
    assert service.post("marketer", PATH, {"key": "buyers", **BUYERS}, 409)["code"] == "segment_exists"


@pytest.mark.parametrize(
    ("change", "position", "hint"),
    [
        ({"where": 'count("Order Complted") >= 3'}, 6, "Order Completed"),
        ({"where": "trait.country = "}, 16, ""),
        ({"where": 'count("Order Completed", within 3000 days) >= 3'}, 32, "keep_for_days"),
        ({"where": 'in segment "no_such"'}, 0, ""),
        ({"where": 'trait.email = "a"'}, 0, "keep: plain"),
    ],
)
def test_a_rejected_text_points_at_the_character(
    service: RunningService, change: dict[str, str], position: int, hint: str
) -> None:
    problem = service.post("marketer", PATH, {"key": "wrong", **BUYERS, **change}, 422)
    assert (problem["code"], problem["position"]) == ("segment_rejected", position)
    assert problem["message"]
    assert hint in problem["hint"]
    assert service.get("marketer", f"{PATH}/wrong", 404)["code"] == "unknown_segment"


def test_an_unknown_purpose_is_told(service: RunningService) -> None:
    problem = service.post("marketer", PATH, {"key": "wrong", **BUYERS, "purpose": "no_such"}, 422)
    assert problem["code"] == "unknown_purpose"


def test_a_preview_gives_exact_sizes_and_who_is_left_out(service: RunningService) -> None:
    body = {"purpose": "email_marketing", "where": 'did("Order Completed") and trait.country = "DE"'}
    shown = service.post("marketer", f"{PATH}/preview", body)
    assert shown["size"] == 1
    assert [each["text"] for each in shown["conditions"]] == ['did("Order Completed")', 'trait.country = "DE"']
    assert [(each["alone"], each["together"]) for each in shown["conditions"]] == [(CROWD + 1, CROWD + 1), (1, 1)]
    assert len(shown["sample"]) == 1
    assert shown["refused_by_reason"] == {"refused": 1}
    everyone = service.post("marketer", f"{PATH}/preview", body | {"where": 'did("Order Completed")'})
    assert everyone["size"] == CROWD + 1
    assert len(everyone["sample"]) == 10


def test_members_are_read_by_pseudonym_page_by_page(service: RunningService) -> None:
    first = service.get("marketer", f"{PATH}/buyers/members", limit=70)
    assert first["size"] == CROWD + 1
    second = service.get("marketer", f"{PATH}/buyers/members", limit=70, cursor=first["next"])
    found = [each["profile"] for each in first["members"] + second["members"]]
    assert len(found) == len(set(found)) == CROWD + 1
    assert second["next"] is None
    assert all(len(each) == 32 for each in found)
    logged = service.get("auditor", "/api/v1/audit/entries", kind="data.read", limit=2)["entries"]
    assert [(each["body"]["segment"], each["body"]["count"]) for each in logged] == [("buyers", 51), ("buyers", 70)]


def test_few_members_are_listed_whole(service: RunningService) -> None:
    service.post("marketer", PATH, {"key": "few", **BUYERS, "where": 'trait.country = "DE"'}, 201)
    page = service.get("marketer", f"{PATH}/few/members")
    assert (len(page["members"]), page["size"], page["next"]) == (1, 1, None)


def test_auditors_see_no_small_sizes(service: RunningService) -> None:
    """Sizes leave those who work with people only from the policy's minimum on, which is 100."""
    service.post("marketer", PATH, {"key": "single", **BUYERS, "where": 'trait.country = "DE"'}, 201)
    entries = service.get("auditor", "/api/v1/audit/entries", kind="segment.evaluated", limit=1000)["entries"]
    sizes = {(entry["body"]["segment"], entry["body"]["entered"], entry["body"]["left"]) for entry in entries}
    assert ("buyers", CROWD + 1, 0) in sizes
    assert ("single", "fewer than 100", 0) in sizes
    with service.context.database.transaction() as tx:
        assert check_facts(tx, since=None, until=None).altered == ()


def test_a_withdrawal_ends_a_membership_for_every_later_reader(service: RunningService) -> None:
    service.add_person("gil@example.com", "gil")
    memberships.refresh(service.context, "buyers")
    before = service.get("marketer", f"{PATH}/buyers/members", limit=1000)["members"]
    identifier = {"type": "user_id", "value": "gil"}
    service.post(
        "privacy",
        "/api/v1/consents",
        {"identifier": identifier, "purpose": "email_marketing", "act": "withdraw", "authority": "authenticated"},
        201,
    )
    after = service.get("marketer", f"{PATH}/buyers/members", limit=1000)["members"]
    assert len(after) == len(before) - 1
    assert memberships.refresh(service.context, "buyers").exited <= 1


def test_explain_tells_condition_by_condition_why_somebody_is_in(service: RunningService) -> None:
    service.post("marketer", PATH, {"key": "once", **BUYERS, "where": 'count("Order Completed") >= 1'}, 201)
    asked = {"identifier": {"type": "user_id", "value": "p3"}}
    told = service.post("auditor", f"{PATH}/once/explain", asked)
    assert told["profile"]["is_in"] is True
    assert told["profile"]["conditions"] == [{"condition": 'count("Order Completed") >= 1', "is_true": True}]
    known = service.post("privacy", "/api/v1/consents/lookup", asked)["records"]
    assert told["profile"]["records"]
    assert set(told["profile"]["records"]) <= {each["record"] for each in known}
    assert {"name": '"Order Completed"', "category": "user.behavior.purchase_history"} in told["fields_read"]
    out = service.post(
        "privacy", f"{PATH}/once/explain", {"identifier": {"type": "email", "value": "nobody@example.com"}}, 404
    )
    assert out["code"] == "unknown_profile"


def test_a_marketer_explains_by_pseudonym_or_the_segment_alone(service: RunningService) -> None:
    member = service.get("marketer", f"{PATH}/buyers/members", limit=1)["members"][0]["profile"]
    assert service.post("marketer", f"{PATH}/buyers/explain", {"profile": member})["profile"]["is_in"] is True
    alone = service.post("marketer", f"{PATH}/buyers/explain", None)
    assert alone["profile"] is None
    assert "SELECT" in alone["sql"]
    assert service.post("marketer", f"{PATH}/buyers/explain", {"profile": "0" * 32}, 404)["code"] == "unknown_profile"


def test_a_segment_that_others_ask_for_stays(service: RunningService) -> None:
    service.post("marketer", PATH, {"key": "part", **BUYERS}, 201)
    service.post("marketer", PATH, {"key": "both", **BUYERS, "where": 'in segment "part" and in segment "buyers"'}, 201)
    assert service.call("marketer", "DELETE", f"{PATH}/part").json()["code"] == "segment_in_use"
    assert service.call("marketer", "DELETE", f"{PATH}/both").status_code == 204
    assert service.call("marketer", "DELETE", f"{PATH}/part").status_code == 204
    assert service.get("marketer", f"{PATH}/part", 404)["code"] == "unknown_segment"


def test_the_segments_of_the_policy_folder_are_in_force(service: RunningService) -> None:
    keys = {each["key"]: each["owner"] for each in service.get("marketer", PATH)["segments"]}
    assert keys["lapsing_high_value"] == "policy"
