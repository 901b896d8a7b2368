"""Bodies as they arrive: inflated within the limit, whatever they claim."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.wire.gzip import Body
from cdp.wire.request_refusal import RequestRefused


def read(chunks: list[bytes], *, is_gzip: bool = True, bytes_max: int = 1000) -> bytes | str:
    body = Body(bytes_max, is_gzip=is_gzip)
    for chunk in chunks:
        refused = body.feed(chunk)
        if refused is not None:
            return refused.code
    end = body.end()
    return end.code if isinstance(end, RequestRefused) else end


@given(st.binary(max_size=1000), st.integers(1, 50), st.booleans())
def test_a_body_arrives_whole_in_whatever_chunks(content: bytes, size: int, is_gzip: bool) -> None:
    sent = gzip.compress(content) if is_gzip else content
    if not is_gzip and content.startswith(b"\x1f\x8b"):
        return
    assert read([sent[at : at + size] for at in range(0, len(sent), size)], is_gzip=is_gzip) == content


def test_the_limit_counts_what_comes_out() -> None:
    assert read([gzip.compress(b"a" * 1000)]) == b"a" * 1000
    assert read([gzip.compress(b"a" * 1001)]) == "request_too_large"
    assert read([b"a" * 1000], is_gzip=False) == b"a" * 1000
    assert read([b"a" * 600, b"a" * 401], is_gzip=False) == "request_too_large"


def test_a_zip_bomb_costs_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(b"\x00" * 50_000_000, 9)
    tracemalloc.start()
    try:
        assert read([bomb], bytes_max=500_000) == "request_too_large"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_gzip_in_several_members_and_zero_padding_are_read() -> None:
    assert read([gzip.compress(b"one ") + gzip.compress(b"two") + b"\x00" * 8]) == b"one two"


def test_many_members_count_against_one_limit() -> None:
    assert read([gzip.compress(b"a" * 600) * 2]) == "request_too_large"


def test_gzip_is_recognized_without_its_header() -> None:
    assert read([gzip.compress(b"{}")], is_gzip=False) == b"{}"


@pytest.mark.parametrize(
    "sent",
    [b"{}", gzip.compress(b"some content")[:-4], b"\x1f\x8b", gzip.compress(b"x") + b"rest", zlib.compress(b"x")],
    ids=["plain", "cut short", "header only", "more after the end", "zlib"],
)
def test_what_is_not_gzip_or_cut_short_is_refused(sent: bytes) -> None:
    assert read([sent]) == "malformed_gzip"


def test_an_empty_body_is_empty() -> None:
    assert read([]) == b""
    assert read([b""]) == b""


def test_members_are_bounded_also_where_they_are_empty() -> None:
    assert read([gzip.compress(b"a") * 100]) == b"a" * 100
    assert read([gzip.compress(b"a") * 101]) == "too_many_gzip_members"
    empty = gzip.compress(b"")
    assert read([empty * 100_000]) == "too_many_gzip_members"
    assert read([empty] * 101) == "too_many_gzip_members"


def test_what_is_compressed_twice_is_inflated_once() -> None:
    twice = gzip.compress(gzip.compress(b"a" * 10_000_000))
    assert len(twice) < 1000
    once = read([twice], bytes_max=100_000)
    assert isinstance(once, bytes)
    assert len(once) < 20_000
