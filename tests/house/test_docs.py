"""Documents say what is: their commands exist, their links lead somewhere, their code can be read."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pygments.lexers import get_lexer_by_name

from cdp.cli.main import cdp
from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.messages import check_mapping
from cdp.flows.segments.texts import check_alone
from cdp.policy.traits import SUPPORTED
from cdp.web.console.page import MENU
from tests.support.documents import blocks
from tests.support.policies import ROOT, shipped
from tests.support.source_tree import Source, service, written_tests

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
WRITTEN = [page for page in PAGES if not page.read_text(encoding="utf-8").startswith("<!-- Written by")]
IDS = [str(page.relative_to(ROOT)) for page in WRITTEN]

_COMMAND = re.compile(r"^ *(\$ )?(cdp [a-z].*)$")
_NAMED = re.compile(r"`(cdp [a-z][^`]*)`")
_PLACEHOLDER = re.compile(r"[{}]|\.\.\.")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CITED = re.compile(r"\bdocs/[\w/-]+\.md\b(?:,\s+\"([^\"]+)\")?")
_UNPLACED = re.compile(r"(?<![\w./-])(?:house|ingest|identity|consent|rights|segments|behavior|audit|vocabulary)\.md\b")


def commands(text: str) -> Iterator[str]:
    """Lines that are commands: indented by four, in a block of code, or after a prompt; of a transcript only those."""
    block = None
    for line in text.splitlines():
        if line.startswith("```"):
            block = line[3:] if block is None else None
            continue
        found = _COMMAND.match(line.rstrip())
        if found and (found.group(1) or block == "" or (block is None and line.startswith("    "))):
            yield found.group(2)


def docstrings(source: Source) -> Iterator[str]:
    """The docstrings of a file: of the module, its classes and functions, and those that follow a value."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def broken_citations(text: str) -> list[str]:
    """Pages of the documentation that a docstring cites and that do not exist, or lack the heading in quotes."""
    broken = [found.group(0) for found in _UNPLACED.finditer(text)]
    for found in _CITED.finditer(text):
        page = ROOT / found.group(0).partition(",")[0]
        heading = found.group(1) and " ".join(found.group(1).split())
        if not page.exists() or (
            heading and not re.search(rf"^#+ {re.escape(heading)}$", page.read_text(encoding="utf-8"), re.MULTILINE)
        ):
            broken.append(found.group(0))
    return broken


