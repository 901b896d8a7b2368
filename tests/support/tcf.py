"""TC strings for tests, bit by bit: also those that no encoder would write."""

import string
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def letters_of(bits: str) -> str:
    """The base64url letters of binary digits, filled up with zeros."""
    bits += "0" * (-len(bits) % 6)
    return "".join(_LETTERS[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def range_of(first: int, last: int | None = None) -> str:
    """The bits of one entry of a list of ranges."""
    return f"0{first:016b}" if last is None else f"1{first:016b}{last:016b}"


def ranges_of(*entries: tuple[int, ...]) -> str:
    """The bits of a list of ranges: (only,) or (first, last)."""
    return f"{len(entries):012b}" + "".join(range_of(*entry) for entry in entries)


def flags_of(ids: Iterable[int], width: int) -> str:
    """A bit for each id from 1 to `width`."""
    members = set(ids)
    return "".join("1" if id_ in members else "0" for id_ in range(1, width + 1))


def vendors_of(ids: Iterable[int]) -> str:
    """The bits of a section of vendors, as a bit field."""
    members = set(ids)
    highest = max(members, default=0)
    return f"{highest:016b}0" + flags_of(members, highest)


def core_bits(
    *,
    version: int = 2,
    created: datetime = datetime(2026, 4, 1, tzinfo=UTC),
    last_updated: datetime | None = None,
    language: Sequence[int] = (3, 4),
    policy_version: int = 5,
    is_service_specific: bool = True,
    special_feature_opt_ins: Iterable[int] = (),
    purpose_consents: Iterable[int] = (),
    purpose_legitimate_interests: Iterable[int] = (),
    purpose_one_treatment: bool = False,
    country: Sequence[int] = (8, 4),
    vendor_consents: str | Iterable[int] = (),
    vendor_legitimate_interests: str | Iterable[int] = (),
    restrictions: Sequence[tuple[int, int, str]] = (),
) -> str:
    """The bits of a core segment; vendors as ids or as bits of a section, restrictions as purpose, type and ranges."""
    instants = [round(instant.timestamp() * 10) for instant in (created, last_updated or created)]
    vendors = [
        section if isinstance(section, str) else vendors_of(section)
        for section in (vendor_consents, vendor_legitimate_interests)
    ]
    return "".join(
        [
            f"{version:06b}",
            *(f"{instant:036b}" for instant in instants),
            f"{10:012b}{7:012b}{2:06b}",
            "".join(f"{letter:06b}" for letter in language),
            f"{212:012b}{policy_version:06b}{is_service_specific:b}0",
            flags_of(special_feature_opt_ins, 12),
            flags_of(purpose_consents, 24),
            flags_of(purpose_legitimate_interests, 24),
            f"{purpose_one_treatment:b}",
            "".join(f"{letter:06b}" for letter in country),
            *vendors,
            f"{len(restrictions):012b}",
            *(f"{purpose:06b}{type_:02b}{ranges}" for purpose, type_, ranges in restrictions),
        ]
    )


def disclosed(ids: Iterable[int], *, segment_type: int = 1) -> str:
    """The text of a segment of disclosed vendors, or of another type with vendors."""
    return letters_of(f"{segment_type:03b}" + vendors_of(ids))


def publisher_segment(
    consents: Iterable[int] = (), interests: Iterable[int] = (), custom: int = 0, custom_consents: Iterable[int] = ()
) -> str:
    """The text of a segment about the publisher's own purposes."""
    custom_bits = flags_of(custom_consents, custom) + flags_of((), custom)
    return letters_of("011" + flags_of(consents, 24) + flags_of(interests, 24) + f"{custom:06b}" + custom_bits)
