"""Anything can arrive in place of a TC string: it is read or refused as malformed, in bounded time and memory."""

import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.consent.signals.bits import MAX_LETTERS, MalformedSignal
from cdp.consent.signals.tcf.decode import decode_tcf
from cdp.consent.signals.tcf.permits import TcfBasis, tcf_permits
from tests.support.tcf import core_bits, disclosed, letters_of, publisher_segment, ranges_of

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
VALID = ".".join(
    [
        letters_of(
            core_bits(
                purpose_consents=range(1, 12),
                purpose_legitimate_interests=[2, 7, 10],
                vendor_consents=f"{900:016b}1" + ranges_of((1, 30), (77,), (500, 900)),
                vendor_legitimate_interests=range(3, 90, 7),
                restrictions=[(2, 1, ranges_of((5, 7), (9,))), (7, 0, ranges_of((40,)))],
            )
        ),
        disclosed(range(1, 1000, 3)),
        publisher_segment([1, 5], [7], custom=5, custom_consents=[2]),
    ]
)


def read(text: str) -> None:
    with suppress(MalformedSignal):
        tc = decode_tcf(text)
        assert tc.version == 2
        for basis in TcfBasis:
            tcf_permits(tc, purpose_id=2, vendor_id=77, basis=basis)


@given(st.text(max_size=400) | st.text(alphabet=LETTERS + ".=+/", max_size=400))
def test_any_text_is_read_or_malformed(text: str) -> None:
    read(text)


@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.sampled_from(LETTERS + ".")), min_size=1, max_size=4))
def test_a_string_with_other_letters_is_read_or_malformed(changes: list[tuple[int, str]]) -> None:
    letters = list(VALID)
    for position, letter in changes:
        letters[position] = letter
    read("".join(letters))


@given(st.text(alphabet=LETTERS, max_size=300), st.integers(0, 8))
def test_random_bits_after_a_valid_beginning_are_read_or_malformed(letters: str, kept: int) -> None:
    read(VALID[: 35 + kept] + letters)


@pytest.mark.parametrize("length", range(len(VALID)))
def test_a_string_that_is_cut_off_is_malformed_unless_a_segment_ends_there(length: int) -> None:
    if VALID[length] == ".":
        assert decode_tcf(VALID[:length]).publisher is None
    else:
        with pytest.raises(MalformedSignal):
            decode_tcf(VALID[:length])


def test_the_slowest_string_is_bounded() -> None:
    """Ranges of all vendors, restricted for every purpose and type, as many as the longest text can contain."""
    everything = ranges_of(*[(1, 65_535)] * 1_000)
    restrictions = [(purpose, type_, everything) for purpose in range(3) for type_ in range(4)]
    text = letters_of(core_bits(restrictions=restrictions[:11]))
    assert MAX_LETTERS * 0.9 < len(text) <= MAX_LETTERS
    started = time.process_time()
    tc = decode_tcf(text)
    assert time.process_time() - started < 1
    assert [len(entry.vendors) for entry in tc.publisher_restrictions] == [65_535] * 11
    tracemalloc.start()
    try:
        decode_tcf(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
