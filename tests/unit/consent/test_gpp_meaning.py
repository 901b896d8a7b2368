"""What sections of the United States mean: the strictest reading of choice, notice, GPC and of several sections."""

from collections.abc import Callable
from operator import attrgetter

import pytest

from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.gpp.layouts import US_LAYOUTS, FieldKind, GppField, SecondPart, UsLayout
from cdp.consent.signals.gpp.meaning import KNOWN_CHILD, UsAnswers, UsChoice, opt_outs, opt_outs_of
from cdp.consent.signals.gpp.model import GppSection
from tests.support.gpp_texts import header, letters

REFUSED, NOT_REFUSED = UsChoice.REFUSED, UsChoice.NOT_REFUSED
NOT_APPLICABLE, CONTRADICTORY, NO_NOTICE = UsChoice.NOT_APPLICABLE, UsChoice.CONTRADICTORY, UsChoice.NO_NOTICE

USES: dict[str, Callable[[UsAnswers], UsChoice | None]] = {
    "SaleOptOut": attrgetter("sale"),
    "SharingOptOut": attrgetter("sharing"),
    "TargetedAdvertisingOptOut": attrgetter("targeted_advertising"),
}
BY_LAYOUT = pytest.mark.parametrize("layout", US_LAYOUTS, ids=lambda layout: f"{layout.name}-{layout.version}")


def written(layout: UsLayout, gpc: bool | None = None, /, **fields: int | tuple[int, ...]) -> str:
    """A section in which these fields have these numbers, the MSPA covers the transaction, and nothing else applies."""
    fields = {"MspaCoveredTransaction": 1, **fields}

    def bits(field: GppField) -> str:
        value = fields.get(field.name, (0,) * field.count)
        return "".join(f"{number:02b}" for number in (value if isinstance(value, tuple) else (value,)))

    raw = letters(f"{layout.version:06b}" + "".join(bits(field) for field in layout.fields[1:]))
    if layout.sensitive is not None and layout.sensitive.name in fields:
        raw += "." + letters(bits(layout.sensitive))
    return raw if gpc is None else f"{raw}.{'Y' if gpc else 'Q'}"


def answers_of(layout: UsLayout, gpc: bool | None = None, /, **fields: int | tuple[int, ...]) -> UsAnswers:
    return opt_outs(decode_gpp(f"{header(layout.id)}~{written(layout, gpc, **fields)}").sections[layout.id])


def layout_of(name: str, version: int = 1) -> UsLayout:
    return next(layout for layout in US_LAYOUTS if (layout.name, layout.version) == (name, version))


@BY_LAYOUT
@pytest.mark.parametrize(
    ("notice", "choice", "meaning"),
    [
        (0, 0, NOT_APPLICABLE),
        (0, 1, REFUSED),
        (0, 2, CONTRADICTORY),
        (1, 0, CONTRADICTORY),
        (1, 1, REFUSED),
        (1, 2, NOT_REFUSED),
        (2, 0, NO_NOTICE),
        (2, 1, REFUSED),
        (2, 2, NO_NOTICE),
    ],
)
def test_a_choice_counts_only_with_its_notice(layout: UsLayout, notice: int, choice: int, meaning: UsChoice) -> None:
    names = {field.name for field in layout.fields}
    for name, answer in USES.items():
        answers = answers_of(layout, **({name: choice, f"{name}Notice": notice} if name in names else {}))
        assert answer(answers) is (meaning if name in names else None)
        assert all(other(answers) in (NOT_APPLICABLE, None) for key, other in USES.items() if key != name)


@BY_LAYOUT
def test_gpc_refuses_whatever_the_fields_say(layout: UsLayout) -> None:
    if layout.second is not SecondPart.GPC:
        return
    present = {name for name in USES if name in {field.name for field in layout.fields}}
    said = dict.fromkeys(present, 2) | {f"{name}Notice": 1 for name in present}
    for gpc, meaning in ((None, NOT_REFUSED), (False, NOT_REFUSED), (True, REFUSED)):
        answers = answers_of(layout, gpc, **said)
        assert {name: answer(answers) for name, answer in USES.items()} == {
            name: meaning if name in present else None for name in USES
        }


@BY_LAYOUT
def test_choices_about_sensitive_data_and_children_by_what_they_are_about(layout: UsLayout) -> None:
    for kind in (FieldKind.SENSITIVE, FieldKind.CHILDREN):
        for field in layout.fields_of(kind):
            subjects = field.of or (KNOWN_CHILD,)
            for place, subject in enumerate(subjects):
                numbers = tuple(1 if place == other else 2 for other in range(field.count))
                notice = {field.notice: 1} if field.notice else {}
                answers = answers_of(layout, **{field.name: numbers}, **notice)
                found = answers.sensitive if kind is FieldKind.SENSITIVE else answers.children
                assert {name for name, choice in found.items() if choice is REFUSED} == set(subject.split())
                assert set(found.values()) <= {REFUSED, NOT_REFUSED}
                assert set(found) == {name for several in subjects for name in several.split()}


