"""Random TC strings of both encoders of the IAB, read as they read them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdp.consent.signals.bits import IdSet
from cdp.consent.signals.tcf.decode import decode_tcf
from cdp.consent.signals.tcf.model import PublisherTc, TcString

pytestmark = [pytest.mark.node, pytest.mark.slow]

SCRIPT = Path(__file__).parents[2] / "sdk" / "tcf_random.cjs"
NODE = Path(sys.prefix) / "node-sdk" / "node_modules"
SEED = 20_261_129
STRINGS = 100
NOTHING = PublisherTc(IdSet(), IdSet(), 0, IdSet(), IdSet())
PUBLISHER = ["purpose_consents", "purpose_legitimate_interests", "custom_consents", "custom_legitimate_interests"]
VENDORS = ["vendor_consents", "vendor_legitimate_interests"]
PURPOSES = ["special_feature_opt_ins", "purpose_consents", "purpose_legitimate_interests"]


def written(seed: int, strings: int) -> list[dict[str, Any]]:
    """What each encoder writes, and reads in it, in one process of Node."""
    command = ["node", str(SCRIPT), str(seed), str(strings)]
    done = subprocess.run(
        command, env={**os.environ, "NODE_PATH": str(NODE)}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def fields_of(tc: TcString) -> dict[str, Any]:
    """A string as the script prints what it read: there, a segment that is absent is as if empty."""
    publisher = tc.publisher or NOTHING
    restrictions = [[entry.purpose_id, entry.type, list(entry.vendors)] for entry in tc.publisher_restrictions]
    instants = {name: getattr(tc, name).isoformat(timespec="milliseconds") for name in ("created", "last_updated")}
    return {
        **{name: getattr(tc, name) for name in tc.__struct_fields__},
        **{name: instant.replace("+00:00", "Z") for name, instant in instants.items()},
        **{name: list(getattr(tc, name)) for name in (*VENDORS, *PURPOSES)},
        "disclosed_vendors": list(tc.disclosed_vendors or ()),
        "allowed_vendors": list(tc.allowed_vendors or ()),
        "publisher_restrictions": restrictions,
        "publisher": {
            "custom_purposes": publisher.custom_purposes,
            **{name: list(getattr(publisher, name)) for name in PUBLISHER},
        },
    }


@pytest.fixture(scope="module")
def strings() -> list[dict[str, Any]]:
    return written(SEED, STRINGS)


def assert_read_alike(strings: list[dict[str, Any]]) -> None:
    for string in strings:
        expected = {**string, "publisher_restrictions": sorted(string["publisher_restrictions"])}
        text = expected.pop("text")
        assert fields_of(decode_tcf(text)) == expected, text


def test_every_field_is_read_as_the_encoders_read_it(strings: list[dict[str, Any]]) -> None:
    assert_read_alike(strings)


def test_the_strings_have_every_kind_of_content(strings: list[dict[str, Any]]) -> None:
    read = [decode_tcf(string["text"]) for string in strings]
    assert len(read) == 2 * STRINGS
    disclosed = [tc.disclosed_vendors for tc in read]
    assert None in disclosed
    assert IdSet() in disclosed
    assert any(disclosed)
    assert any(tc.allowed_vendors for tc in read)
    assert any(tc.publisher and tc.publisher.custom_consents for tc in read)
    assert {entry.type for tc in read for entry in tc.publisher_restrictions} == {0, 1, 2}
    assert {tc.is_service_specific for tc in read} == {True, False}
    assert {tc.created == tc.last_updated for tc in read} == {True, False}
    assert {tc.policy_version for tc in read} == {2, 3, 4, 5}
