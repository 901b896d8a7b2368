"""What a service does with its policy folder when it starts: real processes on one database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdp.postgres.server import EmbeddedPostgres
from tests.support.commands import Service, Shell
from tests.support.controllers import CONTROLLER, with_controller
from tests.support.databases import EMPTY, plain_url, temporary_database
from tests.support.policies import changed, documents_of, permit_all, shipped, written
from tests.support.waits import until

pytestmark = pytest.mark.slow

BOB = "user_id:bob"


class Installation:
    """Services with policy folders of their own, on one database and one state store."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.settings = {
            "CDP_DATABASE_URL": url,
            "CDP_STATE_URL": f"file://{folder / 'state'}",
            "CDP_MASTER_KEY": "0123456789abcdef" * 4,
        }
        analytics = documents_of(permit_all())["purposes.yaml"]["purposes"]["analytics"]
        renamed = {"analytics": {**analytics, "name": "Counting"}}
        self.folders = {
            "wide": written(permit_all(), folder / "wide"),
            "narrow": written(shipped(), folder / "narrow"),
            "renamed": written(changed(permit_all(), "purposes.yaml", purposes=renamed), folder / "renamed"),
            "named": written(with_controller(permit_all(), {"controller": CONTROLLER}), folder / "named"),
        }

    def shell(self, policies: str, **settings: str) -> Shell:
        more = {**self.settings, "CDP_POLICIES": str(self.folders[policies]), **settings}
        return Shell(self.folder / f"home-{policies}", more)

    def fingerprint(self, policies: str) -> str:
        found: str = self.shell(policies).json("policy", "check")["fingerprint"]
        return found


@pytest.fixture
def installation(server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Installation]:
    """An installation that was started for the first time with the wide folder, and that knows Bob."""
    with temporary_database(server, EMPTY) as url:
        found = Installation(tmp_path, plain_url(url))
        shell = found.shell("wide")
        with shell.serving() as service:
            assert readiness(service) == (found.fingerprint("wide"), None), "an empty store takes the folder"
            key = shell.json("source", "create", "shop", "--kind", "server", "--jurisdiction", "eu")["write_key"]
            body = {"userId": "bob", "event": "Product Viewed", "properties": {"price": 1}}
            assert service.request("POST", "/v1/track", auth=(key, ""), json=body).status_code == 200
        assert events_of_bob(shell) == 1
        yield found


def readiness(service: Service) -> tuple[str, str | None]:
    """The policy in force and the pending one, as the readiness of a service says."""
    found = service.request("GET", "/readyz").json()
    assert found["status"] == "ready"
    return found["policy"], found["pending_policy"]


def events_of_bob(shell: Shell) -> int:
    shown: dict[str, Any] = json.loads(shell.run("profile", "show", BOB, "--json").stdout)
    return int(shown["events"])


def test_a_folder_that_touches_stored_data_waits_until_it_is_applied(installation: Installation) -> None:
    wide, narrow = installation.fingerprint("wide"), installation.fingerprint("narrow")
    with installation.shell("narrow").serving() as changed_folder, installation.shell("wide").serving() as other:
        assert readiness(changed_folder) == (wide, narrow)
        assert "NOT applied" in changed_folder.output
        assert (
            "leaves readers, destinations, identifiers, jurisdictions and retention as they are"
            in changed_folder.output
        )
        assert "cdp policy apply" in changed_folder.output
        assert readiness(other) == (wide, None)
        assert "NOT applied" not in other.output
        assert events_of_bob(installation.shell("wide")) == 1
        installation.shell("narrow").run("policy", "apply", "--yes")
        until(lambda: readiness(changed_folder) == (narrow, None))
        until(lambda: readiness(other)[0] == narrow)
    with installation.shell("wide").serving() as left_behind:
        assert readiness(left_behind) == (narrow, wide), "a restart with an earlier folder does not bring it back"


def test_a_setting_accepts_one_policy_by_its_fingerprint(installation: Installation) -> None:
    narrow = installation.fingerprint("narrow")
    other = installation.shell("narrow", CDP_ACCEPT_POLICY="0" * 64)
    with other.serving() as service:
        assert readiness(service)[1] == narrow
    with installation.shell("narrow", CDP_ACCEPT_POLICY=narrow).serving() as service:
        assert readiness(service) == (narrow, None)


def test_a_controller_that_is_named_is_applied_and_shown(installation: Installation) -> None:
    """Naming it needs no second step: nothing that is stored depends on it."""
    with installation.shell("named").serving() as service:
        assert readiness(service) == (installation.fingerprint("named"), None)
        assert CONTROLLER["name"] in service.request("GET", "/privacy").text


def test_a_folder_that_touches_nothing_is_applied(installation: Installation) -> None:
    with installation.shell("renamed").serving() as service:
        assert readiness(service) == (installation.fingerprint("renamed"), None)
