"""A segment of one purpose asks for segments of another only where the policy combines them, and no id of readers does it instead."""

from itertools import combinations
from pathlib import Path
from typing import Final

import pytest

from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.context import Context
from cdp.flows.identifiers import find_profile
from cdp.flows.identity.reader_lookup import look_up_pseudonym
from cdp.flows.operations.policy import apply_policy
from cdp.flows.segments import definitions, memberships, reading
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.schema.consent import projection_of
from cdp.segments.model import Draft, SegmentKey
from tests.support.marketer import people_for_readers
from tests.support.policies import combining, permit_all, with_readers
from tests.support.requests import RequestPipeline

pytestmark = pytest.mark.postgres

WHERE: Final = 'in segment "named"'
COMBINED: Final = combining(permit_all(), "email_marketing", "personalization")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """Ada and Bob permit everything, and are in a segment of another purpose."""
    rights = people_for_readers(database, tmp_path)
    define(
        rights.context, "named", "personalization", 'not trait.age = 200 or exists trait.country or sample 100% by "x"'
    )
    return rights


def define(context: Context, key: str, purpose: str, where: str, *, actor: str = "marketer") -> None:
    definitions.define(context, Draft(SegmentKey(key), key, purpose, actor), where, is_new=True, actor=actor)
    memberships.refresh(context, key)


def under(rights: RequestPipeline, policy: Policy) -> Context:
    """The store after the policy was applied."""
    apply_policy(rights.context, policy)
    return rights.context.with_policy(policy)


def refusal(context: Context, *, actor: str = "marketer") -> str:
    """The code of the fault with which a preview across purposes ends."""
    with pytest.raises(Fault) as fault:
        reading.preview(context, WHERE, "email_marketing", actor=actor)
    return fault.value.code


def test_what_the_policy_does_not_combine_is_refused(rights: RequestPipeline) -> None:
    assert refusal(rights.context) == "segment_rejected"
    with pytest.raises(Fault, match="not a valid segment") as fault:
        define(rights.context, "both", "email_marketing", WHERE)
    assert "combines_with" in str(fault.value.extra)
    other_way = under(rights, combining(permit_all(), "personalization", "email_marketing"))
    assert refusal(other_way) == "segment_rejected", "a combination has a direction"


def test_a_combination_needs_permission_for_both(rights: RequestPipeline) -> None:
    context = under(rights, COMBINED)
    define(context, "both", "email_marketing", WHERE)
    assert reading.members(context, "both", after=None, limit=10, actor="marketer")[1] == 2
    record(context, ConsentStatement(("user_id", "ada"), "personalization", "withdraw"))
    assert reading.members(context, "both", after=None, limit=10, actor="marketer")[1] == 1
    record(context, ConsentStatement(("user_id", "bob"), "email_marketing", "withdraw"))
    assert reading.members(context, "both", after=None, limit=10, actor="marketer")[1] == 0


def test_a_combination_gives_no_role_a_purpose_that_it_does_not_read(rights: RequestPipeline) -> None:
    context = under(rights, with_readers(COMBINED, agency=("email_marketing",)))
    assert refusal(context, actor="agency") == "purpose_not_readable"


def test_a_combination_that_ends_ends_its_lists(rights: RequestPipeline) -> None:
    context = under(rights, COMBINED)
    define(context, "both", "email_marketing", WHERE)
    context = under(rights, permit_all())
    for read in (
        lambda: reading.members(context, "both", after=None, limit=10, actor="marketer"),
        lambda: reading.explain(context, "both", actor="marketer"),
        lambda: memberships.refresh(context, "both"),
    ):
        with pytest.raises(Fault) as fault:
            read()
        assert fault.value.code == "segment_outdated"


def test_projections_of_combined_purposes_have_no_key_in_common(rights: RequestPipeline) -> None:
    context = under(rights, COMBINED)
    purposes = sorted(COMBINED.purposes_read_by("marketer"))
    with context.database.transaction(read_only=True) as tx:
        for one, other in combinations(purposes, 2):
            ((rows, common),) = tx.execute(
                "SELECT (SELECT count(*) FROM consent.permitted WHERE purpose = %(one)s)::int, ("
                "SELECT count(*) FROM consent.permitted AS a JOIN consent.permitted AS b USING (reader_pseudonym) "
                "WHERE a.purpose = %(one)s AND b.purpose = %(other)s)::int",
                {"one": one, "other": other},
            )
            assert rows == 2, projection_of(one)
            assert common == 0, (one, other)


def segments_of_ada(context: Context) -> list[str]:
    """The segments that a marketer is shown with Ada's id for `email_marketing`."""
    with context.database.transaction(read_only=True) as tx:
        ((pseudonym,),) = tx.execute(
            "SELECT reader_pseudonym FROM consent.permitted WHERE purpose = 'email_marketing' AND profile_id = %(ada)s",
            {"ada": find_profile(tx, context.vault, Identifier("user_id", "ada"))[1]},
        )
    return list(look_up_pseudonym(context, pseudonym, actor="marketer").segments)


@pytest.mark.parametrize("end", ["withdrawal", "withdrawal that was taken back", "policy"])
def test_a_look_up_shows_no_membership_that_rests_on_what_ended(rights: RequestPipeline, end: str) -> None:
    """At once: no worker looked since."""
    context = under(rights, COMBINED)
    define(context, "both", "email_marketing", WHERE)
    assert segments_of_ada(context) == ["both"]
    if end == "policy":
        context = under(rights, permit_all())
    else:
        record(context, ConsentStatement(("user_id", "ada"), "personalization", "withdraw"))
        if end == "withdrawal that was taken back":
            rights.later(days=1)
            record(context, ConsentStatement(("user_id", "ada"), "personalization", "grant"))
    assert segments_of_ada(context) == []
