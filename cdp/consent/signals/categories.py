"""Consent tools' categories in messages: Segment's `context.consent` and RudderStack's `context.consentManagement`.

Both say yes or no by category name; the policy says which names mean a purpose. A category that is not
mentioned says nothing: absent is neither granted nor refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cdp.consent.model import Act, Authority
from cdp.consent.signals.model import MALFORMED, RUDDERSTACK, SEGMENT, ProposedAct, SignalMap, hash_of

PREFERENCE_EVENT: Final = "Segment Consent Preference Updated"

Answers = Mapping[str, bool | None]
"""Yes or no by category name; None is an answer that could not be read, which counts as no."""


def segment_answers(body: Mapping[str, Any]) -> Answers | None:
    """The answers of `context.consent.categoryPreferences`.

    Empty when the message gives none, None when what it gives cannot be read. The event that announces
    a changed preference must give one.
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
    """One act for each purpose that the answers speak of.

    A purpose with several names is refused by one no, and granted when all names that are mentioned say
    yes. Answers that cannot be read refuse every purpose that this signal could have spoken of.
    """
    authority = Authority.AUTHENTICATED if is_server else Authority.DEVICE
    signal_hash = hash_of(raw)
    for purpose, names in mapping.names[signal].items():
        said = [None] if answers is None else [answers[name] for name in names if name in answers]
        if not said:
            continue
        is_grant = all(said)
        rule = f"signals.{signal}" if None not in said else f"signals.{signal}.{MALFORMED}"
        types = mapping.device_types if is_grant and not is_server else None
        act = Act.GRANT if is_grant else Act.REFUSE
        yield ProposedAct(purpose, act, authority, types, signal, signal_hash, rule)


def _part(parent: Any, name: str) -> Any:
    return parent.get(name) if isinstance(parent, dict) else None


def _listed(value: Any) -> list[str] | None:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return None
    return value


READERS: Final = (
    (SEGMENT, "consent", segment_answers),
    (RUDDERSTACK, "consentManagement", rudderstack_answers),
)
"""Signal, its place in `context`, and who reads it."""
