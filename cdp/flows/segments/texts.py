"""Texts of segments: checked against a policy, alone or all those of a policy folder. Pure.

A text that is rejected becomes the fault `segment_rejected` (422), which points at the character.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import check
from cdp.query.language.parse import parse
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection


def checked(
    where: str, catalogue: Catalogue, purpose: str, *, now: datetime | None, key: str | None = None
) -> ast.Condition:
    """The condition of a text that passes all checks. Faults: `unknown_purpose`, `segment_rejected`."""
    if catalogue.purpose(purpose) is None:
        declared = ", ".join(catalogue.policy.purposes)
        raise Fault("unknown_purpose", "There is no such purpose", f"The policy declares {declared}.", status=422)
    condition = _parsed(where)
    rejections = check(condition, catalogue, purpose, key=key, now=now)
    if rejections:
        raise _rejected(rejections, where)
    return condition


def conditions_of(policy: Policy, others: Mapping[str, Definition] | None = None) -> dict[str, ast.Condition]:
    """The condition of every segment of a policy folder, by key. Raises `segment_rejected`, naming the file."""
    parsed = {key: _parsed(text.where, key) for key, text in policy.segments.items()}
    own = {key: Definition(policy.segments[key].purpose, condition) for key, condition in parsed.items()}
    catalogue = Catalogue(policy, {**(others or {}), **own})
    for key, condition in parsed.items():
        rejections = check(condition, catalogue, policy.segments[key].purpose, key=key)
        if rejections:
            raise _rejected(rejections, policy.segments[key].where, key)
    return parsed


def check_alone(policy: Policy, where: str, purpose: str, *, key: str | None = None) -> str:
    """A text in its canonical form, checked against a policy and the segments of its folder. Raises `segment_rejected`."""
    parsed = {other: parse(text.where) for other, text in policy.segments.items() if other != key}
    others = {
        other: Definition(policy.segments[other].purpose, condition)
        for other, condition in parsed.items()
        if not isinstance(condition, Rejection)
    }
    return write(checked(where, Catalogue(policy, others), purpose, now=None, key=key))


def _parsed(where: str, key: str | None = None) -> ast.Condition:
    condition = parse(where)
    if isinstance(condition, Rejection):
        raise _rejected([condition], where, key)
    return condition


def _rejected(rejections: Sequence[Rejection], where: str, key: str | None = None) -> Fault:
    first = rejections[0]
    file = "" if key is None else f"segments/{key}.yaml: "
    return Fault(
        "segment_rejected",
        "The text is not a valid segment",
        file + "\n\n".join(rejection.pointed(where) for rejection in rejections[:5]),
        status=422,
        extra={
            "position": first.position,
            "message": first.message,
            "hint": first.hint,
            "rejections": [
                {"position": rejection.position, "message": rejection.message, "hint": rejection.hint}
                for rejection in rejections
            ],
        },
    )
