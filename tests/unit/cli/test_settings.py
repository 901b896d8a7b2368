"""What a process says about a setting that it does not know, as the operator sees it."""

import json
from pathlib import Path

from tests.support.commands import Shell

MISTYPED = {"CDP_TRUSTED_PROXY": "10.0.0.1"}


def test_a_command_names_the_setting_and_the_one_that_was_probably_meant(tmp_path: Path) -> None:
    shown = Shell(tmp_path, MISTYPED).spawn("policy", "check").stderr
    assert "unknown_setting" in shown
    assert 'setting="CDP_TRUSTED_PROXY"' in shown
    assert 'near="CDP_TRUSTED_PROXIES"' in shown
    assert "10.0.0.1" not in shown
    assert len(shown.splitlines()) == 1


def test_a_service_logs_it_like_everything_else(tmp_path: Path) -> None:
    nowhere = {"CDP_DATABASE_URL": "postgresql://cdp@127.0.0.1:1/cdp"}
    first = Shell(tmp_path, MISTYPED | nowhere).spawn("serve", code=1).stderr.splitlines()[0]
    line = json.loads(first)
    assert (line["event"], line["setting"], line["near"]) == (
        "unknown_setting",
        "CDP_TRUSTED_PROXY",
        "CDP_TRUSTED_PROXIES",
    )
