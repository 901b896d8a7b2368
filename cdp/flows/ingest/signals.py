"""The consent records that one message would add to the ledger. Pure."""

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from cdp.consent.decide import restrictions_in_force
from cdp.consent.ledger import Ledger, SignalContext
from cdp.consent.model import Act, Authority, Record
from cdp.consent.signals.model import ProposedAct, hash_of
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import IdentifiedMessage
from cdp.identity.resolve import World
from cdp.identity.store.generation import Lock
from cdp.sources.model import Source, SourceKind
from cdp.wire.message import Message
from cdp.wire.timestamps import is_own_clock

KEPT: Final = "kept_by_pseudonym"
"""The signal and the rule of an opt-out that was kept by pseudonym alone."""


def records_of_message(
    plan: IngestPlan, ledger: Ledger, world: World, *, message: IdentifiedMessage, lock: Lock
) -> list[Record]:
    """The message's signals as records for each identifier that they apply to, unless equal ones are in force.

    Opt-outs that were kept by pseudonym alone come with them: they enter the ledger when their identifier appears.
    A browser speaks for its device and for whom it says that it is logged in, never for an address that it names:
    anybody can name any address.
    """
    if message.screened.cached is not None:
        return []
    kept = [
        (identifier_id, act)
        for identifier_id, hashed in zip(message.members, message.screened.hashed, strict=True)
        for act in kept_acts(
            ledger.of(identifier_id),
            refused=hashed.refused_purposes,
            restricted=hashed.restricted_purposes,
            released=hashed.released_purposes,
            now=lock.now,
        )
    ]
    acts = message.read.signals.acts
    if not acts and not kept:
        return []
    sent = message.read.message
    context = SignalContext(
        jurisdiction=sent.source.jurisdiction,
        source_id=int(sent.source.source_id),
        occurred_at=sent.occurred_at,
        recorded_at=lock.now,
        policy_fingerprint=plan.fingerprint,
    )
    members = stating(plan, sent.source, ((member, world.types[member]) for member in message.members))
    proposed = [(identifier_id, act) for act in acts for identifier_id in act.among(members)]
    refused = replace(context, occurred_at=_refused_at(sent, lock.acted_at))
    of_device = (
        replace(refused, occurred_at=max(sent.received_at, lock.acted_at)) if is_own_clock(sent.body) else refused
    )

    def stated(act: ProposedAct) -> SignalContext:
        """When an act was stated: a restriction and its end now, a refusal never before what was recorded until it came."""
        if act.act.is_of_restriction:
            return replace(context, occurred_at=lock.now)
        if not act.act.is_refusal:
            return context
        return of_device if act.authority.rank == 0 else refused

    refused_here = {act.purpose for act in acts if act.act.is_refusal}
    drafts = (
        ledger.draft(
            act,
            identifier_id,
            stated(act),
            rule=plan.policy.purposes[act.purpose],
            is_contradicted=act.act is Act.GRANT and act.purpose in refused_here,
        )
        for identifier_id, act in (*proposed, *kept)
    )
    return [draft for draft in drafts if draft is not None]


def stating(plan: IngestPlan, source: Source, members: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """The identifiers of a message, with their types, about which its source may state anything."""
    guarded = plan.rules.guarded if source.kind is SourceKind.BROWSER else frozenset[str]()
    return [(member, type_) for member, type_ in members if type_ not in guarded]


def kept_acts(
    known: Collection[Record],
    *,
    refused: AbstractSet[str],
    restricted: AbstractSet[str],
    released: AbstractSet[str],
    now: datetime,
) -> Iterator[ProposedAct]:
    """What was kept of an identifier by pseudonym alone and its records do not say, and the end of such a restriction."""
    for purpose in refused - {record.purpose for record in known if record.act.is_refusal}:
        yield kept_opt_out(purpose)
    of_restrictions = [record for record in known if record.act.is_of_restriction]
    in_force = restrictions_in_force(of_restrictions, now) if of_restrictions else []
    for purpose in restricted - {record.purpose for record in in_force}:
        yield _kept_act(purpose, Act.RESTRICT)
    for record in in_force:
        if record.signal == KEPT and record.purpose in released:
            yield _kept_act(record.purpose, Act.RELEASE)


def _refused_at(message: Message, acted_at: datetime) -> datetime:
    """When a refusal was stated: never before what was recorded until it arrived, unless the sender gives its time.

    A time that `sentAt` corrects is counted from the arrival, and so follows it.
    """
    late = acted_at - message.received_at
    is_given = message.occurred_at < message.received_at
    if late <= timedelta(0) or (is_given and (message.is_imported or is_own_clock(message.body))):
        return message.occurred_at
    return message.occurred_at + late


def kept_opt_out(purpose: str) -> ProposedAct:
    """An opt-out of which only pseudonym and purpose are left, with the highest authority."""
    return _kept_act(purpose, Act.REFUSE)


def _kept_act(purpose: str, act: Act) -> ProposedAct:
    return ProposedAct(purpose, act, Authority.AUTHENTICATED, None, KEPT, hash_of(purpose), KEPT)
