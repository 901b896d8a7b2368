"""Categories of consent tools: Segment's `context.consent` and RudderStack's `context.consentManagement`.

Both contain an answer for each category name; the policy declares which names belong to a purpose. A category that is
not mentioned is neither granted nor refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cdp.consent.model import Act, Authority
from cdp.consent.signals.model import MALFORMED, RUDDERSTACK, SEGMENT, ProposedAct, SignalMap, hash_of

PREFERENCE_EVENT: Final = "Segment Consent Preference Updated"

Answers = Mapping[str, bool | None]
"""Consent by category name; None is an unreadable answer, which counts as a refusal."""


def segment_answers(body: Mapping[str, Any]) -> Answers | None:
    """The answers of `context.consent.categoryPreferences`.

    Empty if the message contains none, None if they cannot be read. An event that announces a changed preference must
    contain them.
    """
    consent = _part(body.get("context"), "consent")
    if consent is not None and not isinstance(consent, dict):
        return None
    preferences = _part(consent, "categoryPreferences")
    if preferences is None:
        return None if body.get("event") == PREFERENCE_EVENT else {}
    if not isinstance(preferences, dict):
        return None
    return {name: answer if isinstance(answer, bool) else None for name, answer in preferences.items()}


def rudderstack_answers(body: Mapping[str, Any]) -> Answers | None:
    """The answers of `context.consentManagement`; an id both allowed and denied is denied."""
    consent = _part(body.get("context"), "consentManagement")
    if consent is None:
        return {}
    if not isinstance(consent, dict):
        return None
    allowed = _listed(consent.get("allowedConsentIds"))
    denied = _listed(consent.get("deniedConsentIds"))
    if allowed is None or denied is None:
        return None
    return dict.fromkeys(allowed, True) | dict.fromkeys(denied, False)


def category_acts(
    signal: str, raw: Any, answers: Answers | None, *, mapping: SignalMap, is_server: bool
) -> Iterator[ProposedAct]:
    """One act for each purpose that the answers concern.

    A purpose with several names is refused if any of them is, and granted if all mentioned names are. Unreadable answers
    refuse every purpose that this signal can concern.
    """
    authority = Authority.AUTHENTICATED if is_server else Authority.DEVICE
    signal_hash = hash_of(raw)
    for purpose, names in mapping.names[signal].items():
        stated = [None] if answers is None else [answers[name] for name in names if name in answers]
        if not stated:
            continue
        is_grant = all(stated)
        rule = f"signals.{signal}" if None not in stated else f"signals.{signal}.{MALFORMED}"
        types = mapping.device_types if is_grant and not is_server else None
        act = Act.GRANT if is_grant else Act.REFUSE
        yield ProposedAct(purpose, act, authority, types, signal, signal_hash, rule)


def _part(parent: Any, name: str) -> Any:
    return parent.get(name) if isinstance(parent, dict) else None


def _listed(value: Any) -> list[str] | None:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return value


READERS: Final = (
    (SEGMENT, "consent", segment_answers),
    (RUDDERSTACK, "consentManagement", rudderstack_answers),
)
"""Signal, its key in `context`, and the function that reads it."""
