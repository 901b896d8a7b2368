"""Random histories of acts, many at a time: as values, and as rows of a store that decides about all of them at once.

Each history is decided twice for each purpose, after some of its acts and after all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final

from cdp.consent.model import EVERY_PURPOSE, STATED_ACTS, Act, Authority, Record, RecordId, VerdictFacts
from cdp.consent.store import records as record_store
from cdp.kit.db import Transaction
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from cdp.sources.store.sources import add_source
from tests.spec.consent.acts import day
from tests.support.every_basis import ALL, Basis, policy_of, purpose_fields
from tests.support.people import CALIFORNIA, SHOP, WEB
from tests.support.policies import documents_of

SOURCES: Final = (WEB, SHOP, CALIFORNIA)
MIXED: Final = "mixed"
"""A purpose that is opt-in in one jurisdiction and opt-out in the other; its validity was made shorter on `SHORTENED_ON`."""
SOLD: Final = "sold"
"""A sale of data for direct marketing, opt-in or opt-out as `MIXED`."""
SHORTENED_ON: Final = day(4)
VALID_FOR: Final = timedelta(days=3)
_AUTHORITIES: Final = tuple(Authority)
_JURISDICTIONS: Final = ("eu", "us-ca")
_TYPES: Final = ("user_id", "anonymous_id", "anonymous_id", "shared")


def policy_of_pairs() -> Policy:
    """A purpose for each basis, and two whose model depends on the jurisdiction; nobody has to wait to be asked again."""
    documents = documents_of(policy_of(ALL))
    mixed = {"model": {"eu": "opt_in", "us-ca": "opt_out", "unknown": "opt_in"}}
    documents["purposes.yaml"]["purposes"] |= {
        MIXED: purpose_fields(Basis.OPT_IN) | mixed,
        SOLD: purpose_fields(Basis.SALE_OR_SHARING) | mixed | {"direct_marketing": True},
    }
    for regime in documents["jurisdictions.yaml"]["regimes"].values():
        regime.pop("ask_again_after_months", None)
    return build_policy(documents)


@dataclass(frozen=True, slots=True)
class History:
    """What is recorded about one profile: its identifiers by id and type, its source, and its acts in two parts."""

    profile_id: int
    identifiers: tuple[tuple[int, str], ...]
    source_number: int
    is_quarantined: bool
    first: tuple[Record, ...]
    second: tuple[Record, ...]

    @property
    def facts(self) -> VerdictFacts:
        return VerdictFacts(
            jurisdictions=frozenset({SOURCES[self.source_number].jurisdiction}),
            has_unique_identifier=any(type_ == "user_id" for _, type_ in self.identifiers),
            is_quarantined=self.is_quarantined,
        )


@dataclass(slots=True)
class Histories:
    """Draws histories; ids are numbered over all of them."""

    random: Random
    purposes: Sequence[str]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def draw(self, how_many: int) -> list[History]:
        return [self._history() for _ in range(how_many)]

    def _history(self) -> History:
        random = self.random
        types = random.sample(_TYPES, random.randint(1, 3))
        identifiers = tuple((next(self.numbers), type_) for type_ in types)
        return History(
            next(self.numbers),
            identifiers,
            random.randrange(len(SOURCES)),
            random.random() < 0.02,
            tuple(self._acts(identifiers, 0, 8)),
            tuple(self._acts(identifiers, 11, 16)),
        )

    def _acts(self, identifiers: Sequence[tuple[int, str]], first_day: int, last_day: int) -> Iterator[Record]:
        random = self.random
        for purpose in self.purposes:
            for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
                yield self._act(purpose, random.choice(identifiers), random.randint(first_day, last_day))
        if random.random() < 0.04:
            yield self._restriction(random.choice(identifiers), random.randint(first_day, last_day))

    def _act(self, purpose: str, on: tuple[int, str], recorded_on: int) -> Record:
        random = self.random
        act = random.choice(STATED_ACTS)
        is_grant = act is Act.GRANT
        occurred = day(recorded_on - random.choice((0, 0, 0, 1, 4, -1)))
        recorded = day(recorded_on)
        at = min(occurred, recorded)
        record = Record(
            RecordId(next(self.numbers)),
            on[0],
            purpose,
            act,
            random.choice(_AUTHORITIES),
            random.choice(_JURISDICTIONS),
            occurred,
            recorded,
            b"",
            valid_until=at + timedelta(days=random.randint(0, 8)) if is_grant and random.random() < 0.4 else None,
            signal="gpc" if not is_grant and random.random() < 0.3 else None,
            source_id=int(random.choice(SOURCES).source_id),
            is_two_step=is_grant and random.random() < 0.5,
            is_undated=is_grant and random.random() < 0.15,
            is_shared=on[1] == "shared",
            repeated_at=at + timedelta(days=random.randint(1, 3)) if not is_grant and random.random() < 0.2 else None,
        )
        if is_grant and purpose == MIXED:
            return replace(record, shortened_to=max(at + VALID_FOR, SHORTENED_ON))
        return record

    def _restriction(self, on: tuple[int, str], recorded_on: int) -> Record:
        random = self.random
        about = random.choice((EVERY_PURPOSE, *self.purposes))
        act = random.choice((Act.RESTRICT, Act.RESTRICT, Act.RELEASE))
        at = day(recorded_on)
        number = RecordId(next(self.numbers))
        return Record(number, on[0], about, act, Authority.AUTHENTICATED, "unknown", at, at, b"")


def prepare(tx: Transaction, now: datetime) -> None:
    """Register the sources, and shorten the validity of `MIXED`."""
    for source in SOURCES:
        add_source(tx, source, source.name.encode().ljust(32), now=now)
    tx.execute(
        "INSERT INTO consent.validity (purpose, applied_at, validity_days) VALUES (%(purpose)s, %(at)s, %(days)s)",
        {"purpose": MIXED, "at": SHORTENED_ON, "days": VALID_FOR.days},
    )


def write_people(tx: Transaction, histories: Sequence[History]) -> None:
    """The profiles and identifiers of these histories, each with one anchor; a shared identifier has no owner."""
    now = day(-3)

    def copy(table: str, columns: dict[str, str], rows: Iterator[tuple[Any, ...]]) -> None:
        tx.copy(f"identity.{table}", list(columns), list(columns.values()), rows=rows)

    every = [(history, *named) for history in histories for named in history.identifiers]
    copy(
        "identifier",
        {"identifier_id": "int8", "type": "text", "pseudonym": "bytea", "pseudonym_version": "int2", "sealed": "bytea",
         "is_shared": "bool", "first_seen_at": "timestamptz", "last_seen_on": "date"},
        (
            (id_, "anonymous_id" if type_ == "shared" else type_, id_.to_bytes(32), 1, b"x" * 32, type_ == "shared", now, now.date())
            for _, id_, type_ in every
        ),
    )  # fmt: skip
    copy(
        "profile",
        {"profile_id": "int8", "origin_sequence": "int8", "created_at": "timestamptz", "is_quarantined": "bool"},
        ((one.profile_id, one.profile_id, now, one.is_quarantined) for one in histories),
    )
    copy(
        "anchor",
        {"anchor_id": "int8", "members_digest": "bytea", "created_at": "timestamptz", "is_settled": "bool"},
        ((one.profile_id, one.profile_id.to_bytes(32), now, True) for one in histories),
    )
    copy(
        "anchor_member",
        {"anchor_id": "int8", "identifier_id": "int8", "position": "int2"},
        ((one.profile_id, id_, at) for one in histories for at, (id_, _) in enumerate(one.identifiers)),
    )
    copy(
        "anchor_source",
        {"anchor_id": "int8", "source_id": "int4"},
        ((one.profile_id, int(SOURCES[one.source_number].source_id)) for one in histories),
    )
    copy(
        "canonical",
        {"anchor_id": "int8", "profile_id": "int8"},
        ((one.profile_id, one.profile_id) for one in histories),
    )
    copy(
        "link",
        {"identifier_id": "int8", "profile_id": "int8", "linked_at": "timestamptz"},
        ((id_, one.profile_id, now) for one, id_, type_ in every if type_ != "shared"),
    )


def write_acts(tx: Transaction, records: Sequence[Record]) -> None:
    """Append acts and their repetitions to the ledger."""
    record_store.append(tx, records)
    record_store.append_repetitions(tx, records, now=max(record.recorded_at for record in records))