@pytest.mark.parametrize(
    ("name", "notice"),
    [
        ("usca", "SensitiveDataLimitUseNotice"),
        ("usut", "SensitiveDataProcessingOptOutNotice"),
        ("usia", "SensitiveDataOptOutNotice"),
    ],
)
def test_where_sensitive_data_is_opt_out_its_notice_counts(name: str, notice: str) -> None:
    layout = layout_of(name)
    count = layout.fields_of(FieldKind.SENSITIVE)[0].count
    for given, meaning in ((0, CONTRADICTORY), (1, NOT_REFUSED), (2, NO_NOTICE)):
        said: dict[str, int | tuple[int, ...]] = {notice: given, "SensitiveDataProcessing": (2,) * count}
        answers = answers_of(layout, **said)
        assert set(answers.sensitive.values()) == {meaning}


@pytest.mark.parametrize(("number", "meaning"), [(0, NOT_APPLICABLE), (1, REFUSED), (2, NOT_REFUSED)])
def test_processing_for_further_purposes(number: int, meaning: UsChoice) -> None:
    assert answers_of(layout_of("usca"), PersonalDataConsents=number).further is meaning
    assert answers_of(layout_of("usmd"), AdditionalDataProcessingConsent=number).further is meaning
    assert answers_of(layout_of("usva")).further is None


@pytest.mark.parametrize(
    ("raw", "sale", "sharing"),
    [
        ("1YYN", REFUSED, REFUSED),
        ("1NYN", REFUSED, REFUSED),
        ("1YNN", NOT_REFUSED, None),
        ("1---", NOT_APPLICABLE, None),
        ("1NNN", NO_NOTICE, None),
        ("1-N-", CONTRADICTORY, None),
    ],
)
def test_the_us_privacy_text(raw: str, sale: UsChoice, sharing: UsChoice | None) -> None:
    assert opt_outs_of(decode_gpp(f"{header(6)}~{raw}")) == UsAnswers(sale=sale, sharing=sharing)


@pytest.mark.parametrize("id_", [3, 28, 4000])
def test_what_is_not_understood_may_refuse_anything(id_: int) -> None:
    answers = opt_outs_of(decode_gpp(f"{header(id_)}~AAAA"))
    uses = (answers.sale, answers.sharing, answers.targeted_advertising, answers.further)
    assert uses == (UsChoice.NOT_UNDERSTOOD,) * 4
    assert UsChoice.NOT_UNDERSTOOD.is_refusal


def test_a_state_of_a_version_that_is_not_known_may_refuse_anything() -> None:
    assert opt_outs_of(decode_gpp(f"{header(8)}~JAAAAAAA")).sale is UsChoice.NOT_UNDERSTOOD


def test_sections_of_other_countries_state_nothing() -> None:
    canada = GppSection(5, "tcfcav1", "", 1, {"CmpId": 1})
    assert opt_outs(canada) == UsAnswers()


def test_of_several_sections_the_strictest_counts() -> None:
    national, california, virginia = layout_of("usnat", 2), layout_of("usca"), layout_of("usva")
    asked = {"SaleOptOutNotice": 1, "SaleOptOut": 2}
    text = "~".join(
        (
            header(6, 7, 8, 9),
            "1YYN",
            written(
                national, **asked, SharingOptOutNotice=1, SharingOptOut=2, KnownChildSensitiveDataConsents=(2, 1, 2)
            ),
            written(
                california, **asked, SensitiveDataLimitUseNotice=1, SensitiveDataProcessing=(2, 2, 1, 2, 2, 2, 2, 2, 2)
            ),
            written(virginia, **asked, SensitiveDataProcessing=(2,) * 8, TargetedAdvertisingOptOutNotice=2),
        )
    )
    answers = opt_outs_of(decode_gpp(text))
    assert (answers.sale, answers.sharing, answers.targeted_advertising) == (REFUSED, REFUSED, NO_NOTICE)
    assert answers.sensitive["precise_geolocation"] is REFUSED
    assert answers.sensitive["health"] is NOT_REFUSED
    assert answers.children["process_under_13"] is REFUSED
    assert answers.children["process_13_to_15"] is NOT_REFUSED


def test_gpc_of_one_section_counts_for_the_whole_text() -> None:
    asked = {"TargetedAdvertisingOptOutNotice": 1, "TargetedAdvertisingOptOut": 2}
    text = f"{header(8, 9)}~{written(layout_of('usca'), True)}~{written(layout_of('usva'), **asked)}"
    answers = opt_outs_of(decode_gpp(text))
    assert answers.targeted_advertising is REFUSED
    assert (answers.sale, answers.sharing) == (REFUSED, REFUSED)


def test_no_sections_state_nothing() -> None:
    assert opt_outs_of(decode_gpp("DBAA")) == UsAnswers()


def test_which_choices_are_refusals_and_which_permissions() -> None:
    assert [choice for choice in UsChoice if choice.is_refusal] == [REFUSED, UsChoice.NOT_UNDERSTOOD, CONTRADICTORY]
    assert [choice for choice in UsChoice if choice.is_permitted] == [NOT_REFUSED]
