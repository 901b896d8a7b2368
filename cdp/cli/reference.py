"""Commands that write what others read: the OpenAPI document and the generated pages of docs/reference."""

import json
from pathlib import Path

import click

from cdp.cli.command import FAILED, command
from cdp.cli.screen import Screen, complain


@click.command()
@command("cdp openapi > openapi.json")
def openapi(screen: Screen) -> None:  # noqa: ARG001 - always JSON
    """Print the OpenAPI document of the API."""
    from cdp.web.app import describe, openapi_of

    click.echo(json.dumps(openapi_of(describe()), indent=2, ensure_ascii=False))


@click.command()
@click.option(
    "--check", "is_check", is_flag=True, help="Write nothing; exit code 1 when a page is not what it should be."
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/reference"))
@command("cdp docs", "cdp docs --check")
def docs(is_check: bool, folder: Path, screen: Screen) -> None:
    """Write the pages of docs/reference that are generated: commands, routes, settings and error codes."""
    from cdp.cli.reference_pages import pages

    stale = []
    for name, text in pages().items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not is_check:
            path.write_text(text, encoding="utf-8")
    screen.tell({"stale" if is_check else "written": stale})
    if is_check and stale:
        complain(f"Not what the code says: {', '.join(stale)} in {folder}. `cdp docs` writes them.")
        click.get_current_context().exit(FAILED)
    screen.line(f"Written: {', '.join(stale)}." if stale else "Every page is what the code says.")
