"""Signing in at the console: only with a form that this service gave to the same browser, and not by guessing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cdp.kit.db import Database
from cdp.web.connections.attempts import WrongSecrets
from tests.support.browser import Browser
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application
from tests.support.waits import PATIENCE_SECONDS

ENTER = "/console/enter"
COOKIE = "cdp_console"
FORM_COOKIE = "cdp_sign_in"
EVIL = "https://evil.example"

# What a browser, an old browser or a program sends with a form of another site, and with nothing about its origin.
HEADERS: list[dict[str, str]] = [
    {},
    {"Origin": "null"},
    {"Origin": EVIL},
    {"Referer": f"{EVIL}/page"},
    {"Referer": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "OWN"},
    {"Origin": "OWN", "Referer": "OWN"},
]
FOREIGN = [headers for headers in HEADERS if EVIL in str(headers) or "-site" in headers.get("Sec-Fetch-Site", "")]


def named(headers: dict[str, str], service: RunningService) -> dict[str, str]:
    return {name: value.replace("OWN", service.url) for name, value in headers.items()}


@contextmanager
def opened(service: RunningService) -> Iterator[tuple[httpx.Client, str]]:
    """A browser with the form of the login page, and the key that the form carries."""
    with httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as client:
        shown = re.search(r'name="form" value="([0-9a-f]+)"', client.get("/console").text)
        yield client, "" if shown is None else shown[1]


def signs_in(client: httpx.Client, service: RunningService, headers: dict[str, str], **more: str) -> bool:
    answer = client.post(ENTER, data={"token": service.tokens["privacy"], **more}, headers=named(headers, service))
    assert answer.status_code in (303, 403)
    assert (answer.status_code == 303) == (COOKIE in answer.cookies)
    return answer.status_code == 303


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_without_the_form_nobody_is_signed_in_whatever_the_headers(
    headers: dict[str, str], service: RunningService
) -> None:
    with httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as client:
        assert not signs_in(client, service, headers)
        assert not signs_in(client, service, headers, form="")
        assert not signs_in(client, service, headers, form="0" * 64)


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_the_form_of_another_browser_signs_nobody_in(headers: dict[str, str], service: RunningService) -> None:
    """Somebody opens the form and lets the browser of a member of the staff send it."""
    with (
        opened(service) as (_theirs, key),
        opened(service) as (victim, _own),
        httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as fresh,
    ):
        assert key
        assert not signs_in(victim, service, headers, form=key)
        assert not signs_in(fresh, service, headers, form=key)
        fresh.cookies.set(FORM_COOKIE, "not a secret")
        assert not signs_in(fresh, service, headers, form=key)


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_the_own_form_counts_unless_the_browser_names_another_site(
    headers: dict[str, str], service: RunningService
) -> None:
    with opened(service) as (client, key):
        assert signs_in(client, service, headers, form=key) == (headers not in FOREIGN)


def test_two_tabs_of_one_browser_have_one_form(service: RunningService) -> None:
    with opened(service) as (client, key):
        assert key in client.get("/console").text
        assert signs_in(client, service, {}, form=key)


def test_the_cookie_of_the_form_is_for_this_host_alone(service: RunningService) -> None:
    shown = service.client.get("/console").headers["set-cookie"].lower()
    assert shown.startswith(f"{FORM_COOKIE}=")
    for part in ("httponly", "samesite=strict", "path=/console"):
        assert part in shown
    tls = service.client.get("/console", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert tls.startswith(f"__Host-{FORM_COOKIE}=")
    assert "domain" not in tls.lower()
    assert {"secure", "path=/"} <= {part.strip().lower() for part in tls.split(";")}


@pytest.fixture
def guessed(database: Database, tmp_path: Path) -> Iterator[RunningService]:
    """A service where an address may guess five times."""
    wrong = WrongSecrets(burst=5, per_second=0.001)
    with serve_application(database, tmp_path, shipped(), wrong_secrets=wrong) as service:
        yield service


def test_wrong_tokens_at_the_form_become_429_and_the_right_one_signs_in(guessed: RunningService) -> None:
    with opened(guessed) as (client, key):
        answers = [client.post(ENTER, data={"token": f"cdp_{number}", "form": key}) for number in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        assert int(answers[-1].headers["retry-after"]) > 0
        assert "<h1>" in answers[-1].text, "a page, and no document"
        assert guessed.client.get("/api/v1/segments", headers={"Authorization": "Bearer x"}).status_code == 429
        assert signs_in(client, guessed, {}, form=key)


def test_guesses_in_the_cookie_count_like_those_at_the_form(guessed: RunningService) -> None:
    answers = [guessed.client.get("/console", headers={"Cookie": f"{COOKIE}=cdp_{number}"}) for number in range(8)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
    right = {"Cookie": f"{COOKIE}={guessed.tokens['privacy']}"}
    assert guessed.client.get("/console", headers=right).status_code == 200


def test_a_token_that_was_revoked_is_deleted_from_the_browser(service: RunningService) -> None:
    made = service.post("admin", "/api/v1/tokens", {"name": "leaver", "role": "auditor"}, 201)
    browser = Browser(service)
    browser.open("/console", 401)
    browser.send(ENTER, token=made["token"])
    assert service.call("admin", "POST", f"/api/v1/tokens/{made['id']}/revoke").status_code == 204
    browser.open("/console", 401)
    assert COOKIE not in browser.client.cookies
