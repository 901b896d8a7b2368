"""The end of a suppression: a person who was erased, or asked not to be stored, wants to be known again.

Only messages that occurred after the suppression was lifted are processed; nothing from before comes back.
"""

from collections.abc import Sequence
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import read_identifier
from cdp.flows.rights.person import suppression_pseudonyms
from cdp.identity.store import generation as generation_store
from cdp.kit.errors import Fault
from cdp.rights.model import NamedIdentifier
from cdp.rights.replay_file import Lifted
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store


def lift_suppression(
    context: Context, identifiers: Sequence[tuple[str, str]], *, is_verified: bool, now: datetime
) -> int:
    """Lift the suppression of the identifiers of a verified person; returns of how many.

    Identifiers that are not suppressed are left as they are. The suppression of a running request stays. Faults:
    `invalid_identifier`, `person_not_verified`, `not_suppressed`.
    """
    named = [
        NamedIdentifier(identifier.type, identifier.value)
        for identifier in (read_identifier(context.policy, type_, value) for type_, value in identifiers)
    ]
    if not is_verified:
        raise Fault(
            "person_not_verified",
            "The person is not verified",
            "Only the person themselves can lift a suppression: verify who they are, then confirm that you did.",
            status=422,
        )
    pseudonyms = suppression_pseudonyms(context, named)
    with context.database.transaction() as tx:
        lifted_at = generation_store.lock_exclusive(tx).now
        lifted = suppression_store.lift(tx, pseudonyms, lifted_at)
        if not lifted:
            raise Fault(
                "not_suppressed", "Nothing is suppressed", "None of these identifiers is suppressed.", status=409
            )
        replay_store.append(tx, context.replay, [Lifted(tuple(sorted(pseudonyms)), lifted_at)], now=now)
        generation_store.advance(tx, changed=True)
        fact_store.append(tx, {"kind": "suppression.lifted", "actor": "privacy", "count": lifted}, now)
    return lifted
