"""Steps that gather what determines verdicts, now or as of an earlier instant.

There are two questions about an earlier instant. *As recorded*: what did the store know then? It is answered by the records,
repetitions, ages, sources, sharing and mapping that were stored then. *As it was*: what had happened by then, by what is
known now? It is answered by the records of all acts that had occurred by then, and otherwise by what is known now. Both
use the policy of then.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.behavior.ages import UNKNOWN_AGE
from cdp.behavior.store.ages import FormerAges, ages_at
from cdp.consent.decide import decide
from cdp.consent.model import Reason, Record, Verdict, VerdictFacts
from cdp.consent.store import records as record_store
from cdp.flows.consent.verdicts import asks_for_age, facts_of
from cdp.flows.context import Context
from cdp.identity.store import as_of as former_mapping_store
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store.identifiers import StoredIdentifier
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.operations.model import AppliedPolicy
from cdp.operations.store import policies as policy_store
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from cdp.sources.store import sources as source_store

_KEEPS_MAPPING: Final = 18
"""The migration since which what the mapping was is kept."""


class AsOfBasis(StrEnum):
    """Which of the two questions about an earlier instant is asked."""

    RECORDED = "recorded"
    OCCURRED = "occurred"


@dataclass(frozen=True, slots=True)
class AsOf:
    """An earlier instant, and what is asked about it."""

    instant: datetime
    basis: AsOfBasis = AsOfBasis.RECORDED


@dataclass(frozen=True, slots=True)
class Situation:
    """What determines the verdicts about one person: the policy, the records, other facts, and the instant.

    `is_incomplete` is set if an age that counted then was deleted since, by a withdrawal or at the end of its retention.
    """

    policy: Policy
    records: tuple[Record, ...]
    facts: VerdictFacts
    instant: datetime
    is_incomplete: bool = False

    def verdicts(self) -> dict[str, Verdict]:
        """The verdict for each purpose of the policy. What depends on an age that was deleted since is not allowed."""
        verdicts = {
            key: decide(self.records, rule, self.facts, now=self.instant) for key, rule in self.policy.purposes.items()
        }
        unknown = Verdict(False, Reason.AGE_UNKNOWN)
        return verdicts | {key: unknown for key in self.incomplete if verdicts[key].allowed}

    @property
    def incomplete(self) -> tuple[str, ...]:
        """The purposes whose verdict depends on an age that was deleted since."""
        return tuple(
            key for key, rule in self.policy.purposes.items() if self.is_incomplete and rule.minimum_age is not None
        )


def situation_now(tx: Transaction, context: Context, known: StoredIdentifier | None, *, now: datetime) -> Situation:
    """The situation of the person of an identifier, by everything that is known now."""
    return _by_present_mapping(tx, context.policy, known, instant=now, occurred_by=None)


def situation_as_of(tx: Transaction, context: Context, known: StoredIdentifier | None, *, as_of: AsOf) -> Situation:
    """The situation of the person of an identifier as of an instant.

    Raises the fault `policy_outdated` if this version of the program cannot read the policy of then.
    """
    policy = policy_at(tx, context.policy, as_of.instant)
    if as_of.basis is AsOfBasis.OCCURRED:
        return _by_present_mapping(tx, policy, known, instant=as_of.instant, occurred_by=as_of.instant)
    return _as_recorded(tx, policy, known, at=as_of.instant)


def mapping_unknown_before(tx: Transaction, at: datetime) -> datetime | None:
    """Since when this store keeps what the mapping was, if that was after an instant; None if all of it is on record.

    A store that is older than the migration which introduced this knows of earlier changes nothing.
    """
    since = fact_store.migrated_at(tx, _KEEPS_MAPPING)
    return since if since is not None and at < since else None


def policy_at(tx: Transaction, present: Policy, at: datetime) -> Policy:
    """The policy that was in force at an instant; the first one before there was any."""
    applied = policy_store.policy_at(tx, at) or next(iter(policy_store.policies(tx)), None)
    if applied is None or applied.fingerprint.hex() == present.fingerprint:
        return present
    return read_applied(applied)


def read_applied(applied: AppliedPolicy) -> Policy:
    """The policy as it was applied. Raises the fault `policy_outdated` if this version of the program cannot read it."""
    try:
        return build_policy(applied.content)
    except Fault as fault:
        raise Fault(
            "policy_outdated",
            "The policy of that instant is of another version",
            f"This version of cdp cannot read the policy that was in force then:\n{fault.detail}\nAsk the version that applied it.",
            status=409,
        ) from fault


def _by_present_mapping(
    tx: Transaction, policy: Policy, known: StoredIdentifier | None, *, instant: datetime, occurred_by: datetime | None
) -> Situation:
    """By the mapping and the facts of now, and the acts that had occurred by an instant if one is given."""
    if known is None:
        return Situation(policy, (), _no_facts(policy), instant)
    if known.profile_id is None:
        records = record_store.records_of(tx, [known.identifier_id], occurred_by=occurred_by)
        return Situation(policy, _marked(records, {known.identifier_id: known.is_shared}), _no_facts(policy), instant)
    deciding = consent_subject_store.deciding_identifiers(tx, [known.profile_id])[known.profile_id]
    records = record_store.records_of(tx, deciding, occurred_by=occurred_by)
    facts = facts_of(tx, policy, [known.profile_id], now=instant)[known.profile_id]
    return Situation(policy, _marked(records, deciding), facts, instant)


def _as_recorded(tx: Transaction, policy: Policy, known: StoredIdentifier | None, *, at: datetime) -> Situation:
    """By what was stored at an instant."""
    if known is None:
        return Situation(policy, (), _no_facts(policy), at)
    mapping = former_mapping_store.mapping_at(tx, known.identifier_id, at)
    if mapping.profile_id is None:
        records = record_store.records_of(tx, [known.identifier_id], as_of=at)
        return Situation(policy, _marked(records, mapping.deciding), _no_facts(policy), at)
    jurisdictions = {int(entry.source.source_id): entry.source.jurisdiction for entry in source_store.sources(tx)}
    former = FormerAges(UNKNOWN_AGE, is_incomplete=False)
    if asks_for_age(policy):
        former = ages_at(tx, former_mapping_store.anchors_at(tx, mapping.profile_id, at), at)
    facts = VerdictFacts(
        jurisdictions=frozenset(jurisdictions[source] for source in mapping.sources if source in jurisdictions),
        has_unique_identifier=not mapping.types.isdisjoint(policy.identifiers.unique_types),
        age=former.ages.vouched_years(at),
        claimed_age=former.ages.claimed_years(at),
        is_quarantined=mapping.is_quarantined,
        ask_again_after_months=policy.ask_again_after_months,
    )
    records = record_store.records_of(tx, mapping.deciding, as_of=at)
    return Situation(policy, _marked(records, mapping.deciding), facts, at, former.is_incomplete)


def _no_facts(policy: Policy) -> VerdictFacts:
    """Of a person without a profile, nothing is known besides the acts."""
    return VerdictFacts(ask_again_after_months=policy.ask_again_after_months)


def _marked(records: Collection[Record], deciding: Mapping[int, bool]) -> tuple[Record, ...]:
    """The records with `is_shared` set where their identifier links no profiles."""
    return tuple(replace(record, is_shared=True) if deciding[record.identifier_id] else record for record in records)
