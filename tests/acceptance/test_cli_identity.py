"""Commands about who is who, as a person reads them: links, refusals, lists, link tables and keys."""

from pathlib import Path

import pytest

from cdp.kit.db import Database
from tests.support.commands import Shell
from tests.support.messages import identify, track
from tests.support.people import WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import PERMIT_ALL, changed, documents_of, permit_all, segment_unify, written

pytestmark = pytest.mark.postgres

BOUNDED = changed(permit_all(), "identifiers.yaml", bounds={"identifiers_per_profile": 3})


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    return pipeline


@pytest.fixture
def shell(pipeline: Pipeline, database_url: str, tmp_path: Path) -> Shell:
    """Commands on the database and the keys of the town, without a server of their own."""
    return Shell(tmp_path, {"CDP_DATABASE_URL": database_url, "CDP_POLICIES": str(PERMIT_ALL)})


def test_a_path_of_links_reads_from_one_end_to_the_other(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.send(track(anonymousId="a1", messageId="first", context={"traits": {"email": "p@example.com"}}))
    pipeline.send(track(userId="u1", messageId="second", context={"traits": {"email": "p@example.com"}}))
    result = shell.run("profile", "explain", "anonymous_id:a1", "user_id:u1").stdout
    assert result.splitlines() == [
        "One person, by 2 links:",
        "  anonymous_id:a1",
        "    |  message first of 2026-06-01 12:00:00 UTC named both",
        f"    |  rule same_message, policy {permit_all().fingerprint[:12]}",
        "  email:p@example.com",
        "    |  message second of 2026-06-01 12:00:00 UTC named both",
        f"    |  rule same_message, policy {permit_all().fingerprint[:12]}",
        "  user_id:u1",
    ]
    assert len(shell.json("profile", "explain", "anonymous_id:a1", "user_id:u1")["path"]) == 2


def test_a_refusal_is_explained_once(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"), track(userId="u2", anonymousId="a1", messageId="culprit"))
    pipeline.send(track(userId="u2", anonymousId="a1", context={"traits": {"email": "p@example.com"}}))
    result = shell.run("profile", "explain", "user_id:u2", "anonymous_id:a1").stdout
    assert result.startswith("Two people. What keeps them apart:")
    assert result.count("anonymous_id:a1 is shared") == 1
    assert "message culprit of 2026-06-01 12:00:00 UTC, and 1 more time." in result


def test_a_claim_of_a_browser_is_explained_by_its_authority(pipeline: Pipeline, shell: Shell) -> None:
    claimed = {"context": {"traits": {"email": "p@example.com"}}}
    pipeline.send(identify(userId="u1", **claimed))
    pipeline.send(track(anonymousId="a1", **claimed), source=WEB)
    result = shell.run("profile", "explain", "anonymous_id:a1", "email:p@example.com").stdout
    assert "A source of a higher authority names email:p@example.com" in result
    assert "rule authority" in result
    assert "quarantine" not in result
    listed = shell.run("identity", "review").stdout
    assert listed.startswith("1 identifier was claimed and left out.")
    assert "No other identifiers to review." in listed


def test_a_message_from_before_an_address_came_to_its_owner_is_explained(pipeline: Pipeline, shell: Shell) -> None:
    claimed = {"context": {"traits": {"email": "p@example.com"}}}
    pipeline.send(identify(userId="u1", **claimed))
    pipeline.send(identify(userId="u2", timestamp="2026-05-01T12:00:00Z", **claimed))
    result = shell.run("profile", "explain", "user_id:u2", "email:p@example.com").stdout
    assert "email:p@example.com came to its owner after this message happened" in result
    assert "quarantine" not in result


def test_a_bound_is_explained_by_the_quarantine(database: Database, tmp_path: Path, shell: Shell) -> None:
    pipeline = open_pipeline(database, BOUNDED, tmp_path)
    pipeline.register()
    for address in ("a", "b", "c"):
        pipeline.send(identify(userId="u1", context={"traits": {"email": f"{address}@example.com"}}))
    result = shell.run("profile", "explain", "user_id:u1", "email:c@example.com").stdout
    assert "The profile had reached the bound identifiers_per_profile; it is in quarantine" in result


def test_an_unmerge_shows_the_command_that_undoes_it(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"))
    done = shell.run("profile", "unmerge", "user_id:u1", "--from", "anonymous_id:a1").stdout
    result = shell.run("profile", "explain", "user_id:u1", "anonymous_id:a1").stdout
    assert "two profiles" not in done, "no message named the device alone, so that there is nothing for a second one"
    (undo,) = (line.partition("To undo it: cdp ")[2] for line in result.splitlines() if "--undo" in line)
    shell.run(*undo.split())
    assert shell.json("profile", "explain", "user_id:u1", "anonymous_id:a1")["is_same_profile"]


def test_an_unmerge_is_shown_side_by_side(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.send(track(anonymousId="a1"), track(userId="u1", anonymousId="a1"), track(userId="u1"))
    command = ["profile", "unmerge", "user_id:u1", "--from", "anonymous_id:a1"]
    result = shell.run(*command, "--dry-run").stdout.splitlines()
    assert result[0] == "Nothing was changed. This is what an unmerge would result in:"
    assert result[1].split() == ["before", "user_id:u1", "anonymous_id:a1"]
    (events,) = (line.split() for line in result if line.startswith("events"))
    assert events == ["events", "3", "2", "1"]
    assert "new profile" in result[2]
    assert shell.json("profile", "explain", "user_id:u1", "anonymous_id:a1")["is_same_profile"]
    done = shell.run(*command).stdout
    assert done.startswith("Done: they are two profiles, and are kept apart from now on.")
    assert "new profile" not in done
    back = shell.run(*command, "--undo").stdout.splitlines()
    assert back[1].split() == ["before", "(1)", "before", "(2)", "both"]


def test_changed_rules_are_simulated_as_text(pipeline: Pipeline, shell: Shell, tmp_path: Path) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"), track(userId="u2", anonymousId="a1"), track(anonymousId="a1"))
    rules = written(segment_unify(), tmp_path / "unified") / "identifiers.yaml"
    result = shell.run("identity", "simulate", "--rules", str(rules)).stdout.splitlines()
    assert result[0] == f"The rules of {rules}, over 3 recorded steps. Nothing was changed."
    assert [line.split() for line in result[2:5]] == [
        ["profiles", "3", "2"],
        ["in", "quarantine", "0", "0"],
        ["shared", "identifiers", "1", "0"],
    ]
    assert "1 profile would combine identifiers of several current profiles." in result
    (profile,) = {line.split()[1].rstrip(",") for line in result if line.startswith("merged")}
    assert profile in shell.run("profile", "show", f"profile:{profile}").stdout
    done = shell.run("identity", "rebuild").stdout
    assert "3 profiles before, 3 now. 3 kept their identifiers and their ids, 0 changed." in done


def test_what_reads_differently_is_reviewed_and_accepted(database: Database, database_url: str, tmp_path: Path) -> None:
    types = documents_of(permit_all())["identifiers.yaml"]["types"]
    verbatim = changed(permit_all(), "identifiers.yaml", types={"email": types["email"] | {"normalizer": "id"}})
    pipeline = open_pipeline(database, verbatim, tmp_path)
    pipeline.register()
    pipeline.send(identify(traits={"email": "mailto:bo@x.example"}), identify(traits={"email": "bo@x.example"}))
    shell = Shell(tmp_path, {"CDP_DATABASE_URL": database_url, "CDP_POLICIES": str(PERMIT_ALL)})
    shell.run("policy", "apply")
    (case,) = shell.json("identity", "review")["reread"]
    assert (case["value"], case["reads_as"], case["reason"]) == ("mailto:bo@x.example", "bo@x.example", None)
    assert case["profile"] != case["other_profile"]
    shown = shell.run("identity", "review").stdout
    assert "1 stored identifier would be read differently today." in shown
    assert case["identifier"] in shown
    tried = shell.run("identity", "accept", case["identifier"], "--dry-run").stdout
    assert tried.startswith("Preview, nothing was changed: the email is bo@x.example.")
    done = shell.json("identity", "accept", case["identifier"])
    assert (len(done["before"]), len(done["after"])) == (2, 1)
    assert "No identifiers to review." in shell.run("identity", "review").stdout
    assert shell.run("identity", "accept", case["identifier"], code=3).stderr.startswith("nothing_to_review")


def test_shared_identifiers_are_listed_with_their_people(pipeline: Pipeline, shell: Shell) -> None:
    assert "No shared identifiers." in shell.run("identity", "shared").stdout
    pipeline.send(*[track(userId=f"u{n}", anonymousId="kiosk") for n in range(3)])
    pipeline.send(*[track(userId=f"u{n}", anonymousId="tablet") for n in range(2)], track(anonymousId="tablet"))
    result = shell.json("identity", "shared")
    assert (result["total"], result["by_type"]) == (2, {"anonymous_id": 2})
    assert [(each["value"], each["people"]) for each in result["identifiers"]] == [("kiosk", 3), ("tablet", 2)]
    assert "and 1 more" in shell.run("identity", "shared", "--limit", "1").stdout
    assert pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'data.read'") >= 2


def test_profiles_in_quarantine_are_listed_with_the_bound(pipeline: Pipeline, shell: Shell, tmp_path: Path) -> None:
    assert "No profiles in quarantine." in shell.run("identity", "quarantined").stdout
    bounded = open_pipeline(pipeline.context.database, BOUNDED, tmp_path)
    for number in range(5):
        bounded.send(track(userId="u1", anonymousId=f"a{number}", messageId=f"q{number}"))
    result = shell.json("identity", "quarantined")
    (listed,) = result["profiles"]
    assert (result["total"], listed["identifiers"]) == (1, 3)
    (bound,) = listed["bounds"]
    assert (bound["bound"], bound["refusals"]) == ("identifiers_per_profile", 1)
    assert listed["profile"] in shell.run("identity", "quarantined").stdout


def test_a_link_table_is_previewed_imported_and_imported_again(
    pipeline: Pipeline, shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "links.csv").write_text("customer,device\nu1,a1\nu1,a2\n,a3\n")
    (tmp_path / "map.yaml").write_text(
        "links: [{type: user_id, column: customer}, {type: anonymous_id, column: device}]"
    )
    command = ["import", str(tmp_path / "links.csv"), "--mapping", str(tmp_path / "map.yaml")]
    assert "3 identifiers in 1 connected group" in shell.run(*command, "--dry-run").stdout
    assert pipeline.one("SELECT count(*) FROM identity.edge") == 0
    result = shell.run(*command).stdout
    assert "a side that is empty or not a valid identifier" in result
    assert "which now belong to 1 profile." in result
    assert shell.json(*command)["tally"]["states"] == {"duplicate": 2, "invalid": 1}
    assert "Its import is finished" in shell.run(*command, "--resume", code=3).stderr


def test_keys_are_rotated_and_the_old_epoch_destroyed(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"))
    assert shell.json("keys", "rotate", "--dry-run") == {
        "version": 2,
        "to_move": 2,
        "to_retire": ["pseudonym/graph/1"],
    }
    assert pipeline.one("SELECT max(pseudonym_version) FROM identity.identifier") == 1
    assert "There are no retired keys." in shell.run("keys", "destroy", "--dry-run").stdout
    assert "no_retired_key" in shell.run("keys", "destroy", "--yes", code=3).stderr
    rotated = shell.run("keys", "rotate").stdout
    assert "2 identifiers moved to version 2. pseudonym/graph/1 is retired." in rotated
    assert "back up" in rotated
    foreseen = shell.json("keys", "rotate", "--epoch", "--dry-run")
    assert foreseen["to_move"] == pipeline.one("SELECT count(*) FROM vault.subject_key")
    shell.run("keys", "rotate", "--epoch")
    assert shell.json("keys", "destroy-epoch", "--dry-run")["to_destroy"] == ["epoch/1"]
    refused = shell.run("keys", "destroy", code=3)
    assert "Backups made before" in refused.stdout
    assert "destruction_not_confirmed" in refused.stderr
    assert shell.json("keys", "destroy-epoch", "--yes")["destroyed"] == ["epoch/1"]
    assert shell.json("keys", "destroy", "--yes")["destroyed"] == ["pseudonym/graph/1"]
    shown = shell.json("profile", "show", "user_id:u1")
    assert {each["value"] for each in shown["identifiers"]} == {"u1", "a1"}
