"""Google Consent Mode v2: the four fields, from `context.consent` and from `gcs` and `gcd` strings.

A field is granted, denied or absent. A default is what a site assumes before anybody answers: it grants and refuses
nothing, and only an update grants. A state of which it is not known whether it is a default (a field by itself, a digit of
`gcs`) refuses where it says denied, and grants nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cdp.consent.signals.categories import Answers
from cdp.policy.model import GoogleConsent

FIELDS: Final = tuple(field.value for field in GoogleConsent)

_Answer = tuple[str, bool | None]
"""A field, with None for what cannot be read."""

_STATES: Final[Mapping[object, bool]] = {"granted": True, "denied": False}
_UNSTATED: Final = frozenset({"", "unspecified", "unknown"})
_IN_STRINGS: Final = ("ad_storage", "analytics_storage", "ad_user_data", "ad_personalization")
"""The order of the fields in `gcs` (the first two) and in `gcd`."""

_GCS: Final = re.compile(r"G1([01-])([01-])\Z")
_GCD: Final = re.compile(r"1[0-9]([a-zA-Z-])[0-9]([a-zA-Z-])[0-9]([a-zA-Z-])[0-9]([a-zA-Z-])[0-9][0-9a-zA-Z]*\Z")

_LETTERS: Final[Mapping[str, bool | None]] = {
    "l": None,  # not set
    "p": None,  # denied by default
    "t": None,  # granted by default
    "r": True,  # denied by default, granted by an update
    "n": True,  # granted by an update, without a default
    "v": True,  # granted by default and by an update
    "q": False,  # denied by default and by an update
    "m": False,  # denied by an update, without a default
    "u": False,  # granted by default, denied by an update
}
"""The letters of `gcd`: Google documents none. These are the descriptions of several consent platforms, which agree on the
letters that are True here; a letter that nobody describes is unreadable. None is not an answer."""

_STRINGS: Final = ("gcs", "gcd", "x-ga-gcs", "x-ga-gcd")
"""Keys of the strings, with those of a server container of Google Tag Manager."""


def google_answers(consent: Mapping[str, Any]) -> Answers:
    """The answers of a message's `context.consent`, by field; of several about one field, the refusal prevails.

    The fields may be there by themselves, or under `google`: an object with `default` and `update`, with `gcs` and `gcd`, or
    with the fields; or the list of commands of a data layer. What cannot be read is None.
    """
    answers: dict[str, bool | None] = {}
    for field, answer in _stated(consent):
        if answer is not True or field not in answers:
            answers[field] = None if answers.get(field, answer) is None else answer
    return answers


def _stated(consent: Mapping[str, Any]) -> Iterator[_Answer]:
    yield from _without_grants(_fields(consent))
    google = consent.get("google")
    if isinstance(google, list):
        yield from _commands(google)
    elif isinstance(google, dict):
        yield from _without_grants(_fields(google))
        yield from _part(google, "update")
        yield from (answer for answer in _part(google, "default") if answer[1] is None)
        for key in _STRINGS:
            if google.get(key) is not None:
                yield from (_gcs if key.endswith("gcs") else _gcd)(google[key])
    elif google is not None:
        yield from _unreadable()


def _part(google: Mapping[str, Any], key: str) -> Iterable[_Answer]:
    part = google.get(key)
    if part is None:
        return ()
    return _fields(part) if isinstance(part, dict) else _unreadable()


def _fields(stated: Mapping[str, Any]) -> Iterator[_Answer]:
    for field in FIELDS:
        value = stated.get(field)
        word = value.strip().lower() if isinstance(value, str) else None
        if value is None or word in _UNSTATED:
            continue
        yield field, value if isinstance(value, bool) else _STATES.get(word)


def _commands(commands: list[Any]) -> Iterator[_Answer]:
    """The updates of a data layer, of which the last one of a field counts; JSON makes an object of gtag's `arguments`."""
    last: dict[str, bool | None] = {}
    for command in commands:
        words = [command.get(str(place)) for place in range(3)] if isinstance(command, dict) else command
        if not isinstance(words, list) or words[:1] != ["consent"]:
            continue
        stated = words[2] if len(words) > 2 else None
        if not isinstance(stated, dict) or words[1] not in ("default", "update"):
            yield from _unreadable()
        elif words[1] == "update":
            last.update(_fields(stated))
    yield from last.items()


def _gcs(text: object) -> Iterator[_Answer]:
    digits = _GCS.match(text) if isinstance(text, str) else None
    if digits is None:
        yield from _unreadable()
        return
    yield from ((field, False) for field, digit in zip(_IN_STRINGS, digits.groups(), strict=False) if digit == "0")


def _gcd(text: object) -> Iterator[_Answer]:
    letters = _GCD.match(text) if isinstance(text, str) else None
    if letters is None:
        yield from _unreadable()
        return
    for field, letter in zip(_IN_STRINGS, letters.groups(), strict=True):
        if letter not in _LETTERS:
            yield field, None
        elif _LETTERS[letter] is not None:
            yield field, _LETTERS[letter]


def _without_grants(answers: Iterable[_Answer]) -> Iterator[_Answer]:
    return (answer for answer in answers if answer[1] is not True)


def _unreadable() -> Iterator[_Answer]:
    return ((field, None) for field in FIELDS)
