"""Which purposes an objection, an opt-out of sale or a request to limit refuses. Pure.

An objection (GDPR Art. 21) is about processing on legitimate interests and about direct marketing; an opt-out of sale or
sharing (California Civil Code section 1798.120) about the purposes that are one; a request to limit (section 1798.121) about
the purposes that may use data of a sensitive category.
"""

from collections.abc import Iterable

from cdp.policy.jurisdictions import UNKNOWN, Regime, Right
from cdp.policy.model import LegalBasis, Policy, Purpose


def purposes_refused_by(kind: Right, policy: Policy, regime: Regime) -> tuple[str, ...]:
    """The purposes that a request of this kind refuses when it names none; none for another kind of request."""
    refusable = [rule for rule in policy.purposes.values() if not rule.needs_unique_identifier]
    if kind is Right.OBJECTION:
        return _keys(
            rule for rule in refusable if rule.direct_marketing or rule.legal_basis is LegalBasis.LEGITIMATE_INTERESTS
        )
    if kind is Right.OPT_OUT:
        return _keys(rule for rule in refusable if rule.sale_or_sharing)
    if kind is Right.LIMIT:
        sensitive = [category for category in policy.categories if _is_sensitive(category, regime)]
        return _keys(rule for rule in refusable if any(rule.allows(category) for category in sensitive))
    return ()


def weighable_purposes(policy: Policy) -> tuple[str, ...]:
    """The purposes to which an objection may be overridden by compelling grounds (GDPR Art. 21(1)); never direct marketing."""
    return _keys(
        rule
        for rule in policy.purposes.values()
        if rule.legal_basis is LegalBasis.LEGITIMATE_INTERESTS and not rule.direct_marketing
    )


def jurisdiction_of(policy: Policy, regime: str) -> str:
    """The jurisdiction that acts of requests under a regime are recorded with: the first declared one of the regime."""
    declared = policy.jurisdictions.jurisdictions.values()
    named = (entry.key for entry in declared if entry.regime == regime and entry.key != UNKNOWN)
    return next(named, UNKNOWN)


def _is_sensitive(category: str, regime: Regime) -> bool:
    return any(category == named or category.startswith(named + ".") for named in regime.sensitive_categories)


def _keys(rules: Iterable[Purpose]) -> tuple[str, ...]:
    return tuple(rule.key for rule in rules)
