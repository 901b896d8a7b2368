"""The verdict as a function of a set: whatever order, repetition or grouping the acts come in."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.consent.decide import decide
from cdp.consent.model import (
    ALWAYS,
    EVERY_PURPOSE,
    STATED_ACTS,
    Act,
    Authority,
    Reason,
    Record,
    RecordId,
    Verdict,
    VerdictFacts,
)
from cdp.consent.opt_in import is_opt_out_of_sale
from cdp.policy.model import ConsentModel, Purpose
from tests.spec.consent.acts import INTEREST, day, purpose

RULES = st.sampled_from(
    [
        purpose(),
        purpose(sale_or_sharing=True),
        purpose(direct_marketing=True),
        purpose(sale_or_sharing=True, direct_marketing=True),
        INTEREST,
    ]
)
FACTS = st.builds(VerdictFacts, jurisdictions=st.frozensets(st.sampled_from(["eu", "us-ca", "atlantis"])))
DAYS = st.integers(0, 8)


@st.composite
def records(draw: st.DrawFn) -> Record:
    act = draw(st.sampled_from(STATED_ACTS))
    is_grant = act is Act.GRANT
    at = draw(DAYS)
    return Record(
        record_id=RecordId(draw(st.integers(1, 2**40))),
        identifier_id=draw(st.integers(1, 3)),
        purpose="analytics",
        act=act,
        authority=draw(st.sampled_from(list(Authority))),
        jurisdiction=draw(st.sampled_from(["eu", "us-ca"])),
        occurred_at=day(at),
        recorded_at=day(at + draw(st.integers(-2, 2))),
        policy_fingerprint=b"",
        valid_until=day(at + draw(st.integers(0, 6))) if is_grant and draw(st.booleans()) else None,
        shortened_to=day(at + draw(st.integers(0, 6))) if is_grant and draw(st.integers(0, 3)) == 0 else None,
        signal=draw(st.sampled_from([None, "gpc"])) if not is_grant else None,
        is_two_step=is_grant and draw(st.booleans()),
        is_undated=is_grant and draw(st.integers(0, 3)) == 0,
        is_shared=draw(st.integers(0, 5)) == 0,
        repeated_at=day(at + draw(st.integers(0, 3))) if not is_grant and draw(st.booleans()) else None,
    )


@st.composite
def restrictions(draw: st.DrawFn) -> Record:
    act = draw(st.sampled_from([Act.RESTRICT, Act.RELEASE]))
    at = day(draw(DAYS))
    number, on = draw(st.integers(2**41, 2**42)), draw(st.integers(1, 3))
    return Record(RecordId(number), on, EVERY_PURPOSE, act, Authority.AUTHENTICATED, "unknown", at, at, b"")


SETS = st.lists(records(), max_size=7)
INSTANTS = DAYS.map(lambda number: day(number + 2.5))


def is_live(no: Record, told: list[Record], rule: Purpose, now: datetime) -> bool:
    """Whether a no stands, read slowly from the page: no single live grant lifts it."""
    said_at = min(no.last_at, now)
    for yes in told:
        if yes.act is not Act.GRANT or yes.is_shared or yes.is_undated or not said_at < yes.at <= now:
            continue
        has_ended = any(end is not None and end <= now for end in (yes.valid_until, yes.shortened_to))
        if no.act is Act.OBJECT and rule.direct_marketing:
            is_enough = yes.authority is Authority.AUTHENTICATED and yes.identifier_id == no.identifier_id
        else:
            is_enough = yes.authority.rank >= no.authority.rank
        needs_two = is_opt_out_of_sale(no, rule)
        if is_enough and not has_ended and (not needs_two or is_second_step(yes, no, told, rule)):
            return False
    return True


def is_second_step(yes: Record, no: Record, told: list[Record], rule: Purpose) -> bool:
    """Whether another yes of the same identifier, since the no and within a day, asked for what this one confirms."""
    is_objection = no.act is Act.OBJECT and rule.direct_marketing
    authority = Authority.AUTHENTICATED if is_objection else no.authority
    return yes.is_two_step and any(
        first.act is Act.GRANT
        and not first.is_shared
        and not first.is_undated
        and first.identifier_id == yes.identifier_id
        and first.authority.rank >= authority.rank
        and no.last_at < first.at < yes.at <= first.at + timedelta(days=1)
        for first in told
    )


def slowly(told: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime) -> bool:
    """The verdict by the words of the page, without a timeline."""
    if any(is_live(each, told, rule, now) for each in told if each.act.is_refusal):
        return False
    yes = [each for each in told if each.act is Act.GRANT and not each.is_shared and each.at <= now]
    has_live = any(all(end is None or now < end for end in (each.valid_until, each.shortened_to)) for each in yes)
    model = rule.consent_model(facts.jurisdictions.union(each.jurisdiction for each in told))
    return has_live or (model is ConsentModel.OPT_OUT and not yes)


@given(SETS, RULES, FACTS, INSTANTS)
def test_the_verdict_is_what_the_page_says(
    told: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    assert decide(told, rule, facts, now=now).allowed == slowly(told, rule, facts, now)


@given(SETS, RULES, FACTS, INSTANTS, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(
    told: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime, chance: object
) -> None:
    again = [*told, *told[:3]]
    chance.shuffle(again)  # type: ignore[attr-defined]
    assert decide(again, rule, facts, now=now) == decide(told, rule, facts, now=now)


@given(SETS, SETS, SETS, RULES, FACTS, INSTANTS)
def test_merging_in_any_grouping_gives_one_verdict(
    one: list[Record], two: list[Record], three: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    left = {*{*one, *two}, *three}
    right = {*one, *{*three, *two}}
    assert decide(left, rule, facts, now=now) == decide(right, rule, facts, now=now)


@given(SETS, SETS, RULES, FACTS, INSTANTS)
def test_no_consent_resurrects_by_a_merge(
    one: list[Record], two: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    """A profile with a live no is allowed after a merge only by a grant that lifts this very no."""
    live = [each for each in one if each.act.is_refusal and is_live(each, one, rule, now)]
    merged = [*one, *two]
    if live and decide(merged, rule, facts, now=now).allowed:
        assert all(not is_live(each, merged, rule, now) for each in live)
        assert any(each.act is Act.GRANT and not each.is_shared for each in two)


@given(SETS, SETS, RULES, FACTS, INSTANTS)
def test_no_consent_resurrects_by_what_is_no_grant(
    told: list[Record], more: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    noes = [each for each in more if each.act.is_refusal or each.is_shared]
    if any(each.act.is_refusal and is_live(each, told, rule, now) for each in told):
        assert not decide([*told, *noes], rule, facts, now=now).allowed


@given(SETS, RULES, FACTS, INSTANTS)
def test_since_and_until_bound_an_unbroken_permission(
    told: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    """At every instant from `since` to now the acts until then allowed; just before `since` they did not."""
    verdict = decide(told, rule, facts, now=now)
    if not verdict.allowed:
        assert verdict.since is verdict.until is None
        return
    assert verdict.since is not None
    steps = [day(number / 2) for number in range(-8, 60)]
    for instant in steps:
        known = [replace(each, repeated_at=None) for each in told if each.at <= instant]
        known += [
            replace(each, occurred_at=each.last_at, recorded_at=each.last_at)
            for each in told
            if each.repeated_at is not None and each.last_at <= instant
        ]
        names = facts.jurisdictions.union(each.jurisdiction for each in told)
        then = slowly(known, rule, replace(facts, jurisdictions=names), instant)
        if verdict.since <= instant <= now:
            assert then
        if verdict.since != ALWAYS and instant == verdict.since - (day(0.5) - day(0)):
            assert not then
    if verdict.until is not None:
        assert verdict.until > now
        assert not decide(told, rule, facts, now=verdict.until).allowed


@given(SETS, RULES, FACTS, INSTANTS, st.integers(1, 3))
def test_a_withdrawal_refuses_at_once_and_a_later_grant_begins_anew(
    told: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime, on: int
) -> None:
    def subject(act: Act, number: int, at: datetime, **more: bool) -> Record:
        return Record(
            RecordId(number),
            on,
            "analytics",
            act,
            Authority.AUTHENTICATED,
            "eu",
            at,
            at,
            b"",
            **more,  # type: ignore[arg-type]
        )

    told = [each for each in told if each.last_at <= now]
    withdrawn = [*told, subject(Act.WITHDRAW, 2**50, now)]
    assert not decide(withdrawn, rule, facts, now=now).allowed
    later = day(400)
    objected = {each.identifier_id for each in told if each.act is Act.OBJECT and rule.direct_marketing}
    asked = later - timedelta(hours=1)
    again = [
        replace(step, identifier_id=each)
        for each in {on, *objected}
        for step in (
            subject(Act.GRANT, 2**51 + each, later, is_two_step=True),
            *([subject(Act.GRANT, 2**52 + each, asked)] if rule.sale_or_sharing else []),
        )
    ]
    verdict = decide([*withdrawn, *again], rule, facts, now=later)
    assert verdict.allowed
    assert verdict.since in (later, asked)


@given(SETS, RULES, FACTS, INSTANTS)
@settings(max_examples=50)
def test_the_records_named_are_among_those_given(
    told: list[Record], rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    verdict: Verdict = decide(told, rule, facts, now=now)
    named = {each.record_id: each for each in told if each.record_id in verdict.by}
    assert set(verdict.by) <= {each.record_id for each in told}
    if verdict.allowed:
        assert all(not each.act.is_refusal for each in named.values())


@given(SETS, st.lists(restrictions(), max_size=5), RULES, FACTS, INSTANTS, st.randoms(use_true_random=False))
def test_a_restriction_refuses_until_its_identifier_is_released_and_then_leaves_no_trace(
    told: list[Record],
    acts: list[Record],
    rule: Purpose,
    facts: VerdictFacts,
    now: datetime,
    shuffled: Random,
) -> None:
    """Read slowly: of each identifier the last act counts, and at one instant the restriction."""
    in_force = False
    for identifier_id in {act.identifier_id for act in acts}:
        own = [act for act in acts if act.identifier_id == identifier_id and (act.act is Act.RESTRICT or act.at <= now)]
        last = max((min(act.at, now) for act in own), default=None)
        in_force |= any(min(act.at, now) == last and act.act is Act.RESTRICT for act in own)
    everything = [*told, *acts]
    shuffled.shuffle(everything)
    verdict = decide(everything, rule, facts, now=now)
    if in_force:
        assert (verdict.allowed, verdict.reason) == (False, Reason.RESTRICTED)
    else:
        assert verdict == decide(told, rule, facts, now=now)
