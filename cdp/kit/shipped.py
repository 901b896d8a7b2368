"""Files that are shipped with the code: the migrations, the policies, and the data of the demonstration.

They are kept at the top of the repository. An installed wheel holds them inside the package, in `cdp/_shipped`.
"""

from pathlib import Path
from typing import Final, Literal

from cdp.kit.errors import Fault

ShippedFolder = Literal["migrations", "policies", "examples"]

_PACKAGE: Final = Path(__file__).resolve().parents[1]


def shipped_folder(name: ShippedFolder, *, package: Path = _PACKAGE) -> Path:
    """The folder of that name that belongs to this code. Raises the fault `installation_incomplete`."""
    for parent in (package / "_shipped", package.parent):
        if (parent / name).is_dir():
            return parent / name
    raise Fault(
        "installation_incomplete",
        "The installation is incomplete",
        f"The folder {name} is missing from {package / '_shipped'}. Install cdp again, from its wheel or from the whole "
        "repository.",
        status=500,
    )
