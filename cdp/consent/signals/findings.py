"""What is found of signals while a message or a request is read."""

from collections.abc import Iterable, Mapping
from typing import Any

from cdp.consent.signals.categories import Answers, category_acts
from cdp.consent.signals.iab import READ, STRINGS
from cdp.consent.signals.model import ProposedAct, SignalProposal, SignalScope


class SignalFindings:
    """Acts, and the signals that were unreadable or have parts that the policy does not map, of one message or request.

    An act that two signals of one kind propose counts once; acts that differ are all kept.
    """

    def __init__(self, scope: SignalScope) -> None:
        self._scope = scope
        self._acts: dict[tuple[str, str, object], ProposedAct] = {}
        self._malformed: dict[str, None] = {}
        self._unknown: dict[str, None] = {}

    def add(self, acts: Iterable[ProposedAct]) -> None:
        """Add acts."""
        for act in acts:
            self._acts.setdefault((act.signal, act.purpose, act.act), act)

    def add_answers(self, signal: str, raw: Any, answers: Answers | None, *, names_of: str | None = None) -> None:
        """Add what answers by category mean; None if they could not be read. See `category_acts`."""
        if answers is None or None in answers.values():
            self._malformed[signal] = None
        if answers and not self._scope.mapping.known[names_of or signal].issuperset(answers):
            self._unknown[signal] = None
        if answers is None or answers:
            self.add(category_acts(signal, raw, answers, scope=self._scope, names_of=names_of))

    def add_strings(self, consent: Mapping[str, Any]) -> None:
        """Add what the strings of the IAB in `context.consent` mean."""
        for key, signal in STRINGS.items():
            if consent.get(key) is not None:
                self.add_string(signal, consent[key])

    def add_string(self, signal: str, raw: object) -> None:
        """Add what one string of the IAB means."""
        read = READ[signal](raw, self._scope)
        self.add(read.acts)
        self._malformed.update(dict.fromkeys(read.malformed))
        self._unknown.update(dict.fromkeys(read.unknown))

    def proposal(self) -> SignalProposal:
        """Everything that was found."""
        return SignalProposal(tuple(self._acts.values()), tuple(self._malformed), tuple(self._unknown))
