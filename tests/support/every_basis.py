"""One purpose for each basis that a policy can have, and a store with people who are permitted and people who are not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from cdp.behavior.traits import TraitPlan, compile_traits
from cdp.consent.model import Act
from cdp.consent.store.projection import bits_of
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.context import Context
from cdp.flows.identifiers import find_profile
from cdp.flows.segments import definitions, memberships
from cdp.identity.model import Identifier
from cdp.identity.store.consent_subjects import anchors_of
from cdp.kit.db import Database, Transaction
from cdp.policy.load import build_policy
from cdp.policy.model import ConsentModel, LegalBasis, Policy
from cdp.postgres.server import EmbeddedPostgres
from cdp.segments.model import Draft, SegmentKey
from tests.support.databases import temporary_database, undone
from tests.support.messages import consent_context, identify, order
from tests.support.policies import documents_of, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline


class Basis(StrEnum):
    """What permits or refuses a purpose; the value is also the key of its purpose in `policy_of_every_basis`."""

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"
    SALE_OR_SHARING = "sale_or_sharing"
    LEGITIMATE_INTERESTS = "legitimate_interests"
    DIRECT_MARKETING = "direct_marketing"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"


ALL: Final = tuple(Basis)
LISTED: Final = (Basis.CONTRACT, Basis.LEGAL_OBLIGATION, Basis.VITAL_INTERESTS, Basis.PUBLIC_TASK)
"""Bases that nobody can refuse, and that cover only people known by a unique identifier."""
REFUSABLE: Final = tuple(basis for basis in ALL if basis not in LISTED)
GRANTED: Final = (Basis.OPT_IN, Basis.OPT_OUT, Basis.SALE_OR_SHARING)
"""Bases of which a grant has an end."""
LEGAL_BASES: Final = {
    Basis.OPT_IN: (LegalBasis.CONSENT, ConsentModel.OPT_IN),
    Basis.OPT_OUT: (LegalBasis.CONSENT, ConsentModel.OPT_OUT),
    Basis.SALE_OR_SHARING: (LegalBasis.CONSENT, ConsentModel.OPT_OUT),
    Basis.LEGITIMATE_INTERESTS: (LegalBasis.LEGITIMATE_INTERESTS, None),
    Basis.DIRECT_MARKETING: (LegalBasis.LEGITIMATE_INTERESTS, None),
    Basis.CONTRACT: (LegalBasis.CONTRACT, None),
    Basis.LEGAL_OBLIGATION: (LegalBasis.LEGAL_OBLIGATION, None),
    Basis.VITAL_INTERESTS: (LegalBasis.VITAL_INTERESTS, None),
    Basis.PUBLIC_TASK: (LegalBasis.PUBLIC_TASK, None),
}

EVENT: Final = "Order Completed"
NOT_ALLOWED: Final = "age"
"""A stated trait of a category that no purpose allows."""
AGENCY: Final = "agency"
"""A further role of readers, which reads every purpose."""
REFUSALS: Final = {
    Basis.OPT_IN: Act.WITHDRAW,
    Basis.OPT_OUT: Act.REFUSE,
    Basis.SALE_OR_SHARING: Act.REFUSE,
    Basis.LEGITIMATE_INTERESTS: Act.OBJECT,
    Basis.DIRECT_MARKETING: Act.OBJECT,
}


def purpose_fields(basis: Basis) -> dict[str, Any]:
    """The purpose of a basis, as a policy states it."""
    legal, model = LEGAL_BASES[basis]
    fields: dict[str, Any] = {
        "name": basis.value,
        "text": "For tests only.",
        "legal_basis": legal.value,
        "categories": ["user.unique_id", "user.account", "user.location", "user.behavior", "user.privacy_preferences"],
        "data_use": "analytics",
    }
    if model is not None:
        fields["model"] = dict.fromkeys(("eu", "us-ca", "unknown"), model.value)
    if legal is LegalBasis.LEGITIMATE_INTERESTS:
        fields["assessment"] = "for tests"
    if basis in LISTED:
        fields["events"] = [EVENT]
    fields["sale_or_sharing"] = basis is Basis.SALE_OR_SHARING
    fields["direct_marketing"] = basis is Basis.DIRECT_MARKETING
    return fields


@cache
def policy_of(bases: tuple[Basis, ...], *, readable: tuple[LegalBasis, ...] = tuple(LegalBasis)) -> Policy:
    """The shipped policy with one purpose and one computed trait for each of these bases; marketers read `readable`."""
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"] = {basis.value: purpose_fields(basis) for basis in bases}
    documents["traits.yaml"]["traits"] = {
        f"{basis}_orders": {
            "text": "Orders",
            "purpose": basis.value,
            "kind": "count",
            "event": EVENT,
            "category": "user.behavior.purchase_history",
        }
        for basis in bases
    }
    for event in documents["events.yaml"]["events"].values():
        event.pop("refuses", None)
    named = sorted(basis.value for basis in readable)
    documents["readers.yaml"] = {"roles": {role: {"legal_bases": named} for role in ("marketer", AGENCY)}}
    documents["destinations.yaml"] = {}
    return build_policy({file: content for file, content in documents.items() if not file.startswith("segments/")})


@dataclass(slots=True)
class Everybody:
    """People who are permitted for every purpose (`open`), and for each basis one who is not, but for others."""

    rights: RequestPipeline

    @property
    def context(self) -> Context:
        return self.rights.context

    @property
    def database(self) -> Database:
        return self.rights.context.database

    def plan(self, tx: Transaction) -> TraitPlan:
        return compile_traits(self.context.policy, bits_of(tx))

    def open(self, tx: Transaction) -> int:
        """The profile that is permitted for everything."""
        return self._profile(tx, ("user_id", "open"))

    def closed(self, tx: Transaction, basis: Basis) -> int:
        """A profile that is not permitted for the purpose of a basis, but for others."""
        return self._profile(tx, closed_identifier(basis))

    def mask(self, tx: Transaction, basis: Basis) -> int:
        """The bit of the purpose of a basis."""
        return bits_of(tx)[basis]

    def permit_from(self, tx: Transaction, profile_id: int, basis: Basis, since: datetime) -> None:
        """Let a permission begin at another instant, as if it had ended and begun again."""
        tx.execute(
            "UPDATE consent.permitted SET since = %(since)s WHERE profile_id = %(id)s AND purpose = %(purpose)s",
            {"id": profile_id, "purpose": basis.value, "since": since},
        )

    def permit_until(self, tx: Transaction, profile_id: int, basis: Basis, until: datetime) -> None:
        """Let a permission end at an instant; no worker has removed it then."""
        tx.execute(
            "UPDATE consent.permitted SET until = %(until)s WHERE profile_id = %(id)s AND purpose = %(purpose)s",
            {"id": profile_id, "purpose": basis.value, "until": until},
        )

    def set_bits(self, tx: Transaction, profile_id: int, basis: Basis, *, has_bit: bool) -> None:
        """Give all events and stated traits of a profile the bit of a purpose, or take it."""
        params = {"anchors": self.anchors(tx, profile_id), "mask": self.mask(tx, basis), "has": has_bit}
        for table in ("event", "trait"):
            tx.execute(
                sql.SQL(
                    "UPDATE {} SET bits = CASE WHEN %(has)s THEN bits | %(mask)s ELSE bits & ~%(mask)s::bigint END "
                    "WHERE anchor_id = ANY(%(anchors)s::bigint[])"
                ).format(sql.Identifier("behavior", table)),
                params,
            )

    def purposes_of_events(self, tx: Transaction, profile_id: int) -> list[set[str]]:
        """The purposes of each event of a profile, in order of time."""
        masks = bits_of(tx)
        rows = tx.execute(
            "SELECT bits FROM behavior.event WHERE anchor_id = ANY(%(anchors)s::bigint[]) ORDER BY received_at",
            {"anchors": self.anchors(tx, profile_id)},
        )
        return [{purpose for purpose, mask in masks.items() if bits & mask} for (bits,) in rows]

    def anchors(self, tx: Transaction, profile_id: int) -> list[int]:
        return list(anchors_of(tx, [profile_id])[profile_id])

    def _profile(self, tx: Transaction, identifier: tuple[str, str]) -> int:
        found = find_profile(tx, self.context.vault, Identifier(*identifier))[1]
        assert found is not None
        return found

    def undone(self) -> AbstractContextManager[Transaction]:
        """A transaction of which nothing stays."""
        return undone(self.database)


def closed_identifier(basis: Basis) -> tuple[str, str]:
    """Who is not permitted: a person who refused, or where nobody can refuse, one without a unique identifier."""
    return ("anonymous_id", "closed-device") if basis in LISTED else ("user_id", f"closed-{basis}")


def named(identifier: tuple[str, str]) -> dict[str, str]:
    """An identifier as the fields of a message."""
    return {{"user_id": "userId", "anonymous_id": "anonymousId"}[identifier[0]]: identifier[1]}


@contextmanager
def everybody_in(server: EmbeddedPostgres, template: str, folder: Path) -> Iterator[Everybody]:
    """The store of `everybody` in a database of its own, until the block ends."""
    with temporary_database(server, template) as url:
        database = Database(url)
        try:
            yield everybody(database, folder)
        finally:
            database.close()


def everybody(database: Database, folder: Path) -> Everybody:
    """A store under `policy_of` all bases: everybody is identified, orders, answers and orders again; no worker ran.

    For each basis there is a segment of everybody, with its members from before the answers.
    """
    rights = open_request_pipeline(database, policy_of(ALL), folder)
    people = [("user_id", "open"), *dict.fromkeys(closed_identifier(basis) for basis in ALL)]
    send: Callable[..., Any] = rights.pipeline.send
    consent = consent_context(opt_in=True)
    send(*(identify(**named(person), traits={"country": "DE", "age": 40}, context=consent) for person in people))
    rights.later(hours=1)
    send(*(order(**named(person)) for person in people))
    rights.later(hours=1)
    for basis in ALL:
        draft = Draft(SegmentKey(f"of_{basis}"), f"of_{basis}", basis.value, "marketer")
        definitions.define(rights.context, draft, 'sample 100% by "x"', is_new=True, actor="marketer")
        memberships.refresh(rights.context, f"of_{basis}")
    rights.later(hours=1)
    for basis in REFUSABLE:
        refuse(rights.context, basis)
    rights.later(hours=1)
    send(*(order(**named(person)) for person in people))
    rights.later(hours=1)
    return Everybody(rights)


def refuse(context: Context, basis: Basis, identifier: tuple[str, str] | None = None) -> None:
    """Let a person refuse the purpose of a basis."""
    who = identifier or closed_identifier(basis)
    record(context, ConsentStatement(who, basis.value, REFUSALS[basis].value, "authenticated"))
