"""Commands about the audit log."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cdp.audit.checkpoint import Malformed, VerifierKey, parse_vkey
from cdp.audit.verify import Unverified, verify_receipt
from cdp.cli.command import FAILED, PAIR, command, open_context
from cdp.cli.consents import INSTANT
from cdp.cli.screen import Screen, print_error
from cdp.consent.receipt import FORMATS as CONSENT_RECEIPTS
from cdp.consent.receipt import is_genuine, stated_by
from cdp.flows.audit import report as auditing
from cdp.flows.audit.log_check import check_log as check
from cdp.flows.audit.readers import readers_of
from cdp.flows.audit.sessions import SessionQuery, list_sessions
from cdp.kit.bounded_file import read_bounded
from cdp.kit.errors import Fault
from cdp.vault.sign import is_signed

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Verify receipts and the audit log; report."""


@audit.command("verify")
@click.argument("file", type=_file)
@click.option(
    "--key", "vkey", metavar="VKEY", help="The verifier key to trust, obtained earlier from GET /audit/log/key."
)
@command("cdp audit verify receipt.json --key cdp.internal/audit/…+…+…", "cdp audit verify receipt.json")
def verify(file: Path, vkey: str | None, screen: Screen) -> None:
    """Verify a receipt offline.

    It needs no database and no network, only the file and a key. Without --key the key in the file is used, which shows
    that the file is intact but not who issued it. Exit code 1 when the receipt is not valid.
    """
    document = _read(file)
    key = _key(vkey, document)
    if isinstance(document, dict) and document.get("format") in CONSENT_RECEIPTS:
        _verify_consent(document, key, screen)
        return
    if key is None:
        raise Fault("key_missing", "No key to verify with", "Give one with --key.", status=422)
    outcome = verify_receipt(document, [key], is_signed)
    if isinstance(outcome, Unverified):
        _refuse(screen, outcome.broken.value, outcome.detail)
    else:
        body = dict(outcome.body)
        screen.result(
            {
                "verified": True,
                "index": outcome.index,
                "size": outcome.checkpoint.size,
                "origin": outcome.checkpoint.origin,
                "key": key.text(),
                "is_key_given": vkey is not None,
                "body": body,
            }
        )
        screen.heading("Verified.")
        screen.line(f"Entry {outcome.index:,} of {outcome.checkpoint.size:,} in the log {outcome.checkpoint.origin}:")
        screen.facts([(name, _short(value)) for name, value in body.items() if name != "steps"])
        for step in body.get("steps", ()):
            screen.line(f"  {step['verb']:8} {step['rows']:>8,}  {step['table']}")
    _warn(vkey)


@audit.command("check-log")
@click.option("--from", "earlier", type=_file, help="A checkpoint kept earlier (GET /audit/log/checkpoint).")
@command("cdp audit check-log", "cdp audit check-log --from checkpoint.txt")
def check_log(earlier: Path | None, screen: Screen) -> None:
    """Check the whole audit log.

    Checks signatures, leaves, tiles, facts, the copy outside the database, and a checkpoint kept earlier. Exit code 1
    when anything is wrong.
    """
    note = None if earlier is None else read_bounded(earlier).decode("utf-8", "replace")
    with open_context() as context:
        found = check(context.database, context.log, note)
    screen.result(
        {
            "origin": found.origin,
            "size": found.size,
            "vkey": found.vkey,
            "is_sound": found.is_sound,
            "findings": found.findings,
        }
    )
    screen.facts([("log", found.origin), ("entries", found.size), ("key", found.vkey)])
    for finding in found.findings:
        screen.line(
            f"{'ok   ' if finding.wrong is None else 'WRONG'}  {finding.what}"
            + (f": {finding.wrong}" if finding.wrong else "")
        )
    if not found.is_sound:
        click.get_current_context().exit(FAILED)


@audit.command("readers")
@click.argument("identifier", type=PAIR)
@command("cdp audit readers email:ada@example.com", "cdp audit readers user_id:u-17 --json")
def readers(identifier: tuple[str, str], screen: Screen) -> None:
    """Show who looked at a person.

    Lists the reads that showed the person: by which role and token, what, and for which purpose. They are found as long as
    the keys of the person exist. The listing is logged. Which rows a query of a SQL login showed is not known: cdp audit
    sessions lists these logins.
    """
    with open_context() as context:
        found = readers_of(context, identifier, context.clock.now(), actor="operator")
    screen.result({"reads": found})
    screen.table(
        ["at", "role", "token", "name", "read", "purpose", "segment"],
        [(read.at, read.role, read.token, read.name, read.read, read.purpose, read.segment) for read in found],
        empty="No read showed this person.",
    )


