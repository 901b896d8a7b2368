"""What must not be in any tracked file: leftovers, hosts of registries, paths of one machine, people's data."""

import re

import pytest

from tests.support.source_tree import ROOT, service, tracked, written_tests

# Each with a letter in brackets, so that this file does not find itself.
LEFTOVERS = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|NotImplementedErro[r]")
HOSTS = re.compile(
    r"pyp[i]\.(org|python)|pythonhoste[d]\.|npmj[s]\.|registr[y]\.yarnpkg|de[b]\.debian|crate[s]\.io|inde[x]\.docker"
)
PATHS = re.compile(r"(?<![\w.])/(wor[k]|hom[e]|User[s]|roo[t])/(?!cdp\b)\w")
SKIPS = re.compile(
    r"pytest\.(mark\.)?(ski[p]|ski[p]if|xfai[l]|importorski[p])\b|unittest\.moc[k]|from unittest import moc[k]|MagicMoc[k]"
)
MAY_SKIP = {"tests/support/chromium.py", "tests/support/rabbitmq.py", "tests/support/reverse_proxies.py"}
"""They start programs that come from the operating system and not from a lock file; they fail without them where `.ci/run` has installed them."""
BINARY = {".gz", ".zip", ".png", ".parquet", ".ico", ".jpg"}


def texts() -> list[tuple[str, str]]:
    """Every tracked text by its path from the root."""
    named = [(file.relative_to(ROOT).as_posix(), file) for file in tracked() if file.suffix not in BINARY]
    return [(name, file.read_text(errors="replace")) for name, file in named]


def found(pattern: re.Pattern[str], named: list[tuple[str, str]]) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in named
        for match in pattern.finditer(text)
    ]


def test_nothing_is_left_over_in_the_code() -> None:
    sources = [(source.path, source.text) for source in (*service(), *written_tests())]
    assert found(LEFTOVERS, sources) == []


def test_no_test_is_skipped_or_mocked() -> None:
    sources = [(source.path, source.text) for source in written_tests() if source.path not in MAY_SKIP]
    assert found(SKIPS, sources) == []


def test_no_registry_host_is_named() -> None:
    assert found(HOSTS, texts()) == []


def test_no_path_of_one_machine_is_named() -> None:
    assert found(PATHS, texts()) == []


def test_every_text_ends_with_a_line_break_and_has_no_carriage_return() -> None:
    ill = [
        name for name, text in texts() if text and (not text.endswith("\n") or "\r" in text) and name.endswith(".py")
    ]
    assert ill == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (LEFTOVERS, "# {}DO later".format("TO")),
        (HOSTS, "https://files.{}hosted.org/x".format("python")),
        (PATHS, "open('/{}me/ada/x')".format("ho")),
        (SKIPS, "@pytest.mark.{}ip".format("sk")),
    ],
)
def test_each_pattern_finds_what_it_is_for(pattern: re.Pattern[str], text: str) -> None:
    assert found(pattern, [("a", text)]) != []
