"""What the sweep deletes, apart from months of events: one task per kind of row, each for a retention class.

Every retention class that the data dictionary or the policy names has such a task, or is a class of events;
`tests/unit/operations/test_retention_classes.py` compares them.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from cdp.audit.store import sweep as fact_sweep_store
from cdp.behavior.retention import horizon
from cdp.behavior.store import ages as age_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.behavior.traits import compile_traits
from cdp.consent.store import deferred as deferred_store
from cdp.consent.store import session_sweep as session_sweep_store
from cdp.consent.store import sweep as consent_sweep_store
from cdp.consent.store.projection import bits_of
from cdp.destinations.store import sweep as outbox_sweep_store
from cdp.flows.consent.deferred import end_unanswered
from cdp.flows.consent.verdicts import asks_for_age, project_traits, refresh_verdicts
from cdp.flows.context import Context
from cdp.flows.operations import retention_identifiers as ending
from cdp.flows.operations.retention_restricted import (
    END_REASON,
    RESTRICTED_EVENTS,
    count_ended_events,
    end_events,
    restricted_anchors,
)
from cdp.flows.rights.replay_compaction import compact_replay_file, count_unneeded_lines
from cdp.identity.store import generation as generation_store
from cdp.identity.store import sweep as identity_sweep_store
from cdp.kit.db import Transaction
from cdp.policy.model import KeepRule
from cdp.rights.store import legal_holds as legal_hold_store
from cdp.rights.store import sweep as request_sweep_store
from cdp.segments.store import sweep as segment_sweep_store

EVENT_CLASS: Final = "event_class"
"""The retention class of whatever ends with events; its rows are dropped by month, or are one of the tasks below."""

BUCKETS: Final = "behavior.bucket"
TRAITS: Final = "behavior.trait"
AGES: Final = "behavior.stated_age"
MESSAGES: Final = "behavior.duplicate"
RECORDS: Final = "consent.record"
IDENTIFIERS: Final = "identity.identifier"
ANCHORS: Final = "identity.anchor"
PROFILES: Final = "identity.profile"
CHANGES: Final = "segments.membership_change"
DELIVERIES: Final = "destinations.outbox"
REQUESTS: Final = "rights.request"
SUPPRESSIONS: Final = "rights.suppression"
HOLDS: Final = "rights.hold"
REPLAY_LINES: Final = "replay.jsonl"
FACTS: Final = "audit.fact"
SESSIONS: Final = "consent.reader_session"
DEFERRED: Final = "consent.deferred_message"

_BUCKETS_REASON: Final = "No window of a computed trait includes these days any more."
_MESSAGES_REASON: Final = "Once the event has expired, a repeated message is rejected as expired."
_REPLAY_REASON: Final = "No backup that can still be restored needs these lines, or a later line says as much."
_DEFERRED_REASON: Final = "Nobody answered in the term in which messages wait (policies/purposes.yaml, `deferral`)."
_HOLDS_REASON: Final = "The law that required them no longer does."

_Count = Callable[[Transaction, datetime], int]
_Delete = Callable[[Transaction, datetime, int], int]


@dataclass(frozen=True, slots=True)
class SweepTask:
    """The expired rows of one table: counting them, and deleting up to a number of them, `rows_max` at most."""

    retention_class: str
    table: str
    reason: str
    count: Callable[[Transaction], int]
    delete: Callable[[Transaction, int], int]
    rows_max: int = 10_000


def sweep_tasks(context: Context, now: datetime) -> list[SweepTask]:
    """The tasks for everything that expires, except events; what refers to an identifier ends with it."""
    return [
        *_behavior_tasks(context, now),
        *_person_tasks(context, now),
        *_rights_tasks(context, now),
        _deferred_task(context, now),
    ]


def _behavior_tasks(context: Context, now: datetime) -> list[SweepTask]:
    policy = context.policy
    return [
        _aged(
            "traits",
            TRAITS,
            policy.retention.traits,
            now=now,
            count=lambda tx, at: behavior_sweep_store.count_expired_traits(tx, at, without=restricted_anchors(tx)),
            delete=partial(_delete_traits, context=context),
        ),
        _aged(
            "traits",
            AGES,
            policy.retention.traits,
            now=now,
            count=lambda tx, at: age_store.count_expired_ages(tx, at, without=restricted_anchors(tx)),
            delete=partial(_delete_ages, context=context),
        ),
        SweepTask(
            EVENT_CLASS,
            RESTRICTED_EVENTS,
            END_REASON,
            lambda tx: count_ended_events(tx, policy, now),
            lambda tx, rows_max: end_events(tx, context, now, rows_max=rows_max),
        ),
        SweepTask(
            EVENT_CLASS,
            BUCKETS,
            _BUCKETS_REASON,
            lambda tx: behavior_sweep_store.count_uncounted_buckets(tx, compile_traits(policy, bits_of(tx)), now),
            lambda tx, rows_max: behavior_sweep_store.delete_uncounted_buckets(
                tx, compile_traits(policy, bits_of(tx)), now, rows_max=rows_max
            ),
        ),
        SweepTask(
            EVENT_CLASS,
            MESSAGES,
            _MESSAGES_REASON,
            lambda tx: behavior_sweep_store.count_expired_messages(tx, now.date()),
            lambda tx, rows_max: behavior_sweep_store.delete_expired_messages(tx, now.date(), rows_max),
        ),
    ]


def _person_tasks(context: Context, now: datetime) -> list[SweepTask]:
    rules, opt_in = context.policy.retention, ending.opt_in_purposes(context.policy)
    identifiers = rules.identifiers
    expired_at = horizon(now, identifiers.keep_for_days)
    last_seen_on = expired_at.date() - timedelta(days=1)

    def ended(
        table: str,
        count: Callable[[Transaction], int],
        find: Callable[[Transaction, int], list[int]],
        *,
        end: Callable[..., None],
    ) -> SweepTask:
        def delete(tx: Transaction, rows_max: int) -> int:
            found = find(tx, rows_max)
            if found:
                end(tx, context, found, now=now)
            return len(found)

        return SweepTask("identifiers", table, identifiers.reason, count, delete, ending.CHUNK_IDENTIFIERS_MAX)

    return [
        _aged(
            "consent_records",
            RECORDS,
            rules.consent_records,
            now=now,
            count=partial(consent_sweep_store.count_ended_records, opt_in_only=opt_in),
            delete=lambda tx, at, rows_max: ending.end_records(tx, context, at, rows_max=rows_max),
        ),
        ended(
            IDENTIFIERS,
            lambda tx: identity_sweep_store.count_expired_identifiers(
                tx, last_seen_on, without=consent_sweep_store.restricted_identifiers(tx)
            ),
            lambda tx, limit: identity_sweep_store.expired_identifiers(
                tx, last_seen_on, limit, without=consent_sweep_store.restricted_identifiers(tx)
            ),
            end=ending.end_identifiers,
        ),
        ended(
            ANCHORS,
            identity_sweep_store.count_nameless_anchors,
            identity_sweep_store.nameless_anchors,
            end=ending.end_anchors,
        ),
        ended(
            PROFILES,
            lambda tx: identity_sweep_store.count_empty_profiles(tx, expired_at),
            lambda tx, limit: identity_sweep_store.empty_profiles(tx, expired_at, limit),
            end=ending.end_profiles,
        ),
        _aged(
            "memberships",
            CHANGES,
            rules.memberships,
            now=now,
            count=segment_sweep_store.count_expired_changes,
            delete=segment_sweep_store.delete_expired_changes,
        ),
        _aged(
            "deliveries",
            DELIVERIES,
            rules.deliveries,
            now=now,
            count=outbox_sweep_store.count_expired_deliveries,
            delete=outbox_sweep_store.delete_expired_deliveries,
        ),
    ]


def _rights_tasks(context: Context, now: datetime) -> list[SweepTask]:
    rules, opt_out = context.policy.retention, ending.opt_out_purposes(context.policy)
    return [
        _aged(
            "requests",
            REQUESTS,
            rules.requests,
            now=now,
            count=request_sweep_store.count_expired_requests,
            delete=partial(_delete_requests, context=context),
        ),
        SweepTask(
            "suppressions",
            SUPPRESSIONS,
            rules.suppressions.reason,
            lambda tx: request_sweep_store.count_ended_suppressions(tx, now),
            lambda tx, rows_max: _end_suppressions(tx, now, rows_max, purposes=opt_out),
        ),
        SweepTask(
            "holds",
            HOLDS,
            _HOLDS_REASON,
            lambda tx: request_sweep_store.count_ended_holds(tx, now.date()),
            lambda tx, rows_max: context.vault.subject_keys.shred(
                tx, legal_hold_store.end_holds(tx, now.date(), rows_max)
            ),
        ),
        SweepTask(
            "replay_file",
            REPLAY_LINES,
            _REPLAY_REASON,
            lambda tx: count_unneeded_lines(tx, context),
            lambda tx, _: compact_replay_file(tx, context),
        ),
        _aged(
            "audit_salts",
            FACTS,
            rules.audit_salts,
            now=now,
            count=fact_sweep_store.count_expired_facts,
            delete=fact_sweep_store.delete_expired_facts,
        ),
        _aged(
            "audit_salts",
            SESSIONS,
            rules.audit_salts,
            now=now,
            count=session_sweep_store.count_expired_sessions,
            delete=session_sweep_store.delete_expired_sessions,
        ),
    ]


def _aged(
    retention_class: str, table: str, rule: KeepRule, *, now: datetime, count: _Count, delete: _Delete
) -> SweepTask:
    """The task of rows that expire by their age under a rule."""
    expired_at = horizon(now, rule.keep_for_days)
    return SweepTask(
        retention_class,
        table,
        rule.reason,
        lambda tx: count(tx, expired_at),
        lambda tx, rows_max: delete(tx, expired_at, rows_max),
    )


def _deferred_task(context: Context, now: datetime) -> SweepTask:
    """The task of messages that nobody answered in their term; the worker ends them as well, within a second."""

    def delete(tx: Transaction, rows_max: int) -> int:
        return end_unanswered(tx, context.vault, generation_store.lock_exclusive(tx).now, rows_max=rows_max)

    return SweepTask(
        "deferred_messages", DEFERRED, _DEFERRED_REASON, lambda tx: deferred_store.count_ended(tx, now), delete
    )


def _delete_traits(tx: Transaction, expired_at: datetime, rows_max: int, *, context: Context) -> int:
    """Delete expired traits; update the projections, and the verdicts that depend on an age."""
    now = generation_store.lock_exclusive(tx).now
    anchors = behavior_sweep_store.delete_expired_traits(tx, expired_at, rows_max, without=restricted_anchors(tx))
    if anchors:
        profiles = behavior_sweep_store.profiles_of_anchors(tx, anchors)
        project_traits(tx, context.policy, bits_of(tx), profile_ids=profiles, now=now)
        if (
            asks_for_age(context.policy)
            and refresh_verdicts(tx, context.policy, profile_ids=profiles, now=now).has_changes
        ):
            generation_store.advance(tx, changed=True)
    return len(anchors)


def _delete_ages(tx: Transaction, expired_at: datetime, rows_max: int, *, context: Context) -> int:
    """Delete expired ages, and update the verdicts that depend on them."""
    now = generation_store.lock_exclusive(tx).now
    anchors = age_store.delete_expired_ages(tx, expired_at, rows_max, without=restricted_anchors(tx))
    if anchors:
        profiles = behavior_sweep_store.profiles_of_anchors(tx, anchors)
        if (
            asks_for_age(context.policy)
            and refresh_verdicts(tx, context.policy, profile_ids=profiles, now=now).has_changes
        ):
            generation_store.advance(tx, changed=True)
    return len(anchors)


def _delete_requests(tx: Transaction, expired_at: datetime, rows_max: int, *, context: Context) -> int:
    """Delete old requests, and shred the keys that sealed their identifiers."""
    requests = request_sweep_store.delete_expired_requests(tx, expired_at, rows_max)
    context.vault.subject_keys.shred(tx, requests)
    return len(requests)


def _end_suppressions(tx: Transaction, now: datetime, rows_max: int, *, purposes: Collection[str]) -> int:
    generation_store.lock_exclusive(tx)
    return request_sweep_store.end_suppressions(tx, now, rows_max, opt_out_purposes=purposes)
