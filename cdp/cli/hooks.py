"""Commands about the webhooks of sources."""

import time
from pathlib import Path
from typing import Any

import click

from cdp.accounting.row_reasons import EXPLANATIONS
from cdp.cli.command import command, open_context, settings
from cdp.cli.screen import Screen
from cdp.flows.hooks import manage
from cdp.flows.hooks.mapping import read_hook_mapping
from cdp.flows.hooks.trial import TriedDelivery, try_delivery
from cdp.flows.imports.row_notices import EXPLANATIONS as OF_CELLS
from cdp.flows.operations.meanings import meaning_of
from cdp.flows.operations.sources import KEY_SECONDS_MAX
from cdp.kit.bounded_file import read_bounded
from cdp.kit.errors import Fault
from cdp.policy.load import load_policy
from cdp.sources.hook import WINDOW_SECONDS_DEFAULT, Hook, SignatureScheme

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SECRETS = click.option(
    "--secret-file",
    type=click.File("r"),
    help="A file with the secret, or - for standard input; of the basic scheme, NAME:PASSWORD. A second line is a secret that stays valid too.",
)


@click.group()
def hook() -> None:
    """Manage what platforms deliver by webhook."""


@hook.command("set")
@click.argument("name")
@click.option(
    "--signature",
    "scheme",
    type=click.Choice([scheme.value for scheme in SignatureScheme]),
    required=True,
    help="How deliveries are signed.",
)
@click.option(
    "--mapping", "mapping_file", type=_FILE, required=True, help="A YAML file that maps deliveries to messages."
)
@_SECRETS
@click.option(
    "--window",
    "window_seconds",
    type=int,
    default=WINDOW_SECONDS_DEFAULT,
    show_default=True,
    help="For how many seconds before and after its signed time a delivery is accepted (standard and stripe).",
)
@command(
    "cdp source hook set shop --signature shopify --mapping shopify.yaml --secret-file secret.txt",
    "cdp source hook set shop --signature shopify --mapping shopify.yaml",
)
def set_(
    name: str,
    *,
    scheme: str,
    mapping_file: Path,
    secret_file: Any,
    window_seconds: int,
    screen: Screen,
) -> None:
    """Let a platform deliver to a source.

    The source must be of the kind server. It replaces the webhook that the source had; without --secret-file, the secrets of
    that one stay valid. They are stored sealed, and never shown. When the command ends, every service follows.
    """
    secrets = _secrets_of(secret_file)
    with open_context() as context:
        found = manage.set_hook(
            context,
            name,
            SignatureScheme(scheme),
            mapping=_text_of(mapping_file),
            secrets=secrets,
            window_seconds=window_seconds,
        )
    _print(screen, name, found)


@hook.command("show")
@click.argument("name")
@command("cdp source hook show shop", "cdp source hook show shop --json")
def show(name: str, screen: Screen) -> None:
    """Show the webhook of a source.

    Its secrets cannot be shown. --json has the mapping.
    """
    with open_context() as context:
        found = manage.show_hook(context, name)
    _print(screen, name, found, waits=False)


@hook.command("rotate")
@click.argument("name")
@_SECRETS
@click.option("--end-previous", is_flag=True, help="End the secret that was replaced.")
@command(
    "cdp source hook rotate shop --secret-file new-secret.txt",
    "cdp source hook rotate shop --end-previous",
)
def rotate(name: str, *, secret_file: Any, end_previous: bool, screen: Screen) -> None:
    """Replace the secret of a webhook.

    The secret of before stays valid beside the new one until --end-previous, so that no delivery is lost in between.
    """
    if (secret_file is None) != end_previous:
        raise click.UsageError("Give either --secret-file or --end-previous.")
    secrets = _secrets_of(secret_file)
    with open_context() as context:
        if end_previous:
            found = manage.end_previous_secret(context, name)
        else:
            found = manage.replace_secret(context, name, secrets[0] if secrets else "")
    _print(screen, name, found)


@hook.command("try")
@click.argument("file", type=_FILE)
@click.option(
    "--mapping", "mapping_file", type=_FILE, required=True, help="A YAML file that maps deliveries to messages."
)
@click.option(
    "--header", "headers", multiple=True, help="A header of the delivery, such as 'X-Shopify-Topic: orders/create'."
)
@command("cdp source hook try delivery.json --mapping shopify.yaml --header 'X-Shopify-Topic: orders/create'")
def try_(file: Path, *, mapping_file: Path, headers: tuple[str, ...], screen: Screen) -> None:
    """Show what a mapping makes of a delivery.

    FILE has the body of a recorded delivery. Nothing is written, and no signature is asked for.
    """
    mappings = read_hook_mapping(mapping_file.name, _text_of(mapping_file).encode())
    config = settings()
    done = try_delivery(
        load_policy(config.policies),
        mappings,
        _bytes_of(file),
        headers=[_header(text) for text in headers],
        now=config.clock().now(),
    )
    screen.result(done)
    _print_trial(screen, done)


@hook.command("delete")
@click.argument("name")
@command("cdp source hook delete shop")
def delete(name: str, screen: Screen) -> None:
    """Delete the webhook of a source.

    When the command ends, every service refuses its deliveries. Its secrets are destroyed; what it delivered stays.
    """
    with open_context() as context:
        manage.delete_hook(context, name)
    time.sleep(KEY_SECONDS_MAX)
    screen.result({"deleted": name})
    screen.line("Its deliveries are refused.")


def values_of(name: str, found: Hook) -> dict[str, Any]:
    """A webhook as `--json` shows it."""
    return {
        "source": name,
        "path": f"/v1/hook/{name}",
        "signature": found.scheme.value,
        "secrets": found.secrets,
        "window_seconds": found.window_seconds,
        "mapping": found.mapping,
        "created_at": found.created_at,
        "changed_at": found.changed_at,
    }


def _print(screen: Screen, name: str, found: Hook, *, waits: bool = True) -> None:
    if waits:
        time.sleep(KEY_SECONDS_MAX)
    shown = values_of(name, found)
    screen.result(shown)
    screen.facts([(key.replace("_", " "), value) for key, value in shown.items() if key != "mapping"])


def _print_trial(screen: Screen, done: TriedDelivery) -> None:
    screen.table(
        ["mapping", "rows", "type", "event", "state", "reason", "consents"],
        [
            (
                "" if row.mapping is None else row.mapping,
                row.rows,
                row.type,
                row.event,
                row.state.replace("_", " "),
                meaning_of(row.state, row.reason),
                ", ".join(row.consents),
            )
            for row in done.rows
        ],
    )
    if done.notices:
        screen.line()
        screen.table(
            ["rows", "refused, or read in an odd way", "column", "cell"],
            [
                (
                    notice["rows"],
                    OF_CELLS.get(notice["kind"]) or EXPLANATIONS.get(notice["kind"], notice["kind"]),
                    notice["place"],
                    notice["shape"],
                )
                for notice in done.notices
            ],
        )
    screen.line("Nothing was written.")


def _secrets_of(file: Any) -> list[str]:
    """The lines of a file of secrets."""
    if file is None:
        return []
    return [line for line in file.read(10_000).splitlines() if line]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"A header is NAME: VALUE, unlike {text}")
    return name.strip(), value.strip()


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except OSError as error:
        raise Fault("unreadable_file", "The file cannot be read", f"{path}: {error.strerror}.") from None


def _text_of(path: Path) -> str:
    try:
        return _bytes_of(path).decode()
    except UnicodeDecodeError:
        raise Fault("unreadable_mapping", "The mapping cannot be read", f"{path} must be UTF-8.") from None
