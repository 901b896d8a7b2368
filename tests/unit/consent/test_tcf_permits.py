"""What a TC string permits: one test for each rule, from a string that permits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdp.consent.signals.tcf.decode import decode_tcf
from cdp.consent.signals.tcf.permits import TcfAnswer, TcfBasis, TcfReason, tcf_permits
from tests.support.tcf import core_bits, disclosed, letters_of, ranges_of

VENDOR = 42
NEIGHBORS = [VENDOR - 1, VENDOR + 1]
BEFORE_TCF_2_3 = datetime(2026, 2, 28, tzinfo=UTC)
FROM_TCF_2_3 = datetime(2026, 3, 1, tzinfo=UTC)


def answer(
    *,
    purpose: int = 2,
    basis: TcfBasis = TcfBasis.CONSENT,
    shown: list[int] | None = [VENDOR],  # noqa: B006 - it is only read
    **fields: Any,
) -> TcfAnswer:
    everything: dict[str, Any] = {
        "purpose_consents": range(1, 25),
        "purpose_legitimate_interests": range(1, 25),
        "vendor_consents": [VENDOR],
        "vendor_legitimate_interests": [VENDOR],
    }
    text = letters_of(core_bits(**{**everything, **fields}))
    tc = decode_tcf(text if shown is None else f"{text}.{disclosed(shown)}")
    return tcf_permits(tc, purpose_id=purpose, vendor_id=VENDOR, basis=basis)


BOTH = pytest.mark.parametrize("basis", TcfBasis)


@BOTH
def test_all_bits_set_permit(basis: TcfBasis) -> None:
    assert answer(basis=basis) == TcfAnswer(None)
    assert answer(basis=basis).is_permitted


@BOTH
def test_a_string_that_is_not_service_specific_is_invalid(basis: TcfBasis) -> None:
    refused = answer(basis=basis, is_service_specific=False)
    assert refused.reason is TcfReason.NOT_SERVICE_SPECIFIC
    assert not refused.is_permitted


@pytest.mark.parametrize(
    ("policy_version", "created", "reason"),
    [
        (3, datetime(2023, 9, 30, 23, 59, 59, tzinfo=UTC), None),
        (3, datetime(2023, 10, 1, tzinfo=UTC), TcfReason.POLICY_OUTDATED),
        (4, datetime(2023, 10, 1, tzinfo=UTC), None),
    ],
)
def test_policy_version_4_is_required_after_september_2023(
    policy_version: int, created: datetime, reason: TcfReason | None
) -> None:
    assert answer(policy_version=policy_version, created=created).reason is reason


@BOTH
@pytest.mark.parametrize(
    ("created", "updated", "shown", "reason"),
    [
        (BEFORE_TCF_2_3, None, None, None),
        (FROM_TCF_2_3 - timedelta(milliseconds=100), None, None, None),
        (FROM_TCF_2_3, None, None, TcfReason.DISCLOSURE_MISSING),
        (BEFORE_TCF_2_3, FROM_TCF_2_3, None, TcfReason.DISCLOSURE_MISSING),
        (FROM_TCF_2_3, BEFORE_TCF_2_3, None, TcfReason.DISCLOSURE_MISSING),
        (FROM_TCF_2_3, None, [], TcfReason.NOBODY_DISCLOSED),
        (BEFORE_TCF_2_3, None, [], TcfReason.NOBODY_DISCLOSED),
        (FROM_TCF_2_3, None, [VENDOR - 1, VENDOR + 1], TcfReason.VENDOR_NOT_DISCLOSED),
        (BEFORE_TCF_2_3, None, [VENDOR - 1], TcfReason.VENDOR_NOT_DISCLOSED),
        (FROM_TCF_2_3, None, [VENDOR], None),
    ],
)
def test_the_vendor_must_have_been_disclosed(
    basis: TcfBasis, created: datetime, updated: datetime | None, shown: list[int] | None, reason: TcfReason | None
) -> None:
    assert answer(basis=basis, created=created, last_updated=updated, shown=shown).reason is reason


@pytest.mark.parametrize(
    ("basis", "others", "reason"),
    [
        (TcfBasis.CONSENT, {"purpose_consents": [1, 3]}, TcfReason.PURPOSE_NOT_PERMITTED),
        (TcfBasis.LEGITIMATE_INTEREST, {"purpose_legitimate_interests": [1, 3]}, TcfReason.PURPOSE_NOT_PERMITTED),
        (TcfBasis.CONSENT, {"vendor_consents": NEIGHBORS}, TcfReason.VENDOR_NOT_PERMITTED),
        (TcfBasis.LEGITIMATE_INTEREST, {"vendor_legitimate_interests": NEIGHBORS}, TcfReason.VENDOR_NOT_PERMITTED),
    ],
)
def test_the_bits_of_its_own_basis_decide(basis: TcfBasis, others: dict[str, Any], reason: TcfReason) -> None:
    assert answer(basis=basis, **others).reason is reason
    [opposite] = set(TcfBasis) - {basis}
    assert answer(basis=opposite, **others).is_permitted


@pytest.mark.parametrize(("policy_version", "forbidden"), [(3, {1}), (4, {1, 3, 4, 5, 6}), (5, {1, 3, 4, 5, 6})])
def test_a_legitimate_interest_is_no_basis_for_some_purposes(policy_version: int, forbidden: set[int]) -> None:
    created = datetime(2023, 9, 1, tzinfo=UTC)
    basis = TcfBasis.LEGITIMATE_INTEREST
    reasons = {
        purpose: answer(basis=basis, purpose=purpose, policy_version=policy_version, created=created).reason
        for purpose in range(1, 25)
    }
    assert {purpose for purpose, reason in reasons.items() if reason} == forbidden
    assert set(reasons.values()) == {None, TcfReason.BASIS_FORBIDDEN}
    assert all(
        answer(purpose=purpose, policy_version=policy_version, created=created).is_permitted for purpose in forbidden
    )


@pytest.mark.parametrize(
    ("type_", "permitted"),
    [
        (0, set()),
        (1, {TcfBasis.CONSENT}),
        (2, {TcfBasis.LEGITIMATE_INTEREST}),
        (3, set()),
    ],
)
def test_a_publisher_restriction_leaves_the_basis_that_it_requires(type_: int, permitted: set[TcfBasis]) -> None:
    restrictions = [(7, type_, ranges_of((VENDOR - 1, VENDOR + 1)))]
    answers = {basis: answer(purpose=7, basis=basis, restrictions=restrictions) for basis in TcfBasis}
    assert {basis for basis, given in answers.items() if given.is_permitted} == permitted
    assert {given.reason for given in answers.values()} - {None} == {TcfReason.RESTRICTED_BY_PUBLISHER}


@BOTH
def test_a_restriction_of_another_purpose_or_vendor_does_not_count(basis: TcfBasis) -> None:
    restrictions = [(8, 0, ranges_of((VENDOR,))), (7, 0, ranges_of((VENDOR - 1,), (VENDOR + 1,)))]
    assert answer(purpose=7, basis=basis, restrictions=restrictions).is_permitted


def test_two_restrictions_of_one_purpose_both_count() -> None:
    restrictions = [(7, 1, ranges_of((VENDOR,))), (7, 2, ranges_of((VENDOR,)))]
    assert not any(answer(purpose=7, basis=basis, restrictions=restrictions).is_permitted for basis in TcfBasis)


@pytest.mark.parametrize("purpose", [0, -1, 25, 64])
def test_a_purpose_outside_the_layout_is_not_permitted(purpose: int) -> None:
    assert answer(purpose=purpose).reason is TcfReason.PURPOSE_NOT_PERMITTED
