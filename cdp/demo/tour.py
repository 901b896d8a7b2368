"""The results of the demonstration in seven steps, each with the commands to repeat it."""

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
from cdp.demo.api_client import ApiClient
from cdp.demo.calls import shopping
from cdp.demo.notes import Notes
from cdp.demo.orders import Calendar
from cdp.demo.people import TABLET, DemoPerson, followed_person, tablet_users
from cdp.demo.send import Senders
from cdp.demo.transcript import Transcript
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.postgres.place import write_private
from cdp.vault.sign import is_signed

SEGMENT: Final = "lapsing_high_value"
_TABLE_NAMES: Final = {
    "behavior.event": "events: orders, product views, clicks",
    "behavior.bucket": "daily aggregates computed from them",
    "behavior.trait": "stated traits, such as the country",
    "consent.record": "consent records",
    "identity.identifier": "identifiers: customer number, e-mail, devices",
    "segments.membership": "segment memberships, with the reason",
    "vault.subject_key": "keys, without which no copy of the encrypted data can be read",
    "rights.hold": "order amounts that tax law requires, under a separate key and without a name",
}
"""Descriptions of the tables that matter to a data subject."""

_STATES: Final = ("stored", "not_permitted", "duplicate", "suppressed", "invalid", "blocked", "refused")
_REASONS: Final = {
    "no_grant": "never consented",
    "refused": "refused",
    "withdrawn": "withdrew consent",
    "objected": "objected",
    "expired": "consent expired",
    "no_unique_identifier": "no unique identifier",
}


@dataclass(frozen=True, slots=True)
class Tour:
    """The service, the invented people, the notes, the output, and the current instant on the shop's calendar."""

    api: ApiClient
    people: Sequence[DemoPerson]
    notes: Notes
    transcript: Transcript
    now_local: datetime
    calendar: Calendar
    senders: Callable[..., Senders]
    is_serving: bool = True

    @property
    def person(self) -> DemoPerson:
        """The person whose data is exported and erased."""
        return followed_person(self.people, self.now_local)


def run_tour(tour: Tour) -> Notes:
    """Show every step. What is done once (the export, the erasure) is noted, and a later run shows its result."""
    _accounting(tour)
    _profiles(tour)
    _segment(tour)
    tour = _export(tour)
    tour = _erasure(tour)
    _suppression(tour)
    _verification(tour)
    _next_steps(tour)
    return tour.notes


def _accounting(tour: Tour) -> None:
    transcript = tour.transcript
    found = tour.api.get("auditor", "/api/v1/ingest/accounting", **{"from": "1970-01-01T00:00:00Z"})
    by_source: dict[str, Counter[str]] = {}
    for count in found["counts"]:
        if count["source"].startswith("demo-"):
            by_source.setdefault(count["source"], Counter())[count["state"]] += count["messages"]
    states = [state for state in _STATES if any(counts[state] for counts in by_source.values())]
    transcript.title("1  Every message is accounted for")
    transcript.table(
        ["source", "received", *(state.replace("_", " ") for state in states)],
        [
            (source, counts.total(), *(counts[state] for state in states))
            for source, counts in sorted(by_source.items())
        ],
    )
    transcript.say(
        f"All {counted(sum(len(person.orders) for person in tour.people), 'order')} are stored: they are covered by a contract "
        "(purpose `service`), whatever people chose about marketing. Product views, logins and clicks of people without "
        "consent were counted and then discarded; devices of people who never answered were not recorded."
    )
    transcript.commands("cdp source accounting")


def _profiles(tour: Tour) -> None:
    transcript, person = tour.transcript, tour.person
    profiles = tour.api.metric("cdp_profiles")
    transcript.title("2  Devices and logins are resolved to people")
    transcript.say(f"{counted(profiles, 'profile')}. A login on a second device linked it to its owner.")
    one, other = tablet_users(tour.people)
    result = tour.api.post(
        "privacy",
        "/api/v1/profiles/explain",
        {"a": _identifier("user_id", one.user_id), "b": _identifier("user_id", other.user_id)},
    )
    verdict = "one person, which would be wrong" if result["same_profile"] else "still two people"
    transcript.say(
        f"{one.user_id} and {other.user_id} logged in on one tablet: {verdict}. The tablet is marked as shared and "
        "creates no links."
    )
    transcript.commands(f"cdp profile explain user_id:{one.user_id} anonymous_id:{TABLET}")
    shown = None if tour.notes.is_erased else _lookup(tour, person)
    if shown is not None:
        transcript.say(f"The next steps follow {person.user_id}:")
        transcript.table(["", ""], _facts(shown))
        transcript.commands(f"cdp profile show user_id:{person.user_id}")


