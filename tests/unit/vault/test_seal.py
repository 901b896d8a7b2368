"""Seals open where they were made, with their key, and nowhere else."""

from collections.abc import Callable
from typing import ParamSpec

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from cdp.kit.errors import Fault
from cdp.vault.seal import WRAPPED_BYTES, RowId, SealedColumn, Wrapper, open_many, seal_many

P = ParamSpec("P")

PLACE = SealedColumn("identity.identifier", "sealed")
KEY, OTHER = b"k" * 32, b"o" * 32


def assert_broken(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    with pytest.raises(Fault) as caught:
        call(*args, **kwargs)
    assert caught.value.code == "seal_broken"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([KEY, OTHER]), st.integers(0, 2**63 - 1) | st.binary(max_size=20), st.binary(max_size=300)
        )
    )
)
def test_what_is_sealed_opens_in_order(items: list[tuple[bytes, RowId, bytes]]) -> None:
    envelopes = seal_many(PLACE, items)

    opened = open_many(PLACE, [(key, row, envelope) for (key, row, _), envelope in zip(items, envelopes, strict=True)])

    assert opened == [plaintext for _, _, plaintext in items]


def test_an_envelope_is_version_nonce_and_aes_256_gcm_over_table_column_and_row() -> None:
    (envelope,) = seal_many(PLACE, [(KEY, 258, b"ana@example.com")])

    associated = b"identity.identifier\0sealed\0i\0\0\0\0\0\0\x01\x02"
    assert envelope[:1] == b"\x01"
    assert AESGCM(KEY).decrypt(envelope[1:13], envelope[13:], associated) == b"ana@example.com"


def test_equal_values_are_sealed_differently_each_time() -> None:
    assert len(set(seal_many(PLACE, [(KEY, 1, b"same")] * 100))) == 100


@pytest.mark.parametrize(
    ("place", "key", "row"),
    [
        (SealedColumn("identity.identifier", "other"), KEY, 7),
        (SealedColumn("identity.other", "sealed"), KEY, 7),
        (SealedColumn("identity.identifier\0sealed", ""), KEY, 7),
        (PLACE, OTHER, 7),
        (PLACE, KEY, 8),
        (PLACE, KEY, (7).to_bytes(8, "big")),
    ],
)
def test_a_seal_opens_neither_in_another_place_nor_under_another_key(
    place: SealedColumn, key: bytes, row: RowId
) -> None:
    (envelope,) = seal_many(PLACE, [(KEY, 7, b"value")])

    assert_broken(open_many, place, [(key, row, envelope)])


def test_any_altered_byte_breaks_the_seal() -> None:
    (envelope,) = seal_many(PLACE, [(KEY, 7, b"value")])

    for at in range(len(envelope)):
        altered = envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]
        assert_broken(open_many, PLACE, [(KEY, 7, altered)])
    for length in range(len(envelope)):
        assert_broken(open_many, PLACE, [(KEY, 7, envelope[:length])])


def test_wrapped_keys_open_for_their_subject_and_label_only() -> None:
    wrapper = Wrapper(KEY, "subject-key")
    wrapped = wrapper.wrap_many([(b"1", b"a" * 32), (b"2", b"b" * 32)])

    assert [len(one) for one in wrapped] == [WRAPPED_BYTES, WRAPPED_BYTES]
    assert wrapper.unwrap_many([(b"2", wrapped[1]), (b"1", wrapped[0])]) == [b"b" * 32, b"a" * 32]
    assert_broken(wrapper.unwrap_many, [(b"1", wrapped[1])])
    assert_broken(Wrapper(OTHER, "subject-key").unwrap_many, [(b"1", wrapped[0])])
    assert_broken(Wrapper(KEY, "root-key").unwrap_many, [(b"1", wrapped[0])])
