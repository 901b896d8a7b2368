"""Faults under load: nothing acknowledged is lost or doubled, whatever is killed, cut, filled or moved.

Twenty rounds, each with a fault of its own kind, on two services with one database and one state store. `make test-faults` runs as
many rounds as are asked for, with any seed. The checker's own tests are in `tests/unit/faults`.
"""

import pytest

from cdp.flows.operations.startup import open_for_command
from tests.support.faults.deployment import Deployment, deployed
from tests.support.faults.history import History, Kind, Outcome
from tests.support.faults.nemesis import FAULTS
from tests.support.faults.rounds import ACTS, Run

pytestmark = pytest.mark.slow
SEED = 8
FORGERIES = (
    ("UPDATE accounting.accounting SET messages = messages + 100000 RETURNING 1", "messages accounted for"),
    ("DELETE FROM behavior.event WHERE source_id = 1 RETURNING 1", "acknowledged messages are lost"),
    ("DELETE FROM consent.record WHERE signal IS NULL RETURNING 1", "is stored 0 times"),
    ("DELETE FROM segments.membership RETURNING 1", "memberships differ from a recomputation"),
    ("UPDATE audit.fact SET body = body || '{\"forged\": 1}' RETURNING 1", "the log: "),
    (
        "UPDATE audit.entry SET commitment = sha256(commitment) WHERE leaf_index = 0 RETURNING 1",
        "is not the root over them",
    ),
)
"""What each changes in the store, and the finding that it must lead to."""
WITHOUT_REPAIR = (
    "CREATE FUNCTION segments.lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER lose BEFORE INSERT ON segments.membership FOR EACH ROW EXECUTE FUNCTION segments.lose()",
)
"""A worker that recomputes a segment before the checker looks would store its memberships again."""


def test_nothing_acknowledged_is_lost_or_doubled() -> None:
    with deployed() as deployment:
        run = Run(deployment, SEED)
        results = list(run.rounds(len(FAULTS)))
        missed = [] if results[-1].wrong else forged_and_missed(deployment, run)
    last = results[-1]
    assert not last.wrong, (
        f"seed {SEED}, round {last.number}, {last.fault}; {run.failed_file(last.number)}\n" + "\n".join(last.wrong)
    )
    assert sorted(result.fault for result in results) == sorted(fault.name for fault in FAULTS)
    assert all(result.acknowledged >= 2 * ACTS for result in results), "faults must come under load"
    assert kinds_acknowledged(run.history) == set(Kind), "every kind of act must have been acknowledged"
    assert any(result.unknown for result in results), "no fault was felt by a client"
    assert missed == []


def forged_and_missed(deployment: Deployment, run: Run) -> list[str]:
    """Change what is stored, one thing after another; the changes that were not found."""
    missed = []
    with open_for_command(deployment.config) as context, context.database.transaction() as tx:
        for statement in WITHOUT_REPAIR:
            tx.execute(statement)
    for statement, finding in FORGERIES:
        with open_for_command(deployment.config) as context, context.database.transaction() as tx:
            assert tx.execute(statement), f"this changes nothing: {statement}"
        wrong = run.wrong_after(run.history.faults[-1][0], (), checks_log=True)
        if not any(finding in one for one in wrong):
            missed.append(f"{statement}: {wrong}")
    return missed


def kinds_acknowledged(history: History) -> set[Kind]:
    return {act.kind for act in history.acts if act.outcome is Outcome.ACKNOWLEDGED}