def _facts(shown: dict[str, Any]) -> list[tuple[str, str]]:
    computed = shown["computed_traits"]
    allowed = [purpose for purpose, verdict in shown["consents"].items() if verdict["allowed"]]
    refused = [purpose for purpose, verdict in shown["consents"].items() if not verdict["allowed"]]
    facts = [
        (
            "identifiers",
            ", ".join(f"{identifier['type']} {identifier['value']}" for identifier in shown["identifiers"]),
        ),
        ("permitted purposes", ", ".join(allowed)),
        ("refused purposes", ", ".join(refused) or "none"),
    ]
    if "monetary" in computed:
        worth = f"{computed['monetary']:,.2f}, converted from pounds"
        facts.append(("computed traits", f"{computed['orders_count']:,.0f} orders worth {worth}"))
    return facts


def _segment(tour: Tour) -> None:
    transcript = tour.transcript
    segment = tour.api.get("marketer", f"/api/v1/segments/{SEGMENT}")
    found = _preview(tour, segment)
    transcript.title("3  A segment contains only people permitted for its purpose")
    transcript.say(
        f"{segment['name']}, for the purpose `{segment['purpose']}`. People who remain after each condition:"
    )
    transcript.table(
        ["people", "condition"],
        [
            (found["permitted"], "permitted for the purpose"),
            *((condition["together"], condition["text"]) for condition in found["conditions"]),
        ],
    )
    transcript.say(
        f"Size: {found['size']:,}. Marketers can list these people under random ids, so sizes are exact; every list is "
        "recorded in the log."
    )
    transcript.say("People excluded before the first condition was evaluated:")
    transcript.table(
        ["", ""],
        [(size, _REASONS.get(reason, reason.replace("_", " "))) for reason, size in found["refused_by_reason"].items()],
    )
    transcript.commands(f"cdp segment preview {SEGMENT}", f"cdp segment explain {SEGMENT}")


def _preview(tour: Tour, segment: dict[str, Any]) -> dict[str, Any]:
    body = {"purpose": segment["purpose"], "where": segment["where"]}
    found: dict[str, Any] = tour.api.post("marketer", "/api/v1/segments/preview", body)
    return found


