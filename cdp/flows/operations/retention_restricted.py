"""Steps of the sweep for people whose processing is restricted: nothing stored about them ends before the restriction does.

A restriction excepts storage (GDPR Art. 18(2)). Months of events are dropped whole, so that events of a restricted person are
moved out of a month first; what else expires is passed over.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cdp.behavior.retention import horizon
from cdp.behavior.store import restricted as restricted_store
from cdp.consent.store import sweep as consent_sweep_store
from cdp.flows.context import Context
from cdp.flows.rights.legal_hold import held_classes, hold_events
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy

RESTRICTED_EVENTS: Final = "behavior.restricted_event"
KEEP_REASON: Final = "Processing is restricted (GDPR Art. 18): kept, and not used, until the restriction ends."
END_REASON: Final = "The restriction has ended, and the retention period of their class before."


def restricted_anchors(tx: Transaction) -> frozenset[int]:
    """The anchors of every profile whose processing is restricted."""
    profiles = consent_subject_store.profiles_decided_by(tx, consent_sweep_store.restricted_identifiers(tx))
    owned = consent_subject_store.anchors_of(tx, profiles)
    return frozenset(anchor_id for anchors in owned.values() for anchor_id in anchors)


def count_ended_events(tx: Transaction, policy: Policy, now: datetime) -> int:
    """How many events that were kept for a restriction end now."""
    return restricted_store.count_ended(tx, _expired_at(policy, now), restricted=restricted_anchors(tx))


def end_events(tx: Transaction, context: Context, now: datetime, *, rows_max: int) -> int:
    """Delete up to `rows_max` of them; what a law requires is held first. They are too few to be severed."""
    generation_store.lock_exclusive(tx)
    ended = restricted_store.delete_and_return_ended(
        tx, _expired_at(context.policy, now), rows_max, restricted=restricted_anchors(tx)
    )
    classes = held_classes(context)
    hold_events(tx, context, [event for event in ended if event["retention_class"] in classes], now=now)
    return len(ended)


def _expired_at(policy: Policy, now: datetime) -> Mapping[str, datetime]:
    return {key: horizon(now, rule.keep_for_days) for key, rule in policy.retention.classes.items()}
