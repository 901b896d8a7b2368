"""Use cases that recompute verdicts: of grants that expired, and of every profile under a new policy."""

from collections.abc import Mapping
from datetime import datetime

from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.projection import bits_of
from cdp.flows.consent.verdicts import project_traits, refresh_verdicts
from cdp.flows.context import Context
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Database
from cdp.policy.model import Policy


def end_grants(context: Context, now: datetime, *, profiles_max: int = 500) -> int:
    """Put the expiry of grants in force, for at most `profiles_max` profiles; returns how many profiles.

    An expired grant acts like a withdrawal: the data of the purpose is cleared by the next run of `clear_withdrawn`.
    """
    with context.database.transaction() as tx:
        acted_at = generation_store.lock_exclusive(tx).now
        expired = verdict_store.ended_by(tx, now, profiles_max)
        if expired:
            refresh_verdicts(tx, context.policy, profile_ids=expired, now=acted_at)
            generation_store.advance(tx, changed=True)
        return len(expired)


def recompute_all_verdicts(
    database: Database,
    policy: Policy,
    *,
    validities: Mapping[str, int | None] | None = None,
    profiles_max: int = 1_000,
) -> int:
    """Recompute the verdicts of every profile under this policy, `profiles_max` per transaction; returns how many.

    Required before a policy with other purposes, consent models or jurisdictions is put in force; `validities` as for
    `current_verdicts`. Safe to repeat.
    """
    after, total = 0, 0
    while True:
        with database.transaction() as tx:
            now = generation_store.lock_exclusive(tx).now
            chunk = consent_subject_store.next_profiles(tx, after, profiles_max)
            if not chunk:
                return total
            if refresh_verdicts(tx, policy, profile_ids=chunk, now=now, validities=validities).has_changes:
                generation_store.advance(tx, changed=True)
            project_traits(tx, policy, bits_of(tx), profile_ids=chunk, now=now)  # the policy may allow other categories
        after, total = chunk[-1], total + len(chunk)
