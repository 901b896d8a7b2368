"""The reference page of the Global Privacy Platform, from the tables by which its sections are decoded. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from cdp.consent.signals.gpp.canada import decode_canada
from cdp.consent.signals.gpp.layouts import US_LAYOUTS, FieldKind, GppField, SecondPart, UsLayout
from cdp.consent.signals.gpp.meaning import KNOWN_CHILD
from cdp.consent.signals.gpp.us import decode_usp

PAGE: Final = "gpp.md"


def pages() -> dict[str, str]:
    """The page by its path in docs/reference."""
    return {PAGE: "\n".join(_lines())}


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Sections of the United States"
    yield ""
    yield "| Id | Section | Letters | Fields of the first part, in order, with their bits | After the dot |"
    yield "|---|---|---|---|---|"
    yield from (_section(layout) for layout in US_LAYOUTS)
    yield ""
    yield _HEADED
    yield "## Categories of sensitive data and known children"
    yield ""
    yield "What each number of `SensitiveDataProcessing` and `KnownChildSensitiveDataConsents` is about, in order:"
    yield ""
    yield "| Section | Sensitive data | Known children |"
    yield "|---|---|---|"
    for layout in US_LAYOUTS:
        subjects = (_subjects(layout, kind) for kind in (FieldKind.SENSITIVE, FieldKind.CHILDREN))
        yield f"| `{_title(layout)}` | {' | '.join(subjects)} |"
    yield ""
    yield "## Other sections"
    yield ""
    yield "| Id | Section | Fields |"
    yield "|---|---|---|"
    yield "| 2 | `tcfeuv2` | a TC string, see [consent](consent.md) |"
    yield f"| 5 | `tcfcav1` | {_names(decode_canada(_CANADA).fields)} |"
    yield f"| 6 | `uspv1` | {_names(decode_usp('1---').fields)} |"
    yield ""


def _section(layout: UsLayout) -> str:
    lengths = ", ".join(str(length) for length in sorted(layout.lengths))
    fields = ", ".join(f"`{field.name}` {_bits(field)}" for field in layout.fields)
    return f"| {layout.id} | `{_title(layout)}` | {lengths} | {fields} | {_SECOND[layout.second]} |"


def _title(layout: UsLayout) -> str:
    return f"{layout.name} {layout.version}" if layout.id == _NATIONAL else layout.name


def _bits(field: GppField) -> str:
    if field.kind is FieldKind.VERSION:
        return "6"
    return f"{field.count} × 2" if field.of else "2"


def _subjects(layout: UsLayout, kind: FieldKind) -> str:
    subjects = [subject for field in layout.fields_of(kind) for subject in field.of or (KNOWN_CHILD,)]
    return ", ".join(" + ".join(f"`{name}`" for name in subject.split()) for subject in subjects) or "none"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


_NATIONAL: Final = 7
_SECOND: Final = {
    SecondPart.NONE: "nothing",
    SecondPart.GPC: "`GpcSegmentType` 2, `Gpc` 1",
    SecondPart.SENSITIVE: "`SensitiveDataProcessing` 8 × 2",
}
# A section with all of its parts, in which nobody consents to anything.
_CANADA: Final = "BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA.IAAA.YAAAAAAAAAA"

_INTRODUCTION: Final = """<!-- Written by `cdp docs`. Change the code, then run it again. -->
# Global Privacy Platform: sections and fields

What `decode_gpp` reads. Sources: the specification of the IAB Tech Lab as of December 2025, and what `@iabgpp/cmpapi` 3.2.0 writes; tests compare random texts of that
encoder field by field. Of a number of two bits, 0 means "not applicable". Of a notice, 1 means that it was given and 2 that it was not; of a choice, 1 is the
refusal and 2 the permission. 3 is not defined: the text is malformed. How choices, notices and GPC are read together is explained under
[consent](../explanation/consent.md#global-privacy-platform).
"""
_HEADED: Final = """A part may be filled up with zeros to any of its lengths. Of `usnat`, the length decides the layout, because releases 3.1.5 and 3.1.7 of the encoder write the second as version 1: ten or
eleven letters are the first, twelve letters the second, or the first if the version is 1 and the last twelve bits are zeros. The sections 24 to 27 are read as the encoder writes them, and as they are
published, with a part in front that has the id and the version of the section.
"""
