"""What people read in place of codes and raw values."""

import pytest

from cdp.accounting.model import State
from cdp.accounting.row_reasons import EXPLANATIONS as ROWS
from cdp.consent.model import ALWAYS, Reason
from cdp.flows.operations.meanings import STATES, effective_since, meaning_of, value_text
from cdp.wire.segment_spec import EXPLANATIONS, FLOW_EXPLANATIONS

ALLOWING = {Reason.GRANTED, Reason.NOT_REFUSED, Reason.LEGAL_BASIS}


def test_every_state_and_every_reason_has_a_sentence() -> None:
    assert set(STATES) == set(State)
    refused = {meaning_of(State.NOT_PERMITTED, reason) for reason in set(Reason) - ALLOWING}
    assert len(refused) == len(set(Reason) - ALLOWING), "no two reasons read the same"
    for reason in (*EXPLANATIONS, *FLOW_EXPLANATIONS, *ROWS):
        assert " " in meaning_of(State.INVALID, str(reason))
    for state, reason in ((State.STORED, ""), (State.DUPLICATE, ""), (State.BLOCKED, "blocked_value")):
        assert meaning_of(state, reason).endswith(".")
    assert "erased" in meaning_of(State.SUPPRESSED, "person")


def test_a_reason_that_nobody_foresaw_is_told_in_its_own_words() -> None:
    assert meaning_of(State.INVALID, "too_green") == "too green"
    assert meaning_of(State.INVALID, "") == STATES[State.INVALID]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (1234567, "1,234,567"),
        (4090.88, "4,090.88"),
        (5.0, "5"),
        (0.0, "0"),
        (0.5471321749395921, "0.5471"),
        ("DE", "DE"),
        (["a", 1], '["a", 1]'),
    ],
)
def test_values_are_told_as_people_read_them(value: object, told: str) -> None:
    assert value_text(value) == told


def test_a_permission_that_was_always_there_has_no_beginning() -> None:
    assert effective_since(ALWAYS) is None
    assert effective_since(None) is None