def check_command(line: str, *, is_whole: bool = True) -> None:
    """Every word up to the first argument is a command, and every option is one of its options."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))]
    command: click.Command = cdp
    context = click.Context(cdp, info_name="cdp")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command `{words[0]}` in: {line}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context)
    is_group = isinstance(command, click.Group) and is_whole
    assert not is_group or not words or words == ["--help"], f"not a whole command: {line}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help", "--version"}, f"no option {word} in: {line}"


@pytest.mark.parametrize("page", WRITTEN, ids=IDS)
def test_every_command_in_a_page_exists(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        check_command(line)


def sentences_with_commands() -> Iterator[tuple[str, str]]:
    """Each command that a page, a message or a help text names within a sentence, with its file."""
    sources = [*(ROOT / "cdp").rglob("*.py"), *(ROOT / "cdp").rglob("*.html")]
    for file in [*WRITTEN, *sources]:
        for found in _NAMED.finditer(file.read_text(encoding="utf-8")):
            if not _PLACEHOLDER.search(found.group(1)):
                yield str(file.relative_to(ROOT)), " ".join(found.group(1).split())


def test_every_command_in_a_sentence_exists() -> None:
    missing = []
    for file, line in sentences_with_commands():
        try:
            check_command(line, is_whole=False)
        except AssertionError as error:
            missing.append(f"{file}: {error}")
    assert not missing


def test_the_front_page_shows_commands() -> None:
    assert len(list(commands((ROOT / "README.md").read_text(encoding="utf-8")))) >= 10


@pytest.mark.parametrize("line", ["cdp profil show a:b", "cdp profile show --jsn a:b", "cdp request"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check_command(line + " x" if line == "cdp request" else line)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target} is not there"


def test_every_page_that_a_docstring_cites_exists() -> None:
    found = [
        (source.path, page)
        for source in (*service(), *written_tests())
        for text in docstrings(source)
        for page in broken_citations(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "See consent.md.",
        "See docs/explanation/nothing.md.",
        'See docs/explanation/consent.md, "A heading of another page".',
    ],
)
def test_a_broken_citation_is_found(text: str) -> None:
    assert broken_citations(text)


@pytest.mark.parametrize("page", WRITTEN, ids=IDS)
def test_every_make_target_in_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^(?:    )?|`)make ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_every_block_names_a_language_that_the_site_can_highlight() -> None:
    named = {
        name for page in PAGES for name in re.findall(r"^ *```([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert "sh" in named
    for name in named:
        get_lexer_by_name(name)


@pytest.mark.parametrize("page", WRITTEN, ids=IDS)
def test_every_python_block_can_be_read(page: Path) -> None:
    for body in blocks(page.read_text(encoding="utf-8"), "python"):
        ast.parse(body)


def test_the_mapping_of_the_page_about_imports_is_one(tmp_path: Path) -> None:
    [body] = blocks((ROOT / "docs" / "how-to" / "import-a-file.md").read_text(encoding="utf-8"), "yaml")
    path = tmp_path / "mapping.yaml"
    path.write_text(body, encoding="utf-8")
    check_mapping(load_mapping(path), shipped())


def test_the_page_about_imports_names_every_key_of_a_mapping() -> None:
    text = (ROOT / "docs" / "how-to" / "import-a-file.md").read_text(encoding="utf-8")
    assert [key for key in Mapping.model_fields if f"`{key}`" not in text] == []


def test_the_index_leads_to_every_page_for_people() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page for folder in ("tutorial", "how-to", "explanation") for page in (ROOT / "docs" / folder).glob("*.md")]
    assert [page.name for page in pages if f"/{page.name})" not in text] == []


def test_the_page_about_the_console_lists_every_page_and_its_roles() -> None:
    text = (ROOT / "docs" / "how-to" / "use-the-console.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z][\w ]*) \| ([a-z, ]+) \|", text, re.MULTILINE)
    assert {name: set(roles.split(", ")) for name, roles in rows} == {
        name: {role.value for role in roles} for _, name, _, roles in MENU
    }


def test_the_questions_of_the_page_for_marketers_can_be_asked() -> None:
    text = (ROOT / "docs" / "how-to" / "query-as-a-marketer.md").read_text(encoding="utf-8")
    asked = [line for body in blocks(text, "") for line in body.splitlines() if not line.startswith(("curl", "  "))]
    asked += re.findall(r"--where '([^']*)'", text)
    assert len(asked) >= 6
    for where in asked:
        check_alone(shipped(), where, "email_marketing")


@pytest.mark.parametrize(
    ("page", "command", "text"),
    [
        ("create-sources-and-tokens.md", "sources.py", "Only a hash of the write key is stored: save it now."),
        ("import-a-file.md", "imports.py", "invalid rows"),
        ("import-a-file.md", "imports.py", "row numbers"),
    ],
)
def test_a_transcript_shows_what_the_command_prints(page: str, command: str, text: str) -> None:
    assert text in (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    assert f'"{text}"' in (ROOT / "cdp" / "cli" / command).read_text(encoding="utf-8")


def test_the_page_of_computed_traits_names_the_kinds_that_are_computed() -> None:
    text = (ROOT / "docs" / "reference" / "policies-traits.md").read_text(encoding="utf-8")
    [named] = re.findall(
        r"^How a trait is computed\. This version computes (.*); the others are refused\.$", text, re.MULTILINE
    )
    assert re.findall(r"`(\w+)`", named) == [kind.value for kind in SUPPORTED]


def test_the_changelog_counts_what_is_shipped_and_names_migrations_that_exist() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    migrations = {path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py")}
    assert set(re.findall(r"[Mm]igration (\d{4})", text)) <= migrations
    assert len(shipped().identifiers.types) == 13
    assert "Thirteen identifier types" in text
    assert len(list((ROOT / "policies").glob("*.yaml"))) == 10
    assert "Ten files and the segments" in text
    assert len(list((ROOT / "policies" / "segments").glob("*.yaml"))) == 4
    assert "Four segments are included" in text


def test_every_decision_is_listed_and_short() -> None:
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for page in folder.glob("[0-9]*.md"):
        assert f"({page.name})" in listed, f"{page.name} is not in docs/adr/README.md"
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 60, page.name
