"""What an export says is held, and does not show (California regulations section 7024 (d)). Pure.

Number of a social security or health insurance, driving licence or other government id, financial account, password,
security question and biometrics: shown to the wrong person they would do more harm than good to the right one.
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
"""Data categories of fideslang; each includes those below it."""


def is_withheld(category: str) -> bool:
    """Whether values of this category are never shown."""
    return any(category == each or category.startswith(each + ".") for each in WITHHELD)


def withhold(values: Mapping[str, Any], category_of: Callable[[str], str]) -> dict[str, Any]:
    """The values by name, with those that may not be shown replaced by the category that is held."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        category = category_of(name)
        shown[name] = {"held_but_not_shown": category} if is_withheld(category) else value
    return shown
