"""What a TC string permits a vendor for a purpose.

Decoders return bits; what follows from them is in the text of the specification, and none of the public decoders applies
all of it. `tcf_permits` does, and every doubt refuses.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cdp.consent.signals.bits import IdSet
from cdp.consent.signals.tcf.model import RestrictionType, TcString

DISCLOSURE_REQUIRED_FROM: Final = datetime(2026, 3, 1, tzinfo=UTC)
"""From this instant, a string needs the segment of disclosed vendors (TCF 2.3: those created after 28 February 2026)."""

POLICY_4_REQUIRED_FROM: Final = datetime(2023, 10, 1, tzinfo=UTC)
"""From this instant, a string needs policy version 4 or later (TCF 2.2: those created after 30 September 2023)."""


class TcfBasis(StrEnum):
    """The legal basis on which a vendor relies for a purpose."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"


class TcfReason(StrEnum):
    """Why a string permits nothing to a vendor for a purpose."""

    NOT_SERVICE_SPECIFIC = "not_service_specific"
    POLICY_OUTDATED = "policy_outdated"
    DISCLOSURE_MISSING = "disclosure_missing"
    NOBODY_DISCLOSED = "nobody_disclosed"
    VENDOR_NOT_DISCLOSED = "vendor_not_disclosed"
    PURPOSE_NOT_PERMITTED = "purpose_not_permitted"
    VENDOR_NOT_PERMITTED = "vendor_not_permitted"
    BASIS_FORBIDDEN = "basis_forbidden"
    RESTRICTED_BY_PUBLISHER = "restricted_by_publisher"


@dataclass(frozen=True, slots=True)
class TcfAnswer:
    """Whether a string permits a purpose to a vendor on a basis; `reason` is None exactly if it does."""

    reason: TcfReason | None

    @property
    def is_permitted(self) -> bool:
        """Whether nothing in the string is against it."""
        return self.reason is None


def tcf_permits(tc: TcString, *, purpose_id: int, vendor_id: int, basis: TcfBasis) -> TcfAnswer:
    """Whether a TC string permits a vendor to process for a purpose on a legal basis, and if not, the first reason.

    The later of its two instants counts as the one at which it was made.
    """
    return TcfAnswer(
        tcf_invalidity(tc)
        or _undisclosed(tc, vendor_id)
        or _unstated(tc, purpose_id=purpose_id, vendor_id=vendor_id, basis=basis)
    )


def tcf_invalidity(tc: TcString) -> TcfReason | None:
    """Why a string as a whole is invalid, the publisher's segment included; None if it is not."""
    if not tc.is_service_specific:
        return TcfReason.NOT_SERVICE_SPECIFIC
    if tc.policy_version < _POLICY_OF_TCF_2_2 and _made_at(tc) >= POLICY_4_REQUIRED_FROM:
        return TcfReason.POLICY_OUTDATED
    if tc.disclosed_vendors is None and _made_at(tc) >= DISCLOSURE_REQUIRED_FROM:
        return TcfReason.DISCLOSURE_MISSING
    return None


def _undisclosed(tc: TcString, vendor_id: int) -> TcfReason | None:
    """Why the vendor does not count as shown to the person."""
    if tc.disclosed_vendors is None:
        return None
    if not tc.disclosed_vendors:
        return TcfReason.NOBODY_DISCLOSED
    return None if vendor_id in tc.disclosed_vendors else TcfReason.VENDOR_NOT_DISCLOSED


def _unstated(tc: TcString, *, purpose_id: int, vendor_id: int, basis: TcfBasis) -> TcfReason | None:
    """Why the bits and the publisher's restrictions do not permit it on this basis."""
    if basis is TcfBasis.CONSENT:
        purposes, vendors, allowed = tc.purpose_consents, tc.vendor_consents, RestrictionType.REQUIRE_CONSENT
    else:
        purposes, vendors = tc.purpose_legitimate_interests, tc.vendor_legitimate_interests
        allowed = RestrictionType.REQUIRE_LEGITIMATE_INTEREST
        if purpose_id in _consent_only(tc.policy_version):
            return TcfReason.BASIS_FORBIDDEN
    if purpose_id not in purposes:
        return TcfReason.PURPOSE_NOT_PERMITTED
    if vendor_id not in vendors:
        return TcfReason.VENDOR_NOT_PERMITTED
    is_restricted = any(
        restriction.purpose_id == purpose_id and restriction.type is not allowed and vendor_id in restriction.vendors
        for restriction in tc.publisher_restrictions
    )
    return TcfReason.RESTRICTED_BY_PUBLISHER if is_restricted else None


def _consent_only(policy_version: int) -> IdSet:
    """The purposes for which a legitimate interest is not a basis: 1 always, 3 to 6 as well since policy version 4."""
    return _PURPOSES_1_3_TO_6 if policy_version >= _POLICY_OF_TCF_2_2 else _PURPOSE_1


def _made_at(tc: TcString) -> datetime:
    return max(tc.created, tc.last_updated)


_POLICY_OF_TCF_2_2: Final = 4
_PURPOSE_1: Final = IdSet(0b1)
_PURPOSES_1_3_TO_6: Final = IdSet(0b111101)
