"""A rehearsal of changed rules in words: what would come together, come apart, and be refused. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from cdp.cli.screen import counted
from cdp.flows.identity.simulate import Simulated

_REFUSALS = {
    "unique": "because a person has one value of a unique type",
    "limit": "because a person would have more values of a type than its limit",
    "bound": "because a profile reached a bound; it is in quarantine then",
    "never": "because an unmerge keeps them apart",
    "shared": "because it is shared",
    "type_never_links": "because its type never links anybody",
}


class Example(NamedTuple):
    """One group that would change."""

    change: str
    profiles: tuple[str, ...]
    identifiers: str


def changes_told(told: Simulated) -> Iterator[str]:
    """What the rules would change, a sentence a line."""
    if not (told.merged or told.split):
        yield "No profile would change."
    if told.merged:
        yield f"{counted(told.merged, 'profile')} would hold identifiers of several of today."
    if told.split:
        yield f"{counted(told.split, 'profile')} of today would come apart."
    for rule, number in sorted(told.refused.items(), key=lambda pair: -pair[1]):
        why = _REFUSALS.get(rule, f"by the rule {rule}")
        yield f"{counted(number, 'time')} a message would leave an identifier out, {why}."


def examples_told(told: Simulated) -> Iterator[Example]:
    """The examples as rows of a table."""
    for each in told.examples:
        profiles, identifiers = each["profiles"], each["identifiers"]
        assert isinstance(profiles, list)
        assert isinstance(identifiers, dict)
        held = ", ".join(f"{count} {type_}" for type_, count in sorted(identifiers.items()))
        yield Example(str(each["change"]), tuple(profiles), held)
