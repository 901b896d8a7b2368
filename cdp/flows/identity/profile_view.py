"""One profile in full as privacy staff see it, and how responses represent values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from cdp.behavior.model import StatedTrait, Term
from cdp.behavior.rules import instant_of
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store.computed import computed_of
from cdp.behavior.store.traits import stated_of
from cdp.behavior.store.volume import spans_of
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import profiles as profile_store
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id
from cdp.policy.model import PropertyType
from cdp.segments.store.of_profile import memberships_of
from cdp.vault.vault import Item


@dataclass(frozen=True, slots=True)
class PurposeVerdict:
    """The verdict in force for one purpose."""

    allowed: bool
    reason: str
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class HeldIdentifier:
    """An identifier of a profile; `value` is None once its key is shredded."""

    type: str
    value: str | None
    is_shared: bool


@dataclass(frozen=True, slots=True)
class ProfileView:
    """One profile in full, as privacy staff see it; `events` and the instants are about its stored events."""

    profile: str
    anchors: int
    identifiers: tuple[HeldIdentifier, ...]
    traits: Mapping[str, Any]
    computed_traits: Mapping[str, Any]
    consents: Mapping[str, PurposeVerdict]
    segments: tuple[str, ...]
    events: int
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    is_quarantined: bool


def view_profile(tx: Transaction, context: Context, profile_id: int) -> ProfileView:
    """One profile in full. The caller records the read in the audit log."""
    now = context.clock.now()
    links = mapping_store.owned_by(tx, profile_id)
    opened = open_identifiers(tx, context.vault, links)
    span = spans_of(tx, [profile_id])[profile_id]
    (profile,) = profile_store.profiles(tx, [profile_id])
    masks = bits_of(tx)
    verdicts = current_verdicts(tx, context.policy, [profile_id], now=now).get(profile_id, {})
    computed = computed_of(tx, compile_traits(context.policy, masks), [profile_id], now=now)[profile_id]
    return ProfileView(
        profile=encode_id("prf", profile_id),
        anchors=anchor_store.anchor_counts(tx, [profile_id]).get(profile_id, 0),
        identifiers=tuple(
            HeldIdentifier(identifier.type, identifier.value, identifier.is_shared)
            for identifier in sorted(opened.values(), key=lambda identifier: (identifier.type, identifier.value or ""))
        ),
        traits=_traits(tx, context, profile_id),
        computed_traits={key: written_trait(context, key, value) for key, value in sorted(computed.items())},
        consents={
            key: PurposeVerdict(verdict.allowed, verdict.reason.value, verdict.since, verdict.until)
            for key, verdict in verdicts.items()
        },
        segments=tuple(memberships_of(tx, [profile_id]).get(profile_id, ())),
        events=span.events,
        first_seen_at=span.first_at,
        last_seen_at=span.last_at,
        is_quarantined=profile.is_quarantined,
    )


def _traits(tx: Transaction, context: Context, profile_id: int) -> dict[str, Any]:
    """Every stated trait, opened; of several statements a rectified one takes precedence, then the latest."""
    anchors = consent_subject_store.anchors_of(tx, [profile_id]).get(profile_id, [])
    vocabularies = {
        name: plan.vocabulary for name, plan in context.policy.events.traits.items() if plan.vocabulary is not None
    }
    latest: dict[str, StatedTrait] = {}
    for stated in stated_of(tx, anchors, vocabularies):
        previous = latest.get(stated.name)
        if previous is None or _rank(previous) < _rank(stated):
            latest[stated.name] = stated
    sealed = [trait for trait in latest.values() if trait.sealed is not None]
    keys = context.vault.subject_keys.keys_for(tx, [trait.anchor_id for trait in sealed])
    opened = context.vault.open_many(
        keys,
        behavior_store.TRAIT,
        [
            Item(trait.anchor_id, behavior_store.trait_row(trait.anchor_id, trait.name), trait.sealed or b"")
            for trait in sealed
        ],
    )
    values = {
        trait.name: None if raw is None else msgspec.json.decode(raw) for trait, raw in zip(sealed, opened, strict=True)
    }
    return {
        name: values[name] if trait.sealed is not None else _stated(context, name, trait.plain)
        for name, trait in sorted(latest.items())
        if trait.sealed is not None or trait.plain is not None  # otherwise it was taken back
    }


def _rank(stated: StatedTrait) -> tuple[object, ...]:
    return (stated.is_rectified, stated.occurred_at, stated.received_at, stated.event_id)


def _stated(context: Context, name: str, value: object) -> object:
    plan = context.policy.events.traits.get(name)
    return written_value(value, is_instant=plan is not None and plan.type is PropertyType.INSTANT)


def written_trait(context: Context, key: str, value: object) -> object:
    """The value of a computed trait as it is written in responses."""
    trait = context.policy.traits[key]
    return written_value(value, is_instant=context.policy.value_type(trait) is PropertyType.INSTANT)


def written_value(value: object, *, is_instant: bool) -> object:
    """A value as it is written in responses: terms as text, instants in RFC 3339."""
    if isinstance(value, Term):
        return value.text
    if is_instant and isinstance(value, int | float) and not isinstance(value, bool):
        return instant_text(instant_of(value))
    return value
