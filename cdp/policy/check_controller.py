"""Warnings about the controller: nobody is named, or an address at which nobody receives anything."""

from collections.abc import Iterator
from typing import Final

from cdp.policy.controller import CONTROLLER_FILE, Organization, ProtectionOfficer
from cdp.policy.findings import Finding
from cdp.policy.model import Policy
from cdp.policy.problems import Path

_RESERVED: Final = ("example.com", "example.net", "example.org", "example", "invalid", "localhost", "test")
"""Domains of examples and tests, which nobody can have (RFC 2606)."""


def unnamed_controller(policy: Policy) -> Iterator[Finding]:
    """That the controller is not named, or has addresses of examples: a warning, not an error."""
    responsible = policy.responsible
    if responsible.controller is None:
        what = "the controller is not named: /privacy, denials and the record of processing say so"
        remedy = "give its name, address and email under `controller` (GDPR Art. 13(1)(a))"
        yield Finding(CONTROLLER_FILE, ("controller",), what, remedy, of_key=True)
        return
    yield from _of_examples(("controller",), responsible.controller)
    for index, organization in enumerate(responsible.joint_controllers):
        yield from _of_examples(("joint_controllers", index), organization)
    for key in ("representative", "data_protection_officer"):
        yield from _of_examples((key,), getattr(responsible, key))


def _of_examples(at: Path, party: Organization | ProtectionOfficer | None) -> Iterator[Finding]:
    domain = "" if party is None else party.email.rpartition("@")[2].casefold()
    if any(domain == reserved or domain.endswith(f".{reserved}") for reserved in _RESERVED):
        what = f"`{domain}` is a domain for examples, at which nobody receives mail"
        yield Finding(CONTROLLER_FILE, (*at, "email"), what, "write an address that is read")