@audit.command("sessions")
@click.option("--from", "since", type=INSTANT, help="Sessions that existed from then on. Default: all.")
@click.option("--to", "until", type=INSTANT, help="Sessions that began before. Default: now.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@command("cdp audit sessions", "cdp audit sessions --from 2026-01-01 --to 2026-02-01 --json")
def sessions(since: datetime | None, until: datetime | None, *, limit: int, screen: Screen) -> None:
    """List sessions of SQL logins of readers.

    Shows from when to when each session existed and which projections its login could read. What a query asked is not
    recorded, because its text contains values of people. A session ended after it was last seen, and before it was found
    gone. On PostgreSQL 15 and 16, sessions of less than a second can be missing. The listing is logged.
    """
    with open_context() as context:
        query = SessionQuery(since, until, limit)
        found = list_sessions(context, query, context.clock.now(), actor="operator")
    screen.result({"sessions": found})
    rows = [
        (
            session.login,
            session.started_at,
            session.seen_at,
            session.gone_at,
            ", ".join(sorted({access.role for access in session.could_read if access.role})),
            ", ".join(sorted({access.purpose for access in session.could_read if access.purpose})),
        )
        for session in found
    ]
    headings = ["login", "began", "last seen", "gone by", "roles", "purposes"]
    screen.table(headings, rows, empty="No session of a SQL login that reads people is recorded.")


@audit.command("report")
@click.option("--from", "since", type=INSTANT, help="Start of the period. Default: the first entry.")
@click.option("--to", "until", type=INSTANT, help="End of the period. Default: now.")
@command("cdp audit report", "cdp audit report --from 2026-01-01 --to 2027-01-01 --json")
def report(since: datetime | None, until: datetime | None, screen: Screen) -> None:
    """Report on a period from verified entries.

    The figures are recomputed from facts that are checked against the log. Exit code 1 when a fact was altered, or the
    stored state of a request does not match the log.
    """
    with open_context() as context:
        result = auditing.report(context, context.clock.now(), since=since, until=until, actor="operator")
    screen.result(result)
    screen.facts(
        [
            ("facts checked against the log", result.facts_checked),
            ("altered facts", len(result.altered)),
            ("requests that differ from the log", len(result.differing)),
            ("entries signed", result.tree_size),
            ("entries not signed yet", result.waiting),
            ("policies so far", len(result.policies)),
        ]
    )
    screen.line()
    screen.table(["entries", "count"], list(result.entries.items()), empty="No entries.")
    screen.line()
    figures = result.requests
    screen.table(["requests received", "count"], list(figures.received.items()), empty="No subject requests.")
    screen.facts(
        [
            ("answered in time", figures.in_time),
            ("answered late", figures.late),
            ("open and overdue", figures.open_overdue),
            ("median days to answer", figures.median_days),
        ]
    )
    if result.altered or result.differing:
        click.get_current_context().exit(FAILED)


def _read(file: Path) -> Any:
    try:
        return json.loads(read_bounded(file))
    except (ValueError, RecursionError):
        raise Fault("receipt_malformed", "Not a receipt", "The file is not JSON.", status=422) from None


def _key(vkey: str | None, document: Any) -> VerifierKey | None:
    text = vkey if vkey is not None else document.get("vkey") if isinstance(document, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return parse_vkey(text)
    except Malformed as error:
        raise Fault("key_malformed", "Not a verifier key", f"{error}.", status=422) from None


def _verify_consent(document: dict[str, Any], key: VerifierKey | None, screen: Screen) -> None:
    if key is None:
        raise Fault(
            "key_missing",
            "No key to verify with",
            "A consent receipt contains no key. Give one with --key.",
            status=422,
        )
    if not is_genuine(document, key.public_key, is_signed):
        _refuse(screen, "wrong_signature", "The receipt was altered, or another key signed it.")
        return
    screen.result({"verified": True, "key": key.text(), "is_key_given": True, "body": document})
    screen.heading("Verified.")
    screen.facts([("record", document.get("record_id")), *stated_by(document).items()])


def _refuse(screen: Screen, broken: str, detail: str) -> None:
    screen.result({"verified": False, "broken": broken, "detail": detail})
    screen.heading("NOT verified.")
    screen.line(detail)
    click.get_current_context().exit(FAILED)


def _warn(vkey: str | None) -> None:
    if vkey is None:
        print_error(
            "The key came with the file. To know who issued the receipt, give --key with a key from another source."
        )


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
