"""The sections of the Global Privacy Platform for the United States, as tables of their fields.

Source: "Global Privacy Platform", `Sections/US-National` and `Sections/US-States` (IAB Tech Lab, state of December 2025),
compared with what `@iabgpp/cmpapi` 3.2.0 writes. A field holds one or several numbers of two bits; only versions have six.
Everywhere, 0 means "not applicable". Of a notice, 1 means that it was given and 2 that it was not; of a choice about
personal data, 1 is the refusal ("opted out", "no consent") and 2 the permission ("did not opt out", "consent").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from operator import itemgetter
from typing import Any, Final


class FieldKind(StrEnum):
    """What the numbers of a field state."""

    VERSION = "version"
    NOTICE = "notice"
    CHOICE = "choice"
    SENSITIVE = "choice about sensitive data"
    CHILDREN = "consent for known children"
    MSPA = "declaration under the MSPA"


class SecondPart(StrEnum):
    """What follows the first part of a section after a dot; it may be absent."""

    NONE = "none"
    GPC = "gpc"
    SENSITIVE = "sensitive data"


@dataclass(frozen=True, slots=True)
class GppField:
    """A field by its official name.

    `of` says, for each of its numbers, what it is about; several subjects of one number have spaces between them.
    `notice` is the field that says whether the right to refuse was announced, where the name does not say it.
    """

    name: str
    kind: FieldKind
    of: tuple[str, ...] = ()
    notice: str | None = None

    @property
    def count(self) -> int:
        """The numbers of two bits that the field takes; a version takes three, which are one number of six bits."""
        return 3 if self.kind is FieldKind.VERSION else len(self.of) or 1


@dataclass(frozen=True)
class UsLayout:
    """One layout of a section: `version` is the one that the specification gives it, and `fields` its first part in order.

    `is_headed` marks the sections whose published text has a header part that the official encoder does not write.
    """

    id: int
    name: str
    fields: tuple[GppField, ...]
    second: SecondPart = SecondPart.NONE
    sensitive: GppField | None = None
    version: int = 1
    is_headed: bool = False

    @cached_property
    def count(self) -> int:
        """The numbers of two bits in the first part."""
        return sum(field.count for field in self.fields)

    @cached_property
    def lengths(self) -> frozenset[int]:
        """The numbers of letters in which the first part can be written."""
        return lengths_of(2 * self.count)

    @cached_property
    def spans(self) -> Mapping[str, int | slice]:
        """Where the values of the fields are among the numbers of the first part, without the version."""
        spans: dict[str, int | slice] = {}
        position = _VERSION.count
        for field in self.fields[1:]:
            spans[field.name] = slice(position, position + field.count) if field.of else position
            position += field.count
        return spans

    @cached_property
    def pick(self) -> Callable[[bytes], tuple[Any, ...]]:
        """Takes the values of all `spans` out of the numbers of the first part."""
        return itemgetter(*self.spans.values())

    @cached_property
    def lists(self) -> tuple[tuple[str, slice], ...]:
        """The `spans` of the fields with several numbers."""
        return tuple((name, span) for name, span in self.spans.items() if isinstance(span, slice))

    def fields_of(self, *kinds: FieldKind) -> tuple[GppField, ...]:
        """The fields of these kinds, also those of the second part."""
        sensitive = (self.sensitive,) if self.sensitive is not None else ()
        return tuple(field for field in (*self.fields, *sensitive) if field.kind in kinds)


def lengths_of(bits: int) -> frozenset[int]:
    """The numbers of letters of six bits for so many bits.

    The specification fills up the last letter, the official encoder the last byte first, others four letters.
    """
    return frozenset((-(-bits // 6), -(-8 * -(-bits // 8) // 6), 4 * -(-bits // 24)))


def _notices(*names: str) -> tuple[GppField, ...]:
    return tuple(GppField(name, FieldKind.NOTICE) for name in names)


def _choices(*names: str) -> tuple[GppField, ...]:
    return tuple(GppField(name, FieldKind.CHOICE) for name in names)


def _sensitive(*of: str, notice: str | None = None) -> GppField:
    return GppField("SensitiveDataProcessing", FieldKind.SENSITIVE, of, notice)


def _children(*of: str) -> GppField:
    return GppField("KnownChildSensitiveDataConsents", FieldKind.CHILDREN, of)


_VERSION: Final = GppField("Version", FieldKind.VERSION)
_CHILD: Final = GppField("KnownChildSensitiveDataConsents", FieldKind.CHILDREN)
_PERSONAL: Final = _choices("PersonalDataConsents")
_FURTHER: Final = _choices("AdditionalDataProcessingConsent")
_MSPA: Final = tuple(
    GppField(name, FieldKind.MSPA)
    for name in ("MspaCoveredTransaction", "MspaOptOutOptionMode", "MspaServiceProviderMode")
)
_MSPA_FIRST: Final = (
    GppField("MspaVersion", FieldKind.VERSION),
    GppField("MspaCoveredTransaction", FieldKind.MSPA),
    GppField("MspaMode", FieldKind.MSPA),
)
_SALE_AND_ADVERTISING: Final = (
    *_notices("SaleOptOutNotice", "TargetedAdvertisingOptOutNotice"),
    *_choices("SaleOptOut", "TargetedAdvertisingOptOut"),
)
_SHARING: Final = (*_notices("SharingNotice"), *_SALE_AND_ADVERTISING)
_PROCESSING: Final = (*_notices("ProcessingNotice"), *_SALE_AND_ADVERTISING)

_CATEGORIES: Final = (
    "racial_or_ethnic_origin",
    "religious_beliefs",
    "health",
    "sexual_orientation",
    "citizenship_or_immigration",
    "genetic",
    "biometric",
    "precise_geolocation",
)
_NATIONAL: Final = (*_CATEGORIES, "government_identifiers", "account_credentials", "union_membership", "communications")
_CALIFORNIA: Final = (
    "government_identifiers",
    "account_credentials",
    "precise_geolocation",
    "racial_or_ethnic_origin religious_beliefs union_membership",
    "communications",
    "genetic",
    "biometric",
    "health",
    "sexual_orientation",
)
_UTAH: Final = (
    "racial_or_ethnic_origin",
    "religious_beliefs",
    "sexual_orientation",
    "citizenship_or_immigration",
    "health",
    "genetic",
    "biometric",
    "precise_geolocation",
)
_OREGON: Final = (
    "racial_or_ethnic_origin",
    "religious_beliefs",
    "health",
    "sexual_orientation",
    "transgender_or_nonbinary",
    "citizenship_or_immigration",
    "national_origin",
    "victim_of_crime",
    "genetic",
    "biometric",
    "precise_geolocation",
)
_EIGHT: Final = _sensitive(*_CATEGORIES)
_UNDER_16: Final = ("process_known_child", "sell_13_to_15", "advertise_13_to_15")
_UNDER_18: Final = (*_UNDER_16, "sell_16_to_17", "advertise_16_to_17")


def _national(version: int, sensitive: tuple[str, ...], children: tuple[str, ...]) -> UsLayout:
    return UsLayout(
        7,
        "usnat",
        (
            _VERSION,
            *_notices(
                "SharingNotice",
                "SaleOptOutNotice",
                "SharingOptOutNotice",
                "TargetedAdvertisingOptOutNotice",
                "SensitiveDataProcessingOptOutNotice",
                "SensitiveDataLimitUseNotice",
            ),
            *_choices("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut"),
            _sensitive(*sensitive),
            _children(*children),
            *_PERSONAL,
            *_MSPA,
        ),
        SecondPart.GPC,
        version=version,
    )


def _state(id_: int, name: str, *fields: GppField, second: SecondPart = SecondPart.GPC) -> UsLayout:
    return UsLayout(id_, name, (_VERSION, *fields, *_MSPA), second)


def _headed(id_: int, name: str, second: SecondPart, *fields: GppField) -> UsLayout:
    sensitive = _EIGHT if second is SecondPart.SENSITIVE else None
    return UsLayout(id_, name, (*_MSPA_FIRST, *_PROCESSING, *fields, *_FURTHER), second, sensitive, is_headed=True)


_WITHOUT_GPC: Final = SecondPart.NONE

USNAT_1: Final = _national(1, _NATIONAL, ("process_13_to_15", "process_under_13"))
USNAT_2: Final = _national(
    2,
    (*_NATIONAL, "consumer_health", "victim_of_crime", "national_origin", "transgender_or_nonbinary"),
    ("process_13_to_15", "process_under_13", "process_16_to_17"),
)

STATES: Final = (
    _state(
        8,
        "usca",
        *_notices("SaleOptOutNotice", "SharingOptOutNotice", "SensitiveDataLimitUseNotice"),
        *_choices("SaleOptOut", "SharingOptOut"),
        _sensitive(*_CALIFORNIA, notice="SensitiveDataLimitUseNotice"),
        _children("sell_under_16", "share_under_16"),
        *_PERSONAL,
    ),
    _state(9, "usva", *_SHARING, _EIGHT, _CHILD, second=_WITHOUT_GPC),
    _state(10, "usco", *_SHARING, _sensitive(*_CATEGORIES[:7]), _CHILD),
    _state(
        11,
        "usut",
        *_notices(
            "SharingNotice",
            "SaleOptOutNotice",
            "TargetedAdvertisingOptOutNotice",
            "SensitiveDataProcessingOptOutNotice",
        ),
        *_choices("SaleOptOut", "TargetedAdvertisingOptOut"),
        _sensitive(*_UTAH, notice="SensitiveDataProcessingOptOutNotice"),
        _CHILD,
        second=_WITHOUT_GPC,
    ),
    _state(12, "usct", *_SHARING, _EIGHT, _children(*_UNDER_16)),
    _state(
        13,
        "usfl",
        *_PROCESSING,
        _EIGHT,
        _children("process_under_13", "process_13_to_15", "process_16_to_17"),
        *_FURTHER,
        second=_WITHOUT_GPC,
    ),
    _state(14, "usmt", *_SHARING, _EIGHT, _children(*_UNDER_16), *_FURTHER),
    _state(15, "usor", *_PROCESSING, _sensitive(*_OREGON), _children(*_UNDER_16), *_FURTHER),
    _state(16, "ustx", *_PROCESSING, _EIGHT, _CHILD, *_FURTHER),
    _state(
        17,
        "usde",
        *_PROCESSING,
        _sensitive(*_CATEGORIES, "transgender_or_nonbinary"),
        _children(*_UNDER_18),
        *_FURTHER,
    ),
    _state(
        18,
        "usia",
        *_notices(
            "ProcessingNotice", "SaleOptOutNotice", "TargetedAdvertisingOptOutNotice", "SensitiveDataOptOutNotice"
        ),
        *_choices("SaleOptOut", "TargetedAdvertisingOptOut"),
        _sensitive(*_CATEGORIES, notice="SensitiveDataOptOutNotice"),
        _CHILD,
    ),
    _state(19, "usne", *_PROCESSING, _EIGHT, _CHILD, *_FURTHER),
    _state(20, "usnh", *_PROCESSING, _EIGHT, _children(*_UNDER_16), *_FURTHER),
    _state(
        21,
        "usnj",
        *_PROCESSING,
        _sensitive(*_CATEGORIES, "transgender_or_nonbinary", "account_credentials"),
        _children(*_UNDER_16, "sell_16", "advertise_16"),
        *_FURTHER,
    ),
    _state(22, "ustn", *_PROCESSING, _EIGHT, _CHILD, *_FURTHER),
    _state(23, "usmn", *_PROCESSING, _EIGHT, _CHILD, *_FURTHER),
    _headed(24, "usmd", SecondPart.GPC),
    _headed(25, "usin", SecondPart.SENSITIVE, _CHILD),
    _headed(26, "usky", SecondPart.SENSITIVE, _CHILD),
    _headed(27, "usri", SecondPart.SENSITIVE, _CHILD),
)

US_LAYOUTS: Final = (USNAT_1, USNAT_2, *STATES)

US_SECTIONS: Final[Mapping[int, tuple[UsLayout, ...]]] = {
    7: (USNAT_1, USNAT_2),
    **{layout.id: (layout,) for layout in STATES},
}
"""The layouts of each section, by its id."""

EUROPE: Final = 2
CANADA: Final = 5
US_PRIVACY: Final = 6
