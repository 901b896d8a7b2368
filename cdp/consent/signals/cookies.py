"""The cookies in which consent tools keep the answer of a browser, read into answers by category.

A cookie that a tool sets before anybody answered states nothing. What cannot be read is None, which counts as a refusal.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from cdp.consent.signals.categories import Answers, folded
from cdp.policy.model import CookieFormat

Cookies = Mapping[str, tuple[str, ...]]
"""The values of each cookie: a browser sends one for each path and domain at which it was set."""

ALERT_CLOSED: Final = "OptanonAlertBoxClosed"
"""A second cookie of OneTrust, which tells that the banner was answered; it is read beside the first."""
_COOKIEBOT: Final = re.compile(r"\{(?:[a-zA-Z]+:(?:true|false|-?[0-9]+|'[^']*')(?:,|(?=\})))+\}\Z")
_COOKIEBOT_PAIR: Final = re.compile(r"([a-zA-Z]+):(true|false|-?[0-9]+|'[^']*')")
_COOKIEBOT_CATEGORIES: Final = ("necessary", "preferences", "statistics", "marketing")


def cookies_of(header: str) -> Cookies:
    """The cookies of a `Cookie` header (RFC 6265, section 5.4), as sent."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name:
            found[name] = (*found.get(name, ()), value.strip().strip('"'))
    return found


def onetrust_answers(value: str, cookies: Cookies) -> Answers | None:
    """`OptanonConsent`: the groups, which the tool also sets before the banner was answered.

    It was answered if the tool says that the banner was closed, does not await another consent, and counts an interaction.
    """
    fields = parse_qs(unquote(value) if "=" not in value else value, keep_blank_values=True)
    groups = fields.get("groups", [""])[-1]
    pairs = [group.partition(":") for group in groups.split(",") if group]
    if not pairs or any(state not in ("0", "1") for _, _, state in pairs):
        return None
    is_answered = (
        ALERT_CLOSED in cookies
        and fields.get("AwaitingReconsent", ["false"])[-1] != "true"
        and fields.get("interactionCount", ["1"])[-1] != "0"
    )
    return folded((name, state == "1") for name, _, state in pairs) if is_answered else {}


def cookiebot_answers(value: str, _cookies: Cookies) -> Answers | None:
    """`CookieConsent`: an object of JavaScript, or `-1` where no consent is needed, or `0` where none was given.

    Only an explicit consent grants.
    """
    text = unquote(value)
    if text == "-1":
        return {}
    if text == "0":
        return dict.fromkeys(_COOKIEBOT_CATEGORIES[1:], False)
    if not _COOKIEBOT.match(text):
        return None
    stated = dict(_COOKIEBOT_PAIR.findall(text))
    if any(stated.get(name) not in ("true", "false") for name in _COOKIEBOT_CATEGORIES):
        return None
    is_explicit = stated.get("method") == "'explicit'"
    return {name: stated[name] == "true" for name in _COOKIEBOT_CATEGORIES if is_explicit or stated[name] == "false"}


def klaro_answers(value: str, _cookies: Cookies) -> Answers | None:
    """`klaro`: a boolean for each of its services; set once the person has answered."""
    stated = _json(unquote(value))
    if not isinstance(stated, dict):
        return None
    return folded((name, answer if isinstance(answer, bool) else None) for name, answer in stated.items())


def didomi_answers(value: str, _cookies: Cookies) -> Answers | None:
    """`didomi_token`: Base64 of JSON with the purposes that were enabled and disabled.

    An enabled legitimate interest is a default; a disabled one is a refusal. Vendors are not read.
    """
    try:
        stated = _json(base64.b64decode(unquote(value) + "=" * (-len(unquote(value)) % 4), validate=True).decode())
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    if not isinstance(stated, dict):
        return None
    lists = {key: _names(stated.get(part), word) for key, part, word in _DIDOMI_LISTS}
    enabled, disabled, objected = (lists[key] for key in ("enabled", "disabled", "objected"))
    if enabled is None or disabled is None or objected is None:
        return None
    return folded([*((name, True) for name in enabled), *((name, False) for name in (*disabled, *objected))])


_DIDOMI_LISTS: Final = (
    ("enabled", "purposes", "enabled"),
    ("disabled", "purposes", "disabled"),
    ("objected", "purposes_li", "disabled"),
)


def _names(part: Any, word: str) -> list[str] | None:
    """The list of names under this word; None if it cannot be read."""
    if part is None:
        return []
    names = part.get(word, []) if isinstance(part, dict) else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


READERS: Final[Mapping[CookieFormat, Callable[[str, Cookies], Answers | None]]] = {
    CookieFormat.ONETRUST: onetrust_answers,
    CookieFormat.COOKIEBOT: cookiebot_answers,
    CookieFormat.KLARO: klaro_answers,
    CookieFormat.DIDOMI: didomi_answers,
}
"""The formats that have categories; the others contain a string of the IAB."""
