"""Look up one profile as a marketer: by reader pseudonym, without identifiers, limited to one purpose."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cdp.behavior.store.computed import computed_of
from cdp.behavior.store.terms import texts_of
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.consent.store.reader_view import ReaderRow, rows_under
from cdp.flows.context import Context
from cdp.flows.identifiers import unknown_profile
from cdp.flows.identity.profile_view import written_trait, written_value
from cdp.flows.reader_limits import count_lookup
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.kit.db import Transaction
from cdp.policy.model import PropertyType
from cdp.query.language.check import check
from cdp.query.language.explain import purposes_of
from cdp.segments.store.definitions import catalogue_of, find
from cdp.segments.store.members import is_member
from cdp.segments.store.of_profile import memberships_of

_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ReadablePurpose:
    """A purpose that permits the reader to see the profile, since and until when: to the day, in UTC.

    Not to the instant: one click gives several purposes at the same moment, which would join their pseudonyms.
    """

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class ReaderProfileView:
    """One profile as a marketer sees it: the data of the purpose to which the pseudonym belongs."""

    profile: str
    purposes: Mapping[str, ReadablePurpose]
    traits: Mapping[str, Any]
    computed_traits: Mapping[str, Any]
    segments: tuple[str, ...]


def look_up_pseudonym(context: Context, profile: str, *, actor: str, token: int | None = None) -> ReaderProfileView:
    """The profile under a reader pseudonym, for the purpose of the pseudonym.

    Raises `unknown_profile` (404), also if the purpose is not permitted, or marketers do not read it; and
    `too_many_lookups` (429).
    """
    count_lookup(context, token, actor=actor)
    now = context.clock.now()

    def read(tx: Transaction) -> ReaderProfileView:
        role = context.policy.readers.role_of(actor)
        readable = context.policy.purposes_read_by(role)
        rows = rows_under(tx, profile, readable, role=role, now=now) if _PSEUDONYM.fullmatch(profile) else []
        if not rows:
            raise unknown_profile()
        reading = Reading(actor, token, "profile", purpose=rows[0].purpose)
        log_read(tx, context, reading, count=1, now=now, profiles=[rows[0].profile_id])
        return _view(tx, context, profile, rows=rows, role=role, now=now)

    return at_one_instant(context.database, read)


def _view(
    tx: Transaction, context: Context, profile: str, *, rows: Sequence[ReaderRow], role: str, now: datetime
) -> ReaderProfileView:
    profile_id = rows[0].profile_id
    purposes = {
        row.purpose: ReadablePurpose(_day(row.since), None if row.until is None else _day(row.until)) for row in rows
    }
    computed = computed_of(tx, compile_traits(context.policy, bits_of(tx)), [profile_id], now=now)[profile_id]
    return ReaderProfileView(
        profile=profile,
        purposes=purposes,
        traits=_traits(tx, context, rows),
        computed_traits={
            key: written_trait(context, key, value)
            for key, value in sorted(computed.items())
            if context.policy.traits[key].purpose in purposes
        },
        segments=tuple(_segments(tx, context, profile_id, purposes=purposes, role=role, now=now)),
    )


def _segments(
    tx: Transaction, context: Context, profile_id: int, *, purposes: Collection[str], role: str, now: datetime
) -> Iterator[str]:
    """The segments of these purposes in which the profile is, as a list of their members shows it."""
    catalogue = catalogue_of(tx, context.policy)
    allowed = context.policy.purposes_read_by(role)
    for key in memberships_of(tx, [profile_id]).get(profile_id, ()):
        segment = find(tx, key)
        if segment is None or segment.purpose not in purposes or key not in catalogue.segments:
            continue
        condition = catalogue.segments[key].condition
        needed = purposes_of(condition, segment.purpose, catalogue)
        is_valid = not check(condition, catalogue, segment.purpose, key=key)
        if is_valid and allowed.issuperset(needed) and is_member(tx, segment, needed, profile_id=profile_id, now=now):
            yield key


def _day(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _traits(tx: Transaction, context: Context, rows: Sequence[ReaderRow]) -> dict[str, Any]:
    plans = context.policy.events.traits
    values = {name: value for row in rows for name, value in row.traits.items() if name in plans}
    with_vocabulary = {name for name in values if plans[name].vocabulary is not None}
    texts = texts_of(tx, {values[name] for name in with_vocabulary if isinstance(values[name], int)})
    return {
        name: texts[value].text
        if name in with_vocabulary and value in texts
        else written_value(value, is_instant=plans[name].type is PropertyType.INSTANT)
        for name, value in sorted(values.items())
    }
