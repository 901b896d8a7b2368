"""`cdp consent try`: signals tried against the policy files, without a database."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cdp.cli.command import command, settings
from cdp.cli.screen import Screen
from cdp.consent.signals.cookies import ALERT_CLOSED
from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals
from cdp.consent.trial import Trial, try_signals
from cdp.kit.clock import SystemClock
from cdp.policy.load import load_policy
from cdp.policy.model import Policy

_MESSAGE_BYTES_MAX = 32 * 1024


class GoogleType(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """Consent Mode as `gcs`, as `gcd`, or as the JSON of `context.consent.google`."""

    name = "STATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it; what is neither is a usage error."""
        text = str(value).strip()
        if text.startswith("G"):
            return {"gcs": text}
        if text[:1] in ("{", "["):
            try:
                return json.loads(text)
            except ValueError as error:
                self.fail(f"this is not valid JSON: {error}", param, ctx)
        if text[:1] == "1":
            return {"gcd": text}
        return self.fail(
            'give a gcs such as G101, a gcd such as 13r3r3r3r5, or JSON such as {"update": {…}}', param, ctx
        )


class CookieType(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """NAME=VALUE, as a browser sends it."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that there is a name and a value."""
        name, sign, text = str(value).partition("=")
        if not name or not sign or not text or ";" in text:
            self.fail("give one cookie as NAME=VALUE; repeat the option for another one", param, ctx)
        return name, text


@click.command("try")
@click.option("--tcf", metavar="STRING", help="An IAB TC string.")
@click.option("--gpp", metavar="STRING", help="An IAB GPP string.")
@click.option("--us-privacy", metavar="STRING", help="An IAB US Privacy string, such as 1YNN.")
@click.option("--google", type=GoogleType(), help="Google Consent Mode: a gcs, a gcd, or JSON.")
@click.option("--cookie", "cookies", type=CookieType(), multiple=True, help="A cookie; its name is one of the policy.")
@click.option("--gpc", "has_gpc", is_flag=True, help="As if the request had Sec-GPC: 1.")
@click.option("--message", type=click.File("rb"), help="A file with one message as JSON; - reads standard input.")
@click.option("--jurisdiction", help="That of the source. Default: unknown, the strictest.")
@click.option("--server", "is_server", is_flag=True, help="As if a server source sent it. Default: a browser.")
@click.option(
    "--policies", type=click.Path(path_type=Path, file_okay=False), help="The policy folder. Default: CDP_POLICIES."
)
@command(
    "cdp consent try --tcf CQ… --jurisdiction eu",
    "cdp consent try --google 13r3q3r3r5l1 --jurisdiction eu",
    "cdp consent try --cookie 'CookieConsent={stamp:…}' --gpc --json",
    "cdp consent try --message message.json --server",
)
def try_command(*, policies: Path | None, screen: Screen, **given: Any) -> None:
    """Try consent signals against the policy files.

    Shows what they contain, which acts the policy makes of them by which rule, and the verdicts about a device of which
    nothing else is known. It reads the policy files alone: it opens no database, and stores nothing.
    """
    policy = load_policy(policies or settings().policies)
    jurisdiction = given["jurisdiction"] or "unknown"
    if jurisdiction not in policy.jurisdictions.jurisdictions:
        known = ", ".join(policy.jurisdictions.jurisdictions)
        raise click.BadParameter(f"`{jurisdiction}` is not one of the policy: {known}", param_hint="--jurisdiction")
    body = _body(given)
    request = _request(given["cookies"], policy)
    if not (body or given["has_gpc"] or given["cookies"]):
        raise click.UsageError("give a signal: --tcf, --gpp, --us-privacy, --google, --cookie, --gpc or --message")
    tried = try_signals(
        policy,
        body,
        has_gpc=given["has_gpc"],
        request=request,
        jurisdiction=jurisdiction,
        is_server=given["is_server"],
        now=SystemClock().now(),
    )
    _print(screen, tried)


def _body(given: Mapping[str, Any]) -> dict[str, Any]:
    """The message, with the other signals in its `context.consent`."""
    body: dict[str, Any] = {}
    if given["message"] is not None:
        text = given["message"].read(_MESSAGE_BYTES_MAX + 1)
        try:
            stated = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter("this is not one message in JSON", param_hint="--message") from error
        if not isinstance(stated, dict) or len(text) > _MESSAGE_BYTES_MAX:
            what = "a message is a JSON object of at most 32 KiB; give one, not a batch"
            raise click.BadParameter(what, param_hint="--message")
        body = stated
    keys = {"tcf": "tcf", "gpp": "gpp", "us_privacy": "usPrivacy", "google": "google"}
    strings = {key: given[option] for option, key in keys.items() if given[option] is not None}
    if strings:
        context = body.get("context")
        consent = context.get("consent") if isinstance(context, dict) else None
        merged = {**(consent if isinstance(consent, dict) else {}), **strings}
        body["context"] = {**(context if isinstance(context, dict) else {}), "consent": merged}
    return body


def _request(cookies: Sequence[tuple[str, str]], policy: Policy) -> RequestSignals:
    unread = [name for name, _ in cookies if name not in policy.signals.cookies and name != ALERT_CLOSED]
    if unread:
        known = ", ".join(policy.signals.cookies) or "none"
        what = f"the policy reads no cookie `{unread[0]}`; those under `signals.cookies` in purposes.yaml: {known}"
        raise click.BadParameter(what, param_hint="--cookie")
    return RequestSignals("; ".join(f"{name}={value}" for name, value in cookies)) if cookies else NO_REQUEST_SIGNALS


def _print(screen: Screen, tried: Trial) -> None:
    acts = [
        {
            "signal": act.signal,
            "purpose": act.purpose,
            "act": act.act.value,
            "authority": act.authority.value,
            "rule": act.rule,
        }
        for act in tried.proposal.acts
    ]
    verdicts = {
        key: {"allowed": verdict.allowed, "reason": verdict.reason.value} for key, verdict in tried.verdicts.items()
    }
    screen.result(
        {
            "signals": tried.signals,
            "acts": acts,
            "malformed": tried.proposal.malformed,
            "unknown": tried.proposal.unknown,
            "verdicts": verdicts,
        }
    )
    for signal in tried.signals:
        screen.heading(f"{signal.signal}, in {signal.place}")
        if signal.unreadable:
            screen.line(f"unreadable: {signal.unreadable}")
        screen.facts(
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in signal.fields.items()
        )
        screen.line()
    columns = ["signal", "purpose", "act", "authority", "rule"]
    screen.table(columns, [tuple(act.values()) for act in acts], empty="The policy makes no act of this.")
    screen.line()
    rows = [(key, verdict["allowed"], verdict["reason"]) for key, verdict in verdicts.items()]
    screen.table(["purpose", "allowed", "reason"], rows)
    screen.line("Nothing was stored.")
