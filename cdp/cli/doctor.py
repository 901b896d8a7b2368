"""Command that checks everything a service needs, and says what to do about what is wrong."""

import click

from cdp.cli.command import FAILED, command, quiet_logging, settings
from cdp.cli.screen import Screen
from cdp.flows.operations.doctor import diagnose
from cdp.operations.readiness import CheckState, OverallState, judge


@click.command()
@command("cdp doctor", "CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp doctor --json")
def doctor(screen: Screen) -> None:
    """Check database, disks, keys and worker.

    Runs the checks of /readyz against the settings, and says what is wrong and what to do: with or without a running service.
    Writes are tried where a service writes, and nothing is changed. The exit code is 1 if a check is degraded or failing.
    """
    config = settings()
    quiet_logging(config)
    findings = diagnose(config)
    state = judge(findings)
    screen.result({"status": state, "checks": findings})
    screen.table(
        ["check", "state", "code"], [(finding.check.value, finding.state.value, finding.code) for finding in findings]
    )
    for finding in findings:
        if finding.state not in (CheckState.OK, CheckState.UNKNOWN):
            screen.line()
            screen.line(f"{finding.check.value}: {finding.detail}")
    if state is not OverallState.READY:
        click.get_current_context().exit(FAILED)
