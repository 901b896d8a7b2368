"""Warnings about readers: roles that read people who could not refuse."""

from collections.abc import Iterator

from cdp.policy.findings import Finding
from cdp.policy.model import LegalBasis, Policy

READERS = "readers.yaml"
_REFUSABLE = (LegalBasis.CONSENT, LegalBasis.LEGITIMATE_INTERESTS)


def unrefusable_purposes(policy: Policy) -> Iterator[Finding]:
    """Purposes that a role reads although people cannot refuse them: a warning, not an error."""
    for key, role in policy.readers.roles.items():
        for purpose in policy.purposes.values():
            if role.reads(purpose) and purpose.legal_basis not in _REFUSABLE:
                what = f"`{key}` reads `{purpose.key}`, which rests on {purpose.legal_basis.value}: people cannot refuse it"
                remedy = "leave it out, unless the role must see these people, too"
                yield Finding(READERS, ("roles", key), what, remedy, of_key=True)
