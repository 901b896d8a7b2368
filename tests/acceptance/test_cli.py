"""Every command as a person types it: what it prints, what it gives to machines, and how it ends."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.commands import Shell, temporary_home
from tests.support.controllers import CONTROLLER
from tests.support.folders import FOLDERS
from tests.support.messages import batch, identify, order
from tests.support.waits import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A home beside a running service, in which Ada consents and orders, and Bob does neither."""
    with temporary_home(FOLDERS) as home:
        shell = Shell(home)
        with shell.serving() as service:
            key = shell.json("source", "create", "shop", "--kind", "server", "--jurisdiction", "eu")["write_key"]
            for purpose in ("analytics", "email_marketing"):
                shell.run(
                    "consent",
                    "record",
                    "email:ada@example.com",
                    "--purpose",
                    purpose,
                    "--act",
                    "grant",
                    "--jurisdiction",
                    "eu",
                )
            for body in (
                identify(userId="ada", traits={"email": "ada@example.com", "country": "DE"}),
                order(userId="ada", properties={"revenue": 30, "country": "Germany"}),
            ):
                sent = httpx.post(f"{service.url}/v1/batch", auth=(key, ""), json=batch(body), timeout=PATIENCE_SECONDS)
                assert sent.status_code == 200
            yield shell


def test_messages_are_accounted_for(shell: Shell) -> None:
    result = shell.json("source", "accounting")
    assert result["received"] == sum(result["by_state"].values()) == 2
    shown = shell.run("source", "accounting", "shop").stdout
    assert shown.startswith("2 received = 2 stored")
    assert "A purpose was permitted" in shown
    assert shell.run("source", "accounting", "nobody", code=3).stderr.startswith("unknown_source")
    assert shell.run("source", "accounting", "--to", "2020-01-01").stdout == "0 received.\n"


def test_the_accounting_tells_what_a_source_sends_with_another_type(shell: Shell) -> None:
    (fault,) = shell.json("source", "accounting", "shop")["properties"]
    named = {key: fault[key] for key in ("source", "event", "property", "expected", "messages")}
    assert named == {
        "source": "shop",
        "event": "Order Completed",
        "property": "country",
        "expected": "vocabulary country",
        "messages": 1,
    }
    shown = shell.run("source", "accounting", "shop").stdout
    assert "not of the declared type" in shown
    assert "Germany" not in shown


def test_a_policy_is_previewed_before_it_is_applied(shell: Shell) -> None:
    assert shell.run("policy", "apply", "--dry-run").stdout == shell.run("policy", "plan").stdout


def test_a_file_that_cannot_be_written_is_reported(shell: Shell) -> None:
    opened = shell.json("request", "open", "access", "email:ada@example.com")
    shell.run("request", "verify", opened["id"])
    failed = shell.run("request", "export", opened["id"], "--draft", "--out", "/no/such/folder/ada.zip", code=2)
    assert failed.stderr.startswith("not_writable")
    assert "in an existing folder" in failed.stderr
    denied = shell.run("request", "deny", opened["id"], "--reason", "exempt").stdout
    assert "supervisory authority" in denied
    objection = shell.json("request", "open", "objection", "email:noa@example.com", "--purpose", "email_marketing")
    assert objection["status"] == "fulfilled"
    assert "not_restricted" in shell.run("restriction", "end", "email:ada@example.com", "--informed", code=3).stderr
    assert "not_suppressed" in shell.run("suppression", "lift", "email:ada@example.com", "--verified", code=3).stderr
    corrected = shell.json(
        "request", "open", "rectification", "email:ada@example.com", "--set", "age=37", "--set", "city=Lyon"
    )
    shell.run("request", "ask", corrected["id"])
    assert "37" in shell.run("request", "show", corrected["id"]).stdout
    shell.run("request", "withdraw", corrected["id"])


def test_lines_end_where_their_text_ends(shell: Shell) -> None:
    for command in (["profile", "show", "user_id:ada"], ["segment", "list"], ["source", "list"]):
        assert [line for line in shell.run(*command).stdout.splitlines() if line != line.rstrip()] == []


def test_a_person_is_shown_and_their_links_explained(shell: Shell) -> None:
    shown = shell.run("profile", "show", "email:Ada@Example.com").stdout
    for piece in ("ada@example.com", "user_id", "country", "DE", "email_marketing", "granted"):
        assert piece in shown
    result = shell.run("profile", "explain", "email:ada@example.com", "user_id:ada").stdout
    assert result.startswith("One person")
    assert shell.json("profile", "explain", "email:ada@example.com", "user_id:ada")["is_same_profile"] is True


