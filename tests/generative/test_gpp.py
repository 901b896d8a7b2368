"""Texts of the Global Privacy Platform with random content: the IAB's own encoder reads the same, and nothing breaks the decoder."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdp.consent.signals.bits import IdSet, MalformedSignal
from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.gpp.layouts import US_SECTIONS
from cdp.consent.signals.gpp.meaning import opt_outs_of
from cdp.consent.signals.gpp.model import MAX_CHARACTERS, GppSection
from tests.support.budget import examples
from tests.support.gpp_texts import LETTERS, fibonacci, header, letters

SDK = Path(__file__).resolve().parents[1] / "sdk"
NODE_PATH = Path(sys.prefix) / "node-sdk" / "node_modules"

ALPHABET = LETTERS + "~.="
VALID = [
    "DBABLA~CAAAVVVVVVRA.QA",
    "DBACNYA~CPSG_8APSG_8ANwAAAENAwCgAAAAAAAAAAAAAAAAAAAA.IAAA.YAAAAAAAAAAA~1YNN",
    "DBAFDFjPeA~BQufrfzQufrfzqHi8wENuJDL5yYDQl8TsgAAAAAAAA.clHTHqHzw_Sw~BUGVSVYA~BRgIWCYA~BWCUEFAZqA.YA~DlQk.WmE",
]

# Two empty lists of vendors, and as many restrictions as the text holds, each for every vendor.
CANADA_RESTRICTING = letters(
    "000001"
    + "0" * 192
    + ("0" * 17) * 2
    + f"{4095:012b}"
    + (f"{1:06b}01" + f"{65535:016b}1{1:012b}1" + fibonacci(1) + fibonacci(65_534)) * 4095
)

# What our fields of parts that a section lacks would be: the encoder shows its defaults there.
OF_SECOND_PARTS = {"GpcSegmentType", "Gpc", "SensitiveDataProcessing", "DisclosedVendors"}
TYPES_OF_PARTS = {"PubPurposesSegmentType", "DisclosedVendorsSegmentType"}


def written_by_the_encoder(seed: int, count: int) -> list[dict[str, Any]]:
    command = ["node", str(SDK / "gpp_random.cjs"), str(seed), str(count)]
    result = subprocess.run(
        command, env={**os.environ, "NODE_PATH": str(NODE_PATH)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def like_the_encoder(name: str, value: object, shown: object) -> object:
    """Our value in the shape in which the encoder shows it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"
    if name == "PubRestrictions":
        return [{"key": entry.purpose, "type": entry.kind, "ids": list(entry.vendors)} for entry in value]  # type: ignore[attr-defined]
    if isinstance(value, IdSet) and isinstance(shown, list) and shown and isinstance(shown[0], bool):
        return [place + 1 in value for place in range(len(shown))]
    return list(value) if isinstance(value, tuple | IdSet) else value


def assert_equal_fields(section: GppSection, shown: Mapping[str, Any]) -> None:
    assert section.not_understood is None
    for name, value in section.fields.items():
        assert like_the_encoder(name, value, shown[name]) == shown[name], (section.name, name)
    missing = shown.keys() - section.fields.keys() - TYPES_OF_PARTS
    assert missing <= (OF_SECOND_PARTS if "." not in section.raw or section.name == "tcfcav1" else set())
    if "Gpc" in section.fields:
        assert section.gpc is shown["Gpc"]


def assert_equal_tcf(section: GppSection, shown: Mapping[str, Any]) -> None:
    tcf = section.tcf
    assert tcf is not None
    assert tcf.publisher is not None
    ours = {
        "Version": tcf.version,
        "Created": tcf.created,
        "LastUpdated": tcf.last_updated,
        "CmpId": tcf.cmp_id,
        "CmpVersion": tcf.cmp_version,
        "ConsentScreen": tcf.consent_screen,
        "ConsentLanguage": tcf.consent_language,
        "VendorListVersion": tcf.vendor_list_version,
        "PolicyVersion": tcf.policy_version,
        "IsServiceSpecific": tcf.is_service_specific,
        "UseNonStandardStacks": tcf.use_non_standard_texts,
        "SpecialFeatureOptins": tcf.special_feature_opt_ins,
        "PurposeConsents": tcf.purpose_consents,
        "PurposeLegitimateInterests": tcf.purpose_legitimate_interests,
        "PurposeOneTreatment": tcf.purpose_one_treatment,
        "PublisherCountryCode": tcf.publisher_country,
        "VendorConsents": tcf.vendor_consents,
        "VendorLegitimateInterests": tcf.vendor_legitimate_interests,
        "PublisherConsents": tcf.publisher.purpose_consents,
        "PublisherLegitimateInterests": tcf.publisher.purpose_legitimate_interests,
        "NumCustomPurposes": tcf.publisher.custom_purposes,
        "PublisherCustomConsents": tcf.publisher.custom_consents,
        "PublisherCustomLegitimateInterests": tcf.publisher.custom_legitimate_interests,
        "VendorsDisclosed": tcf.disclosed_vendors,
    }
    assert {name: like_the_encoder(name, value, shown[name]) for name, value in ours.items()} == {
        name: shown[name] for name in ours
    }
    wanted = {(entry["key"], int(entry["type"])): set[int]() for entry in shown["PublisherRestrictions"]}
    for entry in shown["PublisherRestrictions"]:
        wanted[entry["key"], int(entry["type"])] |= set(entry["ids"])
    assert {(one.purpose_id, int(one.type)): set(one.vendors) for one in tcf.publisher_restrictions} == wanted


