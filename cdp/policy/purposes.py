"""Purposes: why data is processed, on which legal basis, and what that allows."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import CategoryKey, DashedKey, Days, Frozen, Key, KeyedEntry, Name, Text
from cdp.policy.signals import GppOptOut, Signals, SignalSettings


class LegalBasis(StrEnum):
    """GDPR Art. 6(1)."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTERESTS = "legitimate_interests"


class ConsentModel(StrEnum):
    """What the absence of a choice means."""

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"


class UnknownAge(StrEnum):
    """The verdict of a purpose with a minimum age when the age is not known."""

    ALLOW = "allow"
    REFUSE = "refuse"


LISTED = frozenset(
    {LegalBasis.CONTRACT, LegalBasis.LEGAL_OBLIGATION, LegalBasis.VITAL_INTERESTS, LegalBasis.PUBLIC_TASK}
)
"""Bases that cover only the events they list, and only people identified by a unique identifier."""


SALE_OR_SHARING = frozenset({GppOptOut.SALE, GppOptOut.SHARING, GppOptOut.TARGETED_ADVERTISING})
"""The opt-outs of US privacy laws that concern a sale or sharing, of which targeted advertising is one."""


class Purpose(KeyedEntry):
    """One reason to process data about a person."""

    key: Key
    """The name of the entry; also the name of the purpose's projection table."""
    name: Name
    """Title for people."""
    text: Text
    """What a person is shown before giving consent."""
    legal_basis: LegalBasis
    """GDPR Art. 6(1) ground."""
    assessment: Name | None = None
    """Reference of the balancing test; required by `legitimate_interests`, refused otherwise."""
    model: Mapping[DashedKey, ConsentModel] = Field(default_factory=dict)
    """What the absence of a choice means in each jurisdiction; required by `consent`, refused otherwise."""
    validity_days: Days | None = None
    """A grant expires after this many days; absent: it does not expire. A shorter validity also limits earlier grants."""
    categories: Annotated[tuple[CategoryKey, ...], Field(min_length=1)]
    """Data categories that may serve this purpose; a category includes its subcategories."""
    events: Literal["*"] | tuple[Name, ...] = "*"
    """Events covered; `"*"` is every event, and only for consent and legitimate interests."""
    combines_with: Annotated[tuple[Key, ...], Field(max_length=30)] = ()
    """Purposes to whose segments the segments of this one may refer; who is not permitted for both is in neither. Shown to people."""
    minimum_age: Annotated[int, Field(ge=0, le=21)] | None = None
    """Younger people are not permitted."""
    unknown_age: UnknownAge = UnknownAge.REFUSE
    """The verdict when there is a minimum age and nobody vouches for an age; an age that a browser states never permits."""
    data_use: CategoryKey
    """Data use in fideslang's taxonomy."""
    sale_or_sharing: bool = False
    """A sale or sharing in California's sense: GPC and other opt-out signals refuse it."""
    opt_in_window_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """Hours within which the second step of an opt-in after an opt-out of sale must follow the first."""
    opt_in_overrides_gpc: bool = False
    """Whether an authenticated two-step opt-in stands against GPC signals that the same site sent before it and repeats later
    (California § 7025(c)(4)); otherwise each signal opts out again."""
    direct_marketing: bool = False
    """Direct marketing (GDPR Art. 21(2)): an objection is always binding."""
    signals: Signals = Signals()
    """Names of this purpose in consent signals."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        basis = self.legal_basis
        if (basis is LegalBasis.LEGITIMATE_INTERESTS) != (self.assessment is not None):
            raise ValueError("`assessment` is allowed only with legal_basis legitimate_interests, which requires it")
        if (basis is LegalBasis.CONSENT) != bool(self.model):
            raise ValueError(
                "`model` (opt_in or opt_out per jurisdiction) is allowed only with legal_basis consent, which requires it"
            )
        if basis in LISTED and not self.listed_events:
            raise ValueError(f"legal_basis {basis.value} covers only the events it lists: name them in `events`")
        if self.validity_days is not None and basis is not LegalBasis.CONSENT:
            raise ValueError("`validity_days` limits grants, so it is allowed only with legal_basis consent")
        return self

    @property
    def listed_events(self) -> frozenset[str]:
        """The events by name; empty when every event is covered."""
        return frozenset() if self.events == "*" else frozenset(self.events)

    @property
    def needs_unique_identifier(self) -> bool:
        """Whether only people known by a unique identifier, named by a server source, are covered."""
        return self.legal_basis in LISTED

    @property
    def gpp_opt_outs(self) -> frozenset[GppOptOut]:
        """The opt-outs of a GPP or US Privacy string that refuse the purpose."""
        if self.signals.gpp is not None:
            return frozenset(self.signals.gpp)
        return SALE_OR_SHARING if self.sale_or_sharing else frozenset()

    def combines(self, purpose: str) -> bool:
        """Whether a segment of this purpose may refer to a segment of another, or of its own."""
        return purpose == self.key or purpose in self.combines_with

    def covers(self, event: str) -> bool:
        """Whether the purpose covers an event of this name."""
        return self.events == "*" or event in self.events

    def allows(self, category: str) -> bool:
        """Whether data of this category may serve the purpose."""
        return any(category == allowed or category.startswith(allowed + ".") for allowed in self.categories)

    def consent_model(self, jurisdictions: Iterable[str]) -> ConsentModel:
        """The strictest model among these jurisdictions; with none, or an undeclared one, the strictest of all.

        A purpose on a basis other than consent is opt-out in this sense: only a refusal or objection ends it.
        """
        if self.legal_basis is not LegalBasis.CONSENT:
            return ConsentModel.OPT_OUT
        named = tuple(jurisdictions)
        known = all(jurisdiction in self.model for jurisdiction in named)
        models = {self.model[jurisdiction] for jurisdiction in named} if named and known else set(self.model.values())
        return ConsentModel.OPT_IN if ConsentModel.OPT_IN in models else ConsentModel.OPT_OUT


class Deferral(Frozen):
    """How long, and how much, messages wait for an answer if their source defers (docs/explanation/consent.md)."""

    hours: Annotated[int, Field(ge=1, le=720)] = 24
    """Hours after its receipt in which a message waits; then its key is destroyed."""
    messages_max: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Messages that wait at most for one device from one source; further ones are not permitted, as without deferral."""
    kilobytes_max: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Kilobytes of messages that wait at most for one device from one source."""
    source_messages_max: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """Messages of one source that wait at most, of all devices; further ones are not permitted, as without deferral."""
    source_kilobytes_max: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """Kilobytes of messages of one source that wait at most, of all devices."""

    @property
    def bytes_max(self) -> int:
        """The bound of a device in bytes."""
        return self.kilobytes_max * 1024

    @property
    def source_bytes_max(self) -> int:
        """The bound of a source in bytes."""
        return self.source_kilobytes_max * 1024


class Purposes(Frozen):
    """The file `purposes.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("purposes",),)

    categories: Mapping[CategoryKey, Text]
    """Every data category that policies may name, with a sentence for people."""
    purposes: Annotated[Mapping[Key, Purpose], Field(min_length=1, max_length=30)]
    """The purposes; at most thirty, because an event carries one bit for every purpose that ever existed."""
    signals: SignalSettings = SignalSettings()
    """Our id as a vendor, and the cookies that are read."""
    deferral: Deferral = Deferral()
    """Messages that wait for an answer, of sources with `--defer`; absent: the defaults."""
