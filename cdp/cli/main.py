"""The command `cdp`. A command's file is read only when it is called, so that `cdp --help` is fast."""

import sys
from importlib import import_module
from keyword import iskeyword
from typing import Final, NamedTuple

import click

from cdp import __version__
from cdp.cli.command import run


class CommandEntry(NamedTuple):
    """The module of a command, and its summary in the list."""

    module: str
    help: str
    is_hidden: bool = False


COMMANDS: Final = {
    "serve": CommandEntry("serving", "Run the service and the embedded database"),
    "init": CommandEntry("init", "Copy the shipped policies into a folder"),
    "demo": CommandEntry("demo", "Run the demonstration on real orders"),
    "worker": CommandEntry("serving", "Run only the worker, on your own database"),
    "migrate": CommandEntry("serving", "Upgrade the database schema"),
    "doctor": CommandEntry("doctor", "Check database, disks, keys and worker"),
    "source": CommandEntry("sources", "Manage sources and their write keys"),
    "token": CommandEntry("tokens", "Manage API tokens and their roles"),
    "import": CommandEntry("imports", "Import CSV or JSON Lines files"),
    "consume": CommandEntry("consume", "Read messages from AMQP or Kafka"),
    "profile": CommandEntry("profiles", "Show profiles, explain links, undo merges"),
    "identity": CommandEntry("identity", "Review identity; simulate and apply rules"),
    "consent": CommandEntry("consents", "Record and show consent"),
    "segment": CommandEntry("segments", "List, check, preview and explain segments"),
    "request": CommandEntry("requests", "Handle subject requests"),
    "restriction": CommandEntry("standing", "End restrictions of processing"),
    "suppression": CommandEntry("standing", "Lift suppressions"),
    "retention": CommandEntry("retention", "Delete data past its retention period"),
    "policy": CommandEntry("policies", "Check, compare and apply policies"),
    "keys": CommandEntry("keys", "Rotate and destroy keys"),
    "logins": CommandEntry("logins", "Check what SQL logins of readers may do"),
    "scrub": CommandEntry("maintenance", "Overwrite residue of erasures on disk"),
    "replay": CommandEntry("maintenance", "Reapply erasures to a restored database"),
    "backup": CommandEntry("backups", "Back up the database and the state"),
    "restore": CommandEntry("backups", "Restore a backup and reapply erasures"),
    "state": CommandEntry("state", "Move the state outside of the database"),
    "audit": CommandEntry("audit", "Verify receipts and the audit log; report"),
    "openapi": CommandEntry("reference", "Print the OpenAPI document"),
    "docs": CommandEntry("reference", "Generate pages of docs/reference", is_hidden=True),
}


class Commands(click.Group):
    """The commands by name, each loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command by its name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        found: click.Command = getattr(import_module(f"cdp.cli.{entry.module}"), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items() if not entry.is_hidden])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cdp")
def cdp() -> None:
    """A customer data platform with consent, retention and erasure in its data model.

    Settings are environment variables: CDP_HOME (./var), CDP_POLICIES (./policies, or the shipped ones), CDP_DATABASE_URL
    (none: an embedded PostgreSQL in CDP_HOME) and others; docs/reference/settings.md lists them. Commands work with
    and without a running service.

    Exit codes: 0 success, 1 an error or a failed check, 2 an invalid command or value, 3 not found or not possible in
    the current state.

    \b
    Examples:
      cdp serve
      cdp source create web-shop
      cdp profile show email:ada@example.com
    """


def main() -> None:
    """Run the command line of this process."""
    run(cdp, sys.argv[1:])


if __name__ == "__main__":
    main()
