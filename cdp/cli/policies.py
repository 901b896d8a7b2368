"""Commands about the policy folder."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cdp.cli.command import command, open_context, settings
from cdp.cli.consents import INSTANT
from cdp.cli.policy_views import difference_rows, impact_rows, policy_files, record_lines
from cdp.cli.screen import Screen, cell_text, counting_bar
from cdp.flows.operations import policy_history
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.policy_effects import Impact
from cdp.flows.operations.policy_impact import deletes, measure_impact
from cdp.flows.operations.sources import deferring_sources
from cdp.flows.segments.texts import conditions_of
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.policy.diff import PolicyDifference, differences
from cdp.policy.load import load_policy, warnings_of
from cdp.policy.model import Policy
from cdp.policy.processing_record import processing_record
from cdp.postgres.place import find_place

if TYPE_CHECKING:
    from cdp.flows.context import Context

_folder = click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def policy() -> None:
    """Check, compare and apply policies."""


@policy.command("check")
@_folder
@command("cdp policy check", "cdp policy check ./policies --json")
def check(folder: Path | None, screen: Screen) -> None:
    """Check the policy files.

    Lists every problem with its file, line and remedy. Exit code 2 when there is one. Warns of a purpose based on
    consent to which no category of a consent tool is mapped, of a role that reads people who cannot refuse, and of a controller that
    is not named.
    """
    found = _load(folder)
    warnings = warnings_of(folder or settings().policies, found)
    screen.result(
        {"fingerprint": found.fingerprint, "purposes": list(found.purposes), "problems": [], "warnings": warnings}
    )
    for warning in warnings:
        screen.line(f"Warning: {warning}")
    screen.line(f"The policy is valid. Its fingerprint is {found.fingerprint}.")


@policy.command("plan")
@_folder
@command("cdp policy plan", "cdp policy plan ./policies --json")
def plan(folder: Path | None, screen: Screen) -> None:
    """Compare with the policy in force, and count what applying would change.

    Shows each difference, and how many people, events, traits, memberships and deliveries it would exclude, delete, reveal or
    permit, by purpose, class or segment, with the ids of some of the profiles. Every segment that it concerns is evaluated,
    to show who would enter and leave. It reads one snapshot of the store and changes nothing.
    """
    _show_plan(folder, screen)


def _show_plan(folder: Path | None, screen: Screen) -> None:
    with open_context() as context:
        found = _planned(context, _load(folder), screen)
    screen.result(
        {
            "in_force": context.policy.fingerprint,
            "fingerprint": found.fingerprint,
            "differences": found.differences,
            "impacts": found.impacts,
        }
    )
    if found.differences:
        screen.line("Next: cdp policy apply")


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a folder would change, and its consequences."""

    fingerprint: str
    differences: tuple[PolicyDifference, ...]
    impacts: list[Impact]


def _planned(context: "Context", found: Policy, screen: Screen) -> _Planned:
    """Compute and print what a folder would change."""
    changes = differences(context.policy, found)
    impacts: list[Impact] = []
    if changes:
        with counting_bar(screen, "deciding about profiles") as progress:
            impacts = measure_impact(context, found, progress=progress)
    screen.table(
        ["file", "what", "change", "effect"],
        difference_rows(changes),
        empty="Nothing differs from the policy in force.",
    )
    if changes:
        screen.line()
        screen.table(
            ["effect", "what", "number", "purpose, class or segment", "for example"],
            impact_rows(impacts),
            empty="Nothing that is stored would be excluded, deleted, revealed or newly permitted.",
        )
    return _Planned(found.fingerprint, changes, impacts)


@policy.command("apply")
@_folder
@click.option("--dry-run", is_flag=True, help="Only show what would change, as `cdp policy plan` does.")
@click.option("--yes", is_flag=True, help="Apply without asking, even if data is deleted or people are excluded.")
@command("cdp policy apply --dry-run", "cdp policy apply", "cdp policy apply /etc/cdp/policies --yes")
def apply(folder: Path | None, *, dry_run: bool, yes: bool, screen: Screen) -> None:
    """Put the policy folder in force.

    Asks first when the plan deletes data, excludes people or ends a segment with members; without a terminal, --yes is required then. All verdicts are
    recomputed first; a running service follows within seconds. A service that starts applies the folder in its CDP_POLICIES
    only to an empty store, or if it was never in force, touches nothing that is stored, and leaves readers, destinations,
    identifiers, jurisdictions and retention as they are.
    """
    if dry_run:
        _show_plan(folder, screen)
        return
    found = _load(folder)
    with open_context() as context:
        planned = _planned(context, found, screen)
        if deletes(planned.impacts) and not yes:
            _confirm(screen)
        done = apply_policy(context, found)
    screen.result(
        {
            "fingerprint": found.fingerprint,
            "is_new": done.is_new,
            "profiles": done.profiles,
            "differences": done.differences,
            "impacts": planned.impacts,
        }
    )
    if done.is_new:
        screen.line(f"In force now: {found.fingerprint}. Verdicts recomputed: {counted(done.profiles, 'profile')}.")


