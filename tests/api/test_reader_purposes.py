"""For which purposes marketers read people: those of the policy, through every route, and never others by a detour."""

import re
from typing import Any

import pytest

from cdp.access.model import Role
from cdp.flows.identity.reader_lookup import look_up_pseudonym
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.tokens import create_token
from cdp.flows.segments import definitions, reading
from cdp.kit.errors import Fault
from cdp.segments.model import Draft, SegmentKey
from tests.support.messages import order
from tests.support.policies import changed, shipped
from tests.support.service import RunningService

PATH = "/api/v1/segments"
BUYERS = 'did("Order Completed")'


@pytest.fixture(scope="module", autouse=True)
def people(service: RunningService) -> None:
    """One who consented, and one who consented to nothing and is known for orders alone."""
    service.add_person("ada@example.com", "ada")
    service.send(order(userId="rex", properties={"revenue": 30}))
    draft = Draft(SegmentKey("served"), "Served", "service", "operator")
    definitions.define(service.context, draft, BUYERS, is_new=True, actor="operator")
    service.post("marketer", PATH, {"key": "buyers", **body("email_marketing")}, 201)


def body(purpose: str, where: str = BUYERS) -> dict[str, str]:
    return {"name": "Buyers", "purpose": purpose, "where": where}


def code(answer: Any) -> str:
    found: str = answer["code"]
    return found


def test_nobody_is_read_for_a_purpose_that_they_cannot_refuse(service: RunningService) -> None:
    for purpose, where, status, refusal in (
        ("service", BUYERS, 403, "purpose_not_readable"),
        ("email_marketing", 'in segment "served"', 422, "segment_rejected"),
    ):
        asked = {"purpose": purpose, "where": where}
        assert code(service.post("marketer", f"{PATH}/preview", asked, status)) == refusal
        made = {"key": "mine", **body(purpose, where)}
        assert code(service.post("marketer", PATH, made, status)) == refusal
        change = service.call("marketer", "PUT", f"{PATH}/buyers", body(purpose, where))
        assert (change.status_code, code(change.json())) == (status, refusal)
    assert service.post("marketer", f"{PATH}/preview", {"purpose": "email_marketing", "where": BUYERS})["size"] == 1


def test_a_segment_of_such_a_purpose_is_neither_listed_nor_shown(service: RunningService) -> None:
    keys = {segment["key"] for segment in service.get("marketer", PATH)["segments"]}
    assert "buyers" in keys
    assert "served" not in keys
    assert code(service.get("marketer", f"{PATH}/served", 403)) == "purpose_not_readable"
    assert code(service.get("marketer", f"{PATH}/served/members", 403)) == "purpose_not_readable"
    assert code(service.post("marketer", f"{PATH}/served/explain", None, 403)) == "purpose_not_readable"
    for method, sent in (("PUT", body("email_marketing")), ("DELETE", None)):
        answer = service.call("marketer", method, f"{PATH}/served", sent)
        assert (answer.status_code, code(answer.json())) == (403, "purpose_not_readable")


def test_a_pseudonym_shows_its_own_purpose_and_no_other(service: RunningService) -> None:
    with service.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT purpose, reader_pseudonym FROM consent.permitted")
    shown: dict[str, set[str]] = {}
    for purpose, pseudonym in rows:
        answer = service.call("marketer", "POST", "/api/v1/profiles/lookup", {"profile": pseudonym})
        shown.setdefault(purpose, set()).update(answer.json().get("consents", [answer.json().get("code")]))
    expected = {purpose: {purpose} for purpose in ("analytics", "personalization", "email_marketing")}
    assert shown == expected | {"service": {"unknown_profile"}}


def test_the_log_names_the_purpose_of_a_look_up(service: RunningService) -> None:
    (member,) = service.get("marketer", f"{PATH}/buyers/members")["members"]
    service.post("marketer", "/api/v1/profiles/lookup", {"profile": member["profile"]})
    asked = {"identifier": {"type": "user_id", "value": "ada"}}
    read = service.post("privacy", "/api/v1/audit/readers", asked)["reads"][0]
    assert (read["role"], read["read"], read["purpose"]) == ("marketer", "profile", "email_marketing")


