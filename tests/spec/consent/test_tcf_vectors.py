"""TC strings of the IAB's reference library (tests/data/vectors/tcf_v2.md)."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cdp.consent.signals.bits import IdSet, MalformedSignal
from cdp.consent.signals.tcf.decode import decode_tcf

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/tcf_v2.json").read_text())
READ = [vector for vector in VECTORS["vectors"] if vector.get("expect", {}).get("version") == 2]
REFUSED = [vector for vector in VECTORS["vectors"] if vector.get("expect", {}).get("version") != 2]

NAMES = {
    "cmpId": "cmp_id",
    "cmpVersion": "cmp_version",
    "consentScreen": "consent_screen",
    "consentLanguage": "consent_language",
    "created": "created",
    "isServiceSpecific": "is_service_specific",
    "lastUpdated": "last_updated",
    "policyVersion": "policy_version",
    "publisherCountryCode": "publisher_country",
    "purposeConsents": "purpose_consents",
    "purposeLegitimateInterests": "purpose_legitimate_interests",
    "purposeOneTreatment": "purpose_one_treatment",
    "specialFeatureOptins": "special_feature_opt_ins",
    "vendorConsents": "vendor_consents",
    "vendorLegitimateInterests": "vendor_legitimate_interests",
    "vendorListVersion": "vendor_list_version",
    "version": "version",
}


def plain(value: Any) -> Any:
    if isinstance(value, IdSet):
        return list(value)
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if isinstance(value, datetime) else value


@pytest.mark.parametrize("vector", READ, ids=lambda vector: vector["tcstring"][:16])
def test_a_string_of_the_reference_library_is_read_as_it_reads_it(vector: dict[str, Any]) -> None:
    tc = decode_tcf(vector["tcstring"])
    expected = {key: value for key, value in vector["expect"].items() if key != "vendorConsentsCount"}
    assert {key: plain(getattr(tc, NAMES[key])) for key in expected} == expected
    assert len(tc.vendor_consents) == vector["expect"].get("vendorConsentsCount", len(tc.vendor_consents))


@pytest.mark.parametrize("vector", [*VECTORS["malformed"], *REFUSED], ids=lambda vector: vector["tcstring"][:16])
def test_malformed_and_withdrawn_strings_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedSignal):
        decode_tcf(vector["tcstring"])


def test_there_are_vectors_of_each_kind() -> None:
    assert (len(READ), len(VECTORS["malformed"]), len(REFUSED)) == (62, 8, 3)