def _confirm(screen: Screen) -> None:
    """Ask whether to go on. Raises the fault `confirmation_needed` where nobody can be asked."""
    if screen.is_json or not sys.stdin.isatty():
        raise Fault(
            "confirmation_needed",
            "Applying this policy deletes data or excludes people",
            "`cdp policy plan` shows what. Add --yes to apply it.",
            status=409,
        )
    click.confirm("Applying this deletes data or excludes people. Go on?", abort=True, err=True)


@policy.command("history")
@command("cdp policy history", "cdp policy history --json")
def history(screen: Screen) -> None:
    """List every policy that was in force, with what each changed."""
    with open_context() as context:
        periods = policy_history.history(context)
    screen.result(periods)
    screen.table(
        ["in force from", "to", "differences", "fingerprint"],
        [
            (
                period.applied_at,
                period.ended_at,
                "unknown" if period.differences is None else len(period.differences),
                period.fingerprint,
            )
            for period in periods
        ],
        empty="No policy was ever applied.",
    )
    for period in periods[1:]:
        if period.differences:
            screen.line()
            screen.heading(f"{cell_text(period.applied_at)}")
            screen.table(["file", "what", "change", "effect"], difference_rows(period.differences))


@policy.command("show")
@click.option("--at", "instant", type=INSTANT, help="The policy in force at this instant. Default: now.")
@click.option("--file", "file", help="Only one file, such as purposes.yaml.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files to a folder that does not exist yet.",
)
@command("cdp policy show --file purposes.yaml", "cdp policy show --at 2026-01-31T12:00:00Z --out policies-of-january")
def show(*, instant: datetime | None, file: str | None, out: Path | None, screen: Screen) -> None:
    """Show the text of the policy in force, now or at an earlier instant.

    Comments and layout are not stored; the meaning and the fingerprint are those of the files that were applied.
    """
    with open_context() as context:
        found = policy_history.policy_at(context, instant or context.clock.now())
    if file is not None and file not in found.content:
        raise Fault(
            "unknown_policy_file", "The policy has no such file", f"It has {', '.join(found.content)}.", status=404
        )
    documents = found.content if file is None else {file: found.content[file]}
    screen.result({"fingerprint": found.fingerprint, "applied_at": found.applied_at, "files": documents})
    texts = policy_files(documents)
    if out is not None:
        _write(out, texts)
        screen.line(f"Written: {counted(len(texts), 'file')} in {out}.")
        return
    screen.line(f"# in force from {cell_text(found.applied_at)}, fingerprint {found.fingerprint.hex()}")
    for name, text in texts.items():
        screen.line(f"\n# {name}\n{text.rstrip()}")


def _write(out: Path, texts: Mapping[str, str]) -> None:
    if out.exists():
        raise Fault("folder_exists", "The folder exists already", "Name one that does not exist yet.", status=409)
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@policy.command("ropa")
@_folder
@click.option("--at", "instant", type=INSTANT, help="Under the policy in force at this instant, not under the folder.")
@command("cdp policy ropa > record.md", "cdp policy ropa --at 2026-01-31T12:00:00Z --json")
def ropa(folder: Path | None, instant: datetime | None, screen: Screen) -> None:
    """Print the record of processing activities (GDPR Art. 30).

    Markdown, or JSON with --json, derived from the policy files, and from the store which sources defer messages. It names what
    the policy cannot declare.
    """
    if instant is None:
        found = _load(folder)
    else:
        with open_context() as context:
            found = policy_history.readable_policy_at(context, instant)
    record = processing_record(found, deferring=_deferring())
    screen.result(record)
    for line in record_lines(record):
        screen.line(line)


def _deferring() -> tuple[str, ...] | None:
    """The sources that defer; None without a store that can be read."""
    config = settings()
    if config.database_url is None and find_place(config.home) is None:
        return None
    try:
        with open_context() as context:
            return deferring_sources(context)
    except Fault:
        return None


def _load(folder: Path | None) -> Policy:
    policy = load_policy(folder or settings().policies)
    conditions_of(policy)
    return policy
