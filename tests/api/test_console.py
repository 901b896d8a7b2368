"""The console as a browser without scripts uses it: links and forms are read from the pages and followed."""

import json
import re
from typing import Any

import httpx
import pytest

from cdp.access.model import Role
from cdp.web.console.page import MENU, STYLE
from tests.support.browser import Browser, Reader
from tests.support.messages import consent_context, order, track
from tests.support.service import RunningService
from tests.support.waits import until

PASSWORD_COOKIE = "cdp_console"


@pytest.fixture(scope="module", autouse=True)
def _lived_in(service: RunningService) -> None:
    service.add_person("ada@example.com", "ada", country="DE")
    service.send(track(userId="stranger", properties={"sku": "MUG-204"}))
    service.send(order(userId="x", timestamp="1990-01-01T00:00:00Z"))
    answers = consent_context(astrology=True)
    service.send(track(userId="y", context=answers))
    service.sign()


def test_nobody_sees_a_page_without_a_token(service: RunningService) -> None:
    browser = Browser(service)
    for address, *_ in MENU:
        page = browser.open(address, 401)
        assert "Sign in" in page.words
        assert [form.action for form in page.forms] == ["/console/enter"]
    page = browser.send("/console/enter", 401, token="cdp_nonsense")
    assert "not valid" in page.words
    assert PASSWORD_COOKIE not in browser.client.cookies
    page = browser.send("/console/enter", 401, token="")
    assert PASSWORD_COOKIE not in browser.client.cookies


def test_captions_and_fields_are_not_wider_than_a_narrow_screen() -> None:
    """A caption is as wide as its table, which scrolls: without a limit, and in one line, its end was out of sight at 360 px."""
    caption, field = (re.search(rf"^{start}{{(.*)}}$", STYLE, re.MULTILINE) for start in ("caption", "input,select.*"))
    assert caption is not None
    assert field is not None
    assert "max-width:calc(100vw - 3rem)" in caption[1]
    assert "nowrap" not in caption[1]
    assert "max-width:100%" in field[1]


def test_a_write_key_opens_no_page(service: RunningService) -> None:
    browser = Browser(service)
    browser.open("/console", 401)
    browser.send("/console/enter", 401, token=service.write_key)
    assert browser.client.get("/console/messages", auth=(service.write_key, "")).status_code == 401


def test_the_cookie_is_for_these_pages_only_and_not_for_scripts(service: RunningService) -> None:
    shown = signed_in(service, {})
    for part in ("httponly", "samesite=strict", "path=/console", "max-age=28800"):
        assert part in shown
    assert "secure" in signed_in(service, {"X-Forwarded-Proto": "https"})


def signed_in(service: RunningService, headers: dict[str, str]) -> str:
    """The cookie that a browser gets, in small letters."""
    form = httpx.get(f"{service.url}/console", headers=headers)
    kept = form.headers["set-cookie"].partition(";")[0]
    given = {"token": service.tokens["auditor"], "form": dict(Reader(form.text).forms[0].fields)["form"]}
    answer = httpx.post(f"{service.url}/console/enter", data=given, headers={**headers, "Cookie": kept})
    assert answer.status_code == 303
    return answer.headers["set-cookie"].lower()


def test_each_role_sees_its_pages_and_no_other(browsers: dict[Role, Browser]) -> None:
    for role, browser in browsers.items():
        index = browser.open("/console")
        for address, _name, _what, roles in MENU:
            assert (address in index.links) == (role in roles)
            page = browser.open(address, 200 if role in roles else 403)
            assert (f"you are signed in as {role.value}" in page.words) == (role not in roles)
            assert "/console" in page.links, "a refusal keeps the way back"


def test_a_page_is_kept_by_nobody_and_runs_nothing(browsers: dict[Role, Browser]) -> None:
    for role, browser in browsers.items():
        for address, _name, _what, roles in MENU:
            if role not in roles:
                continue
            page = browser.open(address)
            assert browser.answer.headers["cache-control"] == "no-store"
            assert "default-src 'none'" in browser.answer.headers["content-security-policy"]
            tags = [tag for tag, _ in page.tags]
            assert "script" not in tags
            assert not any(
                "style" in values or any(name.startswith("on") for name in values) for _, values in page.tags
            )
            assert tags.count("h1") == 1
            for form in page.forms:
                assert form.labeled == form.names, f"{address}: a field without a label"


