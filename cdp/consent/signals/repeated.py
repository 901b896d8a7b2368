"""Reading the signals of many messages: a browser states the same with every page, so what it means is computed once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.consent.signals.categories import PREFERENCE_EVENT, READERS
from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals, SignalMap, SignalProposal, SignalScope
from cdp.consent.signals.read import acts_of
from cdp.consent.signals.request import proposal_of
from cdp.kit.canonical import sha256

_PROPOSALS_MAX: Final = 4_096
_NOTHING: Final = SignalProposal()
_FIELDS: Final = tuple(dict.fromkeys(key for _, key, _ in READERS))

_Key = tuple[bytes | None, bool, bool, str]


@dataclass(frozen=True, slots=True)
class SignalReader:
    """`acts_of` under one signal map. It keeps the latest proposals by the SHA-256 of what was stated, not what was stated."""

    mapping: SignalMap
    _proposals: dict[_Key, SignalProposal] = field(default_factory=dict, repr=False)

    def read(
        self,
        body: Mapping[str, Any],
        *,
        has_gpc: bool,
        is_server: bool,
        jurisdiction: str,
        request: RequestSignals = NO_REQUEST_SIGNALS,
    ) -> SignalProposal:
        """The acts that a message proposes, as `acts_of` gives them."""
        stated = self._stated(body)
        proposal = _NOTHING
        if stated or has_gpc:
            proposal = self._proposed(stated, has_gpc=has_gpc, is_server=is_server, jurisdiction=jurisdiction)
        if request is NO_REQUEST_SIGNALS:
            return proposal
        return proposal.joined(proposal_of(request, SignalScope(self.mapping, jurisdiction, is_server)))

    def _stated(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """All of a message that states anything about consent; empty if nothing does."""
        stated: dict[str, Any] = {}
        context, event = body.get("context"), body.get("event")
        if isinstance(context, dict):
            fields = {key: context[key] for key in _FIELDS if key in context}
            if fields:
                stated["context"] = fields
        if isinstance(event, str) and (event == PREFERENCE_EVENT or event in self.mapping.events):
            stated |= {"event": event, "type": body.get("type")}
        return stated

    def _proposed(self, stated: dict[str, Any], *, has_gpc: bool, is_server: bool, jurisdiction: str) -> SignalProposal:
        try:
            digest = sha256(repr(stated).encode("utf-8", "surrogatepass"))
        except RecursionError:
            digest = None
        key = (digest, has_gpc, is_server, jurisdiction)
        proposal = None if digest is None else self._proposals.get(key)
        if proposal is None:
            proposal = acts_of(
                stated, has_gpc=has_gpc, is_server=is_server, jurisdiction=jurisdiction, mapping=self.mapping
            )
            if digest is not None:
                if len(self._proposals) >= _PROPOSALS_MAX:
                    del self._proposals[next(iter(self._proposals))]
                self._proposals[key] = proposal
        return proposal
