"""For every basis of a purpose, what refuses it: decided alone, and at the door by what the purpose covers.

`tests/support/mutations` names these tests; each goes red when its check is removed.
"""

from dataclasses import replace

import pytest

from cdp.behavior.model import Classified
from cdp.consent.decide import decide, is_permitted
from cdp.consent.model import EVERY_PURPOSE, Act, Record, Verdict, VerdictFacts
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.policy.model import Purpose
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import parse_and_check
from tests.spec.consent.acts import act, day
from tests.support.every_basis import (
    ALL,
    EVENT,
    GRANTED,
    LISTED,
    NOT_ALLOWED,
    REFUSABLE,
    REFUSALS,
    Basis,
    policy_of,
)

NOW = day(100)
KNOWN = VerdictFacts(jurisdictions=frozenset({"eu"}), has_unique_identifier=True)


def rule_of(basis: Basis) -> Purpose:
    return policy_of(ALL).purposes[basis]


def decided(basis: Basis, *records: Record, rule: Purpose | None = None, facts: VerdictFacts = KNOWN) -> Verdict:
    about = [replace(record, purpose=record.purpose or basis.value) for record in records]
    return decide(about, rule or rule_of(basis), facts, now=NOW)


def about(basis: Basis, kind: str, at: float) -> Record:
    """An act of a signed-in person."""
    return replace(act(kind, at, by="authenticated"), purpose=basis.value)


@pytest.mark.parametrize("basis", ALL)
def test_a_known_person_who_granted_is_permitted(basis: Basis) -> None:
    assert decided(basis, about(basis, "grant", 1)).allowed


@pytest.mark.parametrize("basis", REFUSABLE)
def test_an_answer_refuses(basis: Basis) -> None:
    assert not decided(basis, about(basis, "grant", 1), about(basis, REFUSALS[basis].value, 2)).allowed


def test_silence_refuses_an_opt_in() -> None:
    assert not decided(Basis.OPT_IN).allowed


@pytest.mark.parametrize("basis", LISTED)
def test_without_a_unique_identifier_a_listed_basis_covers_nobody(basis: Basis) -> None:
    assert not decided(basis, facts=replace(KNOWN, has_unique_identifier=False)).allowed


@pytest.mark.parametrize("basis", ALL)
def test_a_restriction_refuses(basis: Basis) -> None:
    restriction = replace(about(basis, "grant", 2), act=Act.RESTRICT, purpose=EVERY_PURPOSE)
    assert not decide([about(basis, "grant", 1), restriction], rule_of(basis), KNOWN, now=NOW).allowed


@pytest.mark.parametrize("basis", ALL)
def test_a_quarantine_refuses(basis: Basis) -> None:
    assert not decided(basis, about(basis, "grant", 1), facts=replace(KNOWN, is_quarantined=True)).allowed


@pytest.mark.parametrize("basis", ALL)
def test_who_is_too_young_is_refused(basis: Basis) -> None:
    adult = rule_of(basis).model_copy(update={"minimum_age": 16})
    assert not decided(basis, about(basis, "grant", 1), rule=adult, facts=replace(KNOWN, age=15)).allowed
    assert not decided(basis, about(basis, "grant", 1), rule=adult).allowed


@pytest.mark.parametrize("basis", GRANTED)
def test_a_grant_that_ended_refuses(basis: Basis) -> None:
    ended = replace(about(basis, "grant", 1), valid_until=day(50))
    assert not decided(basis, ended).allowed


def test_an_opt_out_of_sale_yields_to_no_single_grant() -> None:
    basis = Basis.SALE_OR_SHARING
    refusal = replace(about(basis, "refuse", 2), jurisdiction="us-ca", signal="gpc")
    assert not decided(basis, refusal, about(basis, "grant", 3)).allowed


def test_an_objection_to_direct_marketing_yields_to_nobody_else() -> None:
    basis = Basis.DIRECT_MARKETING
    other = replace(about(basis, "grant", 3), identifier_id=2)
    assert not decided(basis, about(basis, "object", 2), other).allowed


@pytest.mark.parametrize("basis", REFUSABLE)
def test_a_shared_identifier_grants_nothing(basis: Basis) -> None:
    shared = replace(about(basis, "grant", 3), is_shared=True)
    assert not decided(basis, about(basis, REFUSALS[basis].value, 2), shared).allowed


@pytest.mark.parametrize("basis", ALL)
def test_a_verdict_permits_only_its_period(basis: Basis) -> None:
    verdict = replace(decided(basis, about(basis, "grant", 1)), since=day(5), until=day(10))
    assert is_permitted(verdict, day(5), day(9))
    assert not is_permitted(verdict, day(4), day(9))
    assert not is_permitted(verdict, day(5), day(10))


def covering(name: str | None, category: str, *, is_server: bool) -> set[str]:
    """The purposes that could count a message."""
    classified = Classified(name, "transactions", category, {}, {})
    plan = compile_ingest_plan(policy_of(ALL))
    return {purpose.key for purpose in plan.purposes_for(classified, is_server=is_server)}


HISTORY = "user.behavior.purchase_history"


@pytest.mark.parametrize("basis", ALL)
def test_a_purpose_covers_its_events(basis: Basis) -> None:
    assert basis in covering(EVENT, HISTORY, is_server=True)


@pytest.mark.parametrize("basis", ALL)
def test_a_purpose_covers_no_category_that_it_does_not_allow(basis: Basis) -> None:
    assert basis not in covering(EVENT, "user.content", is_server=True)


@pytest.mark.parametrize("basis", LISTED)
def test_a_listed_basis_covers_no_event_that_it_does_not_list(basis: Basis) -> None:
    assert basis not in covering("Order Updated", HISTORY, is_server=True)


@pytest.mark.parametrize("basis", LISTED)
def test_a_listed_basis_covers_no_message_of_a_browser(basis: Basis) -> None:
    assert basis not in covering(EVENT, HISTORY, is_server=False)


@pytest.mark.parametrize("basis", ALL)
def test_a_segment_reads_no_field_that_its_purpose_does_not_allow(basis: Basis) -> None:
    catalogue = Catalogue(policy_of(ALL))
    assert isinstance(parse_and_check(f"trait.{NOT_ALLOWED} > 3", catalogue, basis.value), tuple)
    assert not isinstance(parse_and_check('trait.country = "DE"', catalogue, basis.value), tuple)
