"""Whether people whose jurisdiction is not known have the strictest rules.

This applies to a policy folder, not to policies that were put in force earlier: an older version accepted others.
"""

from collections.abc import Iterator

from cdp.policy.findings import Finding
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import ConsentModel, Policy

PURPOSES = "purposes.yaml"


def check_unknown_jurisdiction(policy: Policy) -> Iterator[Finding]:
    """Purposes in which silence permits where the jurisdiction is not known, but not in a jurisdiction that is."""
    for key, purpose in policy.purposes.items():
        strict = [name for name, model in purpose.model.items() if model is ConsentModel.OPT_IN]
        if strict and UNKNOWN not in strict:
            what = f"people whose jurisdiction is not known have the strictest rules, and `{strict[0]}` is opt_in"
            yield Finding(PURPOSES, ("purposes", key, "model", UNKNOWN), what, f"write `{UNKNOWN}: opt_in`")