def test_messages_add_up_and_say_why(browsers: dict[Role, Browser], service: RunningService) -> None:
    page = browsers[Role.AUDITOR].open("/console/messages")
    told = service.get("auditor", "/api/v1/ingest/accounting")
    assert f"{told['received']:,} received =" in page.words
    for state, count in told["by_state"].items():
        assert f"{count:,} {state.replace('_', ' ')}" in page.words
    assert "The message is older than the retention period of its class" in page.words
    assert "The person never consented" in page.words
    assert "consent under a name that no purpose has" in page.words
    one = browsers[Role.AUDITOR].open("/console/messages", source="browser")
    assert "No messages were received in this period." in one.words
    browsers[Role.AUDITOR].open("/console/messages", 404, source="nobody")
    for day in ("yesterday", "9999-12-31", "0001-01-01"):
        browsers[Role.AUDITOR].open("/console/messages", 422, **{"from": day})
        browsers[Role.AUDITOR].open("/console/messages", 422, to=day)


def test_messages_name_the_properties_that_are_not_as_planned(
    browsers: dict[Role, Browser], service: RunningService
) -> None:
    service.send(order(userId="z", properties={"revenue": "5,00"}), order(userId="z", properties={"total": 5}))
    told = service.get("auditor", "/api/v1/ingest/accounting")["properties"]
    found = {(each["kind"], each["event"], each["property"], each["expected"]) for each in told}
    assert found >= {
        ("mistyped", "Order Completed", "revenue", "number"),
        ("missing", "Order Completed", "revenue", "number"),
    }
    page = browsers[Role.AUDITOR].open("/console/messages")
    assert "Properties that are not as planned" in page.words
    assert "not of the declared type; sealed" in page.words
    assert "not in the message, although a computed trait adds it up" in page.words
    assert "5,00" not in page.words


def test_a_marketer_tries_a_text_keeps_it_and_reads_it(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.MARKETER]
    browser.open("/console/segments")
    wrong = browser.send(
        "/console/segments/try#try",
        422,
        purpose="email_marketing",
        where='trait.country = "DE"\r\nand did("Order Complete")',
    )
    assert "did you mean Order Completed?" in wrong.words
    assert "2 |" in wrong.words, "the mistake is on the second line"
    page = browser.send("/console/segments/try#try", purpose="email_marketing", where='did("Order Completed")')
    assert "1 of 1 person" in page.words
    page = browser.send("/console/segments/keep", key="buyers", name="Buyers <b>bold</b>")
    assert "Buyers <b>bold</b>" in page.words, "a name is text and nothing else"
    assert 'did("Order Completed")' in page.words
    assert "/console/segments/buyers/members" in page.links
    members = browser.open("/console/segments/buyers/members")
    assert "1 person" in members.words
    browser.open("/console/segments/no_such_one", 404)
    browser.open("/console/segments")
    browser.send("/console/segments/try#try", purpose="email_marketing", where='did("Order Completed")')
    browser.send("/console/segments/keep", 409, key="buyers", name="Again")


def test_privacy_staff_look_somebody_up(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.PRIVACY]
    browser.open("/console/people")
    page = browser.send("/console/people", type="email", value=" ADA@example.com ")
    assert "ada@example.com" in page.words
    assert "email_marketing" in page.words, "every consent record is listed"
    assert "ada" not in str(browser.answer.url)
    for basis, words in (("recorded", "By what was recorded by then"), ("occurred", "By what had occurred by then")):
        browser.open("/console/people")
        fields = {"type": "email", "value": "ada@example.com", "as_of": "2020-01-31T12:00"}
        page = browser.send("/console/people", 200, basis=basis, **fields)
        assert words in page.words
        assert "No consent records as of then" in page.words
    browser.open("/console/people")
    browser.send("/console/people", 422, type="email", value="ada@example.com", as_of="yesterday")
    browser.open("/console/people")
    page = browser.send(
        "/console/people/explain", a_type="email", a_value="ada@example.com", b_type="user_id", b_value="ada"
    )
    assert "Same person" in page.words
    assert "named both" in page.words
    browser.open("/console/people")
    page = browser.send("/console/people", 404, type="email", value="nobody@example.com")
    assert "There is no profile" in page.words
    browser.open("/console/people")
    browser.send("/console/people", 422, type="email", value=" ")