def test_an_unmerge_is_previewed(shell: Shell) -> None:
    command = ["profile", "unmerge", "user_id:ada", "--from", "email:ada@example.com", "--dry-run"]
    assert shell.json(*command)["is_dry_run"] is True
    assert "what an unmerge would result in" in shell.run(*command).stdout
    assert shell.json("profile", "explain", "email:ada@example.com", "user_id:ada")["is_same_profile"] is True


def test_rules_are_simulated_and_rebuilt(shell: Shell) -> None:
    result = shell.json("identity", "simulate", "--rules", "policies/identifiers.yaml")
    assert (result["merged"], result["split"], result["profiles_now"]) == (0, 0, 1)
    assert shell.json("identity", "rebuild")["changed"] == 0


def test_consents_are_shown_now_and_then(shell: Shell) -> None:
    now = shell.json("consent", "show", "email:ada@example.com")
    assert now["verdicts"]["analytics"]["allowed"] is True
    assert len(now["records"]) == 2
    then = shell.json("consent", "show", "email:ada@example.com", "--as-of", "2000-01-01")
    assert (then["records"], then["verdicts"]["analytics"]["allowed"]) == ([], False)
    assert "analytics" in shell.run("consent", "show", "email:ada@example.com").stdout


def test_segments_are_listed_previewed_and_explained(shell: Shell) -> None:
    assert "loyal_buyers" in shell.run("segment", "list").stdout
    where = 'did("Order Completed", within 7 days)'
    preview = shell.json("segment", "preview", "--purpose", "email_marketing", "--where", where)
    assert (preview["size"], len(preview["sample"])) == (1, 1)
    assert "of 1 person permitted" in shell.run("segment", "preview", "loyal_buyers").stdout
    assert shell.json("segment", "members", "new_buyers")["size"] == 1
    result = shell.json("segment", "explain", "new_buyers", "user_id:ada")
    assert result["standing"]["is_in"] is True
    assert "Member." in shell.run("segment", "explain", "new_buyers", "email:ada@example.com").stdout


