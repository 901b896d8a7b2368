"""Whether consent signals can reach the purposes of a policy.

These checks apply to a policy folder, not to policies that were put in force earlier: an older version accepted names
of signals that nothing reads.
"""

from collections.abc import Iterator

from cdp.policy.findings import Finding
from cdp.policy.model import LegalBasis, Policy

PURPOSES = "purposes.yaml"
_UNREAD = ("tcf", "google")


def check_signals(policy: Policy) -> Iterator[Finding]:
    """Kinds of signals that a purpose names and nothing reads: an opt-out sent that way would be lost."""
    for key, purpose in policy.purposes.items():
        for kind in _UNREAD:
            if getattr(purpose.signals, kind):
                remedy = "remove it, and let the consent tool send its categories under `segment` or `rudderstack`"
                path = ("purposes", key, "signals", kind)
                yield Finding(PURPOSES, path, f"nothing reads the signal `{kind}`", remedy, of_key=True)


def unmapped_purposes(policy: Policy) -> Iterator[Finding]:
    """Purposes based on consent to which no category of a consent tool is mapped: a warning, not an error."""
    for key, purpose in policy.purposes.items():
        if purpose.legal_basis is LegalBasis.CONSENT and not (purpose.signals.segment or purpose.signals.rudderstack):
            what = f"`{key}` is based on consent, but only a signal that names its key reaches it"
            remedy = "name the categories of your consent tool under `signals`"
            yield Finding(PURPOSES, ("purposes", key), what, remedy, of_key=True)