def test_an_administrator_sees_no_consents_and_a_marketer_no_identifiers(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.ADMIN]
    browser.open("/console/people")
    page = browser.send("/console/people", type="email", value="ada@example.com")
    assert "Consent records" not in page.words
    marketer = browsers[Role.MARKETER]
    page = marketer.open("/console/people")
    assert "email" not in [value for form in page.forms for _, value in form.fields]
    marketer.send("/console/people", 403, profile="", type="email", value="ada@example.com")


def test_a_request_goes_from_opening_to_its_receipt(browsers: dict[Role, Browser], service: RunningService) -> None:
    service.add_person("grace@example.com", "grace")
    browser = browsers[Role.PRIVACY]
    browser.open("/console/requests")
    page = browser.send(
        "/console/requests",
        right="gdpr:erasure",
        type=["email", "user_id", "email"],
        value=["grace@example.com", "grace", ""],
    )
    assert "Erasure under gdpr: received" in page.words
    address = browser.answer.url.path
    assert "grace@example.com" in page.words
    browser.send(f"{address}/verify")
    page = browser.send(f"{address}/plan")
    assert "Preview: nothing has been changed yet" in page.words
    browser.open(address)
    page = browser.send(f"{address}/run", 422)
    assert "Nothing was erased" in page.words
    assert service.call("privacy", "POST", "/api/v1/profiles/lookup", _named("grace@example.com")).status_code == 200
    browser.open(address)
    page = browser.send(f"{address}/run", sure="yes")
    assert "Erasure under gdpr: fulfilled" in page.words
    assert "grace@example.com" not in page.words
    assert service.call("privacy", "POST", "/api/v1/profiles/lookup", _named("grace@example.com")).status_code == 404
    service.sign()
    until(lambda: browser.client.get(f"{address}/receipt").status_code == 200)
    receipt = browser.client.get(f"{address}/receipt")
    assert receipt.headers["content-disposition"].startswith("attachment")
    assert json.loads(receipt.text) == service.get(
        "privacy", f"/api/v1/subject-requests/{address.split('/')[-1]}/receipt"
    )


def test_an_archive_is_downloaded_and_a_request_denied(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.PRIVACY]
    browser.open("/console/requests")
    browser.send("/console/requests", right="gdpr:access", type=["email"] * 3, value=["ada@example.com", "", ""])
    address = browser.answer.url.path
    browser.send(f"{address}/verify")
    assert f"{address}/export?draft=true" in browser.page.links
    assert browser.client.get(f"{address}/export").status_code == 409, "it is not answered yet"
    page = browser.send(f"{address}/run")
    assert "Access under gdpr: fulfilled" in page.words
    assert f"{address}/export" in page.links
    archive = browser.client.get(f"{address}/export")
    assert archive.content[:2] == b"PK"
    browser.open("/console/requests")
    browser.send("/console/requests", right="gdpr:erasure", type=["email"] * 3, value=["ada@example.com", "", ""])
    page = browser.send(f"{browser.answer.url.path}/deny", reason="unverified")
    assert "denied" in page.words
    assert page.words.count("Questions to") == 1
    assert "The controller is not named yet. Name it in controller.yaml in the policy folder." in page.words
    page = browser.open("/console/requests", status="denied")
    assert "denied" in page.words