def test_a_segment_file_is_checked_at_the_character(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text('key: mine\nname: Mine\npurpose: email_marketing\nwhere: did("Order Complted")\n')
    wrong = shell.run("segment", "check", str(file), code=2)
    assert "did you mean Order Completed?" in wrong.stderr
    assert '1 | did("Order Complted")' in wrong.stderr
    file.write_text(file.read_text().replace("Complted", "Completed"))
    assert 'did("Order Completed")' in shell.run("segment", "check", str(file)).stdout


def test_an_export_is_written_for_its_reader_alone(shell: Shell, tmp_path: Path) -> None:
    request = shell.json("request", "open", "access", "email:ada@example.com")["id"]
    refused = shell.run("request", "export", request, "--out", str(tmp_path / "early.zip"), code=3)
    assert "request_not_verified" in refused.stderr
    verified = shell.run("request", "verify", request).stdout
    assert f"Next: cdp request run {request}\n" in verified
    assert "changes no data" in shell.run("request", "run", request, "--dry-run").stdout
    shell.run("request", "run", request)
    out = tmp_path / "ada.zip"
    shell.run("request", "export", request, "--out", str(out))
    assert out.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(out) as archive:
        assert b"ada@example.com" in archive.read("data.json")


def test_an_erasure_ends_with_a_receipt_that_is_verified_offline(shell: Shell, tmp_path: Path) -> None:
    shell.run("consent", "record", "email:eve@example.com", "--purpose", "analytics", "--act", "grant")
    request = shell.json("request", "open", "erasure", "email:eve@example.com")["id"]
    assert request in shell.run("request", "list", "--status", "received").stdout
    verified = shell.run("request", "verify", request).stdout
    assert f"Next: cdp request run {request} --dry-run" in verified
    plan = shell.run("request", "run", request, "--dry-run").stdout
    assert "consent.record" in plan
    assert "vault.subject_key" in plan
    shell.run("request", "run", request)
    assert shell.json("request", "show", request)["status"] == "fulfilled"
    receipt = tmp_path / "receipt.json"
    shell.run("request", "receipt", request, "--out", str(receipt))

    # Nothing but the file and a key: another home, no policies, no service.
    stranger = Shell(tmp_path / "nowhere", {"CDP_POLICIES": str(tmp_path)})
    key = json.loads(receipt.read_text())["vkey"]
    verified = stranger.json("audit", "verify", str(receipt), "--key", key)
    assert (verified["verified"], verified["body"]["request"]) == (True, request)
    assert "key came with the file" in stranger.run("audit", "verify", str(receipt)).stderr
    altered = json.loads(receipt.read_text())
    altered["body"]["suppressed"] = 0
    receipt.write_text(json.dumps(altered))
    assert stranger.json("audit", "verify", str(receipt), "--key", key, code=1)["broken"] == "not_included"
    assert not (tmp_path / "nowhere").exists()


def test_a_consent_receipt_is_verified_offline(shell: Shell, tmp_path: Path) -> None:
    made = shell.json("consent", "record", "email:fay@example.com", "--purpose", "analytics", "--act", "refuse")
    file = tmp_path / "consent.json"
    file.write_text(json.dumps(made["receipt"]))
    key = shell.json("audit", "check-log")["vkey"]
    assert shell.json("audit", "verify", str(file), "--key", key)["verified"] is True
    copy = tmp_path / "copy.json"
    shell.run("consent", "receipt", made["record"], "--out", str(copy))
    assert json.loads(copy.read_text()) == made["receipt"]
    assert "analytics" in shell.run("audit", "verify", str(copy), "--key", key).stdout
    file.write_text(json.dumps(made["receipt"] | {"record_id": "con_0"}))
    assert shell.json("audit", "verify", str(file), "--key", key, code=1)["broken"] == "wrong_signature"
    assert "key_missing" in shell.run("audit", "verify", str(file), code=2).stderr


def test_the_log_is_checked_against_a_remembered_checkpoint(shell: Shell, tmp_path: Path) -> None:
    copies = sorted((shell.home / "audit").glob("*/checkpoint"))
    remembered = tmp_path / "checkpoint.txt"
    remembered.write_text(copies[-1].read_text())
    first = shell.json("source", "create", "another")["write_key"]
    assert shell.json("source", "rotate", "another")["write_key"] not in ("", first)
    found = shell.json("audit", "check-log", "--from", str(remembered))
    assert found["is_sound"] is True
    assert "remembered" in " ".join(each["what"] for each in found["findings"])
    lines = remembered.read_text().split("\n")
    remembered.write_text("\n".join([lines[0], str(int(lines[1]) - 1), *lines[2:]]))
    wrong = shell.run("audit", "check-log", "--from", str(remembered), code=1)
    assert "WRONG" in wrong.stdout


def test_maintenance_reports_what_it_did(shell: Shell) -> None:
    assert shell.json("retention", "sweep", "--dry-run")["is_dry_run"] is True
    assert "Nothing has expired" in shell.run("retention", "sweep").stdout
    assert shell.json("scrub")["tables"]
    assert "already contains everything" in shell.run("replay").stdout
    assert shell.json("audit", "report")["altered"] == []
    assert "Nothing differs" in shell.run("policy", "plan").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["profile", "show", "email:nobody@example.com"], 3, "unknown_profile"),
        (["profile", "show", "email:nonsense"], 2, "invalid_identifier"),
        (["profile", "show", "nonsense"], 2, "TYPE:VALUE"),
        (["segment", "members", "no_such"], 3, "unknown_segment"),
        (["segment", "preview"], 2, "Give a KEY"),
        (["request", "show", "req_nonsense"], 3, "unknown_request"),
        (["request", "open", "teleportation", "email:ada@example.com"], 2, "unknown_right"),
        (["source", "create", "shop"], 3, "source_exists"),
        (["token", "create", "ada"], 2, "--role"),
        (["no-such-command"], 2, "No such command"),
        (["policy", "check", "tests"], 2, "invalid_policy"),
    ],
)
def test_an_error_is_reported_with_its_exit_code(shell: Shell, arguments: list[str], code: int, word: str) -> None:
    done = shell.run(*arguments, code=code)
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_fault_is_json_for_machines(shell: Shell) -> None:
    done = shell.run("segment", "members", "no_such", "--json", code=3)
    assert json.loads(done.stderr)["code"] == "unknown_segment"


