"""Texts of the Global Privacy Platform: header, sections, what is kept as not understood, and what is refused."""

from datetime import UTC, datetime

import pytest

from cdp.consent.signals.bits import BitReader, IdSet, MalformedSignal
from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.gpp.fibonacci import fibonacci_integer, fibonacci_ranges
from cdp.consent.signals.gpp.layouts import US_LAYOUTS, US_SECTIONS, SecondPart, UsLayout
from cdp.consent.signals.gpp.model import MAX_CHARACTERS, GppSection, VendorRestriction
from cdp.consent.signals.tcf.decode import decode_tcf
from tests.support.gpp_texts import fibonacci, header, letters


def section_of(id_: int, raw: str) -> GppSection:
    return decode_gpp(f"{header(id_)}~{raw}").sections[id_]


def set_of(section: GppSection, name: str) -> set[int]:
    ids = section.fields[name]
    assert isinstance(ids, IdSet)
    return set(ids)


def zeros(layout: UsLayout, *, version: int | None = None) -> str:
    """The first part of a layout in which nothing applies, as the specification fills it up."""
    stated = layout.version if version is None else version
    return letters(f"{stated:06b}" + "00" * (layout.count - 3))


@pytest.mark.parametrize(
    ("number", "bits"), [(1, "11"), (2, "011"), (3, "0011"), (4, "1011"), (5, "00011"), (6, "10011"), (7, "01011")]
)
def test_numbers_of_the_specification_in_fibonacci_coding(number: int, bits: str) -> None:
    assert fibonacci(number) == bits
    assert fibonacci_integer(BitReader(letters(bits), "test"), "test") == number


@pytest.mark.parametrize("number", [8, 100, 4000, 46367, 46368, 65534, 65535])
def test_numbers_up_to_sixteen_bits(number: int) -> None:
    reader = BitReader(letters(fibonacci(number) + fibonacci(1)), "test")
    assert [fibonacci_integer(reader, "test"), fibonacci_integer(reader, "test")] == [number, 1]


@pytest.mark.parametrize("bits", ["0" * 30, "10" * 20 + "11", "0" * 23 + "11", "1", ""])
def test_a_number_that_does_not_end_or_is_too_large_is_malformed(bits: str) -> None:
    reader = BitReader(letters(bits or "000000"), "test")
    with pytest.raises(MalformedSignal, match="does not end or is too large"):
        fibonacci_integer(reader, "test")


def test_ranges_of_the_specification() -> None:
    reader = BitReader(letters("000000000010" + "0" + "0011" + "1" + "011" + "0011"), "test")
    assert tuple(fibonacci_ranges(reader, "test")) == (3, 5, 6, 7, 8)


def test_ids_above_sixteen_bits_are_malformed() -> None:
    reader = BitReader(letters(f"{2:012b}" + "0" + fibonacci(65_535) + "0" + fibonacci(1)), "test")
    with pytest.raises(MalformedSignal, match="an id above 65535"):
        fibonacci_ranges(reader, "test")


@pytest.mark.parametrize(
    ("text", "ids"),
    [("DBABM~x", [2]), ("DBACNY~x~1YNN", [2, 6]), ("DBABjw~x~1YNN", [5, 6]), ("DBABMA~x", [2]), ("DBAA", [])],
)
def test_headers_of_the_specification(text: str, ids: list[int]) -> None:
    europe = "CPSG_8APSG_8ANwAAAENAwCgAAAAAAAAAAAAAAAAAAAA"
    canada = "BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA"
    sections = decode_gpp(text.replace("~x", f"~{canada if ids[:1] == [5] else europe}")).sections
    assert list(sections) == ids


def test_the_section_of_europe_is_a_tc_string() -> None:
    raw = "CPSG_8APSG_8ANwAAAENAwCgAAAAAAAAAAAAAAAAAAAA.IAAA.YAAAAAAAAAAA"
    section = section_of(2, raw)
    assert (section.name, section.version, section.raw) == ("tcfeuv2", 2, raw)
    assert section.tcf == decode_tcf(raw)
    with pytest.raises(MalformedSignal):
        section_of(2, raw[:20])


def test_sections_come_in_the_order_of_the_header() -> None:
    found = decode_gpp(f"{header(6, 8, 200)}~1YYN~{zeros(US_SECTIONS[8][0])}~anything")
    assert [(section.id, section.name) for section in found.sections.values()] == [
        (6, "uspv1"),
        (8, "usca"),
        (200, "200"),
    ]
    assert [section.id for section in found.not_understood] == [200]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "D",
        "C",
        "CPSG_8APSG_8ANwAAAENAwCgAAAAAAAAAAAAAAAAAAAA",
        "DCABM~1YNN",
        "DBABT",
        "DBABT~1YNN~1YNN",
        "DBABT~",
        "DBABT=~1YNN",
        "DBABTé~1YNN",
        "DBABTB~1YNN",
        f"{header(200)}~",
        header(200)[:4],
    ],
)
def test_malformed_headers(text: str) -> None:
    with pytest.raises(MalformedSignal):
        decode_gpp(text)


