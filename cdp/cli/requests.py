"""Commands about subject requests."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from cdp.cli.command import PAIR, PAIR_OF_TRAIT, command, open_context, write_out
from cdp.cli.screen import Screen, print_error
from cdp.flows.context import Context
from cdp.flows.operations.startup import sequence_all
from cdp.flows.rights import requests
from cdp.flows.rights import scrub as scrubs
from cdp.flows.rights.person import unknown_request
from cdp.flows.rights.review import review as request_review
from cdp.kit.errors import Fault
from cdp.kit.ids import decode_id
from cdp.kit.wording import counted
from cdp.policy.controller import NOT_NAMED
from cdp.policy.jurisdictions import Right
from cdp.rights.model import Denial, DenialNotice, ErasureMode, Request, Status, StepCount, Verb

_SIGNED_WITHIN_SECONDS: Final = 10.0


@click.group()
def request() -> None:
    """Handle subject requests."""


@request.command("open")
@click.argument("kind")
@click.argument("identifiers", type=PAIR, nargs=-1, required=True)
@click.option("--regime", default="gdpr", show_default=True, help="A regulation from policies/jurisdictions.yaml.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in ErasureMode]),
    help="What an erasure includes. Default: erase_and_suppress.",
)
@click.option(
    "--purpose", "purposes", multiple=True, help="A purpose that is refused. Default: all that KIND concerns."
)
@click.option("--set", "values", type=PAIR_OF_TRAIT, multiple=True, help="A trait and its right value: TRAIT=VALUE.")
@click.option("--weigh", is_flag=True, help="Of an objection: weigh what is not direct marketing (GDPR Art. 21(1)).")
@command(
    "cdp request open access email:ada@example.com",
    "cdp request open erasure email:ada@example.com phone:+4915112345678 --regime gdpr",
    "cdp request open erasure email:ada@example.com --mode erase",
    "cdp request open rectification email:ada@example.com --set city=Lyon --set age=37",
    "cdp request open objection email:ada@example.com --purpose email_marketing",
    "cdp request open objection email:ada@example.com --purpose fraud_prevention --weigh",
)
def open_(kind: str, identifiers: tuple[tuple[str, str], ...], regime: str, *, screen: Screen, **given: Any) -> None:
    """Open a subject request and set deadlines.

    KIND is access, portability, erasure, rectification, restriction, objection, opt_out or limit. An objection, an
    opt-out and a request to limit need no verification and are in force when the command ends. With --weigh, the purposes of
    an objection on legitimate interests are restricted until `cdp request run` upholds it or `cdp request deny` ends it. The
    output does not reveal whether the person has a profile.
    """
    details = requests.RequestDetails(given["mode"], given["purposes"], dict(given["values"]), given["weigh"])
    with open_context() as context:
        created = requests.open_request(
            context, kind=kind, regime=regime, identifiers=identifiers, now=context.clock.now(), details=details
        )
        questions_to = context.policy.responsible.questions_to
    screen.result({**_document(created), "questions_to": questions_to})
    _facts(screen, created, questions_to=questions_to or NOT_NAMED)
    if created.status is Status.FULFILLED:
        screen.line(f"Fulfilled. Next: cdp request receipt {created.outward_id} --out FILE")
    elif created.weighed:
        screen.line(f"Restricted until it is decided: {', '.join(created.weighed)}.")
        screen.line(f"To uphold it: cdp request run {created.outward_id}")
        denial = f"cdp request deny {created.outward_id} --reason overriding_interests --informed"
        screen.line(f"If your grounds override it, inform the person, then: {denial}")
    else:
        screen.line(f"Next: cdp request verify {created.outward_id}")


@request.command("list")
@click.option("--status", type=click.Choice([state.value for state in Status]), help="Only requests with this status.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="The number of rows to list."
)
@command("cdp request list", "cdp request list --status verified --json")
def list_(status: str | None, limit: int, screen: Screen) -> None:
    """List requests, the most urgent first."""
    with open_context() as context:
        found = requests.listing(context, status, limit)
    screen.result([_document(request) for request in found])
    screen.table(
        ["request", "kind", "regime", "status", "received", "due"],
        [
            (
                request.outward_id,
                request.kind.value,
                request.regime,
                request.status.value,
                request.received_at,
                request.due_at,
            )
            for request in found
        ],
        empty="No requests.",
    )


@request.command("show")
@click.argument("number", metavar="ID")
@command("cdp request show req_0004zc8e6w1rk")
def show(number: str, screen: Screen) -> None:
    """Show one subject request.

    Shows what it names (until it is closed), its steps, the identifiers that wait for a review, and the notice of a
    denial for the person.
    """
    with open_context() as context:
        found = requests.show(context, _number(number))
    screen.result(
        {
            **_document(found.request),
            "questions_to": found.questions_to,
            "identifiers": found.identifiers,
            "steps": found.steps,
            "waiting_identifiers": found.waiting,
            "values": found.values,
            "denial": found.denial,
        }
    )
    _facts(screen, found.request, questions_to=None if found.denial else found.questions_to or NOT_NAMED)
    if found.identifiers:
        screen.table(["identifier", "value"], [(identifier.type, identifier.value) for identifier in found.identifiers])
    if found.values:
        screen.table(["trait", "right value"], [(trait.name, json.dumps(trait.value)) for trait in found.values])
    _denial(screen, found.denial)
    _steps(screen, found.steps)
    if found.waiting:
        screen.heading("These identifiers wait for a review (cdp request review): they may belong to the same person.")
        screen.table(["identifier", "value"], [(identifier.type, identifier.value) for identifier in found.waiting])


@request.command("ask")
@click.argument("number", metavar="ID")
@command("cdp request ask req_0004zc8e6w1rk")
def ask(number: str, screen: Screen) -> None:
    """Record that the requester was asked who they are.

    Only a request whose requester was asked, and did not answer, expires after its deadline.
    """
    with open_context() as context:
        _print(screen, requests.ask(context, _number(number), context.clock.now()))


@request.command("verify")
@click.argument("number", metavar="ID")
@command("cdp request verify req_0004zc8e6w1rk")
def verify(number: str, screen: Screen) -> None:
    """Mark the requester as verified.

    Confirms that the identifiers belong to the requester. For an erasure, no data about them is stored from then on.
    """
    with open_context() as context:
        done = requests.verify(context, _number(number), context.clock.now())
    _print(screen, done)
    preview = " --dry-run" if done.kind is Right.ERASURE else ""
    screen.line(f"Next: cdp request run {done.outward_id}{preview}")


@request.command("review")
@click.argument("number", metavar="ID")
@click.option("--include", type=PAIR, multiple=True, help="An identifier that belongs to the person.")
@click.option("--exclude", type=PAIR, multiple=True, help="An identifier that belongs to somebody else.")
@click.option("--exclude-rest", "excludes_rest", is_flag=True, help="All others belong to somebody else.")
@command(
    "cdp request review req_0004zc8e6w1rk --include anonymous_id:5f2c --exclude-rest",
)
def review(
    number: str,
    include: tuple[tuple[str, str], ...],
    exclude: tuple[tuple[str, str], ...],
    *,
    excludes_rest: bool,
    screen: Screen,
) -> None:
    """Decide whose the waiting identifiers are.

    An access or erasure request is not carried out while identifiers wait. `cdp request show` lists them.
    """
    with open_context() as context:
        waiting = request_review(
            context,
            _number(number),
            include=include,
            exclude=exclude,
            excludes_rest=excludes_rest,
            now=context.clock.now(),
        )
    screen.result({"waiting": waiting})
    screen.line(f"{counted(waiting, 'identifier')} left to review." if waiting else "Nothing is left to review.")


_WITHOUT_STEPS: Final = {
    True: "No planned steps: the answer is an archive, which changes no data.",
    False: "No planned steps: only an erasure deletes rows.",
}
"""What a dry run says of the kinds of requests without a plan, by whether they are answered with an archive."""


@request.command("run")
@click.argument("number", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Only show what would be done: tables, rows and reasons.")
@command("cdp request run req_0004zc8e6w1rk --dry-run", "cdp request run req_0004zc8e6w1rk")
def run(number: str, dry_run: bool, screen: Screen) -> None:
    """Execute a verified request.

    If it is interrupted, run it again to continue.
    """
    with open_context() as context:
        done = requests.run(context, _number(number), context.clock.now(), dry_run=dry_run)
    screen.result(
        {
            "request": _document(done.request),
            "steps": done.steps,
            "waiting": done.waiting,
            "is_nothing_held": done.is_nothing_held,
        }
    )
    if done.is_nothing_held:
        screen.line("Nothing is held under these names.")
    if done.steps:
        screen.heading("Planned steps:" if dry_run else "Completed steps:")
        _steps(screen, done.steps)
    elif dry_run and done.request.kind is not Right.ERASURE:
        screen.line(_WITHOUT_STEPS[done.request.kind in (Right.ACCESS, Right.PORTABILITY)])
    if done.waiting:
        screen.line(
            f"Waiting for a review: {counted(done.waiting, 'identifier')}; cdp request show {done.request.outward_id}"
        )
    if not dry_run:
        kind = "export" if done.request.kind.value in ("access", "portability") else "receipt"
        screen.line(f"Fulfilled. Next: cdp request {kind} {done.request.outward_id} --out FILE")


@request.command("extend")
@click.argument("number", metavar="ID")
@command("cdp request extend req_0004zc8e6w1rk")
def extend(number: str, screen: Screen) -> None:
    """Extend the deadline, at most once."""
    with open_context() as context:
        _print(screen, requests.extend(context, _number(number), context.clock.now()))


@request.command("deny")
@click.argument("number", metavar="ID")
@click.option("--reason", required=True, type=click.Choice([denial.value for denial in Denial]), help="The ground.")
@click.option("--informed", is_flag=True, help="The person was informed that the restriction ends.")
@command(
    "cdp request deny req_0004zc8e6w1rk --reason unverified",
    "cdp request deny req_0004zc8e6w1rk --reason overriding_interests --informed",
)
def deny(number: str, reason: str, *, informed: bool, screen: Screen) -> None:
    """Deny a request.

    Overriding interests can only be claimed against an objection that is weighed; denying it ends the restriction, of which the
    person must be informed before. The notice for the subject is printed: the reason, where they may complain, and what else they can do.
    """
    with open_context() as context:
        denied = requests.deny(context, _number(number), reason, now=context.clock.now(), is_informed=informed)
        notice = requests.show(context, denied.request_id).denial
    screen.result({**_document(denied), "denial": notice})
    _facts(screen, denied)
    _denial(screen, notice)


@request.command("withdraw")
@click.argument("number", metavar="ID")
@command("cdp request withdraw req_0004zc8e6w1rk")
def withdraw(number: str, screen: Screen) -> None:
    """Mark a request as withdrawn."""
    with open_context() as context:
        _print(screen, requests.withdraw(context, _number(number), context.clock.now()))


@request.command("export")
@click.argument("number", metavar="ID")
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True, path_type=Path), help="FILE.zip")
@click.option("--draft", "is_draft", is_flag=True, help="Before the request is answered, for your own review.")
@command(
    "cdp request export req_0004zc8e6w1rk --out ada.zip", "cdp request export req_0004zc8e6w1rk --draft --out draft.zip"
)
def export(number: str, out: Path, *, is_draft: bool, screen: Screen) -> None:
    """Write the archive of a request to a file.

    For answered access and portability requests: a ZIP with JSON and a readable page. Every export is logged.
    """
    with open_context() as context:
        archive = requests.export(context, _number(number), context.clock.now(), is_draft=is_draft)
    write_out(out, archive.content)
    screen.result({"file": str(out), "bytes": len(archive.content)})
    screen.line(
        f"{out}: {counted(len(archive.content), 'byte')}, readable only by you. It contains page.html, data.json and the consent receipts."
    )


@request.command("receipt")
@click.argument("number", metavar="ID")
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True, path_type=Path), help="FILE.json")
@click.option("--scrub", is_flag=True, help="The second receipt of an erasure: its residue was overwritten.")
@command(
    "cdp request receipt req_0004zc8e6w1rk --out receipt.json",
    "cdp request receipt req_0004zc8e6w1rk --scrub --out scrub.json",
    "cdp audit verify receipt.json",
)
def receipt(number: str, out: Path, screen: Screen, *, scrub: bool) -> None:
    """Write the receipt of a fulfilled request.

    Anyone can verify it offline with `cdp audit verify`.
    """
    with open_context() as context:
        document = _receipt(context, _number(number), read=scrubs.receipt if scrub else requests.receipt)
    content = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_out(out, content.encode())
    screen.result({"file": str(out)})
    screen.line(f"{out}. Next: cdp audit verify {out}")


def _receipt(context: Context, number: int, *, read: Callable[[Context, int], dict[str, object]]) -> dict[str, object]:
    """The receipt. Waits for the service to sign the log, or signs it here when no service runs."""
    if not context.is_shared:
        sequence_all(context)
    deadline = time.monotonic() + _SIGNED_WITHIN_SECONDS
    while True:
        try:
            return read(context, number)
        except Fault as fault:
            if fault.code != "receipt_not_ready" or time.monotonic() > deadline:
                raise
        print_error("Waiting for the log to be signed…")
        time.sleep(0.5)


def _print(screen: Screen, done: Request) -> None:
    screen.result(_document(done))
    _facts(screen, done)


def _facts(screen: Screen, shown: Request, *, questions_to: str | None = None) -> None:
    screen.facts(
        [
            ("request", shown.outward_id),
            ("kind", f"{shown.kind.value} under {shown.regime}"),
            *([("mode", shown.mode.value)] if shown.mode is not None else []),
            *([("weighed", ", ".join(shown.weighed))] if shown.weighed else []),
            ("status", shown.status.value + (f": {shown.denial_reason.value}" if shown.denial_reason else "")),
            ("received", shown.received_at),
            *([("confirm by", shown.confirm_by)] if shown.confirm_by is not None else []),
            ("due", shown.due_at),
            *([("asked", shown.asked_at)] if shown.asked_at is not None else []),
            *([("closed", shown.closed_at)] if shown.closed_at is not None else []),
            *([("questions to", questions_to)] if questions_to is not None else []),
            *([("scrubbed", "yes" if shown.is_scrubbed else "not yet")] if _is_erased(shown) else []),
        ]
    )


def _denial(screen: Screen, notice: DenialNotice | None) -> None:
    if notice is not None:
        screen.heading("Tell the person:")
        screen.facts(
            [
                ("reason", notice.reason),
                ("complaints", notice.authority),
                ("remedy", notice.remedy),
                ("questions to", notice.questions_to or NOT_NAMED),
            ]
        )


def _steps(screen: Screen, steps: tuple[StepCount, ...]) -> None:
    """The steps that affect rows, and every step that keeps some, also none: that nothing is kept is an answer."""
    shown = [step for step in steps if step.rows or step.verb is Verb.KEEP]
    if steps:
        screen.table(
            ["table", "action", "rows", "reason"],
            [(step.table, step.verb.value, step.rows, step.reason) for step in shown],
            empty="No rows.",
        )


def _is_erased(shown: Request) -> bool:
    return shown.kind is Right.ERASURE and shown.status is Status.FULFILLED


def _document(shown: Request) -> dict[str, object]:
    return {
        "id": shown.outward_id,
        "kind": shown.kind,
        "regime": shown.regime,
        "status": shown.status,
        "received_at": shown.received_at,
        "confirm_by": shown.confirm_by,
        "due_at": shown.due_at,
        "mode": shown.mode,
        "weighed": list(shown.weighed),
        "extended_at": shown.extended_at,
        "asked_at": shown.asked_at,
        "verified_at": shown.verified_at,
        "closed_at": shown.closed_at,
        "denial_reason": shown.denial_reason,
        "waiting": shown.waiting,
        "is_scrubbed": shown.is_scrubbed,
    }


def _number(text: str) -> int:
    number = decode_id("req", text)
    if number is None:
        raise unknown_request()
    return number
