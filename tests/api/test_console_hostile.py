"""The console when somebody sends what no form of it would: refused as a page, never broken, and never signed in from afar."""

from typing import Any

import httpx
import pytest

from cdp.access.model import Role
from tests.support.browser import Browser
from tests.support.service import RunningService
from tests.support.waits import PATIENCE_SECONDS

HOSTILE: list[tuple[Role, str, dict[str, Any]]] = [
    (Role.PRIVACY, "/console/people", {"type": "\x00", "value": "a"}),
    (Role.PRIVACY, "/console/people", {"profile": "\x00"}),
    (Role.PRIVACY, "/console/requests", {"right": "\x00:\x00", "type": ["user_id"], "value": ["a"]}),
    (Role.MARKETER, "/console/segments/try", {"purpose": "analytics", "where": "\x00"}),
    (Role.MARKETER, "/console/segments/keep", {"purpose": "analytics", "where": 'did("Order Completed")', "name": "a",
                                               "key": "promo_20261122"}),
]  # fmt: skip


@pytest.mark.parametrize(("role", "path", "given"), HOSTILE)
def test_nonsense_is_refused_as_a_page(
    role: Role,
    path: str,
    given: dict[str, Any],
    browsers: dict[Role, Browser],
) -> None:
    browser = browsers[role]
    form = browser.open(path.rpartition("/")[0] if path.count("/") > 2 else path).forms[0]
    answer = browser.client.post(path, data=dict(form.fields[:1]) | given)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")


def test_a_form_in_an_odd_alphabet_is_a_foreign_one(browsers: dict[Role, Browser]) -> None:
    """In UTF-7 a form can hold half a character, which no other alphabet has."""
    body = b'--x\r\nContent-Disposition: form-data; name="form"\r\n\r\n+2AA-\r\n--x--\r\n'
    odd = {"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"}
    answer = browsers[Role.PRIVACY].client.post("/console/leave", content=body, headers=odd)
    assert answer.status_code == 403


def test_the_api_says_which_keys_it_takes(service: RunningService) -> None:
    answer = httpx.post(
        f"{service.url}/api/v1/segments",
        headers={"Authorization": f"Bearer {service.tokens['marketer']}"},
        json={"key": "promo_20261122", "name": "a", "purpose": "analytics", "where": 'did("Order Completed")'},
        timeout=PATIENCE_SECONDS,
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
