"""Commands about tokens."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.operations import tokens


@click.group()
def token() -> None:
    """Manage API tokens and their roles."""


@token.command("create")
@click.argument("name")
@click.option("--role", required=True, help="A role of staff (privacy, auditor, admin), or a reader role.")
@command("cdp token create ada --role privacy", "cdp token create campaign-tool --role marketer --json")
def create(name: str, role: str, screen: Screen) -> None:
    """Create a token and print it.

    `marketer` and the other roles of policies/readers.yaml read people by purpose, each under ids of its own. The token
    cannot be shown again.
    """
    with open_context() as context:
        created = tokens.create_token(context, name, role)
    screen.result({"id": int(created.token.token_id), "name": name, "role": role, "token": created.secret})
    screen.facts([("name", name), ("role", role), ("token", created.secret)])
    screen.line("Only a hash of the token is stored: save it now.")


@token.command("list")
@command("cdp token list")
def list_(screen: Screen) -> None:
    """List all tokens.

    Includes revoked tokens. Secrets are not shown.
    """
    with open_context() as context:
        found = tokens.list_tokens(context)
    screen.result(
        [
            {
                "id": int(token.token_id),
                "name": token.name,
                "role": token.role_name,
                "created_at": token.created_at,
                "revoked_at": token.revoked_at,
            }
            for token in found
        ]
    )
    screen.table(
        ["id", "name", "role", "created", "revoked"],
        [(int(token.token_id), token.name, token.role_name, token.created_at, token.revoked_at) for token in found],
        empty="No tokens yet. Create one: cdp token create NAME --role ROLE",
    )


@token.command("revoke")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@command("cdp token revoke 4")
def revoke(number: int, screen: Screen) -> None:
    """Revoke a token permanently.

    NUMBER is the id shown by `cdp token list`.
    """
    with open_context() as context:
        tokens.revoke_token(context, number)
    screen.result({"revoked": number})
    screen.line("The token no longer works.")
