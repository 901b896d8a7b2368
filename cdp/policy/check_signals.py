"""Whether consent signals can reach the purposes of a policy.

These checks apply to a policy folder, not to policies that were put in force earlier: an older version accepted mappings
that can have no effect.
"""

from collections.abc import Iterator

from cdp.policy.findings import Finding
from cdp.policy.model import LegalBasis, Policy

PURPOSES = "purposes.yaml"
_OF_STRINGS = ("tcf", "gpp", "google")


def check_signals(policy: Policy) -> Iterator[Finding]:
    """Mappings without effect: on a purpose that no act can grant or refuse, an answer would seem to count."""
    for key, purpose in policy.purposes.items():
        if not purpose.needs_unique_identifier:
            continue
        for kind in _OF_STRINGS:
            if getattr(purpose.signals, kind):
                what = f"`{key}` is based on {purpose.legal_basis.value}, which no signal can grant or refuse"
                path = ("purposes", key, "signals", kind)
                yield Finding(PURPOSES, path, what, f"remove `{kind}`", of_key=True)


def unmapped_purposes(policy: Policy) -> Iterator[Finding]:
    """Purposes based on consent to which no category of a consent tool is mapped: a warning, not an error."""
    for key, purpose in policy.purposes.items():
        signals = purpose.signals
        is_mapped = signals.segment or signals.rudderstack or signals.tcf or signals.google
        if purpose.legal_basis is LegalBasis.CONSENT and not is_mapped:
            what = f"`{key}` is based on consent, but only a signal that names its key reaches it"
            remedy = "name the categories of your consent tool under `signals`"
            yield Finding(PURPOSES, ("purposes", key), what, remedy, of_key=True)
