"""TC strings: every field, the segments, and every refusal of the decoder."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.consent.signals.bits import MAX_LETTERS, IdSet, MalformedSignal
from cdp.consent.signals.tcf.decode import CACHED_LETTERS, decode_tcf
from cdp.consent.signals.tcf.model import PublisherRestriction, PublisherTc, RestrictionType
from tests.support.tcf import core_bits, disclosed, letters_of, publisher_segment, range_of, ranges_of

CORE = letters_of(core_bits())


def test_every_field_of_the_core_is_read() -> None:
    created = datetime(2026, 4, 1, 10, 11, 12, 300_000, tzinfo=UTC)
    tc = decode_tcf(
        letters_of(
            core_bits(
                created=created,
                last_updated=created + timedelta(days=1),
                special_feature_opt_ins=[1, 12],
                purpose_consents=[1, 2, 24],
                purpose_legitimate_interests=[7, 23],
                purpose_one_treatment=True,
                vendor_consents=[3, 700],
                vendor_legitimate_interests=f"{65_535:016b}1" + ranges_of((9,), (20, 22), (65_535,)),
                restrictions=[(2, 1, ranges_of((5, 7))), (2, 0, ranges_of((9,)))],
            )
        )
    )
    assert (tc.version, tc.created, tc.last_updated) == (2, created, created + timedelta(days=1))
    assert (tc.cmp_id, tc.cmp_version, tc.consent_screen, tc.consent_language) == (10, 7, 2, "DE")
    assert (tc.vendor_list_version, tc.policy_version, tc.publisher_country) == (212, 5, "IE")
    assert (tc.is_service_specific, tc.use_non_standard_texts, tc.purpose_one_treatment) == (True, False, True)
    assert list(tc.special_feature_opt_ins) == [1, 12]
    assert list(tc.purpose_consents) == [1, 2, 24]
    assert list(tc.purpose_legitimate_interests) == [7, 23]
    assert list(tc.vendor_consents) == [3, 700]
    assert list(tc.vendor_legitimate_interests) == [9, 20, 21, 22, 65_535]
    assert tc.publisher_restrictions == (
        PublisherRestriction(2, RestrictionType.NOT_ALLOWED, IdSet(1 << 8)),
        PublisherRestriction(2, RestrictionType.REQUIRE_CONSENT, IdSet(0b111 << 4)),
    )
    assert (tc.disclosed_vendors, tc.allowed_vendors, tc.publisher) == (None, None, None)


def test_two_restrictions_of_one_kind_are_their_union() -> None:
    bits = core_bits(restrictions=[(2, 3, ranges_of((5,))), (2, 3, ranges_of((7,)))])
    [restriction] = decode_tcf(letters_of(bits)).publisher_restrictions
    assert (restriction.type, list(restriction.vendors)) == (RestrictionType.UNDEFINED, [5, 7])


def test_a_restriction_without_vendors_is_read() -> None:
    """The IAB's encoders write it when the vendor list no longer lets them write the vendors (findings/tcf_encoded_again.sh)."""
    tc = decode_tcf("CQh-8AAQh-8AAAKACAENCCFgAMAAAAIAAAAAABMAAiACOgAA.IACP.YAAAAAAAAAAA")
    assert tc.publisher_restrictions == (PublisherRestriction(7, RestrictionType.REQUIRE_CONSENT, IdSet()),)
    assert list(tc.disclosed_vendors or ()) == [1, 2, 3, 4]


def test_disclosed_vendors_are_absent_empty_or_listed() -> None:
    assert decode_tcf(CORE).disclosed_vendors is None
    assert decode_tcf(f"{CORE}.{disclosed([])}").disclosed_vendors == IdSet()
    assert decode_tcf(f"{CORE}.{disclosed([2, 900])}").disclosed_vendors == IdSet(1 << 1 | 1 << 899)


def test_segments_come_in_any_order() -> None:
    segments = [
        publisher_segment([1, 24], [2], custom=3, custom_consents=[1, 3]),
        disclosed([4], segment_type=2),
        disclosed([5]),
    ]
    tc = decode_tcf(".".join([CORE, *segments]))
    assert tc == decode_tcf(".".join([CORE, *reversed(segments)]))
    assert (tc.disclosed_vendors, tc.allowed_vendors) == (IdSet(1 << 4), IdSet(1 << 3))
    assert tc.publisher == PublisherTc(IdSet(1 | 1 << 23), IdSet(2), 3, IdSet(0b101), IdSet())


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("", "core", "no letters"),
        (".", "segment", "no letters"),
        (CORE + ".", "segment", "no letters"),
        (CORE + "..", "segment", "no letters"),
        (CORE + "=", "core", "not a base64url letter"),
        (CORE[:35], "core", "3 bits missing"),
        (CORE[:-2], "publisher_restrictions", "missing"),
        (letters_of(core_bits(version=1)), "version", "not version 2"),
        (letters_of(core_bits(version=3)), "version", "not version 2"),
        (letters_of(core_bits(language=(26, 0))), "consent_language", "letters"),
        (letters_of(core_bits(country=(0, 63))), "publisher_country", "letters"),
        (letters_of(core_bits() + "1"), "core", "after the last field"),
        (CORE + "AAAAB", "core", "after the last field"),
        (f"{CORE}.{disclosed([3])}B", "segment", "after the last field"),
        (f"{CORE}.{disclosed([3])[:-1]}", "disclosed_vendors", "missing"),
        (f"{CORE}.{disclosed([3])}.{disclosed([4])}", "segment_type", "a second segment"),
        (f"{CORE}.{publisher_segment()}.{publisher_segment()}", "segment_type", "a second segment"),
        (f"{CORE}.{CORE}", "segment_type", "not a type"),
        (f"{CORE}.{disclosed([3], segment_type=4)}", "segment_type", "not a type"),
        (f"{CORE}.{letters_of('01')}.{disclosed([])}", "allowed_vendors", "missing"),
        (CORE + "." + publisher_segment(custom=63)[:-1], "custom_legitimate_interests", "missing"),
        (letters_of(core_bits(vendor_consents=f"{5:016b}1" + ranges_of((6,)))), "vendor_consents", "a range"),
        (letters_of(core_bits(vendor_consents=f"{5:016b}1" + ranges_of((3, 2)))), "vendor_consents", "a range"),
        (letters_of(core_bits(restrictions=[(1, 0, ranges_of((0,)))])), "publisher_restrictions", "a range"),
        (CORE + "." + letters_of("001" + f"{9:016b}1{2:012b}" + range_of(1)), "disclosed_vendors", "missing"),
        ("A" * (MAX_LETTERS + 1), "string", "more than"),
        (CORE + "Ä", "core", "not a base64url letter"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, field: str, reason: str) -> None:
    with pytest.raises(MalformedSignal, match=reason) as refused:
        decode_tcf(text)
    assert refused.value.field == field


def test_more_zeros_than_needed_are_read() -> None:
    assert decode_tcf(CORE + "AAAA") == decode_tcf(CORE)


def test_a_string_is_decoded_once_unless_it_is_long() -> None:
    assert decode_tcf(CORE) is decode_tcf("".join(CORE))
    long = CORE + "A" * CACHED_LETTERS
    assert decode_tcf(long) == decode_tcf(CORE)
    assert decode_tcf(long) is not decode_tcf(long)
