"""The fields of a TC string.

The values are structs of msgspec: making a frozen dataclass of so many fields takes longer than decoding them.
"""

from datetime import datetime
from enum import IntEnum

import msgspec

from cdp.consent.signals.bits import IdSet


class RestrictionType(IntEnum):
    """What a publisher does not leave to its vendors for a purpose; the last has no meaning in the specification."""

    NOT_ALLOWED = 0
    REQUIRE_CONSENT = 1
    REQUIRE_LEGITIMATE_INTEREST = 2
    UNDEFINED = 3


class PublisherRestriction(msgspec.Struct, frozen=True):
    """One restriction of a purpose (1 to 63, or 0, which is none) for some vendors."""

    purpose_id: int
    type: RestrictionType
    vendors: IdSet


class PublisherTc(msgspec.Struct, frozen=True):
    """The segment about the publisher's own purposes; its custom purposes are numbered from 1 to `custom_purposes`."""

    purpose_consents: IdSet
    purpose_legitimate_interests: IdSet
    custom_purposes: int
    custom_consents: IdSet
    custom_legitimate_interests: IdSet


class TcString(msgspec.Struct, frozen=True):
    """A decoded TC string, as written: nothing is corrected, added or left out.

    Instants are in UTC; since TCF 2.2 both are the start of the day on which the string was last changed. Language and
    country have two capital letters. `disclosed_vendors` is None if the string has no such segment, and empty if it has
    one without vendors: these are different statements. `allowed_vendors` is a segment that TCF 2.3 no longer has.
    """

    version: int
    created: datetime
    last_updated: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    is_service_specific: bool
    use_non_standard_texts: bool
    special_feature_opt_ins: IdSet
    purpose_consents: IdSet
    purpose_legitimate_interests: IdSet
    purpose_one_treatment: bool
    publisher_country: str
    vendor_consents: IdSet
    vendor_legitimate_interests: IdSet
    publisher_restrictions: tuple[PublisherRestriction, ...]
    disclosed_vendors: IdSet | None
    allowed_vendors: IdSet | None
    publisher: PublisherTc | None