def test_a_policy_that_excludes_people_is_applied_after_a_yes(shell: Shell, tmp_path: Path) -> None:
    """Numbers first, then a question; where nobody can be asked, --yes. The last test, because it takes data from Ada."""
    folder = tmp_path / "folder"
    shell.run("policy", "show", "--out", str(folder))
    assert "Nothing differs" in shell.run("policy", "plan", str(folder)).stdout
    purposes = folder / "purposes.yaml"
    whole = purposes.read_text()
    purposes.write_text(
        whole.replace("minimum_age: 16\n    unknown_age: allow", "minimum_age: 21\n    unknown_age: refuse")
    )
    planned = shell.json("policy", "plan", str(folder))
    excluded = [each for each in planned["impacts"] if each["effect"] == "exclude" and each["what"] == "people"]
    assert {each["scope"]: each["number"] for each in excluded}["email_marketing"] == 1
    refused = shell.run("policy", "apply", str(folder), code=3)
    assert "--yes" in refused.stderr
    assert shell.json("policy", "plan", str(folder))["in_force"] == planned["in_force"]
    shell.run("policy", "apply", str(folder), "--yes")
    history = shell.json("policy", "history")
    assert history[-1]["fingerprint"] == planned["fingerprint"]
    earlier = shell.run("policy", "show", "--at", history[-2]["applied_at"], "--file", "purposes.yaml").stdout
    assert "minimum_age: 16" in earlier
    assert "minimum_age: 21" in shell.run("policy", "show", "--file", "purposes.yaml").stdout
    assert "## Writing to you by e-mail" in shell.run("policy", "ropa").stdout
    assert "wait for an answer: none; no source defers" in shell.run("policy", "ropa").stdout
    assert shell.json("source", "create", "patient", "--defer")["defer"]
    assert "wait for an answer: of patient; sealed" in shell.run("policy", "ropa").stdout
    assert not shell.json("source", "update", "patient", "--no-defer")["defer"]
    assert shell.json("policy", "ropa")["deferring"] == []
    shell.run("policy", "apply", "--yes")


def test_the_denial_that_a_weighed_objection_prints_can_be_run_as_printed(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shell.run("policy", "show", "--out", str(folder))
    file = folder / "purposes.yaml"
    document = yaml.safe_load(file.read_text())
    document["purposes"]["fraud_prevention"] = {
        "name": "Preventing fraud",
        "text": "For the test.",
        "legal_basis": "legitimate_interests",
        "assessment": "LIA-1",
        "categories": ["user.unique_id"],
        "data_use": "essential.service",
    }
    file.write_text(yaml.safe_dump(document))
    shell.run("policy", "apply", str(folder), "--yes")
    opened = shell.run(
        "request", "open", "objection", "email:noa@example.com", "--purpose", "fraud_prevention", "--weigh"
    ).stdout
    [denial] = re.findall(r"cdp (request deny .*)", opened)
    assert "overriding_interests" in shell.run(*denial.split()).stdout
    shell.run("policy", "apply", "--yes")


def test_a_plan_that_keeps_events_for_longer_does_not_say_that_it_concerns_none(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shell.run("policy", "show", "--out", str(folder))
    retention = folder / "retention.yaml"
    retention.write_text(retention.read_text().replace("keep_for_days: 1095", "keep_for_days: 1096", 1))
    planned = " ".join(shell.run("policy", "plan", str(folder)).stdout.split())
    assert "stored is affected" not in planned
    assert "Nothing that is stored would be excluded, deleted, revealed or newly permitted." in planned


def test_a_controller_that_is_named_is_shown_by_every_command_that_speaks_of_it(shell: Shell, tmp_path: Path) -> None:
    folder, earlier = tmp_path / "folder", tmp_path / "earlier"
    shell.run("policy", "show", "--out", str(folder))
    unnamed = "The controller is not named yet. Name it in controller.yaml in the policy folder."
    opened = shell.run("request", "open", "access", "email:noa@example.com").stdout
    assert unnamed in " ".join(opened.split())
    (folder / "controller.yaml").write_text(json.dumps({"controller": CONTROLLER}))
    (named,) = shell.json("policy", "plan", str(folder))["differences"]
    assert (named["file"], named["change"], named["text"]) == ("controller.yaml", "added", "controller is new")
    shell.run("policy", "apply", str(folder))

    details = ", ".join(CONTROLLER.values())
    made = shell.json("request", "open", "access", "email:noa@example.com")
    assert made["questions_to"] == details
    denied = shell.run("request", "deny", made["id"], "--reason", "unverified").stdout
    assert details in " ".join(denied.split())
    assert unnamed not in " ".join(denied.split())
    shown = shell.json("request", "show", made["id"])
    assert (shown["questions_to"], shown["denial"]["questions_to"]) == (details, details)

    history = shell.json("policy", "history")
    before, after = history[-2]["applied_at"], history[-1]["applied_at"]
    assert f"- Controller: {details}" in shell.run("policy", "ropa", "--at", after).stdout
    assert shell.json("policy", "ropa", "--at", after)["responsible"] == [{"role": "controller", **CONTROLLER}]
    assert unnamed in shell.run("policy", "ropa", "--at", before).stdout
    assert shell.json("policy", "ropa", "--at", before)["not_stated"][0] == "controller"
    assert "Hafenstraße 1" in shell.run("policy", "show", "--file", "controller.yaml").stdout
    shell.run("policy", "show", "--at", before, "--out", str(earlier))
    assert (earlier / "controller.yaml").read_text() == "controller: null\n"
    shell.run("policy", "apply", "--yes")