def test_a_text_that_is_too_long_is_malformed() -> None:
    with pytest.raises(MalformedSignal, match="more than 65536 characters"):
        decode_gpp("DBAA" + "~" * MAX_CHARACTERS)


def test_a_header_of_huge_ids_is_refused_without_counting_them_up() -> None:
    whole = letters(f"{3:06b}{1:06b}{1:012b}1{fibonacci(1)}{fibonacci(65_534)}")
    with pytest.raises(MalformedSignal, match="another number of sections"):
        decode_gpp(f"{whole}~1YNN")


@pytest.mark.parametrize("layout", US_LAYOUTS, ids=lambda layout: f"{layout.name}-{layout.version}")
def test_each_layout_reads_the_lengths_in_use(layout: UsLayout) -> None:
    raw = zeros(layout)
    for length in layout.lengths:
        if not (layout.name == "usnat" and layout.version == 2 and length < 12):
            section = section_of(layout.id, raw.ljust(length, "A"))
            assert section.layout is layout
            assert set(section.fields) == {field.name for field in layout.fields}
            assert section.gpc is None


@pytest.mark.parametrize("layout", US_LAYOUTS, ids=lambda layout: f"{layout.name}-{layout.version}")
def test_each_layout_refuses_other_lengths_and_undefined_numbers(layout: UsLayout) -> None:
    raw = zeros(layout)
    longest = max(layout.lengths)
    for wrong in (raw[:-3], raw.ljust(longest + 1, "A"), raw[:2] + "D" + raw[3:], raw[:2] + "=" + raw[3:], ""):
        with pytest.raises(MalformedSignal):
            section_of(layout.id, wrong)


@pytest.mark.parametrize("layout", US_LAYOUTS, ids=lambda layout: f"{layout.name}-{layout.version}")
@pytest.mark.parametrize(("part", "gpc"), [("Y", True), ("YA", True), ("YAAA", True), ("Q", False), ("QA", False)])
def test_the_part_after_the_dot_is_gpc_where_the_layout_says_so(layout: UsLayout, part: str, gpc: bool) -> None:
    raw = f"{zeros(layout)}.{part}"
    if layout.second is SecondPart.GPC:
        assert section_of(layout.id, raw).gpc is gpc
        assert section_of(layout.id, raw).fields["Gpc"] is gpc
    elif layout.second is SecondPart.NONE:
        assert section_of(layout.id, raw).not_understood == "a part that its layout does not have"
    elif len(part) < 4:
        with pytest.raises(MalformedSignal):
            section_of(layout.id, raw)


@pytest.mark.parametrize("part", ["", "A", "I", "a", "YB", "YAA", "YAAAA", "=", "YA."])
def test_a_malformed_gpc_part(part: str) -> None:
    raw = f"{zeros(US_SECTIONS[8][0])}.{part}"
    if part == "YA.":
        assert section_of(8, raw).not_understood == "a part that its layout does not have"
    else:
        with pytest.raises(MalformedSignal):
            section_of(8, raw)


@pytest.mark.parametrize("id_", [7, 8, 16, 23])
def test_a_version_that_is_not_known_is_not_understood(id_: int) -> None:
    section = section_of(id_, zeros(US_SECTIONS[id_][0], version=9) + "AA")
    assert section.not_understood == "version 9"
    assert section.raw.startswith("J")
    assert section.fields == {}


def test_the_length_decides_the_layout_of_the_national_section() -> None:
    # Four refusals among the last four kinds of sensitive data, written by cmpapi 3.1.7 as version 1.
    section = section_of(7, "BAAAAAAAVUqg.QA")
    assert section.version == 1
    assert section.layout is US_SECTIONS[7][1]
    assert section.fields["SensitiveDataProcessing"] == (0,) * 12 + (1, 1, 1, 1)


def test_a_national_section_of_version_1_filled_up_to_twelve_letters() -> None:
    short = section_of(7, "BVVVkmFVVg")
    assert section_of(7, "BVVVkmFVVgAA").fields == short.fields
    assert short.fields["KnownChildSensitiveDataConsents"] == (1, 1)
    assert short.layout is US_SECTIONS[7][0]


@pytest.mark.parametrize("id_", [24, 25, 26, 27])
def test_later_states_are_read_as_encoded_and_as_published(id_: int) -> None:
    layout = US_SECTIONS[id_][0]
    encoded = letters("000010" + "01" * 2 + "10" * (layout.count - 5))
    front = letters(f"{id_:06b}{1:06b}{1:012b}0{fibonacci(1)}")
    second = "YA" if layout.second is SecondPart.GPC else letters("011010" + "00" * 5)
    plain, published = section_of(id_, f"{encoded}.{second}"), section_of(id_, f"{front}.{encoded}.{second}")
    assert plain.fields == published.fields
    assert (plain.version, published.version) == (None, 1)
    assert plain.gpc is published.gpc is (True if layout.second is SecondPart.GPC else None)
    assert plain.fields["MspaVersion"] == 2
    assert plain.fields["TargetedAdvertisingOptOut"] == 2
    if layout.second is SecondPart.SENSITIVE:
        assert plain.fields["SensitiveDataProcessing"] == (1, 2, 2, 0, 0, 0, 0, 0)
    assert section_of(id_, front).not_understood is not None
    assert section_of(id_, f"{front}.{encoded}.{second}.{second}").not_understood is not None
    for version in (2, 5, 17):
        other = letters(f"{id_:06b}{version:06b}{1:012b}0{fibonacci(1)}")
        assert section_of(id_, f"{other}.{encoded}").not_understood == f"version {version} of its header part"
    with pytest.raises(MalformedSignal):
        section_of(id_, f"{front[:1]}.{encoded}")


