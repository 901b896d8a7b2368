"""`cdp.js` in a real Chromium, on pages of another origin than the service: what is sent, stored and kept in the browser."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cdp.web.browser.routes import CLIENT
from tests.support.chromium import Chromium, Site, Tab, chromium, serving_site
from tests.support.commands import ROOT, Service, Shell, temporary_home
from tests.support.waits import until

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

PURPOSES = "analytics email_marketing advertising"
EXAMPLES = ROOT / "examples" / "browser"


@dataclass(frozen=True, slots=True)
class Shop:
    """A service, and pages that load its client with a key of a source of each kind."""

    service: Service
    site: Site
    admin: str
    privacy: str
    key: str

    def accounted(self, source: str) -> dict[str, int]:
        """The messages of a source by state."""
        headers = {"Authorization": f"Bearer {self.admin}"}
        answer = self.service.request("GET", f"/api/v1/ingest/accounting?source={source}", headers=headers)
        found: dict[str, int] = answer.raise_for_status().json()["by_state"]
        return {state: count for state, count in found.items() if count}

    def consents(self, device: str) -> Any:
        """The records and verdicts of a device."""
        body = {"identifier": {"type": "anonymous_id", "value": device}}
        headers = {"Authorization": f"Bearer {self.privacy}"}
        answer = self.service.request("POST", "/api/v1/consents/lookup", headers=headers, json=body)
        return answer.raise_for_status().json()

    def allowed(self, device: str) -> set[str]:
        """The purposes permitted for a device."""
        return {key for key, verdict in self.consents(device)["verdicts"].items() if verdict["allowed"]}


def element(service: Service, key: str, **settings: str) -> str:
    """The element that loads the client."""
    given = {"write-key": key, "purposes": PURPOSES, "notice": "2026-11", **settings}
    attributes = " ".join(f'data-{name}="{value}"' for name, value in given.items())
    return f'<script src="{service.url}/cdp.js" {attributes}></script>'


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with temporary_home() as home, Shell(home).serving() as service:
        admin = (home / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {admin}"}
        role = {"name": "pat", "role": "privacy"}
        privacy = (
            service.request("POST", "/api/v1/tokens", headers=headers, json=role).raise_for_status().json()["token"]
        )
        keys = {}
        for name, jurisdiction in {"eu": "eu", "waiting": "eu", "west": "us-ca"}.items():
            body = {
                "name": name, "kind": "browser", "jurisdiction": jurisdiction, "scopes": ["ingest"],
                "defer": name == "waiting",
            }  # fmt: skip
            made = service.request("POST", "/api/v1/sources", headers=headers, json=body).raise_for_status().json()
            keys[name] = made["write_key"]
        pages = {
            "/": element(service, keys["eu"]),
            "/next": element(service, keys["eu"]),
            "/waiting": element(service, keys["waiting"], before="defer"),
            "/west": element(service, keys["west"], before="send"),
            "/renewed": element(service, keys["eu"], notice="2027-01"),
            "/empty": "",
            "/wrong": element(service, "wk_wrong"),
        }
        policy = f"default-src 'none'; script-src {service.url}; connect-src {service.url}"
        with serving_site(pages, policy) as site:
            yield Shop(service, site, admin, privacy, keys["eu"])


@pytest.fixture
def browser() -> Iterator[Chromium]:
    with chromium() as browser:
        yield browser


def sent(browser: Chromium) -> list[dict[str, Any]]:
    """Every message of every page, as it was sent."""
    bodies = [request["body"] for request in browser.requests() if request["url"].endswith("/v1/batch")]
    return [message for body in bodies for message in json.loads(body)["batch"]]


def kept(tab: Tab) -> dict[str, Any]:
    """What lies in the storage of the browser."""
    text = tab.run("return JSON.stringify(Object.fromEntries(Object.entries(localStorage)))")
    return {key: json.loads(value) for key, value in json.loads(text).items()}


def at_rest(tab: Tab) -> None:
    """Wait until nothing waits to be sent."""
    until(lambda: tab.run("return cdp.state().queued") == 0, "an empty queue")


def test_is_small_and_asks_no_other_host(shop: Shop, browser: Chromium) -> None:
    answer = shop.service.request("GET", "/cdp.js")
    assert (answer.status_code, answer.content) == (200, CLIENT)
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    again = shop.service.request("GET", "/cdp.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert len(gzip.compress(CLIENT, 9)) < 6_000
    tab = browser.open(shop.site.url + "/")
    tab.run("await cdp.consent({analytics: true}); cdp.page(); cdp.track('Product Viewed', {sku: 'MUG-204'})")
    at_rest(tab)
    assert {request["url"] for request in browser.requests()} <= {
        f"{shop.site.url}/", f"{shop.site.url}/favicon.ico", f"{shop.service.url}/cdp.js", f"{shop.service.url}/v1/batch"
    }  # fmt: skip


def test_before_an_answer_nothing_is_sent_or_kept(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("cdp.page(); cdp.track('Product Viewed', {sku: 'MUG-204'}); cdp.identify('u-17')")
    tab.go(shop.site.url + "/next")
    assert kept(tab) == {}
    assert sent(browser) == []
    assert tab.run("return cdp.state()") == {
        "answer": None, "needsAnswer": True, "gpc": False, "queued": 0, "dropped": 0
    }  # fmt: skip


def test_a_grant_is_recorded_with_its_notice_and_events_follow(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/?utm_source=mail&token=secret")
    tab.run("await cdp.consent({analytics: true}); cdp.track('Product Viewed', {sku: 'MUG-204'})")
    at_rest(tab)
    device = kept(tab)["cdp"]["id"]
    found = shop.consents(device)
    assert {key for key, verdict in found["verdicts"].items() if verdict["allowed"]} == {"analytics"}
    assert {(record["purpose"], record["act"], record["notice_version"]) for record in found["records"]} == {
        ("analytics", "grant", "2026-11"), ("email_marketing", "refuse", "2026-11"), ("advertising", "refuse", "2026-11")
    }  # fmt: skip
    assert all("secret" not in json.dumps(message) for message in sent(browser))
    tab.go(shop.site.url + "/renewed")
    assert tab.run("return cdp.state().needsAnswer") is True
    tab.run("await cdp.consent({analytics: true})")
    assert ("analytics", "grant", "2027-01") in {
        (record["purpose"], record["act"], record["notice_version"]) for record in shop.consents(device)["records"]
    }


def test_a_refusal_is_recorded_and_then_it_is_silent(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("await cdp.consent({}); cdp.page(); cdp.track('Product Viewed'); cdp.identify('u-17', {plan: 'gold'})")
    tab.go(shop.site.url + "/next")
    tab.run("cdp.page()")
    assert tab.run("return cdp.state().needsAnswer") is False
    assert set(kept(tab)["cdp"]) == {"answer"}
    [message] = sent(browser)
    assert message["context"]["consent"]["categoryPreferences"] == dict.fromkeys(PURPOSES.split(), False)
    assert shop.allowed(message["anonymousId"]) == set()
    assert len(shop.consents(message["anonymousId"])["records"]) == 3


def test_a_withdrawal_reaches_the_device_that_had_consented_and_drops_what_waits(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("await cdp.consent({analytics: true, advertising: true})")
    device = kept(tab)["cdp"]["id"]
    assert shop.allowed(device) == {"analytics", "advertising"}
    tab.offline(True)
    tab.run("cdp.track('Product Viewed'); cdp.identify('u-17'); cdp.consent({})")
    assert tab.run("return cdp.state().queued") == 1
    tab.offline(False)
    tab.run("dispatchEvent(new Event('online'))")
    at_rest(tab)
    assert shop.allowed(device) == set()
    assert set(kept(tab)["cdp"]) == {"answer"}


def test_gpc_is_sent_with_every_message(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/west", gpc=True)
    tab.run("cdp.page()")
    at_rest(tab)
    [message] = sent(browser)
    assert message["context"]["consent"] == {"globalPrivacyControl": True}
    found = shop.consents(message["anonymousId"])
    assert {(record["purpose"], record["signal"]) for record in found["records"]} == {("advertising", "gpc")}
    assert "advertising" not in shop.allowed(message["anonymousId"])
    assert "analytics" in shop.allowed(message["anonymousId"])
    tab.run("await cdp.consent({analytics: true, advertising: true, email_marketing: true})")
    assert "advertising" not in shop.allowed(message["anonymousId"])


def test_deferred_messages_are_stored_once_the_answer_is_a_grant(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/waiting")
    tab.run("cdp.track('Product Viewed', {sku: 'MUG-204'})")
    at_rest(tab)
    assert kept(tab) == {}
    assert shop.accounted("waiting") == {"deferred": 1}
    tab.run("await cdp.consent({analytics: true})")
    until(lambda: shop.accounted("waiting").get("stored") == 2, "the deferred message")


def test_leaving_the_page_loses_nothing(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("await cdp.consent({analytics: true})")
    before = shop.accounted("eu").get("stored", 0)
    tab.run("for (let n = 0; n < 60; n++) cdp.track('Product Viewed', {sku: 'MUG-' + n}); location.href = '/next'")
    until(lambda: shop.accounted("eu")["stored"] == before + 60, "all events")
    last = browser.open(shop.site.url + "/next")
    last.run("cdp.track('Product Viewed', {sku: 'MUG-204'}); setTimeout(() => window.close())")
    browser.ask("close", tab=last.number)
    until(lambda: shop.accounted("eu")["stored"] >= before + 61, "the event of the closed tab")
    assert shop.accounted("eu")["stored"] == before + 61, "each once"


def test_a_browser_without_requests_that_outlive_a_page_hands_over_a_beacon(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/empty")
    tab.run(
        "delete Request.prototype.keepalive; const script = document.createElement('script');"
        f"script.src = '{shop.service.url}/cdp.js?write-key={shop.key}&purposes=analytics'; document.head.append(script);"
        "await new Promise(done => script.onload = done); await cdp.consent({analytics: true});"
        "cdp.track('Product Viewed'); dispatchEvent(new Event('pagehide'))"
    )
    until(lambda: [one for one in browser.requests() if one["kind"] == "ping"], "the beacon")
    assert tab.run("return cdp.state().queued") == 0


def test_a_message_that_is_too_long_is_not_sent_and_a_logout_forgets_person_and_device(
    shop: Shop, browser: Chromium
) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run(
        "await cdp.consent({analytics: true}); cdp.identify('u-17'); cdp.track('Product Viewed', {name: 'x'.repeat(32000)})"
    )
    at_rest(tab)
    device = kept(tab)["cdp"]["id"]
    assert tab.run("return cdp.state().dropped") == 1
    assert any("was not sent" in line for line in browser.lines())
    tab.run("cdp.reset(); cdp.page()")
    at_rest(tab)
    answer, identify, page = sent(browser)
    assert ("userId" in answer, identify["userId"], "userId" in page) == (False, "u-17", False)
    assert answer["anonymousId"] == identify["anonymousId"] == device != page["anonymousId"]
    assert tab.run("return cdp.state().needsAnswer") is False


def test_offline_it_keeps_a_bounded_queue_and_never_drops_an_answer(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("await cdp.consent({analytics: true})")
    device, before = kept(tab)["cdp"]["id"], shop.accounted("eu")["stored"]
    tab.offline(True)
    tab.run(
        "cdp.consent({analytics: true, email_marketing: true});"
        "for (let n = 0; n < 150; n++) cdp.track('Product Viewed', {sku: 'MUG-' + n})"
    )
    state = tab.run("return cdp.state()")
    assert (state["queued"], state["dropped"]) == (100, 51)
    tab.offline(False)
    tab.run("dispatchEvent(new Event('online'))")
    at_rest(tab)
    assert shop.accounted("eu")["stored"] == before + 100
    assert shop.allowed(device) == {"analytics", "email_marketing"}


def test_what_an_earlier_page_could_not_send_is_sent_by_the_next(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("await cdp.consent({analytics: true})")
    before = shop.accounted("eu")["stored"]
    tab.offline(True)
    tab.run("cdp.track('Product Viewed'); dispatchEvent(new Event('pagehide'))")
    tab.offline(False)
    other = browser.open(shop.site.url + "/next")
    at_rest(other)
    until(lambda: shop.accounted("eu")["stored"] >= before + 1, "the event of the earlier page")
    assert shop.accounted("eu")["stored"] == before + 1, "once"


def test_a_refused_key_is_said(shop: Shop, browser: Chromium) -> None:
    tab = browser.open(shop.site.url + "/wrong")
    said = tab.run("return await cdp.consent({analytics: true}).catch(error => error.message)")
    assert said.startswith("cdp: the service refused messages: 401")
    assert any("unknown_write_key" in line for line in browser.lines())


def test_the_banner_works_with_the_keyboard(shop: Shop, browser: Chromium, tmp_path: Path) -> None:
    tab = browser.open(shop.site.url + "/")
    tab.run("window.asked = cdp.ask({purposes: {analytics: 'Measure how the site is used'}}); 0")
    tab.picture(tmp_path / "banner.png")
    tab.press("Tab", "Space", "Tab", "Tab", "Tab", "Tab", "Enter")  # three boxes, then: refuse, save
    assert tab.run("return await asked") == {"analytics": True, "email_marketing": False, "advertising": False}
    assert tab.run("return document.getElementById('cdp-consent')") is None
    assert tab.run("return await cdp.ask()") is None
    at_rest(tab)
    assert shop.allowed(kept(tab)["cdp"]["id"]) == {"analytics"}


def test_autoconsent_refuses_by_the_rule_that_ships(shop: Shop, browser: Chromium) -> None:
    rule = json.loads((EXAMPLES / "autoconsent.json").read_text())
    tab = browser.open(shop.site.url + "/", autoconsent=rule)
    tab.run("window.asked = cdp.ask(); 0")
    assert tab.run("return await asked") == dict.fromkeys(PURPOSES.split(), False)
    at_rest(tab)
    assert [message["event"] for message in sent(browser)] == ["Segment Consent Preference Updated"]


def sections(template: str) -> dict[str, str]:
    """The sections of a template of Google Tag Manager, by name."""
    parts = re.split(r"^___([A-Z_]+)___$", template, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_template_of_tag_manager_asks_for_the_permissions_of_what_it_requires() -> None:
    parts = sections((EXAMPLES / "google-tag-manager.tpl").read_text(encoding="utf-8"))
    required = set(re.findall(r"require\('(\w+)'\)", parts["SANDBOXED_JS_FOR_WEB_TEMPLATE"]))
    granted = {entry["instance"]["key"]["publicId"] for entry in json.loads(parts["WEB_PERMISSIONS"])}
    needed = {"createQueue": "access_globals", "injectScript": "inject_script", "isConsentGranted": "access_consent"}
    assert granted == {needed[name] for name in required if name in needed}
    assert json.loads(parts["INFO"])["containerContexts"] == ["WEB"]
    fields = {field["name"] for field in json.loads(parts["TEMPLATE_PARAMETERS"])}
    assert set(re.findall(r"data\.(?!gtm)(\w+)", parts["SANDBOXED_JS_FOR_WEB_TEMPLATE"])) == fields


def test_the_code_of_the_template_of_tag_manager_loads_answers_and_sends(shop: Shop, browser: Chromium) -> None:
    """Its interfaces are those of a page here: Tag Manager itself is loaded from Google's servers only."""
    code = sections((EXAMPLES / "google-tag-manager.tpl").read_text(encoding="utf-8"))["SANDBOXED_JS_FOR_WEB_TEMPLATE"]
    tab = browser.open(shop.site.url + "/empty")
    tab.run(
        """
        window.granted = {analytics_storage: true, ad_storage: true, ad_user_data: false};
        const offered = {
          createQueue: name => { window[name] = window[name] || []; return item => window[name].push(item); },
          encodeUriComponent: encodeURIComponent,
          injectScript: (url, done, failed) => {
            const script = Object.assign(document.createElement('script'), {src: url, onload: done, onerror: failed});
            document.head.append(script);
          },
          isConsentGranted: type => granted[type] === true,
        };
        window.fire = data => new Promise((gtmOnSuccess, gtmOnFailure) =>
          window.template(name => offered[name], {...data, gtmOnSuccess, gtmOnFailure}));
        window.template = (require, data) => {"""
        + code
        + "}; 0"
    )
    settings = {
        "action": "load",
        "service": shop.service.url,
        "writeKey": shop.key,
        "purposes": "analytics advertising",
    }
    rows = [("analytics_storage", "analytics"), ("ad_storage", "advertising"), ("ad_user_data", "advertising")]
    answers = [{"type": type_, "purpose": purpose} for type_, purpose in rows]
    tab.run(f"await fire({json.dumps({'action': 'answer', 'answers': answers})})")
    tab.run(f"await fire({json.dumps(settings | {'notice': '2026-11', 'before': 'silent'})})")
    for _ in range(2):
        tab.run(f"await fire({json.dumps({'action': 'answer', 'answers': answers})})")
    event = {"action": "track", "event": "Product Viewed", "properties": [{"name": "sku", "value": "MUG-204"}]}
    tab.run(f"await fire({json.dumps(event)})")
    at_rest(tab)
    assert [message["event"] for message in sent(browser)] == ["Segment Consent Preference Updated", "Product Viewed"]
    assert shop.allowed(kept(tab)["cdp"]["id"]) == {"analytics"}


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("1", {"analytics", "advertising"}),
        ("-1", set()),
        ("0", None),
        (
            '[{"ct": "1", "name": "analytics"}, {"ct": "1", "name": "display_ads"}, {"ct": "0", "name": "social"}]',
            {"analytics"},
        ),
    ],
)
def test_the_extension_for_tealium_hands_on_the_answer_of_its_consent_manager(
    shop: Shop, browser: Chromium, state: str, allowed: set[str] | None
) -> None:
    """The states are those of Tealium's reference; Tealium itself was not run."""
    extension = (EXAMPLES / "tealium.js").read_text(encoding="utf-8")
    extension = extension.replace("https://data.example", shop.service.url).replace("wk_…", shop.key)
    tab = browser.open(shop.site.url + "/empty")
    for _ in range(2):
        tab.run(f"window.utag = {{gdpr: {{getConsentState: () => ({state})}}}}; {extension}")
    until(lambda: tab.run("return !Array.isArray(window.cdp)"), "the client")
    at_rest(tab)
    assert len(sent(browser)) == (allowed is not None)
    for message in sent(browser):
        assert shop.allowed(message["anonymousId"]) == allowed
