"""Commands about the audit log."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cdp.audit.checkpoint import Malformed, VerifierKey, parse_vkey
from cdp.audit.verify import Unverified, verify_receipt
from cdp.cli.command import FAILED, command, opened
from cdp.cli.consents import INSTANT
from cdp.cli.screen import Screen, complain
from cdp.consent.receipt import FORMAT as CONSENT_RECEIPT
from cdp.consent.receipt import is_genuine
from cdp.flows.audit import report as auditing
from cdp.flows.audit.log_check import check_log as check
from cdp.kit.errors import Fault
from cdp.vault.sign import is_signed

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """The audit log: verify receipts offline, check the whole log, report."""


@audit.command("verify")
@click.argument("file", type=_file)
@click.option("--key", "vkey", metavar="VKEY", help="The key to trust, from GET /audit/log/key at an earlier time.")
@command("cdp audit verify receipt.json --key cdp.internal/audit/…+…+…", "cdp audit verify receipt.json")
def verify(file: Path, vkey: str | None, screen: Screen) -> None:
    """Verify a receipt offline: no database, no network, nothing but the file and a key.

    Without --key the key named in the file is used, which shows that the file is whole but not whose it is.
    Exit code 1 when it does not verify.
    """
    document = _read(file)
    key = _key(vkey, document)
    if isinstance(document, dict) and document.get("format") == CONSENT_RECEIPT:
        _verify_consent(document, key, screen)
        return
    if key is None:
        raise Fault("key_missing", "There is no key to verify with", "Give one with --key.", status=422)
    outcome = verify_receipt(document, [key], is_signed)
    if isinstance(outcome, Unverified):
        _refuse(screen, outcome.broken.value, outcome.detail)
    else:
        body = dict(outcome.body)
        screen.tell(
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
        screen.line(
            f"This stands in the log {outcome.checkpoint.origin} as entry {outcome.index:,} of {outcome.checkpoint.size:,}:"
        )
        screen.facts([(name, _short(value)) for name, value in body.items() if name != "steps"])
        for step in body.get("steps", ()):
            screen.line(f"  {step['verb']:8} {step['rows']:>8,}  {step['table']}")
    _warn(vkey)


@audit.command("check-log")
@click.option("--from", "remembered", type=_file, help="A checkpoint kept earlier (GET /audit/log/checkpoint).")
@command("cdp audit check-log", "cdp audit check-log --from checkpoint.txt")
def check_log(remembered: Path | None, screen: Screen) -> None:
    """Check the whole log: signatures, leaves, tiles, facts, the copy outside the database, a remembered checkpoint.

    Exit code 1 when anything is wrong.
    """
    note = None if remembered is None else remembered.read_text(encoding="utf-8", errors="replace")
    with opened() as context:
        found = check(context.database, context.log, note)
    screen.tell(
        {
            "origin": found.origin,
            "size": found.size,
            "vkey": found.vkey,
            "is_sound": found.is_sound,
            "findings": found.findings,
        }
    )
    screen.facts([("log", found.origin), ("entries", found.size), ("key", found.vkey)])
    for each in found.findings:
        screen.line(
            f"{'ok   ' if each.wrong is None else 'WRONG'}  {each.what}" + (f": {each.wrong}" if each.wrong else "")
        )
    if not found.is_sound:
        click.get_current_context().exit(FAILED)


@audit.command("report")
@click.option("--from", "since", type=INSTANT, help="Begin of the period. Default: the first entry.")
@click.option("--to", "until", type=INSTANT, help="End of the period. Default: now.")
@command("cdp audit report", "cdp audit report --from 2026-01-01 --to 2027-01-01 --json")
def report(since: datetime | None, until: datetime | None, screen: Screen) -> None:
    """Figures of a period, beside what facts held against the log tell of it.

    Exit code 1 when a fact was altered, or a request is stored otherwise than the log tells.
    """
    with opened() as context:
        told = auditing.report(context, context.clock.now(), since=since, until=until, actor="operator")
    screen.tell(told)
    screen.facts(
        [
            ("facts held against the log", told.facts_checked),
            ("altered", len(told.altered)),
            ("requests stored otherwise", len(told.differing)),
            ("entries signed", told.tree_size),
            ("entries waiting", told.waiting),
            ("policies in force so far", len(told.policies)),
        ]
    )
    screen.line()
    screen.table(["entries", "count"], list(told.entries.items()), empty="No entries.")
    screen.line()
    figures = told.requests
    screen.table(["requests received", "count"], list(figures.received.items()), empty="No subject requests.")
    screen.facts(
        [
            ("answered in time", figures.in_time),
            ("answered late", figures.late),
            ("open and overdue", figures.open_overdue),
            ("median days to answer", figures.median_days),
        ]
    )
    if told.altered or told.differing:
        click.get_current_context().exit(FAILED)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise Fault("receipt_malformed", "That is no receipt", "The file holds no JSON.", status=422) from None


def _key(vkey: str | None, document: Any) -> VerifierKey | None:
    text = vkey if vkey is not None else document.get("vkey") if isinstance(document, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return parse_vkey(text)
    except Malformed as error:
        raise Fault("key_malformed", "That is no verifier key", f"{error}.", status=422) from None


def _verify_consent(document: dict[str, Any], key: VerifierKey | None, screen: Screen) -> None:
    if key is None:
        raise Fault(
            "key_missing", "There is no key to verify with", "A consent receipt names none: give --key.", status=422
        )
    if not is_genuine(document, key.public_key, is_signed):
        _refuse(screen, "wrong_signature", "The receipt was altered, or another key signed it.")
        return
    screen.tell({"verified": True, "key": key.text(), "is_key_given": True, "body": document})
    screen.heading("Verified.")
    event = document.get("event", {})
    purpose = document.get("pii_processing", {}).get("purpose")
    screen.facts([("record", document.get("record_id")), ("purpose", purpose), ("act", event.get("act"))])


def _refuse(screen: Screen, broken: str, detail: str) -> None:
    screen.tell({"verified": False, "broken": broken, "detail": detail})
    screen.heading("NOT verified.")
    screen.line(detail)
    click.get_current_context().exit(FAILED)


def _warn(vkey: str | None) -> None:
    if vkey is None:
        complain("The key came with the file. To know whose receipt it is, give --key with one from elsewhere.")


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
