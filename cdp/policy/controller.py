"""The controller: who is responsible for the data (GDPR Art. 4(7)), and to whom people address questions and requests."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from cdp.policy.frozen import Frozen, Name

CONTROLLER_FILE: Final = "controller.yaml"
CONTROLLER: Final = "controller"
JOINT_CONTROLLER: Final = "joint controller"
REPRESENTATIVE: Final = "representative in the European Union"
PROTECTION_OFFICER: Final = "data protection officer"
CONTROLLERS: Final = (CONTROLLER, JOINT_CONTROLLER)
NOT_NAMED: Final = f"The controller is not named yet. Name it in {CONTROLLER_FILE} in the policy folder."
"""What staff see in place of the controller."""

_PLACEHOLDER: Final = re.compile(r"[<>]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_EMAIL: Final = re.compile(r"[^@\s\"(),:;\[\]\\]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]{0,61}[^\W_]")
_PHONE: Final = re.compile(r"\+[0-9](?:[ ().-]{0,2}[0-9]){6,14}")
_ORIGIN: Final = re.compile(r"https://[^\s/?#@\\\"'<>]+\.[^\s/?#@\\\"'<>]+")
_URL: Final = re.compile(r"https://[^\s/?#@\\\"'<>]+\.[^\s/?#@\\\"'<>]+(?:[/?#][^\s\\\"'<>]*)?")


def _one_line(text: str) -> str:
    if _PLACEHOLDER.search(text):
        raise ValueError("is still a placeholder. Write the real value, without < and >")
    if _UNPRINTABLE.search(text):
        raise ValueError("must be one line. Separate its parts by commas")
    if text != text.strip() or not any(map(str.isalnum, text)):
        raise ValueError("must be a text, without spaces before and after it")
    return text


def _email(text: str) -> str:
    if len(text) > 254 or not _EMAIL.fullmatch(_one_line(text)):
        raise ValueError("must be one e-mail address such as privacy@nordlicht.example")
    return text


def _phone(text: str) -> str:
    if not _PHONE.fullmatch(_one_line(text)):
        raise ValueError("must be a telephone number with country code such as +49 30 1234567")
    return text


def _url(text: str) -> str:
    if not _URL.fullmatch(_one_line(text)):
        raise ValueError("must be an https URL such as https://nordlicht.example/privacy-request")
    return text


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(_one_line(text)):
        raise ValueError("must be an https URL without a path such as https://privacy.nordlicht.example")
    return text


Line = Annotated[Name, AfterValidator(_one_line)]
Email = Annotated[str, AfterValidator(_email)]
Phone = Annotated[str, AfterValidator(_phone)]
Url = Annotated[str, Field(max_length=500), AfterValidator(_url)]
Origin = Annotated[str, Field(max_length=500), AfterValidator(_origin)]


class Organization(Frozen):
    """An organization to which people can write."""

    name: Line
    """Its full name, with the legal form."""
    address: Line
    """Its postal address in one line, with the country."""
    email: Email
    """An e-mail address that is read, for requests, questions and complaints about personal data."""
    phone: Phone | None = None
    """A telephone number with country code; California expects a toll-free one beside another way (Civil Code § 1798.130(a)(1))."""
    url: Url | None = None
    """A page with a form for requests and questions."""


class ProtectionOfficer(Frozen):
    """A data protection officer (GDPR Art. 37); the address of a function is enough, such as `dpo@nordlicht.example`."""

    name: Line | None = None
    """The name, if it is to be published."""
    address: Line | None = None
    """The postal address in one line; absent: that of the controller."""
    email: Email
    """The address to which people write."""
    phone: Phone | None = None
    """A telephone number with country code."""
    url: Url | None = None
    """A page with a form for requests and questions."""


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who is named, with their role in words, such as `data protection officer`."""

    role: str
    name: str | None
    address: str | None
    email: str
    phone: str | None
    url: str | None

    @property
    def details(self) -> str:
        """The name and all ways to reach them, in one line."""
        given = (self.name, self.address, self.email, self.phone, self.url)
        return ", ".join(part for part in given if part is not None)


class Responsibility(Frozen):
    """The file `controller.yaml`."""

    controller: Organization | None = None
    """The organization that decides why and how the data is processed (GDPR Art. 4(7)); absent: not named yet."""
    joint_controllers: Annotated[tuple[Organization, ...], Field(max_length=10)] = ()
    """Organizations that decide together with it (GDPR Art. 26)."""
    representative: Organization | None = None
    """The representative in the European Union of a controller outside it (GDPR Art. 27)."""
    data_protection_officer: ProtectionOfficer | None = None
    """The data protection officer, if there is one (GDPR Art. 37)."""
    privacy_center: Origin | None = None
    """The https origin at which people reach the pages of this service, without a path; consent receipts name it for a withdrawal."""
    storage_locations: Annotated[tuple[Line, ...], Field(max_length=30)] = ()
    """The countries in which the data is stored; consent receipts name them."""

    @model_validator(mode="after")
    def _is_coherent(self) -> "Responsibility":
        others = self.joint_controllers or self.representative or self.data_protection_officer
        if self.controller is None and others:
            raise ValueError("`controller` is missing: name the controller before others")
        names = [organization.name for organization in self.joint_controllers]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"`joint_controllers` names `{repeated}` twice: keep one of them")
        return self

    @property
    def parties(self) -> tuple[Party, ...]:
        """Everybody who is named, the controller first; empty if it is not named yet."""
        named: list[tuple[str, Organization | ProtectionOfficer | None]] = [
            (CONTROLLER, self.controller),
            *((JOINT_CONTROLLER, organization) for organization in self.joint_controllers),
            (REPRESENTATIVE, self.representative),
            (PROTECTION_OFFICER, self.data_protection_officer),
        ]
        return tuple(Party(role, **party.model_dump()) for role, party in named if party is not None)

    @property
    def questions_to(self) -> str | None:
        """To whom a person turns about a request, in one line (CCPA Regulations § 7011(e)(3)(J)); None if nobody is named."""
        return None if self.controller is None else self.parties[0].details
