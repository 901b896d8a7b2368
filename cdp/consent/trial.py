"""Signals tried against a policy: what they contain, which acts they propose, and the verdicts. Pure; nothing is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

from cdp.consent.decide import decide
from cdp.consent.ledger import Ledger, SignalContext
from cdp.consent.model import Record, Verdict, VerdictFacts
from cdp.consent.signals.decoded import DecodedSignal, decoded_signals
from cdp.consent.signals.model import RequestSignals, SignalProposal, SignalScope, signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.policy.model import Policy

_DEVICE: Final = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """The signals with their fields, the acts that they propose, and the verdicts about a device of which nothing else is known."""

    signals: tuple[DecodedSignal, ...]
    proposal: SignalProposal
    verdicts: Mapping[str, Verdict]


def try_signals(
    policy: Policy,
    body: Mapping[str, Any],
    *,
    has_gpc: bool,
    request: RequestSignals,
    jurisdiction: str,
    is_server: bool,
    now: datetime,
) -> Trial:
    """What a message would do that arrives now with these signals, from a source of this kind and jurisdiction."""
    mapping = signal_map_of(policy)
    proposal = acts_of(
        body, has_gpc=has_gpc, is_server=is_server, jurisdiction=jurisdiction, mapping=mapping, request=request
    )
    records = _records(policy, proposal, SignalContext(jurisdiction, 0, now, now, bytes.fromhex(policy.fingerprint)))
    facts = VerdictFacts(jurisdictions=frozenset({jurisdiction}), ask_again_after_months=policy.ask_again_after_months)
    return Trial(
        tuple(
            decoded_signals(body, has_gpc=has_gpc, request=request, scope=SignalScope(mapping, jurisdiction, is_server))
        ),
        proposal,
        {key: decide(records, purpose, facts, now=now) for key, purpose in policy.purposes.items()},
    )


def _records(policy: Policy, proposal: SignalProposal, context: SignalContext) -> list[Record]:
    numbers = count(1)
    ledger = Ledger((), lambda: next(numbers))
    for act in proposal.acts:
        draft = ledger.draft(act, _DEVICE, context, rule=policy.purposes[act.purpose])
        if draft is not None:
            ledger.add(draft)
    return ledger.added
