"""Values that an export names but does not disclose (California regulations section 7024 (d)). Pure.

Social security and health insurance numbers, driver's licenses and other government ids, financial accounts, passwords,
security questions and biometrics: disclosed to the wrong person, they could cause substantial harm.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

WITHHELD: Final = (
    "user.government_id",
    "user.financial",
    "user.authorization",
    "user.biometric",
    "user.health_and_medical.insurance_beneficiary_id",
)
"""Data categories of fideslang; each includes its subcategories."""


def is_withheld(category: str) -> bool:
    """Whether values of this category are never disclosed."""
    return any(category == withheld or category.startswith(withheld + ".") for withheld in WITHHELD)


def withhold(values: Mapping[str, Any], category_of: Callable[[str], str]) -> dict[str, Any]:
    """The values by name; those that may not be disclosed are replaced by `{"held_but_not_shown": category}`."""
    disclosed: dict[str, Any] = {}
    for name, value in values.items():
        category = category_of(name)
        disclosed[name] = {"held_but_not_shown": category} if is_withheld(category) else value
    return disclosed
