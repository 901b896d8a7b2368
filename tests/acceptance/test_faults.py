"""Faults under load: nothing acknowledged is lost or doubled, whatever is killed, cut, filled or moved.

Twenty rounds, each with a fault of its own kind, on two services with one database and one state store. `make test-faults` runs as
many rounds as are asked for, with any seed. The checker's own tests are in `tests/unit/faults`.
"""

import pytest

from tests.support.faults.deployment import deployed
from tests.support.faults.history import History, Kind, Outcome
from tests.support.faults.nemesis import FAULTS
from tests.support.faults.rounds import ACTS, Run

pytestmark = pytest.mark.slow
SEED = 8


def test_nothing_acknowledged_is_lost_or_doubled() -> None:
    with deployed() as deployment:
        run = Run(deployment, SEED)
        results = list(run.rounds(len(FAULTS)))
    last = results[-1]
    assert not last.wrong, (
        f"seed {SEED}, round {last.number}, {last.fault}; {run.failed_file(last.number)}\n" + "\n".join(last.wrong)
    )
    assert sorted(result.fault for result in results) == sorted(fault.name for fault in FAULTS)
    assert all(result.acknowledged >= 2 * ACTS for result in results), "faults must come under load"
    assert kinds_acknowledged(run.history) == set(Kind), "every kind of act must have been acknowledged"
    assert any(result.unknown for result in results), "no fault was felt by a client"


def kinds_acknowledged(history: History) -> set[Kind]:
    return {act.kind for act in history.acts if act.outcome is Outcome.ACKNOWLEDGED}
