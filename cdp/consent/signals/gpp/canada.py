"""The section of Canada, `tcfcav1`: purposes and vendors with express or implied consent.

Source: "GPP Extension: IAB Canada TCF" (IAB Tech Lab). Its lists of vendors have two codings: releases of the official
encoder before 3.2.0 write them as in Europe, 3.2.0 writes them in Fibonacci coding, and nothing says which. Where both
fit and differ, nobody knows who has consent, and the section counts as not understood.
"""

from collections.abc import Callable
from typing import Final

from cdp.consent.signals.bits import BitReader, IdSet, MalformedSignal
from cdp.consent.signals.gpp.fibonacci import fibonacci_ranges
from cdp.consent.signals.gpp.layouts import CANADA
from cdp.consent.signals.gpp.model import FieldValue, GppSection, VendorRestriction

_NAME: Final = "tcfcav1"
_VERSION: Final = 1
_PURPOSES: Final = 24
_RESTRICTIONS_MAX: Final = 4 * _PURPOSES


def decode_canada(raw: str) -> GppSection:
    """The fields of the section; MalformedSignal if one of its parts cannot be read."""
    first, *others = raw.split(".")
    version = BitReader(first, _NAME).integer(6, "Version")
    if version != _VERSION:
        return GppSection(CANADA, _NAME, raw, not_understood=f"version {version}")
    fields = _vendors_in_two_codings(first, _first_part)
    for part in others:
        kind = BitReader(part, _NAME).integer(3, "SubsectionType")
        if kind == 1:
            added = _vendors_in_two_codings(part, _disclosed)
        elif kind == 3:
            added = _publisher(part)
        else:
            return GppSection(CANADA, _NAME, raw, not_understood=f"a part of the type {kind}")
        if added is not None and fields is not None and fields.keys() & added.keys():
            raise MalformedSignal(_NAME, 0, "two parts of one type")
        fields = {**fields, **added} if fields is not None and added is not None else None
    if fields is None:
        return GppSection(CANADA, _NAME, raw, not_understood="lists of vendors that can be read in two ways")
    return GppSection(CANADA, _NAME, raw, version, fields)


_Ranges = Callable[[BitReader, str], IdSet]
_Fields = dict[str, FieldValue]


def _vendors_in_two_codings(text: str, read: Callable[[BitReader, _Ranges], _Fields]) -> _Fields | None:
    """The fields in the coding that fits; None if both fit and differ."""
    found: list[_Fields] = []
    fault: MalformedSignal | None = None
    for ranges in (fibonacci_ranges, BitReader.ranges):
        try:
            reader = BitReader(text, _NAME)
            fields = read(reader, ranges)
            if reader.remaining >= 24:
                raise MalformedSignal(_NAME, reader.position, "more bits than fields")
            reader.end(_NAME)
            found.append(fields)
        except MalformedSignal as refused:
            fault = fault or refused
    if not found:
        raise fault or MalformedSignal(_NAME, 0, "no coding fits")
    return found[0] if all(fields == found[0] for fields in found) else None


def _vendors(reader: BitReader, field: str, ranges: _Ranges) -> IdSet:
    """The highest id, then either a bit field or ranges, which end at that id: thereby most codings exclude each other."""
    position = reader.position
    max_id = reader.integer(16, field)
    if not reader.boolean(field):
        return reader.bitfield(max_id, field)
    ids = ranges(reader, field)
    if ids.mask.bit_length() != max_id:
        raise MalformedSignal(field, position, "ranges that do not end at the highest id")
    return ids


def _first_part(reader: BitReader, ranges: _Ranges) -> _Fields:
    fields: _Fields = {
        "Version": reader.integer(6, "Version"),
        "Created": reader.instant("Created"),
        "LastUpdated": reader.instant("LastUpdated"),
        "CmpId": reader.integer(12, "CmpId"),
        "CmpVersion": reader.integer(12, "CmpVersion"),
        "ConsentScreen": reader.integer(6, "ConsentScreen"),
        "ConsentLanguage": reader.letters(2, "ConsentLanguage"),
        "VendorListVersion": reader.integer(12, "VendorListVersion"),
        "TcfPolicyVersion": reader.integer(6, "TcfPolicyVersion"),
        "UseNonStandardStacks": reader.boolean("UseNonStandardStacks"),
        "SpecialFeatureExpressConsent": reader.bitfield(12, "SpecialFeatureExpressConsent"),
        "PurposesExpressConsent": reader.bitfield(_PURPOSES, "PurposesExpressConsent"),
        "PurposesImpliedConsent": reader.bitfield(_PURPOSES, "PurposesImpliedConsent"),
        "VendorExpressConsent": _vendors(reader, "VendorExpressConsent", ranges),
        "VendorImpliedConsent": _vendors(reader, "VendorImpliedConsent", ranges),
    }
    # Older writers end before the restrictions; what is left then fills up the last letters.
    count = reader.integer(12, "PubRestrictions") if reader.remaining >= 12 else 0
    if count > _RESTRICTIONS_MAX:
        raise MalformedSignal("PubRestrictions", reader.position, "more than one for each purpose and kind")
    fields["PubRestrictions"] = tuple(_restriction(reader, ranges) for _ in range(count))
    return fields


def _restriction(reader: BitReader, ranges: _Ranges) -> VendorRestriction:
    """One restriction; in the older coding its vendors are ranges alone."""
    position = reader.position
    purpose, kind = reader.integer(6, "PubRestrictions"), reader.integer(2, "PubRestrictions")
    if not 0 < purpose <= _PURPOSES:
        raise MalformedSignal("PubRestrictions", position, f"a purpose that is not one of the {_PURPOSES}")
    is_older = ranges is BitReader.ranges
    ids = ranges(reader, "PubRestrictions") if is_older else _vendors(reader, "PubRestrictions", ranges)
    return VendorRestriction(purpose, kind, ids)


def _disclosed(reader: BitReader, ranges: _Ranges) -> _Fields:
    reader.integer(3, "SubsectionType")
    return {"DisclosedVendors": _vendors(reader, "DisclosedVendors", ranges)}


def _publisher(text: str) -> _Fields:
    reader = BitReader(text, _NAME)
    reader.integer(3, "SubsectionType")
    fields: _Fields = {
        "PubPurposesExpressConsent": reader.bitfield(_PURPOSES, "PubPurposesExpressConsent"),
        "PubPurposesImpliedConsent": reader.bitfield(_PURPOSES, "PubPurposesImpliedConsent"),
    }
    count = reader.integer(6, "NumCustomPurposes")
    fields["NumCustomPurposes"] = count
    for name in ("CustomPurposesExpressConsent", "CustomPurposesImpliedConsent"):
        fields[name] = reader.bitfield(count, name)
    reader.end(_NAME)
    return fields
