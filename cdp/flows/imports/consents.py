"""The consents that the rows of one message state. Pure."""

from dataclasses import replace
from datetime import datetime

from cdp.accounting.row_reasons import RowReason
from cdp.consent.model import Act
from cdp.consent.signals.model import ProposedAct, hash_of
from cdp.flows.imports.cells import InvalidRow, text_of
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.origin import RowOrigin
from cdp.flows.imports.parts import ConsentColumn, When
from cdp.flows.imports.values import Lines, Values


class RowConsents:
    """Reads consents by the rules of a mapping, each with the authority and the signal of its origin."""

    def __init__(self, mapping: Mapping, values: Values, origin: RowOrigin) -> None:
        self._origin = origin
        self._rules = mapping.consents
        self._timestamp = mapping.timestamp
        self._values = values
        self._answers = {purpose: _answers_of(rule) for purpose, rule in mapping.consents.items()}
        self._ignored = {
            purpose: frozenset(text.casefold() for text in rule.ignore) for purpose, rule in mapping.consents.items()
        }

    def of(self, lines: Lines, now: datetime) -> tuple[tuple[ProposedAct, ...], InvalidRow | None]:
        """The consents, and why the message is invalid if one is not as declared; the others still count.

        Where rows of one message differ about a purpose, the refusal counts. A refusal counts also where its time cannot
        be read, as of `now`; a grant does not.
        """
        acts: dict[str, ProposedAct] = {}
        wrong = None
        for purpose, rule in self._rules.items():
            for line in lines if rule.column is not None else lines[:1]:
                try:
                    act, invalid = self._act(purpose, rule, (line,), lines=lines, now=now)
                except InvalidRow as error:
                    wrong = error
                    continue
                wrong = invalid or wrong
                if act is not None and (purpose not in acts or act.act.is_refusal):
                    acts[purpose] = act
        return tuple(acts.values()), wrong

    def _act(
        self, purpose: str, rule: ConsentColumn, line: Lines, *, lines: Lines, now: datetime
    ) -> tuple[ProposedAct | None, InvalidRow | None]:
        raw = self._values.cell(rule.column, line) if rule.column is not None else rule.answer
        if raw is None:
            return None, None
        answer = text_of(raw).strip().casefold()
        if answer in self._ignored[purpose]:
            return None, None
        act = self._answers[purpose].get(answer)
        if act is None:
            raise InvalidRow(RowReason.CONSENT_NOT_MAPPED, rule.column)
        signal = self._origin.signal
        named = f"{signal}.column" if rule.column is not None else f"{signal}.value"
        proposed = ProposedAct(purpose, act, self._origin.authority, None, signal, hash_of([purpose, answer]), named)
        if rule.at is None and rule.valid_until is None:
            return self._dated_by_row(proposed, lines), None
        wrong = None
        at = until = None
        try:
            at = self._instant(rule.at, line, lines)
            until = self._instant(rule.valid_until, line, lines)
        except InvalidRow as invalid:
            if act is Act.GRANT:
                raise
            wrong = invalid
        if rule.at is None:
            proposed = self._dated_by_row(proposed, lines)
        else:
            proposed = replace(proposed, stated_at=at or now, is_undated=act is Act.GRANT and at is None)
        return replace(proposed, ends_at=until if act is Act.GRANT else None), wrong

    def _instant(self, when: When | None, line: Lines, lines: Lines) -> datetime | None:
        if when is None:
            return None
        found = self._values.instant(when, line)
        return found if found is not None else self._values.instant(when, lines)

    def _dated_by_row(self, act: ProposedAct, lines: Lines) -> ProposedAct:
        when = self._timestamp
        is_dated = when is not None and (when.column is None or self._values.cell(when.column, lines) is not None)
        return act if is_dated else replace(act, is_undated=act.act is Act.GRANT)


def _answers_of(rule: ConsentColumn) -> dict[str, Act]:
    granting = {text.casefold(): Act.GRANT for text in rule.grant}
    return granting | {text.casefold(): Act.REFUSE for text in rule.refuse}