def test_what_began_is_dated_to_the_day(service: RunningService) -> None:
    """Instants would join pseudonyms of two purposes that one click gave, or segments that one event entered."""
    (member,) = service.get("marketer", f"{PATH}/buyers/members")["members"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", member["since"])
    found = service.post("marketer", "/api/v1/profiles/lookup", {"profile": member["profile"]})
    permission = found["consents"]["email_marketing"]
    assert [permission[name][10:] for name in ("since", "until")] == ["T00:00:00Z", "T00:00:00Z"]


def test_segments_shown_with_a_person_are_of_the_same_purpose(service: RunningService) -> None:
    (member,) = service.get("marketer", f"{PATH}/buyers/members")["members"]
    found = service.post("marketer", "/api/v1/profiles/lookup", {"profile": member["profile"]})
    assert "buyers" in found["segments"]
    assert "served" not in found["segments"]


def test_commands_read_as_marketers_do(service: RunningService) -> None:
    with pytest.raises(Fault) as caught:
        reading.preview(service.context, BUYERS, "service", actor="operator")
    assert caught.value.code == "purpose_not_readable"
    with pytest.raises(Fault) as caught:
        reading.members(service.context, "served", after=None, limit=10, actor="operator")
    assert caught.value.code == "purpose_not_readable"


def test_staff_who_name_a_person_are_not_limited(service: RunningService) -> None:
    asked = {"identifier": {"type": "user_id", "value": "rex"}}
    for role in ("auditor", "privacy"):
        assert service.post(role, f"{PATH}/served/explain", asked)["profile"]["is_in"] is True


def test_the_look_ups_of_a_token_are_limited(service: RunningService) -> None:
    """By pseudonym, found or not, and by explanation; lists and other tokens are not affected."""
    narrow = changed(shipped(), "readers.yaml", roles={"marketer": {"lookups_per_hour": 3}})
    context = service.context.with_policy(narrow)
    (member,) = reading.members(context, "buyers", after=None, limit=9, actor="marketer")[0].members
    one, other = (create_token(context, name, Role.MARKETER).token.token_id for name in ("one", "other"))
    look_up_pseudonym(context, member.reader_pseudonym, actor="marketer", token=one)
    with pytest.raises(Fault, match="unknown_profile"):
        look_up_pseudonym(context, "0" * 32, actor="marketer", token=one)
    reading.explain(context, "buyers", pseudonym=member.reader_pseudonym, actor="marketer", token=one)
    for _ in range(2):
        with pytest.raises(Fault) as caught:
            look_up_pseudonym(context, member.reader_pseudonym, actor="marketer", token=one)
        assert (caught.value.code, caught.value.status) == ("too_many_lookups", 429)
        assert 3500 < (caught.value.retry_after_seconds or 0) <= 3600
    reading.members(context, "buyers", after=None, limit=9, actor="marketer")
    look_up_pseudonym(context, member.reader_pseudonym, actor="marketer", token=other)
    with context.database.transaction() as tx:
        ended = "UPDATE access.lookup SET began_at = began_at - interval '1 hour' WHERE token_id = %(one)s"
        tx.execute(ended, {"one": one})
    look_up_pseudonym(context, member.reader_pseudonym, actor="marketer", token=one)


def test_the_service_counts_the_token_of_the_caller(service: RunningService) -> None:
    def counted() -> int:
        with service.context.database.transaction(read_only=True) as tx:
            return int(tx.execute("SELECT coalesce(sum(lookups), 0) FROM access.lookup")[0][0])

    (member,) = service.get("marketer", f"{PATH}/buyers/members")["members"]
    before = counted()
    service.post("marketer", "/api/v1/profiles/lookup", {"profile": member["profile"]})
    service.post("marketer", f"{PATH}/buyers/explain", {"profile": member["profile"]})
    service.post("marketer", f"{PATH}/buyers/explain", None)
    assert counted() == before + 2


def test_the_policy_decides(service: RunningService) -> None:
    """Last in this file, because the running service keeps the policy that it started with."""
    wider = changed(shipped(), "readers.yaml", roles={"marketer": {"legal_bases": [], "purposes": ["service"]}})
    context = apply_policy(service.context, wider).context
    assert reading.preview(context, BUYERS, "service", actor="marketer").preview.size == 2
    with pytest.raises(Fault) as caught:
        reading.preview(context, BUYERS, "email_marketing", actor="marketer")
    assert caught.value.code == "purpose_not_readable"
    apply_policy(context, shipped())
