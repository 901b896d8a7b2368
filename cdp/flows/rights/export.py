"""An access export: every column that the data dictionary declares exportable, of one person and of nobody else."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cdp.behavior.store.terms import texts_of
from cdp.consent.store import projection as projection_store
from cdp.flows.context import Context
from cdp.flows.rights.export_rows import ExportLookups, export_rows, term_numbers_in
from cdp.flows.rights.person import find_person, values_by_id
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.policy.jurisdictions import Right
from cdp.policy.model import Policy
from cdp.rights import execute
from cdp.rights.archive import Archive, archive
from cdp.rights.model import Request, Scope
from cdp.rights.plan import Section, export_plan
from cdp.segments.store import texts as segment_text_store
from cdp.sources.store import sources as source_store

FORMAT: Final = "cdp/export@v1"
RIGHTS: Final[Mapping[Right, str]] = {
    Right.ACCESS: "To see what is held about you: this archive.",
    Right.PORTABILITY: "To take it elsewhere: the file for machines in this archive.",
    Right.ERASURE: "To have it erased, and to get a receipt that anybody can check.",
    Right.RECTIFICATION: "To have corrected what is wrong.",
    Right.RESTRICTION: "To have it kept but not used while a question is open.",
    Right.OBJECTION: "To object to a use that rests on our interests, and always to advertising.",
    Right.OPT_OUT: "To stop that it is sold or shared.",
    Right.LIMIT: "To limit what sensitive data is used for.",
}

Rows = list[Mapping[str, Any]]


def export_archive(tx: Transaction, context: Context, request: Request, *, now: datetime) -> Archive:
    """The ZIP of a request's export."""
    return archive(f"{request.outward_id}.zip", export_document(tx, context, request, now=now), now)


def export_document(tx: Transaction, context: Context, request: Request, *, now: datetime) -> dict[str, Any]:
    """The export as a JSON object; docs/reference/export.md describes it."""
    person = find_person(tx, context, request)
    scope = person.export_scope(request.request_id)
    plan = export_plan()
    found = {section.table: execute.rows_of(tx, section, scope) for section in plan}
    words = _lookups(tx, context, scope, found=found)
    return {
        "format": FORMAT,
        "made_at": instant_text(now),
        "request": {"id": request.outward_id, "kind": request.kind.value, "regime": request.regime},
        "about": [{"type": each.type, "value": each.value} for each in person.named],
        "purposes": _purposes(context.policy),
        "retention": _retention(context.policy),
        "sources": _sources(words, found),
        "recipients": _recipients(context.policy, found),
        "your_rights": _rights(context.policy, request.regime),
        "complain_to": _authority(context.policy, request.regime),
        "held_but_not_shown": _not_shown(plan, len(person.reach.waiting)),
        "data": {section.table: export_rows(words, section, found[section.table]) for section in plan},
    }


def _lookups(tx: Transaction, context: Context, scope: Scope, *, found: Mapping[str, Rows]) -> ExportLookups:
    """Everything by which numbers and sealed bytes become words."""
    named = values_by_id(tx, context, scope.identifiers)
    return ExportLookups(
        policy=context.policy,
        vault=context.vault,
        keys=context.vault.subject_keys.keys_for(tx, scope.subjects),
        terms=texts_of(tx, term_numbers_in(found)),
        vocabularies=context.vocabularies,
        sources={int(each.source.source_id): each.source.name for each in source_store.sources(tx)},
        masks=projection_store.bits_of(tx),
        segments=segment_text_store.segment_texts(
            tx, {row["key"] for row in found.get("segments.membership_change", ())}
        ),
        identifiers={id_: {"type": each.type, "value": each.value} for id_, each in named.items()},
    )


def _purposes(policy: Policy) -> Rows:
    return [
        {"purpose": each.key, "name": each.name, "text": each.text, "legal_basis": each.legal_basis.value}
        for each in policy.purposes.values()
    ]


def _rights(policy: Policy, regime: str) -> Rows:
    """What the regime of the request lets a person ask for (GDPR Art. 15(1)(e) and (f), CCPA § 7024)."""
    found = policy.jurisdictions.regimes.get(regime)
    return [{"right": each.value, "text": RIGHTS[each]} for each in (found.rights if found else Right)]


def _authority(policy: Policy, regime: str) -> str:
    """Where the person may complain; empty when the regime has left the policy since the request came in."""
    found = policy.jurisdictions.regimes.get(regime)
    return found.authority if found else ""


def _retention(policy: Policy) -> Rows:
    rules = policy.retention
    classes: Rows = [
        {"what": f"events of class {each.key}", "keep_for_days": each.keep_for_days, "reason": each.reason}
        for each in rules.classes.values()
    ]
    kinds = {
        "traits": rules.traits,
        "identifiers": rules.identifiers,
        "consent records": rules.consent_records,
        "requests": rules.requests,
        "memberships": rules.memberships,
        "deliveries": rules.deliveries,
    }
    return classes + [
        {"what": what, "keep_for_days": rule.keep_for_days, "reason": rule.reason} for what, rule in kinds.items()
    ]


def _sources(words: ExportLookups, found: Mapping[str, Rows]) -> Rows:
    ids = {row["source_id"] for row in found["identity.anchor_source"]}
    return [{"source": name} for name in sorted(words.sources[each] for each in ids if each in words.sources)]


def _recipients(policy: Policy, found: Mapping[str, Rows]) -> Rows:
    keys = sorted({row["destination"] for row in found["destinations.outbox"]})
    known = policy.destinations.destinations
    return [
        {"recipient": known[key].name if key in known else key, "text": known[key].text if key in known else ""}
        for key in keys
    ]


def _not_shown(plan: tuple[Section, ...], waiting: int) -> Rows:
    """Each column that says something about the person and is not in the data, with the reason."""
    rows: Rows = [
        {"what": f"{section.table}.{column}", "reason": reason} for section in plan for column, reason in section.hidden
    ]
    if waiting:
        rows.append(
            {
                "what": f"{waiting} more identifiers, and what came with them",
                "reason": "only a browser linked them with the person; a reviewer decides whether they are the same",
            }
        )
    return rows
