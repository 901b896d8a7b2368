"""The texts that the tests of the IAB's own encoder contain, read as it reads them."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.consent.signals.bits import MalformedSignal
from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.gpp.model import GppSection

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/gpp.json").read_text())["vectors"]

# The section of Canada in this text restricts purpose 56, of 24, and has bits left; the encoder passes over both.
NONSENSE = "BPSG_8APSG_8AAyACAENGdCgf_gfgAfgfgBgABABAAABAB4AACACADwAAEAE"

READABLE = [vector for vector in VECTORS if "error" not in vector and NONSENSE not in vector["gpp"]]
REFUSED = [vector["gpp"] for vector in VECTORS if "error" in vector or NONSENSE in vector["gpp"]]


def as_json(section: GppSection) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in section.fields.items()
    }  # fmt: skip


def is_national_of_another_length(name: str, fields: dict[str, Any], section: GppSection) -> bool:
    """The length decides which layout of `usnat` a text has; the encoder follows the version and adds or drops zeros."""
    return name == "usnat" and len(fields["SensitiveDataProcessing"]) != len(
        as_json(section)["SensitiveDataProcessing"]
    )


@pytest.mark.parametrize("vector", READABLE, ids=lambda vector: vector["gpp"][:40])
def test_sections_have_the_fields_that_the_encoder_reads(vector: dict[str, Any]) -> None:
    gpp = decode_gpp(vector["gpp"])
    assert list(gpp.sections) == vector["sectionIds"]
    assert gpp.raw == vector["gpp"]
    assert "~".join(section.raw for section in gpp.sections.values()) == vector["gpp"].partition("~")[2]
    by_name = {section.name: section for section in gpp.sections.values()}
    for name, fields in vector["sections"].items():
        if fields is not None:
            found = as_json(by_name[name])
            if is_national_of_another_length(name, fields, by_name[name]):
                for part in ("SensitiveDataProcessing", "KnownChildSensitiveDataConsents"):
                    shorter, longer = sorted((found.pop(part), fields.pop(part)), key=len)
                    assert longer == shorter + [0] * (len(longer) - len(shorter))
            assert found == fields


@pytest.mark.parametrize("text", REFUSED)
def test_texts_that_the_encoder_refuses_are_malformed(text: str) -> None:
    with pytest.raises(MalformedSignal):
        decode_gpp(text)


def test_both_kinds_are_among_the_vectors() -> None:
    assert len(READABLE) == 23
    assert len(REFUSED) == 8