@pytest.mark.parametrize("raw", ["1YNN", "1---", "1-Y-"])
def test_the_four_letters_of_the_us_privacy_text(raw: str) -> None:
    expected = {"Version": 1, "Notice": raw[1], "OptOutSale": raw[2], "LspaCovered": raw[3]}
    assert section_of(6, raw).fields == expected


@pytest.mark.parametrize("raw", ["1YN", "1YNNN", "1YNX", "1yNN", "YNN1", "1YN.", "1YN\n", "1YN N"])
def test_malformed_us_privacy_texts(raw: str) -> None:
    with pytest.raises(MalformedSignal):
        section_of(6, raw)


def test_a_later_us_privacy_text_is_not_understood() -> None:
    assert section_of(6, "2YNNN").not_understood == "version 2"


def test_canada_in_both_codings_of_vendors() -> None:
    start = "000001" + f"{16_000_000_000:036b}" * 2 + f"{12:012b}" * 2 + f"{3:06b}" + f"{5:06b}{17:06b}"
    start += f"{50:012b}{2:06b}1" + "1" + "0" * 11 + "0" + "1" * 23 + "0" * 24
    bits_to_5 = f"{5:016b}0" + "10001"
    single = f"{900:016b}1{1:012b}0"
    restrictions = f"{1:012b}{2:06b}{1:02b}"
    older = letters(start + bits_to_5 + single + f"{900:016b}" + restrictions + f"{1:012b}0{7:016b}")
    newer = letters(start + bits_to_5 + single + fibonacci(900) + restrictions + f"{7:016b}0" + "0000001")
    for raw in (older, newer):
        section = section_of(5, f"{raw}.{letters('001' + bits_to_5)}")
        assert section.not_understood is None
        assert section.fields["ConsentLanguage"] == "FR"
        assert section.fields["Created"] == datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
        assert set_of(section, "PurposesExpressConsent") == set(range(2, 25))
        assert set_of(section, "VendorExpressConsent") == {1, 5}
        assert set_of(section, "VendorImpliedConsent") == {900}
        assert section.fields["PubRestrictions"] == (VendorRestriction(2, 1, IdSet(1 << 6)),)
        assert set_of(section, "DisclosedVendors") == {1, 5}


NOBODY = "BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA"


def test_vendors_that_can_be_read_in_two_codings_are_not_understood() -> None:
    # One range that ends at vendor 384: it begins at 144 in Fibonacci coding, and at 53 in the older one.
    both = letters(f"001{384:016b}1{1:012b}1" + "00000000001101010000000110000000")
    assert fibonacci(144) + fibonacci(384 - 144) == "00000000001101010000000110000000".rstrip("0")
    assert f"{53:016b}{384:016b}" == "00000000001101010000000110000000"
    section = section_of(5, f"{NOBODY}.{both}")
    assert section.not_understood == "lists of vendors that can be read in two ways"
    assert section.fields == {}


def canada(restrictions: str) -> str:
    return letters("000001" + "0" * 193 + "0" * 17 * 2 + restrictions)


def test_restrictions_of_canada_up_to_one_for_each_purpose_and_kind() -> None:
    one = f"{24:06b}01{8:016b}1{1:012b}0{fibonacci(8)}"
    section = section_of(5, canada(f"{96:012b}" + one * 96))
    assert section.fields["PubRestrictions"] == (VendorRestriction(24, 1, IdSet(1 << 7)),) * 96


@pytest.mark.parametrize(
    "restrictions",
    [
        f"{1:012b}{25:06b}01{1:016b}01",
        f"{1:012b}{0:06b}01{1:016b}01",
        f"{1:012b}{1:06b}01{9:016b}1{1:012b}0{fibonacci(8)}",
        f"{97:012b}" + f"{1:06b}01{1:016b}01" * 97,
    ],
)
def test_malformed_restrictions_of_canada(restrictions: str) -> None:
    with pytest.raises(MalformedSignal):
        section_of(5, canada(restrictions))


@pytest.mark.parametrize("raw", ["", "B", "BAAA", "." * 5])
def test_a_malformed_section_of_canada(raw: str) -> None:
    with pytest.raises(MalformedSignal):
        section_of(5, raw)


def test_parts_of_canada_that_are_unknown_or_twice() -> None:
    assert section_of(5, f"{NOBODY}.oAAA").not_understood == "a part of the type 5"
    assert section_of(5, "CPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA").not_understood == "version 2"
    with pytest.raises(MalformedSignal, match="two parts of one type"):
        section_of(5, f"{NOBODY}.YAAAAAAAAAA.YAAAAAAAAAA")
