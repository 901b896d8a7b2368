"""`cdp consent try` shows what signals mean under the policy files, and stores nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ROOT, Shell
from tests.support.policies import changed, shipped, written
from tests.support.tcf import core_bits, disclosed, letters_of, publisher_segment

TC_STRING = f"{letters_of(core_bits(purpose_consents=(8, 9)))}.{disclosed((12,))}.{publisher_segment((8, 9))}"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    policy = changed(shipped(), "purposes.yaml", signals={"cookies": {"klaro": "klaro"}})
    return Shell(tmp_path / "home", {"CDP_POLICIES": str(written(policy, tmp_path / "policies"))})


def tried(shell: Shell, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell.run("consent", "try", *options, "--json").stdout)
    return found


def test_fields_rule_and_verdicts_are_shown(shell: Shell) -> None:
    found = tried(shell, "--tcf", TC_STRING, "--jurisdiction", "eu")
    [signal] = found["signals"]
    assert (signal["signal"], signal["place"], signal["unreadable"]) == ("tcf", "context.consent.tcf", "")
    assert signal["fields"]["purpose_consents"] == [8, 9]
    assert signal["fields"]["publisher"]["purpose_consents"] == [8, 9]
    acts = {act["purpose"]: (act["act"], act["authority"], act["rule"]) for act in found["acts"]}
    assert acts["analytics"] == ("grant", "device", "signals.tcf")
    assert acts["advertising"] == ("refuse", "device", "signals.tcf")
    assert found["verdicts"]["analytics"] == {"allowed": True, "reason": "granted"}
    assert found["verdicts"]["advertising"] == {"allowed": False, "reason": "refused"}
    printed = shell.run("consent", "try", "--tcf", TC_STRING, "--jurisdiction", "eu").stdout
    assert "signals.tcf" in printed
    assert "Nothing was stored." in printed


def test_nothing_is_stored_and_no_database_is_opened(shell: Shell) -> None:
    before = set(shell.home.parent.rglob("*"))
    nowhere = Shell(shell.home, {**shell.settings, "CDP_DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"})
    assert nowhere.spawn("consent", "try", "--gpc", "--us-privacy", "1YYN").code == 0
    assert set(shell.home.parent.rglob("*")) == before


def test_signals_of_a_message_and_of_options_are_tried_together(shell: Shell, tmp_path: Path) -> None:
    body = {"type": "page", "context": {"consent": {"categoryPreferences": {"analytics": True}}}}
    (tmp_path / "message.json").write_text(json.dumps(body), encoding="utf-8")
    options = (
        "--message",
        str(tmp_path / "message.json"),
        "--cookie",
        "klaro=%7B%22analytics%22%3Afalse%7D",
        "--server",
    )
    assert [act["signal"] for act in tried(shell, *options)["acts"]] == ["segment"], (
        "a server has no cookies of a person"
    )
    found = tried(shell, *options[:-1])
    assert [(act["signal"], act["act"]) for act in found["acts"]] == [("segment", "grant"), ("klaro", "refuse")]
    assert found["verdicts"]["analytics"]["reason"] == "refused"


def test_what_cannot_be_read_says_where_and_refuses(shell: Shell) -> None:
    found = tried(shell, "--tcf", "CO", "--gpp", "DB", "--us-privacy", "1", "--google", "13z3z3z3z5")
    assert {signal["signal"] for signal in found["signals"] if signal["unreadable"]} == {"tcf", "gpp"}
    assert found["malformed"] == ["google", "tcf", "gpp", "usp"]
    assert not any(verdict["allowed"] for verdict in found["verdicts"].values())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ((), "give a signal: --tcf, --gpp"),
        (("--google", "yes"), "give a gcs such as G101"),
        (("--google", "{"), "this is not valid JSON"),
        (("--cookie", "klaro"), "give one cookie as NAME=VALUE"),
        (("--cookie", "CookieConsent=-1"), "the policy reads no cookie `CookieConsent`"),
        (("--gpc", "--jurisdiction", "atlantis"), "`atlantis` is not one of the policy: "),
        (("--message", str(ROOT / "README.md")), "this is not one message in JSON"),
    ],
)
def test_errors_say_what_would_be_right(shell: Shell, options: tuple[str, ...], error: str) -> None:
    assert error in shell.run("consent", "try", *options, code=2).stderr
