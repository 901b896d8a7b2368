"""What staff should look at in the map, through the API."""

from datetime import UTC, datetime, timedelta

from tests.support.messages import order, track
from tests.support.service import RunningService


def test_shared_identifiers_and_quarantine_are_listed_and_counted(service: RunningService) -> None:
    for name in ("kim", "lee"):
        service.add_person(f"{name}@example.com", name)
        seen = {"userId": name, "anonymousId": "kiosk", "context": {"traits": {"email": f"{name}@example.com"}}}
        service.send(track(**seen))
    told = service.get("privacy", "/api/v1/identity/shared")
    (listed,) = (each for each in told["identifiers"] if each["value"] == "kiosk")
    assert (listed["type"], listed["people"]) == ("anonymous_id", 2)
    assert told["total"] == sum(told["by_type"].values()) >= 1
    for name in ("kim", "lee"):
        early = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        service.send(order(userId=f"old-{name}", context={"traits": {"email": "kim@example.com"}}, timestamp=early))
    (claim,) = service.get("privacy", "/api/v1/identity/review")["left_out"]
    assert (claim["value"], claim["rule"], claim["words"], claim["people"]) == ("kim@example.com", "stale", 2, 2)
    assert service.get("admin", "/api/v1/identity/quarantined") == {"total": 0, "profiles": []}
    figures = service.call("admin", "GET", "/metrics").text
    assert "cdp_profiles_quarantined 0.0" in figures
    assert "cdp_identifiers_shared" in figures
    service.get("privacy", "/api/v1/identity/shared", expected=422, limit=0)


def test_the_review_is_empty_where_everything_was_read_by_the_present_rules(service: RunningService) -> None:
    service.send(track(userId="12347.0", context={"traits": {"email": "mailto:bo@x.example"}}))
    listed = service.get("privacy", "/api/v1/identity/review")
    assert (listed["reread_total"], listed["reread"]) == (0, [])
