"""Policies as text: their consequences in numbers, their files, and the record of processing. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import yaml
from pydantic import JsonValue

from cdp.flows.operations.policy_effects import Effect, Impact
from cdp.kit.wording import counted
from cdp.policy.controller import JOINT_CONTROLLER, NOT_NAMED, PROTECTION_OFFICER, REPRESENTATIVE, Party
from cdp.policy.diff import PolicyDifference
from cdp.policy.processing_record import Period, ProcessingRecord, PurposeRecord

_EFFECTS = {
    Effect.EXCLUDE: "no longer used",
    Effect.SHORTEN: "permitted for less time",
    Effect.DELETE: "deleted",
    Effect.REVEAL: "becomes readable",
    Effect.PERMIT: "becomes eligible",
    Effect.ENTER: "enters the segment",
    Effect.LEAVE: "leaves the segment",
    Effect.UNKNOWN: "not known",
}


def difference_rows(changes: Sequence[PolicyDifference]) -> list[tuple[str, str, str, str]]:
    """File, what, change and effect of each difference."""
    return [
        (change.file, ".".join(change.path), change.change.value, change.effect or change.text) for change in changes
    ]


def impact_rows(impacts: Sequence[Impact]) -> list[tuple[str, str, int, str, str]]:
    """Effect, what, number, scope and examples of each number."""
    return [
        (
            _EFFECTS[impact.effect],
            impact.what,
            impact.number,
            impact.scope if impact.purpose is None else f"{impact.scope} ({impact.purpose})",
            ", ".join(impact.examples),
        )
        for impact in impacts
    ]


def policy_files(documents: Mapping[str, JsonValue]) -> dict[str, str]:
    """The text of each file; without comments, which have no effect and are not stored."""
    return {
        file: yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
        for file, content in documents.items()
    }


def record_lines(record: ProcessingRecord) -> Iterator[str]:
    """The record of processing as Markdown."""
    yield "# Record of processing activities (GDPR Art. 30(1))"
    yield ""
    yield f"Derived from the policy with the fingerprint `{record.fingerprint}`."
    yield "The policy does not state transfers to third countries (e) and organizational measures (g). Add them to this record."
    yield ""
    yield from _responsible_lines(record.responsible)
    for purpose in record.purposes:
        yield ""
        yield from _purpose_lines(purpose)
    yield ""
    yield "## All activities"
    yield ""
    yield f"- Identifiers: {_listed(record.identifiers)}"
    yield f"- Encrypted, and not available to segments: {_listed(record.sealed)}"
    for period in record.periods:
        yield f"- Time limit for {_period(period)}"
    yield f"- Messages that wait for an answer: {_deferral(record)}"
    for regime, authority in record.regimes.items():
        yield f"- Complaints under {regime}: {authority}"
    yield (
        "- Technical measures of the store: identifiers are keyed hashes, contents are encrypted under a key of each person "
        "that is destroyed with an erasure, and every read is logged by purpose."
    )


def _deferral(record: ProcessingRecord) -> str:
    """Which sources defer, for how long and how much."""
    if record.deferring is None:
        return "not known; no store could be read (`cdp source list`)"
    if not record.deferring:
        return "none; no source defers"
    terms = record.deferral
    return (
        f"of {_listed(record.deferring)}; sealed under a key of the device that is destroyed with a refusal, an erasure or after "
        f"{counted(terms.hours, 'hour')}; at most {counted(terms.messages_max, 'message')} and {terms.kilobytes_max:,} kB of a device and source, "
        f"and {counted(terms.source_messages_max, 'message')} and {terms.source_kilobytes_max:,} kB of a source; used only once the device consents"
    )


def _responsible_lines(responsible: Sequence[Party]) -> Iterator[str]:
    yield "## Who is responsible"
    yield ""
    if not responsible:
        yield f"{NOT_NAMED} Art. 30(1)(a) requires it and, where they exist, its representative and data protection officer."
        return
    for party in responsible:
        yield f"- {_title(party.role)}: {party.details}"
    named = {party.role for party in responsible}
    for role in (JOINT_CONTROLLER, REPRESENTATIVE, PROTECTION_OFFICER):
        if role not in named:
            yield f"- {_title(role)}: none named"


def _title(role: str) -> str:
    return role[0].upper() + role[1:]


def _purpose_lines(purpose: PurposeRecord) -> Iterator[str]:
    yield f"## {purpose.name} (`{purpose.key}`)"
    yield ""
    yield purpose.text
    yield ""
    yield f"- Legal basis: {_words(purpose.legal_basis)}" + (
        f"; balancing test: {purpose.assessment}" if purpose.assessment else ""
    )
    if purpose.models:
        models = [f"{jurisdiction} {_words(model)}" for jurisdiction, model in purpose.models.items()]
        yield f"- Consent: {_listed(models)}" + (
            f"; expires after {counted(purpose.validity_days, 'day')}" if purpose.validity_days else ""
        )
    if purpose.combines_with:
        yield f"- Combined, for people who are permitted for both, with: {_listed(purpose.combines_with)}"
    if purpose.minimum_age is not None:
        yield f"- Data subjects: people of at least {counted(purpose.minimum_age, 'year')}"
    else:
        yield "- Data subjects: customers and visitors"
    if purpose.is_sale_or_sharing:
        yield "- A sale or sharing of personal information under California law"
    if purpose.is_direct_marketing:
        yield "- Direct marketing: an objection is always binding (Art. 21(2))"
    yield "- Categories of personal data:"
    for key, text in purpose.categories.items():
        yield f"  - `{key}`: {text}"
    yield f"- Events: {_listed(purpose.events)}"
    yield f"- Stated traits: {_listed(purpose.traits)}"
    yield f"- Computed traits: {_listed(purpose.computed_traits)}"
    if not purpose.recipients:
        yield "- Recipients: none"
    for recipient in purpose.recipients:
        state = "" if recipient.is_enabled else "; not enabled"
        yield f"- Recipient: {recipient.name} at {recipient.host} ({_listed(recipient.identifiers)}{state}). {recipient.text}"
    for period in purpose.periods:
        yield f"- Time limit for {_period(period)}"


def _period(period: Period) -> str:
    length = (
        "indefinitely"
        if period.keep_for_days is None
        else f"{counted(period.keep_for_days, 'day')}, then {period.after}"
    )
    return f"{period.kind}: {length}. {period.reason}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _words(key: str) -> str:
    return key.replace("_", " ")
