"""The policy: the content of `policies/` as one frozen value with one fingerprint."""

from collections.abc import Mapping
from functools import cached_property

from pydantic import JsonValue

from cdp.policy.controller import CONTROLLER_FILE, Responsibility
from cdp.policy.currencies import Currencies, CurrencyCode, Rates, rates_of
from cdp.policy.destinations import Destination, Destinations
from cdp.policy.events import EventPlan, Keep, ListField, PropertyPlan, PropertyType, TakesBack, TrackingPlan, Unknown
from cdp.policy.frozen import Frozen
from cdp.policy.identifiers import (
    EXTERNAL_IDS,
    Blocked,
    Bounds,
    EmailFolding,
    Identifiers,
    IdentifierType,
    Limit,
    NormalizerKind,
    OnConflict,
    Promotion,
)
from cdp.policy.jurisdictions import UNKNOWN, DeadlineTerm, Jurisdiction, Jurisdictions, Regime, Right
from cdp.policy.purposes import ConsentModel, Deferral, LegalBasis, Purpose, Purposes, UnknownAge
from cdp.policy.readers import MARKETER, STAFF, ReaderRole, Readers
from cdp.policy.retention import After, KeepRule, LegalHoldRule, Retention, RetentionClass, StandingRule
from cdp.policy.segments import SegmentText
from cdp.policy.signals import (
    CookieFormat,
    GoogleConsent,
    GppOptOut,
    Signals,
    SignalSettings,
    TcfLegalBasis,
    TcfMapping,
)
from cdp.policy.traits import ComputedTrait, Scalar, TraitKind, Traits
from cdp.policy.vocabularies import Vocabulary

__all__ = [
    "CONTROLLER_FILE",
    "CURRENCIES_FILE",
    "EXTERNAL_IDS",
    "FILES",
    "MARKETER",
    "OPTIONAL_FILES",
    "STAFF",
    "UNKNOWN",
    "After",
    "Blocked",
    "Bounds",
    "ComputedTrait",
    "ConsentModel",
    "CookieFormat",
    "Currencies",
    "CurrencyCode",
    "DeadlineTerm",
    "Deferral",
    "Destination",
    "Destinations",
    "EmailFolding",
    "EventPlan",
    "GoogleConsent",
    "GppOptOut",
    "IdentifierType",
    "Identifiers",
    "Jurisdiction",
    "Jurisdictions",
    "Keep",
    "KeepRule",
    "LegalBasis",
    "LegalHoldRule",
    "Limit",
    "ListField",
    "NormalizerKind",
    "OnConflict",
    "Policy",
    "Promotion",
    "PropertyPlan",
    "PropertyType",
    "Purpose",
    "Purposes",
    "Rates",
    "ReaderRole",
    "Readers",
    "Regime",
    "Responsibility",
    "Retention",
    "RetentionClass",
    "Right",
    "Scalar",
    "SegmentText",
    "SignalSettings",
    "Signals",
    "StandingRule",
    "TakesBack",
    "TcfLegalBasis",
    "TcfMapping",
    "TrackingPlan",
    "TraitKind",
    "Traits",
    "Unknown",
    "UnknownAge",
    "Vocabulary",
]

CURRENCIES_FILE = "currencies.yaml"

FILES: Mapping[str, type[Frozen]] = {
    "purposes.yaml": Purposes,
    "identifiers.yaml": Identifiers,
    "retention.yaml": Retention,
    "events.yaml": TrackingPlan,
    "traits.yaml": Traits,
    "destinations.yaml": Destinations,
    "jurisdictions.yaml": Jurisdictions,
    CURRENCIES_FILE: Currencies,
    "readers.yaml": Readers,
    CONTROLLER_FILE: Responsibility,
}
"""The files of the folder, each with the model of its content; `segments/*.yaml` are additional."""

OPTIONAL_FILES = frozenset({"readers.yaml", CURRENCIES_FILE, CONTROLLER_FILE})
"""Files that may be missing, because earlier versions did not have them; their defaults apply."""


class Policy(Frozen):
    """What is allowed. Two policies with the same fingerprint are equal in meaning."""

    categories: Mapping[str, str]
    """Data categories with their texts."""
    purposes: Mapping[str, Purpose]
    """Purposes by key, in the order of the file."""
    signals: SignalSettings
    """What this site is in consent signals, and the cookies that are read."""
    deferral: Deferral
    """How long and how much messages of a source that defers wait for an answer."""
    identifiers: Identifiers
    """Identifier types with their blocked values, bounds and promotions."""
    retention: Retention
    """Retention classes and keep rules."""
    events: TrackingPlan
    """The tracking plan, resolved: every event has all its properties, every property its category."""
    traits: Mapping[str, ComputedTrait]
    """Computed traits by key; stated ones are in `events.traits`."""
    destinations: Destinations
    """Recipients and the hosts that may be reached."""
    jurisdictions: Jurisdictions
    """Jurisdictions, regimes, time zone and the minimum disclosure size."""
    currencies: Currencies
    """The currency in which amounts are added up, and the rates of others."""
    readers: Readers
    """For which purposes a role reads people."""
    responsible: Responsibility
    """The controller, and whom it has named beside itself."""
    segments: Mapping[str, SegmentText]
    """Segments by key, as text."""
    documents: Mapping[str, JsonValue]
    """The parsed content of each file, by its path in the folder: the input of the fingerprint."""
    fingerprint: str
    """SHA-256, in hex, of the RFC 8785 canonical JSON of `documents`."""

    @property
    def ask_again_after_months(self) -> int:
        """The longest time after an opt-out of sale in which a regime forbids asking for an opt-in; 0 if none does."""
        return max((regime.ask_again_after_months or 0 for regime in self.jurisdictions.regimes.values()), default=0)

    def property_of(self, event: str, name: str) -> PropertyPlan | None:
        """The plan of one property of one event, or of a field of the entries of a list; None when there is none."""
        plan = self.events.events.get(event)
        return None if plan is None else plan.plan_of(name)

    @cached_property
    def rates(self) -> Rates:
        """What each currency was worth in that of the policy, whose dates begin at midnight in its time zone."""
        return rates_of(self.currencies, self.jurisdictions.time_zone)

    def purposes_read_by(self, role: str) -> frozenset[str]:
        """The purposes for which a role reads people."""
        reader = self.readers.role(role)
        return frozenset(key for key, purpose in self.purposes.items() if reader.reads(purpose))

    def value_type(self, trait: ComputedTrait) -> PropertyType:
        """The type of a computed trait's value."""
        if trait.kind is not TraitKind.LAST:
            return PropertyType.NUMBER
        plan = None if trait.property is None else self.property_of(trait.event, trait.property)
        return PropertyType.INSTANT if plan is None else plan.type
