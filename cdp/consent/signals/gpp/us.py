"""Sections of the United States: those of the national agreement and of the states, and the older `uspv1`."""

import re
from collections.abc import Sequence
from typing import Final

from cdp.consent.signals.bits import MalformedSignal
from cdp.consent.signals.gpp.layouts import US_PRIVACY, USNAT_1, USNAT_2, SecondPart, UsLayout, lengths_of
from cdp.consent.signals.gpp.model import FieldValue, GppSection


def decode_us(raw: str, layouts: Sequence[UsLayout]) -> GppSection:
    """A section in one of the layouts of its id, which are in the order of their versions without a gap.

    MalformedSignal if a part has not the length of any layout, or a number that the specification does not define.
    """
    layout = layouts[0]
    parts = raw.split(".")
    version: int | None = None
    if layout.is_headed and raw[:1] == _LETTERS[layout.id]:
        # The published text of these sections puts a part in front, with the section's own id and its version; the list
        # of parts in it is not read: it contains the id 0, which its coding cannot write, and no section has two orders.
        version = _six_bits(_numbers(parts.pop(0), layout.name)[3:], layout.name)
        if version != layout.version or not parts:
            return _not_understood(raw, layout, f"version {version} of its header part")
    numbers = _numbers(parts[0], layout.name)
    stated = _six_bits(numbers, layout.name)
    if not layout.is_headed:
        version = stated
        if not layout.version <= version <= layouts[-1].version:
            return _not_understood(raw, layout, f"version {version}")
        layout = layout if len(layouts) == 1 else _national(numbers, version)
    if len(parts) > (1 if layout.second is SecondPart.NONE else 2):
        return _not_understood(raw, layout, "a part that its layout does not have")
    _check(numbers, layout.name, count=layout.count, lengths=layout.lengths, first=3)
    fields: dict[str, FieldValue] = {layout.fields[0].name: stated}
    fields.update(zip(layout.spans, layout.pick(numbers), strict=True))
    for name, span in layout.lists:
        fields[name] = tuple(numbers[span])
    gpc = _second_part(parts[1], layout, fields) if len(parts) == 2 else None
    return GppSection(layout.id, layout.name, raw, version, fields, gpc, layout)


def decode_usp(raw: str) -> GppSection:
    """The four letters of the US Privacy text: version, notice, opt-out of sale, covered by the LSPA."""
    if raw[:1].isdecimal() and raw[0] != "1":
        return GppSection(US_PRIVACY, "uspv1", raw, not_understood=f"version {raw[0]}")
    if _USP.fullmatch(raw) is None:
        raise MalformedSignal("uspv1", 0, "expected 1 and three of the letters Y, N and -")
    return GppSection(
        US_PRIVACY, "uspv1", raw, 1, {"Version": 1, "Notice": raw[1], "OptOutSale": raw[2], "LspaCovered": raw[3]}
    )


def _second_part(text: str, layout: UsLayout, fields: dict[str, FieldValue]) -> bool | None:
    """Adds the fields of the second part; returns its GPC, if it has one."""
    numbers = _numbers(text, layout.name)
    if layout.sensitive is not None:
        count = layout.sensitive.count
        _check(numbers, layout.name, count=count, lengths=lengths_of(2 * count))
        fields[layout.sensitive.name] = tuple(numbers[:count])
        return None
    if len(text) not in _GPC_LENGTHS or numbers[0] != 1 or numbers[1] & 1 or any(numbers[2:]):
        raise MalformedSignal(layout.name, 0, "expected a part with the type 1 and GPC after the dot")
    gpc = numbers[1] == 2
    fields["GpcSegmentType"], fields["Gpc"] = 1, gpc
    return gpc


def _national(numbers: bytes, version: int) -> UsLayout:
    """The layout of `usnat` by its length, for two releases of the official encoder write version 2 as version 1.

    Twelve letters with version 1 are the layout of version 2, which always states there whether the MSPA covers the
    transaction, or that of version 1 filled up to twelve letters, which has zeros there.
    """
    is_filled_up = version == USNAT_1.version and not any(numbers[USNAT_1.count :])
    return USNAT_1 if is_filled_up or len(numbers) < 3 * min(USNAT_2.lengths) else USNAT_2


def _numbers(text: str, field: str) -> bytes:
    """The bits of base64url letters as numbers of two bits, three for each letter."""
    try:
        numbers = b"".join([_TWO_BITS[letter] for letter in text])
    except KeyError:
        raise MalformedSignal(field, 0, "not a base64url letter") from None
    if not numbers:
        raise MalformedSignal(field, 0, "no letters")
    return numbers


def _six_bits(numbers: bytes, field: str) -> int:
    """The number of six bits with which these begin."""
    if len(numbers) < 3:
        raise MalformedSignal(field, 6, "6 bits missing")
    return numbers[0] << 4 | numbers[1] << 2 | numbers[2]


def _check(numbers: bytes, field: str, *, count: int, lengths: frozenset[int], first: int = 0) -> None:
    """Refuses another length, and from the `first` number on those that are not defined and those after the last field."""
    if len(numbers) // 3 not in lengths:
        raise MalformedSignal(field, 2 * len(numbers), f"expected {2 * count} bits, and zeros to fill up the letters")
    undefined = numbers.find(3, first)
    if undefined >= 0 or numbers.count(0, count) < len(numbers) - count:
        raise MalformedSignal(field, 2 * undefined if undefined >= 0 else 2 * count, "a number that is not defined")


def _not_understood(raw: str, layout: UsLayout, reason: str) -> GppSection:
    return GppSection(layout.id, layout.name, raw, not_understood=reason)


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TWO_BITS: Final = {letter: bytes((number >> 4, number >> 2 & 3, number & 3)) for number, letter in enumerate(_LETTERS)}
_GPC_LENGTHS: Final = lengths_of(3)
_USP: Final = re.compile("1[YN-]{3}")
