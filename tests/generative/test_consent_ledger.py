"""Signals in any order of arrival: a no that stands in order also stands in every other order."""

from itertools import count
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from cdp.consent.decide import decide
from cdp.consent.in_effect import grants_in_effect
from cdp.consent.ledger import Ledger, SignalContext, statement_by
from cdp.consent.model import Act, Authority, Verdict
from cdp.consent.signals.model import ProposedAct
from cdp.policy.model import Purpose
from tests.spec.consent.acts import ANALYTICS, CALIFORNIA, EU, day, purpose


class Heard(NamedTuple):
    at: int
    act: Act
    authority: Authority
    identifier_id: int
    signal: str = "segment"


HEARD = st.lists(
    st.builds(
        Heard,
        st.integers(0, 6),
        st.sampled_from([Act.GRANT, Act.REFUSE]),
        st.sampled_from([Authority.DEVICE, Authority.AUTHENTICATED]),
        st.integers(1, 2),
        st.sampled_from(["segment", "google"]),
    ),
    max_size=8,
)
RULES = st.sampled_from([ANALYTICS, purpose(sale_or_sharing=True), purpose(validity_days=3)])


def verdict_after(signals: list[Heard], rule: Purpose, *, opt_out: bool) -> Verdict:
    """The verdict after these signals arrived one after another, all on the last day."""
    numbers = count(1)
    ledger = Ledger((), lambda: next(numbers))
    where = "us-ca" if opt_out else "eu"
    for each in signals:
        act = ProposedAct("analytics", each.act, each.authority, None, each.signal, b"", "signals")
        draft = ledger.draft(act, each.identifier_id, SignalContext(where, 1, day(each.at), day(7), b""), rule=rule)
        if draft is not None:
            ledger.add(draft)
    records = [record for identifier_id in (1, 2) for record in ledger.of(identifier_id)]
    return decide(records, rule, CALIFORNIA if opt_out else EU, now=day(7))


def verdict_by_all(signals: list[Heard], rule: Purpose, *, opt_out: bool) -> Verdict:
    """The verdict had every signal been recorded."""
    numbers = count(1)
    records = []
    for each in signals:
        act = ProposedAct("analytics", each.act, each.authority, None, each.signal, b"", "signals")
        said = SignalContext("us-ca" if opt_out else "eu", 1, day(each.at), day(7), b"")
        draft = Ledger((), lambda: next(numbers)).draft(act, each.identifier_id, said, rule=rule)
        assert draft is not None
        records.append(draft)
    return decide(records, rule, CALIFORNIA if opt_out else EU, now=day(7))


@given(HEARD, RULES, st.booleans(), st.randoms(use_true_random=False))
def test_no_order_of_arrival_allows_what_all_signals_together_refuse(
    signals: list[Heard], rule: Purpose, opt_out: bool, chance: object
) -> None:
    chance.shuffle(signals)  # type: ignore[attr-defined]
    if verdict_after(signals, rule, opt_out=opt_out).allowed:
        assert verdict_by_all(signals, rule, opt_out=opt_out).allowed


@given(HEARD, st.booleans())
def test_in_order_of_time_skipping_changes_nothing_for_one_device(signals: list[Heard], opt_out: bool) -> None:
    """Of several devices the one that goes on saying yes does not speak against the other's no."""
    ordered = sorted(
        (each._replace(identifier_id=1) for each in signals), key=lambda each: (each.at, each.act.is_refusal)
    )
    kept = verdict_after(ordered, ANALYTICS, opt_out=opt_out)
    every = verdict_by_all(ordered, ANALYTICS, opt_out=opt_out)
    assert (kept.allowed, kept.since) == (every.allowed, every.since)


@given(HEARD, HEARD, RULES)
def test_a_grant_that_is_said_to_repeat_another_would_not_be_recorded(
    signals: list[Heard], later: list[Heard], rule: Purpose
) -> None:
    """Also when refusals of before are repeated in between: as long as no record is added, what was in effect still is."""
    bits = count()
    ledger = Ledger((), lambda: 1 << next(bits))

    def hear(each: Heard) -> None:
        draft = ledger.draft(*stated(each), rule=rule)
        if draft is not None:
            ledger.add(draft)

    for each in signals:
        hear(each)
    known = grants_in_effect(ledger.of(1))
    for each in later:
        if each.act is Act.GRANT and grants_in_effect(ledger.of(1)).digest == known.digest:
            act, _, context = stated(each)
            if known.repeats("analytics", statement_by(act, "eu"), context.occurred_at):
                assert ledger.draft(act, 1, context, rule=rule) is None
        hear(each._replace(identifier_id=1))


def stated(each: Heard) -> tuple[ProposedAct, int, SignalContext]:
    act = ProposedAct("analytics", each.act, each.authority, None, each.signal, b"", "signals")
    return act, each.identifier_id, SignalContext("eu", 1, day(each.at), day(7), b"")