def _export(tour: Tour) -> Tour:
    transcript, person = tour.transcript, tour.person
    path = tour.notes.folder / "export.zip"
    transcript.title(f"4  {person.user_id} requests access to their data")
    if tour.notes.is_erased:
        transcript.say("No data is left: the person was erased in an earlier run, after the archive was exported.")
        return tour
    if tour.notes.access is None:
        request = _open(tour, "access")
        tour = replace(tour, notes=tour.notes.noted(access=request))
    assert tour.notes.access is not None
    _run_request(tour, tour.notes.access)
    content = tour.api.content("privacy", f"/api/v1/subject-requests/{tour.notes.access}/export")
    write_private(path, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        document = json.loads(archive.read("data.json"))
    rows = {table: len(listed) for table, listed in document["data"].items() if listed}
    transcript.say(
        f"{counted(sum(rows.values()), 'row')} from {counted(len(rows), 'table')}, all about this person. Among them:"
    )
    transcript.table(["", ""], [(rows[table], _description(table)) for table in _TABLE_NAMES if table in rows])
    transcript.say(f"{path} contains a readable page and JSON.")
    transcript.commands(
        f"cdp request open access user_id:{person.user_id}",
        "cdp request verify ID",
        "cdp request run ID",
        "cdp request export ID --out export.zip",
    )
    return tour


def _erasure(tour: Tour) -> Tour:
    transcript, person = tour.transcript, tour.person
    transcript.title(f"5  {person.user_id} requests erasure")
    if tour.notes.erasure is None:
        tour = replace(tour, notes=tour.notes.noted(erasure=_open(tour, "erasure")))
    request_id = tour.notes.erasure
    assert request_id is not None
    if not tour.notes.is_erased:
        _run_request(tour, request_id)
    receipt = tour.api.receipt(request_id)
    _keep_receipt(tour, receipt)
    steps = [step for step in receipt["body"].get("steps", ()) if step["rows"]]
    transcript.say("The plan is computed from the data dictionary, which declares for every column how it is erased:")
    transcript.table(["", "rows", "content"], _shown_steps(steps))
    transcript.say(f"Steps with rows: {len(steps)}; the receipt lists every step of the plan.")
    transcript.commands(
        f"cdp request open erasure user_id:{person.user_id}",
        "cdp request verify ID",
        "cdp request run ID --dry-run",
        "cdp request run ID",
        "cdp request receipt ID --out receipt.json",
    )
    return replace(tour, notes=tour.notes.noted(is_erased=True))


def _suppression(tour: Tour) -> None:
    transcript, person = tour.transcript, tour.person
    transcript.title("6  Erased people are not stored again")
    keys = {"shop": tour.notes.write_keys["shop"], "web": tour.notes.write_keys["web"]}
    again = [call for call in shopping([person], tour.calendar) if call.name == "Order Completed"]
    before = _suppressed(tour)
    with tour.senders(tour.api.url, keys, {"shop": 1, "web": 1}) as senders:
        sent = senders.send(again)
    refused = _suppressed(tour) - before
    is_deleted = _lookup(tour, person) is None
    transcript.say(
        f"The {counted(sent, 'order')} of {person.user_id} are sent again, as a retry would: {refused} refused as suppressed. "
        + ("A lookup finds no profile." if is_deleted else "A lookup finds a profile, which would be wrong.")
    )
    transcript.commands(f"cdp profile show user_id:{person.user_id}")


def _verification(tour: Tour) -> None:
    transcript = tour.transcript
    path = tour.notes.folder / "receipt.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    key = parse_vkey(document["vkey"])
    transcript.title("7  Anyone can verify the receipt offline")
    outcome = verify_receipt(document, [key], is_signed)
    if isinstance(outcome, Unverified):
        raise Fault("receipt_refused", "The receipt does not verify", outcome.detail, status=500)
    forged = {**document, "body": {**document["body"], "fulfilled_at": "2000-01-01T00:00:00Z"}}
    is_caught = isinstance(verify_receipt(forged, [key], is_signed), Unverified)
    transcript.say(
        f"Valid: entry {outcome.index:,} of {outcome.checkpoint.size:,} in the log {outcome.checkpoint.origin}. "
        + (
            "With a different date it is rejected."
            if is_caught
            else "A forged receipt was accepted, which would be wrong."
        )
    )
    transcript.note(f"{path} contains no name, address or customer number.")
    transcript.commands(f"cdp audit verify {path}")


def _next_steps(tour: Tour) -> None:
    transcript = tour.transcript
    example = tablet_users(tour.people)[0].user_id
    folder = tour.notes.folder.parent
    transcript.title("Next steps")
    transcript.say(
        f"The service runs at {tour.api.url}."
        if tour.is_serving
        else "The service has stopped with the demonstration. Start it again with `cdp serve`."
    )
    transcript.table(
        ["", ""],
        [
            ("try the commands above", f"in another shell; user_id:{example} is a person who is not erased"),
            ("open the console", f"{tour.api.url}/console with the token in {folder / 'admin.token'}"),
            ("send from your own code", "docs/how-to/use-an-sdk.md"),
            ("do the same step by step", "docs/tutorial/first-hour.md"),
            ("read how it is built", "docs/explanation/architecture.md"),
            ("start over", f"stop the service and delete {folder}"),
        ],
    )


def _open(tour: Tour, kind: str) -> str:
    body = {"kind": kind, "regime": "gdpr", "identifiers": [_identifier("user_id", tour.person.user_id)]}
    return str(tour.api.post("privacy", "/api/v1/subject-requests", body)["id"])


def _run_request(tour: Tour, request_id: str) -> None:
    """Verify and run a request, continuing wherever an earlier run stopped."""
    path = f"/api/v1/subject-requests/{request_id}"
    if tour.api.get("privacy", path)["status"] == "received":
        tour.api.post("privacy", f"{path}/verify", {})
    if tour.api.get("privacy", path)["waiting_identifiers"]:
        tour.api.post("privacy", f"{path}/review", {"excludes_rest": True})
    tour.api.post("privacy", f"{path}/run", {})


def _keep_receipt(tour: Tour, receipt: dict[str, Any]) -> None:
    text = json.dumps(receipt, indent=2, ensure_ascii=False) + "\n"
    write_private(tour.notes.folder / "receipt.json", text.encode())


def _suppressed(tour: Tour) -> int:
    found = tour.api.get("auditor", "/api/v1/ingest/accounting", **{"from": "1970-01-01T00:00:00Z"})
    return int(found["by_state"].get("suppressed", 0))


def _lookup(tour: Tour, person: DemoPerson) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = tour.api.post(
            "privacy", "/api/v1/profiles/lookup", {"identifier": _identifier("user_id", person.user_id)}
        )
    except Fault as fault:
        if fault.code != "unknown_profile":
            raise
        return None
    return found


def _identifier(type_: str, value: str) -> dict[str, str]:
    return {"type": type_, "value": value}


def _description(table: str) -> str:
    schema, _, name = table.partition(".")
    return _TABLE_NAMES.get(table, f"{name.replace('_', ' ')} ({schema})")


def _shown_steps(steps: Sequence[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """The steps that matter to a data subject; the receipt has all of them."""
    by_table = {(step["verb"], step["table"]): step["rows"] for step in steps}
    wanted = [("delete", table) for table in _TABLE_NAMES] + [("shred", "vault.subject_key"), ("keep", "rights.hold")]
    return [(verb, by_table[verb, table], _description(table)) for verb, table in wanted if by_table.get((verb, table))]
