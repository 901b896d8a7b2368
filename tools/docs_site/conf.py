"""The documentation as a site: `make docs-site` gives this file to Sphinx, which reads the Markdown in docs/.

The pages contain nothing that is specific to Sphinx: the table of contents is added here, and links out of docs/ become
text. The site loads nothing from other hosts.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECTIONS = (
    ("Tutorial", "tutorial"),
    ("How-to guides", "how-to"),
    ("Reference", "reference"),
    ("Explanation", "explanation"),
    ("Decision records", "adr"),
)
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s#]+)\)")

project = "cdp"
html_title = "cdp"
extensions = ["myst_parser"]
root_doc = "index"
source_suffix = {".md": "markdown"}
nitpicky = True
myst_heading_anchors = 4
myst_links_external_new_tab = False
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def contents() -> str:
    """The table of contents: one section for each folder, then the glossary."""
    lines = []
    for title, folder in SECTIONS:
        pages = sorted(DOCS.joinpath(folder).glob("*.md"), key=lambda page: (page.name != "README.md", page.name))
        names = [page.relative_to(DOCS).with_suffix("").as_posix() for page in pages]
        lines += ["", "```{toctree}", ":hidden:", f":caption: {title}", "", *names, "```"]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", ":caption: Terms", "", "glossary", "```", ""])


def setup(app: Any) -> dict[str, bool]:
    """Have every page adapted as Sphinx reads it."""
    app.connect("source-read", adapt)
    return {"parallel_read_safe": True}


def adapt(_app: Any, name: str, source: list[str]) -> None:
    """Append the table of contents to the overview, and replace links to files outside docs/ with their path."""
    folder = posixpath.join("docs", posixpath.dirname(name))

    def outside_as_text(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link.group(2)))
        return link.group() if path.startswith("docs/") else f"{link.group(1)} (`{path}`)"

    source[0] = _LINK.sub(outside_as_text, source[0])
    if name == root_doc:
        source[0] += contents()
