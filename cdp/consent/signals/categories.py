"""Categories of consent tools: Segment's `context.consent` and RudderStack's `context.consentManagement`.

Both contain an answer for each category name; the policy declares which names belong to a purpose. A category that is
not mentioned is neither granted nor refused. A refusal under a name that no purpose has may mean any of them, so it
refuses every purpose that silence would permit.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cdp.consent.signals.model import GOOGLE, MALFORMED, RUDDERSTACK, SEGMENT, ProposedAct, SignalScope, hash_of

PREFERENCE_EVENT: Final = "Segment Consent Preference Updated"

UNMAPPED: Final = "unmapped"

Answers = Mapping[str, bool | None]
"""Consent by category name in folded case; None is an unreadable answer, which counts as a refusal."""


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
    return folded((name, answer if isinstance(answer, bool) else None) for name, answer in preferences.items())


def rudderstack_answers(body: Mapping[str, Any]) -> Answers | None:
    """The answers of `context.consentManagement`; an id both allowed and denied is denied.

    Ids are a list, or in older SDKs an object with a name or a boolean for each id.
    """
    consent = _part(body.get("context"), "consentManagement")
    if consent is None:
        return {}
    if not isinstance(consent, dict):
        return None
    allowed = _ids(consent.get("allowedConsentIds"))
    denied = _ids(consent.get("deniedConsentIds"))
    if allowed is None or denied is None:
        return None
    return folded([*allowed.items(), *((id_, False) for id_ in denied)])


def category_acts(
    signal: str, raw: Any, answers: Answers | None, *, scope: SignalScope, names_of: str | None = None
) -> Iterator[ProposedAct]:
    """One act for each purpose that the answers concern.

    A purpose with several names is refused if any of them is, and granted if all mentioned names are; of Google's fields, all
    must be mentioned. Unreadable answers refuse every purpose that this signal can concern, and a refusal under an unmapped
    name every one that is opt-out in the jurisdiction of the source. `names_of` is the signal whose names the answers have,
    if they have those of another.
    """
    mapping, mapped = scope.mapping, names_of or signal
    signal_hash = hash_of(raw)
    known = mapping.known[mapped]
    is_unmapped = any(not answer and name not in known for name, answer in (answers or {}).items())
    unmapped = mapping.opt_out_in(scope.jurisdiction) if is_unmapped else frozenset()
    for purpose, names in mapping.names[mapped].items():
        stated = [None] if answers is None else [answers[name] for name in names if name in answers]
        if not stated and purpose not in unmapped:
            continue
        is_grant = all(stated) and purpose not in unmapped
        if is_grant and signal == GOOGLE and len(stated) < len(names):
            continue
        rule = f"signals.{mapped}"
        if None in stated:
            rule = f"{rule}.{MALFORMED}"
        elif not is_grant and all(stated):
            rule = f"{rule}.{UNMAPPED}"
        yield scope.act(purpose, is_grant=is_grant, signal=signal, signal_hash=signal_hash, rule=rule)


def _part(parent: Any, name: str) -> Any:
    return parent.get(name) if isinstance(parent, dict) else None


def _ids(value: Any) -> Mapping[str, bool] | None:
    """The consent ids of a list or of an object, each with whether it is allowed; None if they cannot be read."""
    if value is None:
        return {}
    if isinstance(value, list):
        return dict.fromkeys(value, True) if all(isinstance(id_, str) for id_ in value) else None
    if not isinstance(value, dict) or not all(isinstance(name, str | bool) for name in value.values()):
        return None
    return {id_: name is not False for id_, name in value.items()}


def folded(answers: Iterable[tuple[str, bool | None]]) -> Answers:
    """The answers by their name in folded case; of two about one name, a refusal prevails over a grant."""
    folded: dict[str, bool | None] = {}
    for name, answer in answers:
        key = name.casefold()
        folded[key] = answer if folded.get(key, True) else folded[key]
    return folded


READERS: Final = (
    (SEGMENT, "consent", segment_answers),
    (RUDDERSTACK, "consentManagement", rudderstack_answers),
)
"""Signal, its key in `context`, and the function that reads it."""
