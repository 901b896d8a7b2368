"""Commands about tokens."""

import click

from cdp.access.model import Role
from cdp.cli.command import command, opened
from cdp.cli.screen import Screen
from cdp.flows.operations import tokens


@click.group()
def token() -> None:
    """Tokens: who may ask the API, in which role."""


@token.command("create")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice([each.value for each in Role]), help="What the token allows.")
@command("cdp token create ada --role privacy", "cdp token create campaign-tool --role marketer --json")
def create(name: str, role: str, screen: Screen) -> None:
    """Create a token and print it, this once."""
    with opened() as context:
        made = tokens.create_token(context, name, Role(role))
    screen.tell({"id": int(made.token.token_id), "name": name, "role": role, "token": made.secret})
    screen.facts([("name", name), ("role", role), ("token", made.secret)])
    screen.line("The token is kept only as a hash: note it now.")


@token.command("list")
@command("cdp token list")
def list_(screen: Screen) -> None:
    """List every token, revoked ones included; secrets are not shown."""
    with opened() as context:
        found = tokens.list_tokens(context)
    screen.tell(
        [
            {
                "id": int(each.token_id),
                "name": each.name,
                "role": each.role.value,
                "created_at": each.created_at,
                "revoked_at": each.revoked_at,
            }
            for each in found
        ]
    )
    screen.table(
        ["id", "name", "role", "created", "revoked"],
        [(int(each.token_id), each.name, each.role.value, each.created_at, each.revoked_at) for each in found],
        empty="No token yet: cdp token create NAME --role ROLE",
    )


@token.command("revoke")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@command("cdp token revoke 4")
def revoke(number: int, screen: Screen) -> None:
    """Stop a token, for good; `cdp token list` shows the numbers."""
    with opened() as context:
        tokens.revoke_token(context, number)
    screen.tell({"revoked": number})
    screen.line("The token no longer works.")
