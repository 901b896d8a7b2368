"""Commands that print or write generated documents: the OpenAPI document and the pages of docs/reference."""

import json
from pathlib import Path

import click

from cdp.cli.command import FAILED, command
from cdp.cli.screen import Screen, print_error


@click.command()
@command("cdp openapi > openapi.json")
def openapi(screen: Screen) -> None:  # noqa: ARG001 - always JSON
    """Print the OpenAPI document."""
    from cdp.web.app import describe, openapi_of

    click.echo(json.dumps(openapi_of(describe()), indent=2, ensure_ascii=False))


@click.command()
@click.option("--check", "is_check", is_flag=True, help="Write nothing; exit with code 1 when a page is out of date.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/reference"))
@command("cdp docs", "cdp docs --check")
def docs(is_check: bool, folder: Path, screen: Screen) -> None:
    """Generate the pages of docs/reference.

    Commands, routes, settings, error codes, policy files and the segment language.
    """
    from cdp.cli.reference_pages import pages

    stale = []
    for name, text in pages().items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not is_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    screen.result({"stale" if is_check else "written": stale})
    if is_check and stale:
        print_error(f"Out of date in {folder}: {', '.join(stale)}. `cdp docs` writes them.")
        click.get_current_context().exit(FAILED)
    screen.line(f"Written: {', '.join(stale)}." if stale else "Every page is up to date.")
