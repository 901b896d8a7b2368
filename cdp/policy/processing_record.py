"""The record of processing activities that a controller keeps (GDPR Art. 30(1)), derived from a policy. Pure.

Everything in it is declared by the policy files; what they cannot declare, such as measures outside this store, is not
made up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cdp.kit.wording import counted
from cdp.policy.controller import CONTROLLER, Party
from cdp.policy.model import Keep, Policy, Purpose

_NEVER_STATED: Final = ("transfers_to_third_countries", "organizational_measures")


@dataclass(frozen=True, slots=True)
class Period:
    """How long a kind of data is kept, and what happens then."""

    kind: str
    keep_for_days: int | None
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """To whom data goes (Art. 30(1)(d)); `identifiers` are the types that are sent beside the recipient's own pseudonym."""

    key: str
    name: str
    text: str
    host: str
    is_enabled: bool
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PurposeRecord:
    """One purpose with all that belongs to it (Art. 30(1)(b) to (f)); `models` gives the consent model by jurisdiction."""

    key: str
    name: str
    text: str
    legal_basis: str
    assessment: str | None
    models: dict[str, str]
    validity_days: int | None
    combines_with: tuple[str, ...]
    minimum_age: int | None
    is_sale_or_sharing: bool
    is_direct_marketing: bool
    categories: dict[str, str]
    events: tuple[str, ...]
    traits: tuple[str, ...]
    computed_traits: tuple[str, ...]
    recipients: tuple[Recipient, ...]
    periods: tuple[Period, ...]


@dataclass(frozen=True, slots=True)
class DeferralTerms:
    """For how many hours messages wait for an answer, and how much of one device and source, and of one source, at most."""

    hours: int
    messages_max: int
    kilobytes_max: int
    source_messages_max: int
    source_kilobytes_max: int


@dataclass(frozen=True, slots=True)
class ProcessingRecord:
    """The whole record: `purposes` in the order of the policy, and what applies to all of them.

    `responsible` names the controller and others (Art. 30(1)(a)); `not_stated` is what the policy cannot or does not state.

    `deferring` names the sources whose messages wait for an answer, None where that is not known; `deferral` is how long and
    how much waits. `sealed` names the properties and traits whose values are encrypted and never read by segments.
    """

    fingerprint: str
    responsible: tuple[Party, ...]
    not_stated: tuple[str, ...]
    purposes: tuple[PurposeRecord, ...]
    identifiers: tuple[str, ...]
    sealed: tuple[str, ...]
    periods: tuple[Period, ...]
    regimes: dict[str, str]
    deferring: tuple[str, ...] | None
    deferral: DeferralTerms


def processing_record(policy: Policy, *, deferring: tuple[str, ...] | None = None) -> ProcessingRecord:
    """The record under this policy, purposes in the order of the file; `deferring` are the sources that defer."""
    return ProcessingRecord(
        fingerprint=policy.fingerprint,
        responsible=policy.responsible.parties,
        not_stated=_NEVER_STATED if policy.responsible.parties else (CONTROLLER, *_NEVER_STATED),
        purposes=tuple(_purpose_record(policy, purpose) for purpose in policy.purposes.values()),
        identifiers=tuple(policy.identifiers.types),
        sealed=tuple(sorted(set(_sealed(policy)))),
        periods=tuple(_periods_of_all(policy)),
        regimes={regime.name: regime.authority for regime in policy.jurisdictions.regimes.values()},
        deferring=deferring,
        deferral=DeferralTerms(**policy.deferral.model_dump()),
    )


def _purpose_record(policy: Policy, purpose: Purpose) -> PurposeRecord:
    events = [
        name
        for name, plan in policy.events.events.items()
        if purpose.covers(name) and purpose.allows(policy.events.category_of(name))
    ]
    classes = dict.fromkeys(policy.events.class_of(name) for name in events)
    if purpose.events == "*":
        classes |= dict.fromkeys([policy.events.class_of("")])
    return PurposeRecord(
        key=purpose.key,
        name=purpose.name,
        text=purpose.text,
        legal_basis=purpose.legal_basis.value,
        assessment=purpose.assessment,
        models={jurisdiction: model.value for jurisdiction, model in purpose.model.items()},
        validity_days=purpose.validity_days,
        combines_with=tuple(policy.purposes[other].name for other in purpose.combines_with),
        minimum_age=purpose.minimum_age,
        is_sale_or_sharing=purpose.sale_or_sharing,
        is_direct_marketing=purpose.direct_marketing,
        categories={key: text for key, text in policy.categories.items() if purpose.allows(key)},
        events=tuple(events),
        traits=tuple(name for name, plan in policy.events.traits.items() if purpose.allows(plan.category)),
        computed_traits=tuple(key for key, trait in policy.traits.items() if trait.purpose == purpose.key),
        recipients=tuple(
            Recipient(
                destination.key,
                destination.name,
                destination.text,
                destination.url.split("/")[2],
                destination.enabled,
                destination.identifiers,
            )
            for destination in policy.destinations.destinations.values()
            if destination.purpose == purpose.key
        ),
        periods=tuple(_period_of_class(policy, key) for key in classes),
    )


def _period_of_class(policy: Policy, key: str) -> Period:
    rule = policy.retention.classes[key]
    after = rule.after.value
    if rule.hold is not None:
        after += (
            f"; {', '.join(rule.hold.columns)} held for {counted(rule.hold.keep_for_days, 'day')} under {rule.hold.law}"
        )
    return Period(f"events of class {key}", rule.keep_for_days, after, rule.reason)


def _periods_of_all(policy: Policy) -> Iterator[Period]:
    retention = policy.retention
    for name in type(retention).model_fields:
        rule = getattr(retention, name)
        if hasattr(rule, "reason"):
            after = getattr(rule, "after", None)
            yield Period(
                name.replace("_", " "), rule.keep_for_days, "delete" if after is None else after.value, rule.reason
            )


def _sealed(policy: Policy) -> Iterator[str]:
    for event, plan in policy.events.events.items():
        for name, stated in plan.properties.items():
            fields = {name: stated} | {f"{name}.{key}": field for key, field in stated.fields.items()}
            yield from (f"{event}.{key}" for key, field in fields.items() if field.keep is Keep.SEALED)
    yield from (f"trait.{name}" for name, field in policy.events.traits.items() if field.keep is Keep.SEALED)
