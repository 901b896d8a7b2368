"""How consent signals reach purposes: the names, fields and bits that mean a purpose, and the cookies that are read."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import Frozen, Name


class GoogleConsent(StrEnum):
    """The four fields of Google Consent Mode v2."""

    AD_STORAGE = "ad_storage"
    AD_USER_DATA = "ad_user_data"
    AD_PERSONALIZATION = "ad_personalization"
    ANALYTICS_STORAGE = "analytics_storage"


class TcfLegalBasis(StrEnum):
    """The legal basis on which a purpose uses the purposes of a TC string."""

    CONSENT = "consent"
    LEGITIMATE_INTERESTS = "legitimate_interests"


class GppOptOut(StrEnum):
    """What a person can refuse in a section of a GPP string, or in a US Privacy string (its sale only)."""

    SALE = "sale"
    SHARING = "sharing"
    TARGETED_ADVERTISING = "targeted_advertising"
    SENSITIVE_DATA = "sensitive_data"
    CHILD_DATA = "child_data"
    FURTHER_PROCESSING = "further_processing"


class CookieFormat(StrEnum):
    """The format of a cookie in which a consent tool keeps the answer of a browser."""

    ONETRUST = "onetrust"
    COOKIEBOT = "cookiebot"
    KLARO = "klaro"
    DIDOMI = "didomi"
    TCF = "tcf"
    GPP = "gpp"
    USP = "usp"


TcfPurposes = tuple[Annotated[int, Field(ge=1, le=11)], ...]


class TcfMapping(Frozen):
    """What of a TC string means a purpose: it is granted if all of these are, and refused if one is not."""

    purposes: TcfPurposes = ()
    """Purposes of the TCF, by number."""
    special_features: tuple[Annotated[int, Field(ge=1, le=2)], ...] = ()
    """Special features of the TCF, by number; they need an opt-in of their own."""
    basis: TcfLegalBasis = TcfLegalBasis.CONSENT
    """Which bits count: consent, or legitimate interests that were not objected to, which grant nothing where consent is needed."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.purposes and not self.special_features:
            raise ValueError("name at least one of `purposes` and `special_features`")
        return self


class Signals(Frozen):
    """What consent tools use for a purpose, in addition to its key; upper and lower case are the same."""

    segment: tuple[Name, ...] = ()
    """Names of categories: keys of Segment's `context.consent.categoryPreferences`, and of the cookies of consent tools."""
    rudderstack: tuple[Name, ...] = ()
    """Consent ids of RudderStack's `context.consentManagement` that mean this purpose; absent: those of `segment`."""
    tcf: TcfMapping | TcfPurposes = ()
    """What of an IAB TC string means this purpose, a list being the purposes alone; absent: no TC string grants or refuses it."""
    gpp: tuple[GppOptOut, ...] | None = None
    """Which opt-outs of an IAB GPP or US Privacy string refuse it; absent: `sale`, `sharing` and `targeted_advertising`
    for a purpose of sale or sharing, and none for another."""
    google: tuple[GoogleConsent, ...] = ()
    """Fields of Google Consent Mode v2: one that is denied refuses, all together grant."""

    @property
    def tcf_mapping(self) -> TcfMapping | None:
        """What of a TC string means the purpose; None if nothing does."""
        if isinstance(self.tcf, TcfMapping):
            return self.tcf
        return TcfMapping(purposes=self.tcf) if self.tcf else None


class SignalSettings(Frozen):
    """What this site is in consent signals, and where its browsers keep them."""

    tcf_vendor: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Our id in the Global Vendor List of the IAB. Absent: what a TC string says about the publisher counts."""
    cookies: Annotated[Mapping[Name, CookieFormat], Field(max_length=20)] = Field(default_factory=dict)
    """Cookies that are read where a browser sends them along with its messages, by name."""
