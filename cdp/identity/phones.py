"""Normalize telephone numbers: one that its country can have, or malformed. Pure."""

import re
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

from cdp.identity.model import Ignored

_FRACTION: Final = re.compile(r"(\D{0,2}[0-9]{6,})\.0+")
_EXPONENT: Final = re.compile(r"[+-]?[0-9]([.,][0-9]+)?e\+[0-9]{1,3}", re.IGNORECASE)
_LABELLED: Final = re.compile(r"([^a-z]*[0-9][^a-z]*?)[\s(\[]+[a-z][a-z .:-]*[)\]]?", re.IGNORECASE)
_LABELLED_DIGITS_MIN: Final = 7


def normalize_phone(text: str, default_region: str | None) -> str | Ignored:
    """The number in E.164 form, which need not be in service; an extension is kept apart (`;ext=`, RFC 3966).

    Malformed if it is too short or too long for its country, or if there is more than one. One digit repeated is
    blocked: people type it where a number is required.
    """
    number = _read(_meant(text), default_region)
    if number is None:
        return Ignored.MALFORMED
    if len(set(str(number.national_number))) == 1:
        return Ignored.BLOCKED
    value = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return f"{value};ext={number.extension}" if number.extension else value


def _meant(text: str) -> str:
    """The number without what programs and people add: the fraction of a spreadsheet, a label such as `(home)`."""
    fraction = _FRACTION.fullmatch(text)
    if fraction is not None:
        return fraction[1]
    if text[-1:] in "0123456789":
        return text
    labelled = _LABELLED.fullmatch(text)
    if labelled is None or sum(character.isdigit() for character in labelled[1]) < _LABELLED_DIGITS_MIN:
        return text
    return labelled[1]


def _read(text: str, default_region: str | None) -> PhoneNumber | None:
    """The number if it is possible in its country; `00` is read as `+` where the region does not read it otherwise."""
    if _EXPONENT.fullmatch(text):
        return None
    for spelling in (text, "+" + text[2:]) if text.startswith("00") else (text,):
        try:
            number = phonenumbers.parse(spelling, default_region)
        except NumberParseException:
            continue
        if phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE:
            return number
    return None
