"""What a suppression does to a message (docs/explanation/rights.md, "Erasure")."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cdp.rights.pending_suppression import Suppressed, filter_suppressed


@dataclass(frozen=True)
class Named:
    suppression_pseudonym: bytes
    is_person_level: bool


ADDRESS, DEVICE, OTHER = Named(b"address", True), Named(b"device", False), Named(b"other", False)


def test_nothing_suppressed_keeps_everything_in_order() -> None:
    assert filter_suppressed([DEVICE, ADDRESS], set()) == (DEVICE, ADDRESS)
    assert filter_suppressed([], {b"device"}) == ()


def test_a_suppressed_person_refuses_the_message_whole() -> None:
    assert filter_suppressed([ADDRESS, DEVICE], {b"address"}) is Suppressed.PERSON
    assert filter_suppressed([OTHER, ADDRESS, DEVICE], {b"address", b"device"}) is Suppressed.PERSON


def test_a_suppressed_device_is_dropped_beside_others_and_refuses_alone() -> None:
    assert filter_suppressed([DEVICE, OTHER], {b"device"}) == (OTHER,)
    assert filter_suppressed([DEVICE], {b"device"}) is Suppressed.DEVICE
    assert filter_suppressed([DEVICE, OTHER], {b"device", b"other"}) is Suppressed.DEVICE


@given(
    st.lists(st.builds(Named, st.binary(min_size=1, max_size=1), st.booleans()), max_size=6),
    st.sets(st.binary(min_size=1, max_size=1)),
)
def test_nothing_suppressed_ever_passes(carried: list[Named], suppressed: set[bytes]) -> None:
    outcome = filter_suppressed(carried, suppressed)
    if not isinstance(outcome, Suppressed):
        assert not {each.suppression_pseudonym for each in outcome} & suppressed
        assert all(each in outcome for each in carried if each.suppression_pseudonym not in suppressed)