@pytest.mark.parametrize("role", [Role.PRIVACY, Role.AUDITOR])
def test_what_is_kept_is_read_for_a_reason_that_is_recorded(
    browsers: dict[Role, Browser], service: RunningService, role: Role
) -> None:
    user_id = f"kept-{role.value}"
    service.add_person(f"{user_id}@example.com", user_id)
    service.send(order(userId=user_id, properties={"order_id": f"order-of-{user_id}", "revenue": 12}))
    request = service.post(
        "privacy",
        "/api/v1/subject-requests",
        {"kind": "erasure", "regime": "gdpr", "identifiers": [{"type": "user_id", "value": user_id}]},
        201,
    )["id"]
    for step in ("verify", "run"):
        service.post("privacy", f"/api/v1/subject-requests/{request}/{step}", {})
    browser = browsers[role]
    page = browser.open("/console/kept")
    assert "§ 147 AO" in page.words
    assert f"order-of-{user_id}" not in page.words, "none is opened"
    browser.send("/console/kept/holds", 422, reason="curiosity")
    browser.open("/console/kept")
    page = browser.send("/console/kept/holds", retention_class="transactions", reason="legal_claim")
    assert f"order-of-{user_id}" in page.words
    assert f"{user_id}@example.com" not in page.words
    browser.open("/console/kept")
    page = browser.send("/console/kept/severed", retention_class="browsing", reason="internal_control")
    assert "Nothing of class browsing was severed" in page.words
    with service.context.database.transaction(read_only=True) as tx:
        read = tx.execute(
            "SELECT body ->> 'read', body ->> 'reason' FROM audit.fact WHERE body ->> 'actor' = %(role)s "
            "AND body ->> 'read' IN ('holds', 'severed') ORDER BY entry_id DESC LIMIT 2",
            {"role": role.value},
        )
    assert read == [("severed", "internal_control"), ("holds", "legal_claim")]


def test_the_auditor_reads_figures_and_entries(browsers: dict[Role, Browser], service: RunningService) -> None:
    service.sign()
    browser = browsers[Role.AUDITOR]
    page = browser.open("/console/log")
    assert "all match" in page.words
    assert "data.read" in page.words
    page = browser.open("/console/log", kind="consent.recorded")
    assert "email_marketing" in page.words
    page = browser.open("/console/log", kind="consent.recorded", before=1)
    assert "Entries, newest first" in page.words


def test_a_form_that_was_not_made_for_the_visitor_does_nothing(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.PRIVACY]
    for form in ("", "0" * 64, "ü"):
        answer = browser.client.post(
            "/console/requests",
            data={"form": form, "right": "gdpr:access", "type": "email", "value": "ada@example.com"},
        )
        assert (answer.status_code, "The form is not valid" in answer.text) == (403, True)


def test_leaving_forgets_the_token_and_a_revoked_one_stops_at_once(
    browsers: dict[Role, Browser], service: RunningService
) -> None:
    browser = browsers[Role.AUDITOR]
    browser.open("/console")
    browser.send("/console/leave")
    assert PASSWORD_COOKIE not in browser.client.cookies
    browser.open("/console", 401)
    made = service.post("admin", "/api/v1/tokens", {"name": "guest", "role": "auditor"}, 201)
    browser.send("/console/enter", token=made["token"])
    browser.open("/console/log")
    service.call("admin", "POST", f"/api/v1/tokens/{made['id']}/revoke")
    browser.open("/console/log", 401)


def test_what_a_visitor_sends_is_shown_as_text(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.MARKETER]
    browser.open("/console/segments")
    page = browser.send(
        "/console/segments/try#try", 422, purpose="email_marketing", where="</textarea><script>alert(1)</script>"
    )
    assert "script" not in [tag for tag, _ in page.tags]


def test_an_unknown_page_is_told_as_a_page(browsers: dict[Role, Browser]) -> None:
    page = browsers[Role.ADMIN].open("/console/nothing", 404)
    assert "There is no such path" in page.words
    assert browsers[Role.ADMIN].client.get("/consoles").headers["content-type"] == "application/problem+json"


def test_what_keeps_two_identifiers_apart_is_said_in_words(
    browsers: dict[Role, Browser], service: RunningService
) -> None:
    claim = consent_context(analytics=True) | {"traits": {"email": "ada@example.com"}}
    service.send(track(anonymousId="claimant", context=claim), key=service.browser_key)
    browser = browsers[Role.PRIVACY]
    browser.open("/console/people")
    page = browser.send(
        "/console/people/explain",
        a_type="anonymous_id",
        a_value="claimant",
        b_type="email",
        b_value="ada@example.com",
    )
    assert "Different people" in page.words
    assert "A source of a higher authority ties one side to somebody else." in page.words


def test_the_front_page_leads_to_the_console(service: RunningService) -> None:
    browser = Browser(service)
    assert "/console" in browser.open("/").links


def _named(email: str) -> dict[str, Any]:
    return {"identifier": {"type": "email", "value": email}}
