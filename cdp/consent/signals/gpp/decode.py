"""From a text of the Global Privacy Platform to its sections.

Source: "Consent String Specification" of the Global Privacy Platform, version 1 (IAB Tech Lab). A foreign text is kept as it
came; nothing here writes one.
"""

from functools import lru_cache
from typing import Final

from cdp.consent.signals.bits import BitReader, MalformedSignal
from cdp.consent.signals.gpp.canada import decode_canada
from cdp.consent.signals.gpp.fibonacci import fibonacci_ranges
from cdp.consent.signals.gpp.layouts import CANADA, EUROPE, US_PRIVACY, US_SECTIONS
from cdp.consent.signals.gpp.model import MAX_CHARACTERS, GppSection, GppString
from cdp.consent.signals.gpp.us import decode_us, decode_usp
from cdp.consent.signals.tcf.decode import CACHED_LETTERS, CACHED_STRINGS, decode_tcf


def decode_gpp(text: str) -> GppString:
    """The sections of a text.

    MalformedSignal if its header cannot be read, if it has not as many sections as its header lists, or if a section of
    a known version cannot be read. Sections of an unknown id, version or part are kept as not understood. The time is
    proportional to the length, of which MAX_CHARACTERS is the bound.
    """
    return _cached(text) if len(text) <= CACHED_LETTERS else _decoded(text)


def _decoded(text: str) -> GppString:
    if len(text) > MAX_CHARACTERS:
        raise MalformedSignal("header", 0, f"more than {MAX_CHARACTERS} characters")
    header, *sections = text.split("~")
    ids = _section_ids(header, len(sections))
    return GppString(text, _VERSION, {id_: _section(id_, raw) for id_, raw in zip(ids, sections, strict=True)})


_cached = lru_cache(CACHED_STRINGS)(_decoded)


def _section(id_: int, raw: str) -> GppSection:
    layouts = US_SECTIONS.get(id_)
    if layouts is not None:
        return decode_us(raw, layouts)
    if id_ == US_PRIVACY:
        return decode_usp(raw)
    if id_ == CANADA:
        return decode_canada(raw)
    if id_ == EUROPE:
        tcf = decode_tcf(raw)
        return GppSection(id_, "tcfeuv2", raw, tcf.version, tcf=tcf)
    if not raw:
        raise MalformedSignal(f"section {id_}", 0, "no letters")
    return GppSection(id_, str(id_), raw, not_understood="unknown section id")


@lru_cache(maxsize=1024)
def _section_ids(header: str, expected: int) -> tuple[int, ...]:
    """The ids that the header lists. There are few headers, so those of the last texts are kept."""
    reader = BitReader(header, "header")
    if reader.integer(6, "header") != _TYPE:
        raise MalformedSignal("header", 0, "not the type of the Global Privacy Platform, which begins with D")
    if reader.integer(6, "header") != _VERSION:
        raise MalformedSignal("header", 6, f"not version {_VERSION}")
    ids = fibonacci_ranges(reader, "header")
    reader.end("header")
    if len(ids) != expected:
        raise MalformedSignal("header", 12, "lists another number of sections than the text has")
    return tuple(ids)


_TYPE: Final = 3
_VERSION: Final = 1
