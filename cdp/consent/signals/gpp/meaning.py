"""What the sections of the United States mean: refusals, by what they are about, in the strictest reading.

An opt-out of one section is one of the whole text, and Global Privacy Control opts out of sale, sharing and targeted
advertising, whatever the fields beside it say (California Code of Regulations, title 11, § 7025(c)). A "did not opt out"
counts only where the field of its notice says that the notice was given, as the specification demands. The declarations
under the MSPA are not a choice of the person; they are among the fields, and nothing here writes them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cdp.consent.signals.gpp.layouts import FieldKind, UsLayout
from cdp.consent.signals.gpp.model import FieldValue, GppSection, GppString


class UsChoice(StrEnum):
    """What is stated about one use of personal data; the strictest first."""

    REFUSED = "refused"
    NOT_UNDERSTOOD = "not_understood"
    CONTRADICTORY = "contradictory"
    NO_NOTICE = "no_notice"
    NOT_REFUSED = "not_refused"
    NOT_APPLICABLE = "not_applicable"

    @property
    def is_refusal(self) -> bool:
        """Whether this is, or may be, a refusal by the person."""
        return self in _REFUSALS

    @property
    def is_permitted(self) -> bool:
        """Whether the person was asked and did not refuse."""
        return self is UsChoice.NOT_REFUSED


_ORDER: Final = {choice: position for position, choice in enumerate(UsChoice)}
_REFUSALS: Final = frozenset((UsChoice.REFUSED, UsChoice.NOT_UNDERSTOOD, UsChoice.CONTRADICTORY))


@dataclass(frozen=True, slots=True)
class UsAnswers:
    """What a section or a whole text states; None is a use that it has no field for.

    `further` is processing for other purposes than those disclosed. `sensitive` is by category of data, `children` by use
    and age, as the layouts name them.
    """

    sale: UsChoice | None = None
    sharing: UsChoice | None = None
    targeted_advertising: UsChoice | None = None
    further: UsChoice | None = None
    sensitive: Mapping[str, UsChoice] = field(default_factory=dict)
    children: Mapping[str, UsChoice] = field(default_factory=dict)


def opt_outs(section: GppSection) -> UsAnswers:
    """What one section states.

    One that is not understood can contain any refusal. Sections of other countries state nothing here.
    """
    if section.not_understood is not None:
        return _NOT_UNDERSTOOD
    if section.layout is not None:
        return _state_answers(section, section.layout)
    if section.name == "uspv1":
        return _usp_answers(section.fields)
    return UsAnswers()


def opt_outs_of(gpp: GppString) -> UsAnswers:
    """What a text states: of several sections about one use, the strictest; GPC in one counts for all."""
    answers = [opt_outs(section) for section in gpp.sections.values()]
    if any(section.gpc for section in gpp.sections.values()):
        answers.append(_BY_GPC)
    return UsAnswers(
        _strictest(answer.sale for answer in answers),
        _strictest(answer.sharing for answer in answers),
        _strictest(answer.targeted_advertising for answer in answers),
        _strictest(answer.further for answer in answers),
        _strictest_by_name(answer.sensitive for answer in answers),
        _strictest_by_name(answer.children for answer in answers),
    )


def _state_answers(section: GppSection, layout: UsLayout) -> UsAnswers:
    fields = section.fields
    sale, sharing, advertising = (
        UsChoice.REFUSED if section.gpc and name in fields else _opt_out(fields.get(name), fields.get(f"{name}Notice"))
        for name in ("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut")
    )
    further = fields.get("PersonalDataConsents", fields.get("AdditionalDataProcessingConsent"))
    return UsAnswers(
        sale,
        sharing,
        advertising,
        None if further is None else _CHOICES[further],
        _by_subject(section, layout, FieldKind.SENSITIVE),
        _by_subject(section, layout, FieldKind.CHILDREN),
    )


def _opt_out(value: object, notice: object) -> UsChoice | None:
    """The choice about one use, with the notice of the right to refuse it, both as numbers of the layout."""
    if value is None:
        return None
    return UsChoice.REFUSED if value == 1 else _BY_NOTICE[notice, value]


def _by_subject(section: GppSection, layout: UsLayout, kind: FieldKind) -> Mapping[str, UsChoice]:
    """The choices of the fields of a kind, by what they are about; a number about several is one choice for each."""
    found: list[Mapping[str, UsChoice]] = []
    for stated in layout.fields_of(kind):
        value = section.fields.get(stated.name)
        if value is None:
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        for subjects, number in zip(stated.of or (KNOWN_CHILD,), numbers, strict=True):
            choice = _CHOICES[number]
            if stated.notice is not None and choice is not UsChoice.REFUSED:
                choice = _BY_NOTICE[section.fields[stated.notice], number]
            found += [{subject: choice} for subject in subjects.split()]
    return _strictest_by_name(found)


def _usp_answers(fields: Mapping[str, FieldValue]) -> UsAnswers:
    """The US Privacy text knows sale alone; the law has since joined sharing to it, so an opt-out is one of both."""
    sale = _opt_out(_USP[fields["OptOutSale"]], _USP[fields["Notice"]])
    return UsAnswers(sale=sale, sharing=sale if sale is UsChoice.REFUSED else None)


def _strictest(choices: Iterable[UsChoice | None]) -> UsChoice | None:
    return min((choice for choice in choices if choice is not None), key=_ORDER.__getitem__, default=None)


def _strictest_by_name(answers: Iterable[Mapping[str, UsChoice]]) -> Mapping[str, UsChoice]:
    merged: dict[str, UsChoice] = {}
    for answer in answers:
        for name, choice in answer.items():
            merged[name] = min(merged.get(name, choice), choice, key=_ORDER.__getitem__)
    return merged


KNOWN_CHILD: Final = "process_known_child"
"""What a field about known children is about if it has one number."""

_CHOICES: Final[Mapping[object, UsChoice]] = {
    0: UsChoice.NOT_APPLICABLE,
    1: UsChoice.REFUSED,
    2: UsChoice.NOT_REFUSED,
}
_BY_NOTICE: Final[Mapping[tuple[object, object], UsChoice]] = {
    (0, 0): UsChoice.NOT_APPLICABLE,
    (0, 2): UsChoice.CONTRADICTORY,
    (1, 0): UsChoice.CONTRADICTORY,
    (1, 2): UsChoice.NOT_REFUSED,
    (2, 0): UsChoice.NO_NOTICE,
    (2, 2): UsChoice.NO_NOTICE,
}
"""By the number of the notice and the number of the choice, which is not a refusal."""

_USP: Final[Mapping[FieldValue, int]] = {"-": 0, "Y": 1, "N": 2}
_BY_GPC: Final = UsAnswers(UsChoice.REFUSED, UsChoice.REFUSED, UsChoice.REFUSED)
_UNKNOWN: Final = UsChoice.NOT_UNDERSTOOD
_NOT_UNDERSTOOD: Final = UsAnswers(_UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN)
