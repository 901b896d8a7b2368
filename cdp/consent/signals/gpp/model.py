"""A decoded text of the Global Privacy Platform."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cdp.consent.signals.bits import IdSet
from cdp.consent.signals.gpp.layouts import UsLayout
from cdp.consent.signals.tcf.model import TcString

MAX_CHARACTERS: Final = 65_536
"""The longest text that is read."""


@dataclass(frozen=True, slots=True)
class VendorRestriction:
    """What a publisher in Canada restricts: the purpose, the kind of restriction, and the ids of the vendors."""

    purpose: int
    kind: int
    vendors: IdSet


FieldValue = int | bool | str | datetime | IdSet | tuple[int, ...] | tuple[VendorRestriction, ...]


@dataclass(frozen=True, slots=True)
class GppSection:
    """One section as it came, and what it states.

    `fields` are by their official names: numbers, tuples of numbers, for `uspv1` letters, for `tcfcav1` also instants and
    sets of ids; without the fields of a part that the section lacks. `gpc` is None if the section does not state it. `layout` is
    that of a section of the United States: of two releases with one version number, the length decides. `tcf` is the
    content of `tcfeuv2`, which has no other fields. `version` is None where the writer states none. A section with `not_understood`, the reason, has no fields: it can contain any
    refusal, so it is never to be taken for the absence of one.
    """

    id: int
    name: str
    raw: str
    version: int | None = None
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    gpc: bool | None = None
    layout: UsLayout | None = None
    tcf: TcString | None = None
    not_understood: str | None = None


@dataclass(frozen=True, slots=True)
class GppString:
    """A whole text: as it came, its version, and its sections by id in their order."""

    raw: str
    version: int
    sections: Mapping[int, GppSection]

    @property
    def not_understood(self) -> tuple[GppSection, ...]:
        """The sections of which the meaning is unknown."""
        return tuple(section for section in self.sections.values() if section.not_understood is not None)
