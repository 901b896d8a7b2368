"""Texts that people read are plain professional English: phrasings that read as translated, and pictures, are refused.

Texts are the documentation, comments of the policies, templates of pages, and in the code every string, docstring and
comment.
"""

import ast
import re
import tokenize
from collections.abc import Iterator
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT, service, tracked

# Each: what is refused, and what to write instead.
REFUSED = {
    r"\bnoes\b": "opt-outs",
    r"\b[Aa] (?:no|yes)\b(?!-)": "an opt-out or a refusal; a consent",
    r"\b(?:say|says|said|saying) (?:yes|no)\b": "consent; refuse, opt out",
    r"\banew\b": "again; recomputed; start over",
    r"(?i)(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|later\b|earlier\b|fewer\b|less\b|better\b|other\b)[a-z]": "is not a",
    r"(?i)\bwhoever\b": "anyone who; the person who",
    r"(?i)\bstrongroom\b": "vault",
    r"(?i)\brooms?\b": "component",
    r"(?i)\bdoors?\b": "endpoint, interface",
    r"(?i)\bfloors?\b(?!\()": "layer",
    r"(?i)\bwhere everything lies\b": "what it contains",
    r"(?i)\btold\b": "notified, shown, stated",
    r"(?i)\b(?:rights )?desk\b": "context; privacy team",
    r"(?i)\bfamiliars\b": "cached profiles",
    r"(?i)\bstrangers?\b": "uncached profiles; anyone; unknown persons",
    r"(?i)\bnewborns?\b": "new profiles",
    r"(?i)\bto be born\b|\bis born\b|\bwas born\b|\bare born\b": "created",
    r"(?i)\b(?:she|hers|herself)\b": "the person; they",
    r"(?i)\bthe house\b": "the application; the service",
    r"(?i)\bjourney of (?:a|the)\b": "use case; path",
    r"(?i)\bone road\b|\berasing road\b|\bby the same road\b": "procedure",
}
# What others depend on. Each: the file, the phrase, and who depends on it.
KEPT = [
    ("cdp/flows/rights/replay.py", "noes", "a key of entries in the log, which are never rewritten"),
]
COUNTABLE = re.compile(
    r" ((?:connected |shared |consent |signed |more )?(?:accounts|acts|addresses|bytes|checkpoints|connections|days|entries|erasures|"
    r"events|facts|files|groups|hours|identifiers|keys|leaves|lines|links|messages|minutes|months|opt-outs|orders|people|"
    r"problems|profiles|records|rows|seconds|segments|sessions|steps|tables|times|years))\b"
)
# Numbers that cannot be one, by expression and noun. Each: why.
NEVER_ONE = (
    "run.py: {seconds} seconds",  # a replay of months of orders
    "run.py: {len(withdrawing)} people",  # chosen among the orders of the demonstration
    "tour.py: {computed['orders_count']} orders",  # as above
    "check_series.py: {seconds} seconds",  # constants of the checks
    "doctor.py: {seconds} seconds",  # more than a limit of several
    "readiness.py: {task.silent_seconds} seconds",  # as above
    "pools.py: {needed} connections",  # a process needs several
    "config.py: {len(key)} bytes",  # a key of one byte is a mistake of its own
    "pages.py: {days} days",  # of examples in the manual
    "page.py: {len(rows)} rows",  # more than three
    "notice.py: {years} years",  # two or more, else months
    "notice.py: {months} months",  # three or more, else days
)
TEXT_FILES = {".md", ".html", ".yaml", ".toml"}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file with their lines: all of a document; of code its strings and comments."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), start=1)
        return
    for token in tokenize.generate_tokens(StringIO(content).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def is_read_by_people(path: Path) -> bool:
    """Documentation, policies, and the code of the product; not the tests, whose data has to say anything."""
    top = path.relative_to(ROOT).parts[0]
    if path.suffix == ".py":
        return top in ("cdp", "migrations", "benchmarks", "tools")
    return path.suffix in TEXT_FILES and top not in ("tests", "examples")


def without_kept(path: Path, line: str) -> str:
    """The line without the phrases that stay for a reason."""
    for file, phrase, _reason in KEPT:
        if path == ROOT / file:
            line = line.replace(phrase, "")
    return line


def refused(line: str) -> list[str]:
    """What to write instead of each refused phrase of a line."""
    return [
        f"{found.group(0)!r}: write {instead}"
        for pattern, instead in REFUSED.items()
        if (found := re.search(pattern, line)) is not None
    ]


def plurals_of_any_number(tree: ast.AST) -> list[str]:
    """Sentences that put a number before a plural noun, which is wrong for one, unless the number is a constant limit."""
    return [
        f"{getattr(node, 'lineno', 0)}: {{{ast.unparse(number.value)}}} {found.group(1)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for number, text in pairwise(node.values)
        if isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant)
        if (found := COUNTABLE.match(str(text.value))) is not None
        if re.search(r"(?:^|[._])(?:[A-Z][A-Z_]+|bytes_max)$", ast.unparse(number.value)) is None
    ]