@pytest.mark.node
def test_random_content_of_the_official_encoder_is_read_field_by_field() -> None:
    seen: Counter[str] = Counter()
    for vector in written_by_the_encoder(seed=20, count=examples(600)):
        gpp = decode_gpp(vector["text"])
        assert set(vector["sections"]) == {section.name for section in gpp.sections.values()}
        for section in gpp.sections.values():
            assert_equal = assert_equal_tcf if section.tcf is not None else assert_equal_fields
            assert_equal(section, vector["sections"][section.name])
            seen[section.name] += 1
    names = {layouts[0].name for layouts in US_SECTIONS.values()} | {"tcfeuv2", "tcfcav1", "uspv1"}
    assert seen.keys() == names
    assert min(seen.values()) > 50


def read(text: str) -> None:
    """Decodes, or refuses with the one exception; what is decoded keeps every letter of it and has a meaning."""
    try:
        gpp = decode_gpp(text)
    except MalformedSignal:
        return
    assert [gpp.raw, *gpp.sections] == [text, *sorted(gpp.sections)]
    assert "~".join([text.partition("~")[0], *(section.raw for section in gpp.sections.values())]) == text
    assert opt_outs_of(gpp) is not None
    json.dumps([asdict(section)["fields"] for section in gpp.sections.values()], default=str)


@given(st.text(max_size=200) | st.text(ALPHABET, max_size=400))
@example("D" * 400)
@example("DBA" + "_" * 400)
def test_any_text_is_read_or_refused(text: str) -> None:
    read(text)
    read(f"DB{text}")


@given(st.lists(st.sampled_from(sorted(US_SECTIONS)), unique=True, max_size=6).map(sorted), st.data())
def test_any_letters_in_known_sections_are_read_or_refused(ids: list[int], data: st.DataObject) -> None:
    # Versions 1 and 2, the ids of the later states, and the types of parts come first in what is read.
    part = st.text(LETTERS, min_size=1, max_size=16) | st.builds(
        str.__add__, st.sampled_from("ABCIYZabQ"), st.text("ABFKQUVq", max_size=11)
    )
    sections = [".".join(data.draw(st.lists(part, min_size=1, max_size=3))) for _ in ids]
    read("~".join([header(*ids), *sections]))


@pytest.mark.parametrize("id_", [2, 5, 6, *US_SECTIONS])
def test_parts_of_one_letter_are_read_or_refused(id_: int) -> None:
    for letter in ALPHABET:
        read(f"{header(id_)}~{letter}")
        for second in "AIYZab_":
            read(f"{header(id_)}~{letter}.{second}")
            read(f"{header(id_)}~{letter}{second}.{letter}")


@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 400), st.sampled_from(ALPHABET)), max_size=4))
def test_a_changed_text_is_read_or_refused(text: str, changes: list[tuple[int, str]]) -> None:
    for place, letter in changes:
        place %= len(text)
        text = text[:place] + letter + text[place + 1 :]
    read(text)
    for cut in (len(text) // 2, len(text) - 1):
        read(text[:cut])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(letters(f"{3:06b}{1:06b}{4095:012b}" + f"1{fibonacci(1)}{fibonacci(14)}" * 4095), id="ranges"),
        pytest.param(letters(f"{3:06b}{1:06b}{1:012b}1{fibonacci(1)}{fibonacci(65_534)}"), id="one range of all ids"),
        pytest.param(letters(f"{3:06b}{1:06b}{1:012b}0" + "0" * 300_000), id="a number without an end"),
        pytest.param("DBAA" + "~" * (MAX_CHARACTERS - 4), id="separators"),
        pytest.param(header(5) + "~B" + "_" * 60_000, id="vendors of Canada"),
        pytest.param(f"{header(5)}~{CANADA_RESTRICTING}", id="restrictions for all vendors of Canada"),
        pytest.param(header(7) + "~B" + "A" * 60_000, id="a long section"),
        pytest.param(header(8) + "~BAAAAABA" + ".QA" * 20_000, id="parts"),
        pytest.param(
            header(5) + "~BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA" + ".IAAA" * 12_000, id="parts of Canada"
        ),
    ],
)
def test_hostile_texts_take_little_time_and_memory(text: str) -> None:
    tracemalloc.start()
    began = time.process_time()
    read(text)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 1.0
    assert peak < 64 * 2**20
