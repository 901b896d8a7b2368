"""The command `cdp`. A command's file is read only when it is called, so that `cdp --help` answers at once."""

import sys
from importlib import import_module
from keyword import iskeyword
from typing import Final, NamedTuple

import click

from cdp import __version__
from cdp.cli.command import run


class CommandEntry(NamedTuple):
    """Where a command lies, and its line in the list."""

    module: str
    help: str
    is_hidden: bool = False


COMMANDS: Final = {
    "init": CommandEntry("init", "Copy the shipped policies into a folder"),
    "serve": CommandEntry("serving", "Run API, pages and worker; the embedded database with them"),
    "demo": CommandEntry("demo", "Replay real orders, then walk from consent to a provable erasure"),
    "worker": CommandEntry("serving", "Run the worker alone, beside services on a database of yours"),
    "migrate": CommandEntry("serving", "Bring the database's schema up to date"),
    "source": CommandEntry("sources", "Create and list sources: who may send messages"),
    "token": CommandEntry("tokens", "Create and list tokens: who may ask, in which role"),
    "import": CommandEntry("imports", "Bring in CSV or JSON Lines, resumable"),
    "profile": CommandEntry("profiles", "Show a person, explain a link, take a merge back"),
    "identity": CommandEntry("identity", "Shared identifiers, quarantine; rehearse changed rules and apply them"),
    "consent": CommandEntry("consents", "Record a consent act, show what a person decided"),
    "segment": CommandEntry("segments", "Segments: list, check, preview, members, explain"),
    "request": CommandEntry("requests", "Subject requests: open, verify, carry out, export, receipt"),
    "retention": CommandEntry("retention", "End what has expired"),
    "policy": CommandEntry("policies", "Check the policy folder, compare and apply it"),
    "keys": CommandEntry("keys", "Rotate keys, and destroy old ones"),
    "scrub": CommandEntry("maintenance", "Overwrite on disk what erasures left behind"),
    "replay": CommandEntry("maintenance", "Tell a restored database what was erased and refused"),
    "audit": CommandEntry("audit", "Verify receipts and the log; report"),
    "openapi": CommandEntry("reference", "Print the OpenAPI document"),
    "docs": CommandEntry("reference", "Write the generated pages of docs/reference", is_hidden=True),
}


class Commands(click.Group):
    """The commands by name, each loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name."""
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

    Settings are environment variables: CDP_HOME (./var), CDP_POLICIES (./policies, or the shipped ones), CDP_DATABASE_URL (none: an embedded
    PostgreSQL in CDP_HOME) and others; docs/reference/settings.md lists them. Commands work beside a running service
    and without one.

    Exit codes: 0 done, 1 a fault or a check that found something wrong, 2 not understood, 3 no such thing or not
    possible in its present state.

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