def test_one_is_not_written_with_a_plural() -> None:
    findings = [f"{source.path}:{one}" for source in service() for one in plurals_of_any_number(source.tree)]
    unexplained = [one for one in findings if not re.sub(r":\d+", "", one).endswith(NEVER_ONE)]
    assert not unexplained, "write counted(number, noun):\n" + "\n".join(unexplained)


@pytest.mark.parametrize(
    "sentence", ['f"expire {days} days later"', 'f"{len(rows):,} shared identifiers"', 'f"at {n} files"']
)
def test_a_plural_of_any_number_is_found(sentence: str) -> None:
    assert plurals_of_any_number(ast.parse(sentence))


@pytest.mark.parametrize(
    "sentence", ['f"{_ROWS_MAX:,} rows"', 'f"{name} requests it"', "f\"{counted(n, 'day')} later\""]
)
def test_other_words_after_a_value_pass(sentence: str) -> None:
    assert not plurals_of_any_number(ast.parse(sentence))


def test_texts_are_plain_english() -> None:
    findings = [
        f"{path.relative_to(ROOT)}:{number}: {finding}"
        for path in tracked()
        if is_read_by_people(path)
        for number, line in texts(path)
        for finding in refused(without_kept(path, line))
    ]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    "line",
    [
        "No order of arrival loses a no.",
        "That is no name.",
        "The verdicts are computed anew.",
        "Whoever is erased leaves the cache.",
        "It holds noes of strangers.",
        "She asked to be erased.",
        "The rights desk answers.",
        "The tables of each room.",
        "The HTTP door.",
        "The floor on which a file stands.",
        "Where everything lies.",
        "The recipients are told.",
    ],
)
def test_a_refused_phrase_is_found(line: str) -> None:
    assert refused(line)


@pytest.mark.parametrize(
    "line",
    [
        "The value is floor(x).",
        "There is no such profile.",
        "The token is no longer valid.",
        "A no-op.",
        "It is not a name.",
        "No one else may.",
    ],
)
def test_plain_english_passes(line: str) -> None:
    assert not refused(line)


def test_what_clients_get_with_503_names_no_setting_and_no_server() -> None:
    """Settings and servers are for operators: a fault that names them has another text for clients."""
    calls = [
        (source.path, call)
        for source in service()
        for call in ast.walk(source.tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Fault"
    ]
    unsplit = [
        f"{path}:{call.lineno}"
        for path, call in calls
        if any(keyword.arg == "status" and getattr(keyword.value, "value", 0) == 503 for keyword in call.keywords)
        and any(word in ast.unparse(call) for word in ("CDP_", "PostgreSQL", "the server", "fault.detail"))
        and not any(keyword.arg == "caller_detail" for keyword in call.keywords)
        and not path.startswith(("cdp/demo/", "cdp/flows/imports/"))  # raised in commands alone
    ]
    assert len(calls) > 100
    assert unsplit == []
