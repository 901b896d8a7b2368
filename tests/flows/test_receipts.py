"""Receipts outlive the policy by which they were issued: whatever became of it, the token withdraws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cdp.flows.consent import acts, lookup, receipts
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.context import Context
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.support.people import ADA_EMAIL
from tests.support.policies import changed, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

KEPT = changed(shipped(), "controller.yaml", privacy_center="https://privacy.nordlicht.example")
"""Another policy with the same purposes."""


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, shipped(), tmp_path)


def granted(rights: RequestPipeline) -> tuple[str, str]:
    """The record and the token of a grant."""
    statement = ConsentStatement(ADA_EMAIL, "email_marketing", "grant", authority="authenticated", jurisdiction="eu")
    receipt = acts.record(rights.context, statement).receipt
    return receipt["record_id"], receipt["pii_processing"]["purposes"][0]["withdrawal_method"]["token"]


def recorded(context: Context) -> list[str]:
    now = context.clock.now()
    return [str(record["act"]) for record in lookup.look_up(context, ADA_EMAIL, now, actor="privacy").records]


def under_unreadable_policy(rights: RequestPipeline) -> Context:
    """The store in which the policy of the grant is one that this version cannot read, and another is in force."""
    with rights.context.database.transaction() as tx:
        tx.execute(
            """UPDATE operations.applied_policy SET content = '{"purposes.yaml": {"of_another_version": true}}'"""
        )
    return replace(rights.context, policy=KEPT)


def without_the_purpose(rights: RequestPipeline) -> Context:
    """The store under a policy that does not have the purpose of the grant any more."""
    purposes = {key: rule for key, rule in KEPT.purposes.items() if key != "email_marketing"}
    return replace(rights.context, policy=KEPT.model_copy(update={"purposes": purposes}))


@pytest.mark.parametrize("later", [under_unreadable_policy, without_the_purpose])
def test_a_token_withdraws_whatever_became_of_its_policy(
    rights: RequestPipeline, later: Callable[[RequestPipeline], Context]
) -> None:
    _, token = granted(rights)
    context = later(rights)
    rights.later(minutes=1)
    offered = receipts.withdrawable(context, token)
    assert (offered.is_kept, offered.is_refused) == (True, False)
    assert offered.purpose_name in ("email_marketing", "Writing to you by e-mail")
    done = receipts.withdraw(context, token)
    assert done.is_withdrawn
    assert recorded(context) == ["grant", "withdraw"]
    assert receipts.withdrawable(context, token).is_refused
    assert receipts.withdraw(context, token) == done
    assert recorded(context) == ["grant", "withdraw"]


def test_a_receipt_is_not_issued_by_another_policy_than_that_of_the_act(rights: RequestPipeline) -> None:
    record, _ = granted(rights)
    context = under_unreadable_policy(rights)
    with pytest.raises(Fault) as refused:
        receipts.receipt(context, record, actor="privacy")
    assert (refused.value.code, refused.value.status) == ("policy_outdated", 409)
