"""The walk through what was sent: eight stops, each in a few lines, each with the command to do it oneself."""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cdp.audit.checkpoint import parse_vkey
from cdp.audit.verify import Unverified, verify_receipt
from cdp.demo.ask import Api
from cdp.demo.calls import shopping
from cdp.demo.notes import Notes
from cdp.demo.orders import Calendar
from cdp.demo.people import TABLET, DemoPerson, heroine, sharers
from cdp.demo.send import Senders
from cdp.demo.stage import Stage
from cdp.kit.errors import Fault
from cdp.postgres.place import write_private
from cdp.vault.sign import is_signed

SEGMENT: Final = "lapsing_high_value"
_THINGS: Final = {
    "behavior.event": "events: orders, visits, clicks",
    "behavior.bucket": "daily figures computed from them",
    "behavior.trait": "facts stated about her, such as the country",
    "consent.record": "consent records",
    "identity.identifier": "identifiers: number, e-mail, devices",
    "segments.membership": "memberships in segments, with the reason",
    "vault.subject_key": "keys, without which no copy of her sealed data can be read",
    "rights.hold": "order amounts that tax law wants, under a key of their own and no name",
}
"""What people call the tables that matter to them."""

_STATES: Final = ("stored", "not_permitted", "duplicate", "suppressed", "invalid", "blocked")
_WORDS: Final = {
    "no_grant": "never said yes",
    "refused": "said no",
    "withdrawn": "took the yes back",
    "objected": "objected",
    "expired": "the yes ran out",
    "no_unique_identifier": "not known well enough",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """Where the tour stands: the service, the people as invented, the notes, and the present on the shop's calendar."""

    api: Api
    people: Sequence[DemoPerson]
    notes: Notes
    stage: Stage
    now_local: datetime
    calendar: Calendar
    senders: Callable[..., Senders]
    is_serving: bool = True

    @property
    def person(self) -> DemoPerson:
        """Whose data are exported and erased."""
        return heroine(self.people, self.now_local)


def tour(open_for_command: Visit) -> Notes:
    """Walk; what is done once (the export, the erasure) is noted, and a later walk shows that it was done."""
    _accounting(open_for_command)
    _profiles(open_for_command)
    _segment(open_for_command)
    open_for_command = _export(open_for_command)
    open_for_command = _erasure(open_for_command)
    _afterwards(open_for_command)
    _verification(open_for_command)
    _where_to_look(open_for_command)
    return open_for_command.notes


def _accounting(open_for_command: Visit) -> None:
    stage = open_for_command.stage
    found = open_for_command.api.get("auditor", "/api/v1/ingest/accounting", **{"from": "1970-01-01T00:00:00Z"})
    by_source: dict[str, Counter[str]] = {}
    for each in found["counts"]:
        if each["source"].startswith("demo-"):
            by_source.setdefault(each["source"], Counter())[each["state"]] += each["messages"]
    states = [state for state in _STATES if any(counts[state] for counts in by_source.values())]
    stage.title("1  Every message is accounted for")
    stage.table(
        ["source", "received", *(state.replace("_", " ") for state in states)],
        [
            (source, counts.total(), *(counts[state] for state in states))
            for source, counts in sorted(by_source.items())
        ],
    )
    stage.say(
        f"All {sum(len(each.orders) for each in open_for_command.people):,} orders are stored: a contract covers them (purpose "
        "`service`), whatever was said about marketing. Visits, logins and clicks of people who had not agreed were "
        "counted and then dropped; devices of people who never answered were not even learned."
    )
    stage.commands("cdp source accounting")


def _profiles(open_for_command: Visit) -> None:
    stage, person = open_for_command.stage, open_for_command.person
    profiles = open_for_command.api.metric("cdp_profiles")
    stage.title("2  Devices and logins become people, carefully")
    stage.say(f"{profiles:,} profiles. A login on a second device joined it to its owner.")
    one, other = sharers(open_for_command.people)
    told = open_for_command.api.post(
        "privacy",
        "/api/v1/profiles/explain",
        {"a": _named("user_id", one.user_id), "b": _named("user_id", other.user_id)},
    )
    verdict = "one person, which would be wrong" if told["same_profile"] else "still two people"
    stage.say(
        f"{one.user_id} and {other.user_id} logged in on one tablet: {verdict}. The tablet is marked as shared and "
        "links nobody."
    )
    stage.commands(f"cdp profile explain user_id:{one.user_id} anonymous_id:{TABLET}")
    shown = None if open_for_command.notes.is_erased else _lookup(open_for_command, person)
    if shown is not None:
        stage.say(f"{person.user_id}, whom we shall follow from here:")
        stage.table(["", ""], _facts(shown))
        stage.commands(f"cdp profile show user_id:{one.user_id}")


def _facts(shown: dict[str, Any]) -> list[tuple[str, str]]:
    computed = shown["computed_traits"]
    allowed = [purpose for purpose, each in shown["consents"].items() if each["allowed"]]
    refused = [purpose for purpose, each in shown["consents"].items() if not each["allowed"]]
    facts = [
        ("known as", ", ".join(f"{each['type']} {each['value']}" for each in shown["identifiers"])),
        ("may be used for", ", ".join(allowed)),
        ("not for", ", ".join(refused) or "nothing is refused"),
    ]
    if "monetary" in computed:
        facts.append(("computed", f"{computed['orders_count']:,.0f} orders worth £{computed['monetary']:,.2f}"))
    return facts


def _segment(open_for_command: Visit) -> None:
    stage = open_for_command.stage
    segment = open_for_command.api.get("marketer", f"/api/v1/segments/{SEGMENT}")
    found = _preview(open_for_command, segment)
    stage.title("3  A segment counts only people who agreed to its purpose")
    stage.say(f"{segment['name']}, for the purpose `{segment['purpose']}`. How many are left after each condition:")
    stage.table(
        ["people", "condition"],
        [
            (found["permitted"]["size_text"], "may be written to"),
            *((each["together"]["size_text"], each["text"]) for each in found["conditions"]),
        ],
    )
    stage.say(
        f"Size: {found['size_text']}. Sizes are rounded and slightly blurred, so that nobody can be found by asking twice."
    )
    stage.say("Who was left out before the first condition was asked:")
    stage.table(
        ["", ""],
        [
            (size["size_text"], _WORDS.get(reason, reason.replace("_", " ")))
            for reason, size in found["refused_by_reason"].items()
        ],
    )
    stage.commands(f"cdp segment preview {SEGMENT}", f"cdp segment explain {SEGMENT}")


def _preview(open_for_command: Visit, segment: dict[str, Any]) -> dict[str, Any]:
    body = {"purpose": segment["purpose"], "where": segment["where"]}
    found: dict[str, Any] = open_for_command.api.post("marketer", "/api/v1/segments/preview", body)
    return found


def _export(open_for_command: Visit) -> Visit:
    stage, person = open_for_command.stage, open_for_command.person
    path = open_for_command.notes.folder / "export.zip"
    stage.title(f"4  {person.user_id} asks what is held about her")
    if open_for_command.notes.is_erased:
        stage.say("Nothing any more: she was erased in an earlier run. Her archive was fetched before that.")
        return open_for_command
    if open_for_command.notes.access is None:
        request = _open(open_for_command, "access")
        open_for_command = replace(open_for_command, notes=open_for_command.notes.noted(access=request))
    assert open_for_command.notes.access is not None
    _carry_out(open_for_command, open_for_command.notes.access)
    content = open_for_command.api.content(
        "privacy", f"/api/v1/subject-requests/{open_for_command.notes.access}/export"
    )
    write_private(path, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        document = json.loads(archive.read("data.json"))
    rows = {table: len(listed) for table, listed in document["data"].items() if listed}
    stage.say(f"{sum(rows.values()):,} rows of hers, from {len(rows)} tables, and nobody else's. Among them:")
    stage.table(["", ""], [(rows[table], _readable(table)) for table in _THINGS if table in rows])
    stage.say(f"{path} holds a page for her to read and JSON for machines.")
    stage.commands(
        f"cdp request open access user_id:{sharers(open_for_command.people)[0].user_id}",
        "cdp request verify ID",
        "cdp request run ID",
        "cdp request export ID --out her.zip",
    )
    return open_for_command


def _erasure(open_for_command: Visit) -> Visit:
    stage = open_for_command.stage
    stage.title("5  She asks to be erased")
    if open_for_command.notes.erasure is None:
        open_for_command = replace(
            open_for_command, notes=open_for_command.notes.noted(erasure=_open(open_for_command, "erasure"))
        )
    request_id = open_for_command.notes.erasure
    assert request_id is not None
    if not open_for_command.notes.is_erased:
        _carry_out(open_for_command, request_id)
    receipt = open_for_command.api.receipt(request_id)
    _keep_receipt(open_for_command, receipt)
    steps = [step for step in receipt["body"].get("steps", ()) if step["rows"]]
    stage.say("The plan is computed from the data dictionary, in which every column says what happens to it:")
    stage.table(["", "rows", "of what"], _told(steps))
    stage.say(f"{len(steps)} steps in all; the receipt lists each.")
    stage.commands(
        f"cdp request open erasure user_id:{sharers(open_for_command.people)[1].user_id}",
        "cdp request verify ID",
        "cdp request run ID --dry-run",
        "cdp request run ID",
        "cdp request receipt ID --out receipt.json",
    )
    return replace(open_for_command, notes=open_for_command.notes.noted(is_erased=True))


def _afterwards(open_for_command: Visit) -> None:
    stage, person = open_for_command.stage, open_for_command.person
    stage.title("6  She stays away")
    keys = {"shop": open_for_command.notes.write_keys["shop"], "web": open_for_command.notes.write_keys["web"]}
    again = [call for call in shopping([person], open_for_command.calendar) if call.name == "Order Completed"]
    before = _suppressed(open_for_command)
    with open_for_command.senders(open_for_command.api.url, keys, {"shop": 1, "web": 1}) as senders:
        sent = senders.send(again)
    refused = _suppressed(open_for_command) - before
    gone = _lookup(open_for_command, person) is None
    stage.say(
        f"Her {sent} old orders are sent once more, as a retry would: {refused} refused as suppressed. "
        + ("Looking her up finds nobody." if gone else "She is found, which would be wrong.")
    )
    stage.commands(f"cdp profile show user_id:{person.user_id}")


def _verification(open_for_command: Visit) -> None:
    stage = open_for_command.stage
    path = open_for_command.notes.folder / "receipt.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    key = parse_vkey(document["vkey"])
    stage.title("7  Anybody can check the receipt, offline")
    outcome = verify_receipt(document, [key], is_signed)
    if isinstance(outcome, Unverified):
        raise Fault("receipt_refused", "The receipt does not verify", outcome.detail, status=500)
    forged = {**document, "body": {**document["body"], "fulfilled_at": "2000-01-01T00:00:00Z"}}
    is_caught = isinstance(verify_receipt(forged, [key], is_signed), Unverified)
    stage.say(
        f"Genuine: entry {outcome.index:,} of {outcome.checkpoint.size:,} in the log {outcome.checkpoint.origin}. "
        + ("With another date in it, it is refused." if is_caught else "A forgery was accepted, which would be wrong.")
    )
    stage.note(f"{path}: no name, no address, no number of hers is in it.")
    stage.commands(f"cdp audit verify {path}")


def _where_to_look(open_for_command: Visit) -> None:
    stage = open_for_command.stage
    stage.title("That was it")
    stage.say(
        f"The service answers at {open_for_command.api.url}. To go on:"
        if open_for_command.is_serving
        else "`cdp serve` starts the service that this ended with. To go on:"
    )
    stage.table(
        ["", ""],
        [
            ("try the commands above", "in another shell, after `. .venv/bin/activate`"),
            (
                "look at it in a browser",
                f"{open_for_command.api.url}/console with the token in {open_for_command.notes.folder.parent / 'admin.token'}",
            ),
            ("send from your own code", "docs/how-to/use-an-sdk.md"),
            ("do all of this by hand", "docs/tutorial/first-hour.md"),
            ("how it is built", "docs/explanation/architecture.md"),
            ("begin anew", f"stop the service and delete {open_for_command.notes.folder.parent}"),
        ],
    )


def _open(open_for_command: Visit, kind: str) -> str:
    body = {"kind": kind, "regime": "gdpr", "identifiers": [_named("user_id", open_for_command.person.user_id)]}
    return str(open_for_command.api.post("privacy", "/api/v1/subject-requests", body)["id"])


def _carry_out(open_for_command: Visit, request_id: str) -> None:
    """Verify and run, from wherever an earlier run stopped."""
    path = f"/api/v1/subject-requests/{request_id}"
    if open_for_command.api.get("privacy", path)["status"] == "received":
        open_for_command.api.post("privacy", f"{path}/verify", {})
    open_for_command.api.post("privacy", f"{path}/run", {})


def _keep_receipt(open_for_command: Visit, receipt: dict[str, Any]) -> None:
    text = json.dumps(receipt, indent=2, ensure_ascii=False) + "\n"
    write_private(open_for_command.notes.folder / "receipt.json", text.encode())


def _suppressed(open_for_command: Visit) -> int:
    found = open_for_command.api.get("auditor", "/api/v1/ingest/accounting", **{"from": "1970-01-01T00:00:00Z"})
    return int(found["by_state"].get("suppressed", 0))


def _lookup(open_for_command: Visit, person: DemoPerson) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = open_for_command.api.post(
            "privacy", "/api/v1/profiles/lookup", {"identifier": _named("user_id", person.user_id)}
        )
    except Fault as fault:
        if fault.code != "unknown_profile":
            raise
        return None
    return found


def _named(type_: str, value: str) -> dict[str, str]:
    return {"type": type_, "value": value}


def _readable(table: str) -> str:
    room, _, name = table.partition(".")
    return _THINGS.get(table, f"{name.replace('_', ' ')} ({room})")


def _told(steps: Sequence[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """The steps that a person would ask about; the receipt has them all."""
    by_table = {(step["verb"], step["table"]): step["rows"] for step in steps}
    wanted = [("delete", table) for table in _THINGS] + [("shred", "vault.subject_key"), ("keep", "rights.hold")]
    return [(verb, by_table[verb, table], _readable(table)) for verb, table in wanted if by_table.get((verb, table))]
