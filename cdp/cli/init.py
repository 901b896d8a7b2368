"""The command that copies the shipped policies out of the installation, for a person to change."""

from pathlib import Path

import click

from cdp.cli.command import command
from cdp.cli.screen import Screen
from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder
from cdp.kit.wording import counted
from cdp.policy.controller import CONTROLLER_FILE

_DEFAULT = Path("policies")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), default=_DEFAULT)
@command("cdp init", "cdp init /etc/cdp/policies")
def init(folder: Path, screen: Screen) -> None:
    """Copy the shipped policies into a folder.

    Copies them to DIR (default: ./policies) for you to adapt. `cdp serve` uses ./policies, or the folder named by
    CDP_POLICIES. A folder that is not empty is left unchanged.
    """
    files = copy_policies(folder)
    screen.result({"folder": str(folder), "files": files})
    screen.line(f"Copied {counted(len(files), 'file')} to {folder}.")
    screen.line("Next:")
    screen.line(f"  name       the organization that is responsible for the data, in {folder / CONTROLLER_FILE}")
    screen.line("  edit       the files; docs/reference/policies.md describes them")
    screen.line(f"  check      cdp policy check {folder}")
    is_default = folder.resolve() == _DEFAULT.resolve()
    screen.line(f"  start      {'cdp serve' if is_default else f'CDP_POLICIES={folder} cdp serve'}")


def copy_policies(folder: Path) -> list[str]:
    """Copy every shipped policy file to a folder that is empty or does not exist; returns their names.

    Raises the faults `folder_not_empty` and `folder_not_writable`.
    """
    shipped = shipped_folder("policies")
    files = sorted(file.relative_to(shipped) for file in shipped.rglob("*.yaml"))
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Fault(
                "folder_not_empty",
                "The folder is in use",
                f"{folder} exists and is not an empty folder. Nothing was copied. Name another folder.",
                status=409,
            )
        for file in files:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            # Content only: an installation may be read-only, a copy is to be changed.
            target.write_bytes((shipped / file).read_bytes())
    except OSError as error:
        raise Fault(
            "folder_not_writable",
            "The policies cannot be copied there",
            f"{folder}: {error.strerror}. Name a folder that you may write to.",
        ) from error
    return [file.as_posix() for file in files]
