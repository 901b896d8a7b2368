"""Controllers that policies of tests name; their domains are for tests, so `cdp policy check` warns of them."""

from typing import Any, Final

from cdp.policy.load import build_policy
from cdp.policy.model import CONTROLLER_FILE, Policy
from tests.support.policies import documents_of

CONTROLLER: Final[dict[str, Any]] = {
    "name": "Nordlicht Handel GmbH",
    "address": "Hafenstraße 1, 20457 Hamburg, Germany",
    "email": "privacy@nordlicht.example",
    "phone": "+49 40 1234567",
    "url": "https://nordlicht.example/privacy-request",
}
"""A controller with every way to reach it."""

RESPONSIBLE: Final[dict[str, Any]] = {
    "controller": CONTROLLER,
    "joint_controllers": [
        {"name": "Südlicht AG", "address": "Seeweg 2, 8001 Zürich, Switzerland", "email": "data@suedlicht.example"}
    ],
    "representative": {"name": "EU Rep Ltd", "address": "1 Quay Street, Dublin, Ireland", "email": "eu@rep.example"},
    "data_protection_officer": {"name": "Dr. Kim Doe", "email": "dpo@nordlicht.example", "phone": "+49 40 7654321"},
}
"""The content of a file that names everybody whom the file can name."""


def with_controller(policy: Policy, content: dict[str, Any] | None = None) -> Policy:
    """The policy with this `controller.yaml`, or one that names everybody."""
    return build_policy({**documents_of(policy), CONTROLLER_FILE: RESPONSIBLE if content is None else content})
