"""A simulation of changed rules as text: what would be merged, split and refused. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from cdp.flows.identity.simulate import Simulated
from cdp.kit.wording import counted

_REFUSALS = {
    "unique": "because a person has only one value of a unique type",
    "limit": "because a person would have more values of a type than its limit",
    "bound": "because a profile reached a bound and would be in quarantine",
    "never": "because an unmerge keeps them apart",
    "shared": "because it is shared",
    "type_never_links": "because identifiers of its type never create links",
}


class ChangeExample(NamedTuple):
    """One group that would change."""

    change: str
    profiles: tuple[str, ...]
    identifiers: str


def change_lines(result: Simulated) -> Iterator[str]:
    """What the rules would change, one sentence per line."""
    if not (result.merged or result.split):
        yield "No profile would change."
    if result.merged:
        yield f"{counted(result.merged, 'profile')} would combine identifiers of several current profiles."
    if result.split:
        yield f"{counted(result.split, 'profile')} would be split."
    for rule, number in sorted(result.refused.items(), key=lambda pair: -pair[1]):
        why = _REFUSALS.get(rule, f"by the rule {rule}")
        yield f"{counted(number, 'time')} a message would leave an identifier out, {why}."


def example_rows(result: Simulated) -> Iterator[ChangeExample]:
    """The examples as rows of a table."""
    for example in result.examples:
        profiles, identifiers = example["profiles"], example["identifiers"]
        assert isinstance(profiles, list)
        assert isinstance(identifiers, dict)
        held = ", ".join(f"{count} {type_}" for type_, count in sorted(identifiers.items()))
        yield ChangeExample(str(example["change"]), tuple(profiles), held)
