"""The archive of an access request: a ZIP file with the data for programs and a page for people. Pure."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from cdp.rights.page import page

DATA: Final = "data.json"
PAGE: Final = "page.html"
RECEIPTS: Final = "consent-receipts"


@dataclass(frozen=True, slots=True)
class Archive:
    """A file for the data subject. Its name contains nothing about the person."""

    name: str
    content: bytes


def archive(
    name: str,
    document: Mapping[str, Any],
    made_at: datetime,
    *,
    receipts: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Archive:
    """The ZIP file of an export document and of consent receipts by the id of their record, with its entries dated `made_at`."""
    files = {f"{RECEIPTS}/{record}.json": to_json(receipt) for record, receipt in receipts.items()}
    buffer = io.BytesIO()
    stamp = (made_at.year, made_at.month, made_at.day, made_at.hour, made_at.minute, made_at.second)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, text in {DATA: to_json(document), PAGE: page(document, data_file=DATA), **files}.items():
            file.writestr(zipfile.ZipInfo(entry, stamp), text, zipfile.ZIP_DEFLATED)
    return Archive(name, buffer.getvalue())


def to_json(document: Mapping[str, Any]) -> str:
    """The document as indented JSON in UTF-8, ending with a newline."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
