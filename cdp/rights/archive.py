"""The archive of an access request: a ZIP with the data for machines and a page for people. Pure."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdp.rights.page import page

DATA: Final = "data.json"
PAGE: Final = "page.html"


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to hand over. The name says nothing of the person."""

    name: str
    content: bytes


def archive(name: str, document: Mapping[str, Any], made_at: datetime) -> Archive:
    """The ZIP of an export document."""
    written = io.BytesIO()
    stamp = (made_at.year, made_at.month, made_at.day, made_at.hour, made_at.minute, made_at.second)
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, text in ((DATA, to_json(document)), (PAGE, page(document, data_file=DATA))):
            file.writestr(zipfile.ZipInfo(entry, stamp), text, zipfile.ZIP_DEFLATED)
    return Archive(name, written.getvalue())


def to_json(document: Mapping[str, Any]) -> str:
    """The document as people can read it too: indented UTF-8."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
