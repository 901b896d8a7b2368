"""Who may let messages wait: whatever senders do, one who has nothing waiting and asks for little is let in."""

from hypothesis import given
from hypothesis import strategies as st

from cdp.web.ingest.capacity import Capacity, Share

_ALL = 1_000
_SENDERS = st.tuples(st.integers(0, 3), st.integers(10, 12))
"""An address and a source."""


@given(st.lists(st.tuples(_SENDERS, st.integers(1, 200), st.booleans()), max_size=200))
def test_no_address_and_no_source_takes_all(requests: list[tuple[tuple[int, int], int, bool]]) -> None:
    capacity = Capacity(_ALL)
    waiting: list[Share] = []
    for holders, size, has_ended in requests:
        share = Share(capacity, holders)
        before = capacity.used
        if share.grow(size):
            waiting.append(share)
            assert capacity.used == before + size
        else:
            assert capacity.used == before
        held = [sum(share.held for share in waiting if holder in share.holders) for holder in holders]
        assert max(held) <= 3 * _ALL // 4 + size
        assert capacity.used <= _ALL
        if has_ended and waiting:
            waiting.pop(0).release()
    newcomer = Share(capacity, ("somebody", "else"))
    assert capacity.used == _ALL or newcomer.grow(1)
    newcomer.release()
    for share in waiting:
        share.release()
    assert capacity.used == 0
