"""What signals contain, in readable form: for a person who wants to see how a policy maps them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cdp.consent.signals.bits import IdSet, MalformedSignal
from cdp.consent.signals.categories import READERS as CATEGORY_READERS
from cdp.consent.signals.categories import Answers
from cdp.consent.signals.cookies import READERS as COOKIE_READERS
from cdp.consent.signals.cookies import cookies_of
from cdp.consent.signals.google import google_answers
from cdp.consent.signals.gpc import DOM_FIELD
from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.iab import STRINGS
from cdp.consent.signals.model import GOOGLE, GPC, GPP, TCF, USP, RequestSignals, SignalScope
from cdp.consent.signals.request import STRING_PARAMETERS
from cdp.consent.signals.tcf.decode import decode_tcf

Fields = Mapping[str, Any]

_VENDORS_SHOWN: Final = 20
_WORDS: Final = {True: "granted", False: "refused", None: "unreadable"}


@dataclass(frozen=True, slots=True)
class DecodedSignal:
    """One signal, where it was found, and its fields; `unreadable` says why there are none."""

    signal: str
    place: str
    fields: Fields
    unreadable: str = ""


def decoded_signals(
    body: Mapping[str, Any], *, has_gpc: bool, request: RequestSignals, scope: SignalScope
) -> Iterator[DecodedSignal]:
    """Every signal of a message and its request that is read, except events."""
    if has_gpc:
        yield DecodedSignal(GPC, "the header Sec-GPC", {"gpc": True})
    context = body.get("context")
    for signal, key, answers_of in CATEGORY_READERS:
        answers = answers_of(body)
        if answers is None or answers:
            yield _categories(signal, f"context.{key}", answers)
    consent = context.get("consent") if isinstance(context, dict) else None
    if isinstance(consent, dict):
        yield from _in_consent(consent)
    yield from _in_query(request)
    if not scope.is_server:
        yield from _in_cookies(request, scope)


def _in_consent(consent: Fields) -> Iterator[DecodedSignal]:
    if DOM_FIELD in consent:
        yield DecodedSignal(GPC, f"context.consent.{DOM_FIELD}", {"gpc": consent[DOM_FIELD] is True})
    google = google_answers(consent)
    if google or GOOGLE in consent:
        yield _categories(GOOGLE, "context.consent", google)
    for key, signal in STRINGS.items():
        if consent.get(key) is not None:
            yield decoded_string(signal, f"context.consent.{key}", consent[key])


def _in_query(request: RequestSignals) -> Iterator[DecodedSignal]:
    for name, value in request.query:
        if name in STRING_PARAMETERS:
            yield decoded_string(STRING_PARAMETERS[name], f"the parameter {name}", value)
        else:
            yield DecodedSignal(TCF, f"the parameter {name}", {name: value})


def _in_cookies(request: RequestSignals, scope: SignalScope) -> Iterator[DecodedSignal]:
    cookies = cookies_of(request.cookies)
    for name, format_ in scope.mapping.cookies.items():
        for value in cookies.get(name, ()):
            place = f"the cookie {name}"
            if format_ in COOKIE_READERS:
                yield _categories(format_.value, place, COOKIE_READERS[format_](value, cookies))
            else:
                yield decoded_string(format_.value, place, value)


def decoded_string(signal: str, place: str, raw: object) -> DecodedSignal:
    """The fields of a string of the IAB."""
    if not isinstance(raw, str):
        return DecodedSignal(signal, place, {}, "not a string")
    try:
        return DecodedSignal(signal, place, _STRING_FIELDS[signal](raw))
    except MalformedSignal as refused:
        return DecodedSignal(signal, place, {}, str(refused))


def _categories(signal: str, place: str, answers: Answers | None) -> DecodedSignal:
    if answers is None:
        return DecodedSignal(signal, place, {}, "not the form of this signal")
    return DecodedSignal(signal, place, {name: _WORDS[answer] for name, answer in answers.items()})


def _tcf_fields(raw: str) -> Fields:
    return {name: _shown(value) for name, value in msgspec.structs.asdict(decode_tcf(raw)).items()}


def _gpp_fields(raw: str) -> Fields:
    return {
        section.name: {"not_understood": section.not_understood}
        if section.not_understood is not None
        else {name: _shown(value) for name, value in section.fields.items()}
        for section in decode_gpp(raw).sections.values()
    }


def _usp_fields(raw: str) -> Fields:
    return dict(zip(("version", "notice", "opt_out_sale", "lspa_covered"), raw, strict=False))


def _shown(value: object) -> Any:
    """A value as JSON has it; of many vendors, the first and their number."""
    if isinstance(value, IdSet):
        return _ids(value)
    if isinstance(value, msgspec.Struct):
        return {name: _shown(part) for name, part in msgspec.structs.asdict(value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _shown(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_shown(part) for part in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _ids(ids: IdSet) -> list[int] | str:
    if len(ids) <= _VENDORS_SHOWN:
        return list(ids)
    first = ", ".join(str(id_) for id_, _ in zip(ids, range(_VENDORS_SHOWN), strict=False))
    return f"{first} and {len(ids) - _VENDORS_SHOWN} more"


_STRING_FIELDS: Final[Mapping[str, Callable[[str], Fields]]] = {TCF: _tcf_fields, GPP: _gpp_fields, USP: _usp_fields}
