"""Where a step breaks several rules of one kind, what it proves does not depend on the process that applies it."""

import os
import subprocess
import sys

import pytest

from cdp.identity.model import ResolutionStep
from cdp.identity.rules import Rules
from cdp.identity.run import replay
from cdp.policy.identifiers import Blocked, Identifiers, IdentifierType, Limit, NormalizerKind
from tests.support.people import NEW_YEAR

_NAMED = ("user_id", "user_id", "crm_id", "crm_id", "anonymous_id") + 2 * ("email", "phone", "anonymous_id")
_TYPES = dict(enumerate(_NAMED, 1))
_UNIQUE_TYPES = ("user_id", "crm_id", "shop_id", "account_id", "member_id")


def _policy() -> Identifiers:
    unique = {
        key: IdentifierType(
            key=key, normalizer=NormalizerKind.ID, priority=at, unique=True, person_level=True, limit=Limit(count=1)
        )
        for at, key in enumerate(_UNIQUE_TYPES, 1)
    }
    device = IdentifierType(key="anonymous_id", normalizer=NormalizerKind.ID, priority=20, device=True)
    within = Limit(count=1, within_days=1)
    address = IdentifierType(key="email", normalizer=NormalizerKind.EMAIL, priority=10, person_level=True, limit=within)
    number = IdentifierType(
        key="phone", normalizer=NormalizerKind.PHONE, priority=11, person_level=True, limit=Limit(count=1)
    )
    return Identifiers(blocked=Blocked(), types=unique | {"anonymous_id": device, "email": address, "phone": number})


def outcome() -> str:
    """A device of one customer, named by another of whom two unique ids differ; and a union beyond two limits."""
    named = ((1, 3), (1, 5), (2, 4), (2, 5), (6, 7, 8), (9, 10, 11), (8, 11))
    steps = [ResolutionStep(at, at, members, NEW_YEAR) for at, members in enumerate(named, 1)]
    run = replay(Rules(_policy()), _TYPES, steps)
    refusals = [(refusal.rule.value, refusal.detail) for proposal in run.accepted for refusal in proposal.refusals]
    waiting = [proposal.step.anchor_id for proposal in run.accepted if proposal.depends_on_time]
    return f"{sorted(run.shared)} {refusals} {waiting}"


def test_a_device_that_two_customers_name_is_shared_whatever_else_differs() -> None:
    assert outcome().startswith("[5] ")


@pytest.mark.parametrize("seed", range(4))
def test_every_process_comes_to_the_same_outcome(seed: int) -> None:
    code = "from tests.unit.identity.test_order_of_rules import outcome; print(outcome())"
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == outcome()
