"""Steps of an access export: every column that the data dictionary declares exportable, for one person only."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.behavior.store.terms import texts_of
from cdp.consent.store import projection as projection_store
from cdp.flows.consent.receipt_steps import receipts_about
from cdp.flows.context import Context
from cdp.flows.reads import subject_digests
from cdp.flows.rights.export_rows import ExportLookups, export_rows, term_numbers_in
from cdp.flows.rights.person import find_person, values_by_id
from cdp.flows.rights.unconfirmed import unconfirmed_beside
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.kit.wording import counted
from cdp.policy.jurisdictions import Right
from cdp.policy.model import Policy
from cdp.rights import execute
from cdp.rights.archive import Archive, archive
from cdp.rights.model import Request, Scope, Status
from cdp.rights.plan import Section, export_plan
from cdp.segments.store import texts as segment_text_store
from cdp.sources.store import sources as source_store

FORMAT: Final = "cdp/export@v1"
RIGHTS: Final[Mapping[Right, str]] = {
    Right.ACCESS: "To see the data that is held about you; this archive contains it.",
    Right.PORTABILITY: "To transfer your data elsewhere, using the machine-readable file in this archive.",
    Right.ERASURE: "To have your data erased, and to receive a receipt that anyone can verify.",
    Right.RECTIFICATION: "To have inaccurate data corrected.",
    Right.RESTRICTION: "To have your data stored but not used while a question about it is open.",
    Right.OBJECTION: "To object to processing based on legitimate interests, and at any time to direct marketing.",
    Right.OPT_OUT: "To opt out of the sale or sharing of your data.",
    Right.LIMIT: "To limit the use of your sensitive data.",
}

Rows = list[Mapping[str, Any]]


def export_archive(tx: Transaction, context: Context, request: Request, *, now: datetime) -> Archive:
    """The export of a request as a ZIP archive."""
    suffix = "" if request.status is Status.FULFILLED else "-draft"
    identifiers = find_person(tx, context, request).export_scope(request.request_id).identifiers
    receipts = dict(receipts_about(tx, context, identifiers))
    document = export_document(tx, context, request, now=now)
    return archive(f"{request.outward_id}{suffix}.zip", document, now, receipts=receipts)


def export_document(tx: Transaction, context: Context, request: Request, *, now: datetime) -> dict[str, Any]:
    """The export as a JSON object; docs/reference/export.md describes it."""
    person = find_person(tx, context, request)
    scope = person.export_scope(request.request_id)
    plan = export_plan()
    found = {section.table: execute.rows_of(tx, section, scope) for section in plan}
    lookups = _lookups(tx, context, scope, found=found)
    return {
        "format": FORMAT,
        "made_at": instant_text(now),
        "is_draft": request.status is not Status.FULFILLED,
        "request": {"id": request.outward_id, "kind": request.kind.value, "regime": request.regime},
        "about": [{"type": identifier.type, "value": identifier.value} for identifier in person.named],
        "responsible": _responsible(context.policy),
        "purposes": _purposes(context.policy),
        "retention": _retention(context.policy),
        "sources": _sources(lookups, found),
        "recipients": _recipients(context.policy, found),
        "read_by": _read_by(tx, context, scope),
        "your_rights": _rights(context.policy, request.regime),
        "complain_to": _authority(context.policy, request.regime),
        "held_but_not_shown": _not_shown(plan, len(person.reach.waiting)),
        "data": {section.table: export_rows(lookups, section, found[section.table]) for section in plan},
    }


def _lookups(tx: Transaction, context: Context, scope: Scope, *, found: Mapping[str, Rows]) -> ExportLookups:
    """Everything that translates the numbers and sealed bytes of these rows."""
    named = values_by_id(tx, context, scope.identifiers)
    return ExportLookups(
        policy=context.policy,
        vault=context.vault,
        keys=context.vault.subject_keys.keys_for(tx, scope.subjects),
        terms=texts_of(tx, term_numbers_in(found)),
        vocabularies=context.vocabularies,
        sources={int(entry.source.source_id): entry.source.name for entry in source_store.sources(tx)},
        masks=projection_store.bits_of(tx),
        segments=segment_text_store.segment_texts(
            tx, {row["key"] for row in found.get("segments.membership_change", ())}
        ),
        identifiers={
            identifier_id: {"type": identifier.type, "value": identifier.value}
            for identifier_id, identifier in named.items()
        },
        unconfirmed=unconfirmed_beside(tx, context, scope),
    )


def _read_by(tx: Transaction, context: Context, scope: Scope) -> Rows:
    """The reads that showed a person, oldest first, by role: without who held the token."""
    digests = subject_digests(tx, context, profiles=scope.profiles, identifiers=scope.identifiers)
    return [
        {
            "at": instant_text(entry.recorded_at),
            "role": entry.body["actor"],
            "what": entry.body["read"],
            "purpose": entry.body.get("purpose"),
            "segment": entry.body.get("segment"),
        }
        for entry in reversed(fact_store.reads_of(tx, digests))
    ]


def _responsible(policy: Policy) -> Rows:
    """The controller and everybody whom it named beside itself; empty if it is not named yet."""
    return [asdict(party) for party in policy.responsible.parties]


def _purposes(policy: Policy) -> Rows:
    return [
        {"purpose": rule.key, "name": rule.name, "text": rule.text, "legal_basis": rule.legal_basis.value}
        for rule in policy.purposes.values()
    ]


def _rights(policy: Policy, regime: str) -> Rows:
    """The rights that the regime of the request grants (GDPR Art. 15(1)(e) and (f), CCPA § 7024)."""
    found = policy.jurisdictions.regimes.get(regime)
    return [{"right": right.value, "text": RIGHTS[right]} for right in (found.rights if found else Right)]


def _authority(policy: Policy, regime: str) -> str:
    """The authority for complaints; empty if the policy no longer declares the regime of the request."""
    found = policy.jurisdictions.regimes.get(regime)
    return found.authority if found else ""


def _retention(policy: Policy) -> Rows:
    rules = policy.retention
    classes: Rows = [
        {"what": f"events of class {rule.key}", "keep_for_days": rule.keep_for_days, "reason": rule.reason}
        for rule in rules.classes.values()
    ]
    holds: Rows = [
        {
            "what": f"what the law requires of events of class {rule.key}, without your name: "
            + ", ".join(rule.hold.columns),
            "keep_for_days": rule.hold.keep_for_days,
            "reason": rule.hold.law,
        }
        for rule in rules.classes.values()
        if rule.hold is not None
    ]
    kinds = {
        "traits": rules.traits,
        "identifiers": rules.identifiers,
        "consent records": rules.consent_records,
        "requests": rules.requests,
        "memberships": rules.memberships,
        "deliveries": rules.deliveries,
    }
    return [*classes, *holds] + [
        {"what": what, "keep_for_days": rule.keep_for_days, "reason": rule.reason} for what, rule in kinds.items()
    ]


def _sources(lookups: ExportLookups, found: Mapping[str, Rows]) -> Rows:
    ids = {row["source_id"] for row in found["identity.anchor_source"]}
    return [{"source": name} for name in sorted(lookups.sources[id_] for id_ in ids if id_ in lookups.sources)]


def _recipients(policy: Policy, found: Mapping[str, Rows]) -> Rows:
    keys = sorted({row["destination"] for row in found["destinations.outbox"]})
    known = policy.destinations.destinations
    return [
        {"recipient": known[key].name if key in known else key, "text": known[key].text if key in known else ""}
        for key in keys
    ]


def _not_shown(plan: tuple[Section, ...], waiting: int) -> Rows:
    """Each column with data about the person that is not in the export, with the reason."""
    rows: Rows = [
        {"what": f"{section.table}.{column}", "reason": reason} for section in plan for column, reason in section.hidden
    ]
    if waiting:
        rows.append(
            {
                "what": f"{counted(waiting, 'more identifier')}, and the data associated with them",
                "reason": "only a browser linked them to the person; a reviewer decides whether they belong to the same person",
            }
        )
    return rows
