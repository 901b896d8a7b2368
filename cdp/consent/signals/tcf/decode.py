"""TC strings decoded.

Stricter than the IAB's own decoder, which ignores what follows the fields, lets a second segment of a type replace the
first, and accepts ranges that are empty or exceed the highest id: each of these could hide a refusal. What the IAB's
encoders write is read.
"""

from functools import lru_cache
from typing import Final

from cdp.consent.signals.bits import MAX_LETTERS, BitReader, IdSet, MalformedSignal, instant_of
from cdp.consent.signals.tcf.model import PublisherRestriction, PublisherTc, RestrictionType, TcString

CACHED_STRINGS: Final = 4_096
CACHED_LETTERS: Final = 2_048
"""Strings are kept decoded up to this number and length, 8 MiB of text; nearly all real ones are shorter."""

CACHED_SEGMENTS: Final = 128
"""Segments are kept as well: all strings of a site have the same disclosed vendors, until its vendor list changes."""


def decode_tcf(text: str) -> TcString:
    """The fields of a TC string.

    Raises MalformedSignal if any part of it cannot be read, is not of version 2, or contradicts the layout.
    """
    return _cached(text) if len(text) <= CACHED_LETTERS else _decoded(text)


def _decoded(text: str) -> TcString:
    if len(text) > MAX_LETTERS:
        raise MalformedSignal("string", 6 * MAX_LETTERS, f"more than {MAX_LETTERS} letters")
    first, *segments = text.split(".", _MAX_SEGMENTS)
    disclosed, allowed, publisher = _segments(segments) if segments else (None, None, None)
    reader = BitReader(first, "core")
    # One read of the fixed part: its fields are then shifts of a small number.
    fixed = reader.integer(_FIXED_BITS, "core")
    if fixed >> 207 != 2:
        raise MalformedSignal("version", 0, "not version 2")
    return TcString(
        version=2,
        created=instant_of(fixed >> 171 & 0xFFFFFFFFF),
        last_updated=instant_of(fixed >> 135 & 0xFFFFFFFFF),
        cmp_id=fixed >> 123 & 0xFFF,
        cmp_version=fixed >> 111 & 0xFFF,
        consent_screen=fixed >> 105 & 0x3F,
        consent_language=_pair(fixed >> 93 & 0xFFF, "consent_language", 108),
        vendor_list_version=fixed >> 81 & 0xFFF,
        policy_version=fixed >> 75 & 0x3F,
        is_service_specific=fixed >> 74 & 1 == 1,
        use_non_standard_texts=fixed >> 73 & 1 == 1,
        special_feature_opt_ins=IdSet(_BACKWARDS[fixed >> 61 & 0xFFF]),
        purpose_consents=IdSet(_BACKWARDS[fixed >> 49 & 0xFFF] | _BACKWARDS[fixed >> 37 & 0xFFF] << 12),
        purpose_legitimate_interests=IdSet(_BACKWARDS[fixed >> 25 & 0xFFF] | _BACKWARDS[fixed >> 13 & 0xFFF] << 12),
        purpose_one_treatment=fixed >> 12 & 1 == 1,
        publisher_country=_pair(fixed & 0xFFF, "publisher_country", 201),
        vendor_consents=reader.optimized("vendor_consents"),
        vendor_legitimate_interests=reader.optimized("vendor_legitimate_interests"),
        publisher_restrictions=_restrictions(reader),
        disclosed_vendors=disclosed,
        allowed_vendors=allowed,
        publisher=publisher,
    )


_cached = lru_cache(CACHED_STRINGS)(_decoded)


def _restrictions(reader: BitReader) -> tuple[PublisherRestriction, ...]:
    """The restrictions by purpose and type; two of one kind are their union. They are the last field of the core."""
    vendors: dict[int, int] = {}
    for _ in range(reader.integer(12, "publisher_restrictions")):
        kind = reader.integer(8, "publisher_restrictions")
        vendors[kind] = vendors.get(kind, 0) | reader.ranges("publisher_restrictions").mask
    reader.end("core")
    return tuple(
        PublisherRestriction(kind >> 2, RestrictionType(kind & 3), IdSet(mask))
        for kind, mask in sorted(vendors.items())
    )


def _segments(texts: list[str]) -> tuple[IdSet | None, IdSet | None, PublisherTc | None]:
    """The segments after the core, in any order, each type at most once: disclosed vendors, allowed vendors, publisher."""
    vendors: dict[int, IdSet] = {}
    publisher: PublisherTc | None = None
    for text in texts:
        type_, segment = _segment(text)
        if type_ in vendors or (type_ == _PUBLISHER and publisher):
            raise MalformedSignal("segment_type", 0, "a second segment of its type")
        if isinstance(segment, IdSet):
            vendors[type_] = segment
        else:
            publisher = segment
    return vendors.get(_DISCLOSED), vendors.get(_ALLOWED), publisher


@lru_cache(CACHED_SEGMENTS)
def _segment(text: str) -> tuple[int, IdSet | PublisherTc]:
    """One segment after the core, with its type."""
    reader = BitReader(text, "segment")
    type_ = reader.integer(3, "segment_type")
    segment: IdSet | PublisherTc
    if type_ in _VENDORS:
        segment = reader.optimized(_VENDORS[type_])
    elif type_ == _PUBLISHER:
        segment = _publisher(reader)
    else:
        raise MalformedSignal("segment_type", 0, "not a type that the specification knows")
    reader.end("segment")
    return type_, segment


def _publisher(reader: BitReader) -> PublisherTc:
    consents = reader.bitfield(24, "publisher_purpose_consents")
    interests = reader.bitfield(24, "publisher_purpose_legitimate_interests")
    count = reader.integer(6, "custom_purposes")
    return PublisherTc(
        purpose_consents=consents,
        purpose_legitimate_interests=interests,
        custom_purposes=count,
        custom_consents=reader.bitfield(count, "custom_consents"),
        custom_legitimate_interests=reader.bitfield(count, "custom_legitimate_interests"),
    )


def _pair(letters: int, field: str, bit: int) -> str:
    pair = _PAIRS.get(letters)
    if pair is None:
        raise MalformedSignal(field, bit, "not letters from A to Z")
    return pair


_FIXED_BITS: Final = 213
_DISCLOSED: Final = 1
_ALLOWED: Final = 2
_PUBLISHER: Final = 3
_VENDORS: Final = {_DISCLOSED: "disclosed_vendors", _ALLOWED: "allowed_vendors"}
# A core and one segment of each type; of more, one is a second of its type.
_MAX_SEGMENTS: Final = 4
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BACKWARDS: Final = tuple(int(f"{number:012b}"[::-1], 2) for number in range(4_096))
_PAIRS: Final = {first << 6 | second: _LETTERS[first] + _LETTERS[second] for first in range(26) for second in range(26)}
