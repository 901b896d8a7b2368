"""The bits of consent strings: every kind of field, its end, and what is refused."""

import string
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.consent.signals.bits import MAX_LETTERS, BitReader, IdSet, MalformedSignal

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def text_of(bits: str) -> str:
    bits += "0" * (-len(bits) % 6)
    return "".join(LETTERS[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def reader_of(bits: str) -> BitReader:
    return BitReader(text_of(bits), "test")


@given(st.lists(st.tuples(st.integers(1, 70), st.integers(0, 2**70)), min_size=1))
def test_numbers_of_any_width_follow_one_another(numbers: list[tuple[int, int]]) -> None:
    numbers = [(width, number % 2**width) for width, number in numbers]
    reader = reader_of("".join(f"{number:0{width}b}" for width, number in numbers))
    assert [reader.integer(width, "number") for width, _ in numbers] == [number for _, number in numbers]
    reader.end("padding")


@given(st.text(alphabet="01", min_size=1, max_size=400), st.integers(0, 50))
def test_bitfields_and_booleans_agree(bits: str, before: int) -> None:
    reader, each = reader_of("1" * before + bits), reader_of("1" * before + bits)
    assert reader.integer(before, "before") == each.integer(before, "before") == 2**before - 1
    members = {id_ for id_ in range(1, len(bits) + 1) if each.boolean("bit")}
    assert members == {id_ for id_, bit in enumerate(bits, 1) if bit == "1"}
    field = reader.bitfield(len(bits), "field")
    assert list(field) == sorted(members)
    assert len(field) == len(members)
    assert bool(field) is bool(members)
    assert all((id_ in field) is (id_ in members) for id_ in range(-2, 500))


def test_letters_and_instants() -> None:
    reader = reader_of(f"{3:06b}{4:06b}{15_841_900_123:036b}")
    assert reader.letters(2, "language") == "DE"
    assert reader.instant("created") == datetime(2020, 3, 14, 12, 46, 52, 300_000, tzinfo=UTC)


def test_the_latest_instant_is_readable() -> None:
    assert reader_of("1" * 36).instant("created") == datetime(2187, 10, 6, 10, 21, 13, 500_000, tzinfo=UTC)


def entry(first: int, last: int | None = None) -> str:
    return f"0{first:016b}" if last is None else f"1{first:016b}{last:016b}"


def test_ranges_are_the_union_of_their_entries() -> None:
    reader = reader_of(f"{4:012b}" + entry(9) + entry(2, 4) + entry(4, 5) + entry(65_535))
    assert set(reader.ranges("vendors")) == {2, 3, 4, 5, 9, 65_535}


@given(st.lists(st.tuples(st.integers(1, 65_535), st.integers(0, 40)), max_size=120), st.integers(0, 20))
def test_ranges_of_any_number_are_their_union(entries: list[tuple[int, int]], before: int) -> None:
    ends = [(first, min(first + more, 65_535)) for first, more in entries]
    bits = "".join(entry(first) if first == last else entry(first, last) for first, last in ends)
    reader = reader_of("1" * before + f"{len(ends):012b}" + bits + "101")
    reader.integer(before, "before")
    assert set(reader.ranges("vendors")) == {id_ for first, last in ends for id_ in range(first, last + 1)}
    assert reader.integer(3, "after") == 0b101


def test_vendors_are_a_bitfield_or_ranges() -> None:
    assert set(reader_of(f"{5:016b}0" + "01001").optimized("vendors")) == {2, 5}
    assert set(reader_of(f"{5:016b}1{1:012b}" + entry(2, 5)).optimized("vendors")) == {2, 3, 4, 5}
    assert reader_of(f"{0:016b}0").optimized("vendors") == IdSet()


@pytest.mark.parametrize(
    ("bits", "read", "bit"),
    [
        (f"{1:012b}" + entry(0), lambda reader: reader.ranges("vendors"), 12),
        (f"{2:012b}" + entry(3) + entry(5, 4), lambda reader: reader.ranges("vendors"), 29),
        (f"{6:016b}1{1:012b}" + entry(7), lambda reader: reader.optimized("vendors"), 29),
        (f"{2:012b}" + entry(3) + "0" * 4, lambda reader: reader.ranges("vendors"), 29),
        (f"{1:012b}" + "0" + "1" * 11, lambda reader: reader.ranges("vendors"), 12),
        (f"{33:012b}" + entry(1) * 32, lambda reader: reader.ranges("vendors"), 12 + 32 * 17),
        (f"{50:016b}0" + "1" * 13, lambda reader: reader.optimized("vendors"), 17),
        ("01101" + "0", lambda reader: reader.letters(1, "language"), 0),
        ("1" * 6, lambda reader: reader.integer(7, "number"), 0),
        ("1" * 6, lambda reader: reader.bitfield(7, "field"), 0),
        ("100000" + "000010", lambda reader: (reader.boolean("bit"), reader.end("padding")), 12),
    ],
)
def test_what_is_missing_or_not_allowed_is_refused(bits: str, read: Callable[[BitReader], object], bit: int) -> None:
    with pytest.raises(MalformedSignal) as refused:
        read(reader_of(bits))
    assert refused.value.bit == bit
    assert refused.value.field in str(refused.value)


@pytest.mark.parametrize(
    ("text", "bit"),
    [("", 0), ("AB=", 12), ("AB==", 12), ("A+BC", 6), ("AB/C", 12), ("ABC ", 18), ("AÀ", 6), ("A.B", 6), ("A\n", 6)],
)
def test_only_base64url_letters_are_read(text: str, bit: int) -> None:
    with pytest.raises(MalformedSignal) as refused:
        BitReader(text, "core")
    assert (refused.value.field, refused.value.bit) == ("core", bit)


def test_a_text_has_a_bound() -> None:
    assert BitReader("A" * MAX_LETTERS, "core").remaining == 6 * MAX_LETTERS
    with pytest.raises(MalformedSignal, match="letters"):
        BitReader("A" * (MAX_LETTERS + 1), "core")


def test_messages_have_no_values() -> None:
    with pytest.raises(MalformedSignal) as refused:
        BitReader("secret!", "core")
    assert str(refused.value) == "core at bit 36: not a base64url letter"
